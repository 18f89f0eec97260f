from __future__ import annotations

from textwrap import dedent

import pytest
import trustme

from bridge.config import Limits, Settings, load_settings
from bridge.errors import ConfigError
from bridge.model import Channel
from tests.unit.config_helpers import DemoOptions


def test_a_minimal_config_takes_the_defaults(config):
    settings = config.load("connectors: [{name: a, exchange: venue, pairs: [BTC-EUR]}]")
    [connector] = settings.connectors
    assert connector.channels == (Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER)
    assert connector.options == DemoOptions()
    assert (connector.account, connector.url, connector.transport, connector.silence) == (None, None, "auto", {})
    assert settings.redis.plain_url == settings.redis.address == "redis://127.0.0.1:6379/0"
    assert (settings.namespace, settings.loop, settings.shutdown_timeout) == ("", "auto", 10.0)
    assert (settings.buffer.max_bytes, settings.buffer.max_age) == (67_108_864, 300.0)
    assert (settings.heartbeat.interval, settings.heartbeat.ttl) == (1.0, 5.0)
    assert settings.retention.of(Channel.TRADES) == Limits(max_entries=1_000_000, max_age=86_400)
    assert settings.retention.of(Channel.POSITIONS) == Limits(max_entries=200_000, max_age=30 * 86_400)


def test_no_file_and_an_empty_file_are_all_defaults(config):
    assert load_settings(None, {}) == config.load("# nothing\n") == Settings()


def test_every_value_can_be_given(config, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = config.load(f"""
        redis: {{url: "rediss://user:pa%20ss@redis.example.com:6380/2", ca_file: {tmp_path}/ca.pem,
                 connect_timeout: 500ms, reply_timeout: 1m}}
        namespace: test
        connectors:
          - name: one
            exchange: venue
            pairs: [BTC-EUR, BTC-PERP]
            channels: [book]
            url: ws://127.0.0.1:8080/websocket/
            rest_url: https://example.com/api
            ca_file: {tmp_path}/ca.pem
            options: {{depth: 10, pair_ids: {{BTC-EUR: 7}}}}
            silence: {{book: 90s, trades: off, orders: 5}}
            transport: picows
        retention:
          trades: {{max_age: 2h}}
          book: {{max_entries: 5}}
        buffer: {{max_bytes: 1MiB, max_age: 10}}
        heartbeat: {{interval: 2s, ttl: 10s}}
        shutdown_timeout: 3s
        log: {{level: debug, format: json}}
        loop: asyncio
    """)
    [connector] = settings.connectors
    assert settings.redis.plain_url == "rediss://user:pa%20ss@redis.example.com:6380/2"
    assert settings.redis.address == "rediss://redis.example.com:6380/2"
    assert (settings.redis.connect_timeout, settings.redis.reply_timeout) == (0.5, 60)
    assert connector.options == DemoOptions(depth=10, pair_ids={"BTC-EUR": 7})
    assert connector.silence == {Channel.BOOK: 90, Channel.TRADES: None, Channel.ORDERS: 5}
    assert connector.channels == (Channel.BOOK,)
    assert connector.url == "ws://127.0.0.1:8080/websocket/"
    # One of two limits given: the other stays.
    assert settings.retention.trades == Limits(max_entries=1_000_000, max_age=7200)
    assert settings.retention.book == Limits(max_entries=5, max_age=3600)
    assert (settings.buffer.max_bytes, settings.log.level, settings.loop) == (1_048_576, "debug", "asyncio")


def test_five_mistakes_are_five_messages(config):
    assert config.problems("""
        redis: {url: http://127.0.0.1}
        connectors:
          - name: one
            exchange: venue
            pairs: [btc/eur]
            chanels: [trades]
            account: mian
        accounts:
          main: {exchange: venue, api_key: key, api_secret: secret}
        retention: {trades: {max_age: soon}}
    """) == {
        "redis.url": "should start with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// (line 2)",
        "connectors.0.pairs.0": "'btc/eur' is not a pair: should be BASE-QUOTE in upper case, such as BTC-EUR"
        " (line 6; did you mean 'BTC-EUR'?)",
        "connectors.0.chanels": "unknown key (line 7; did you mean 'channels'?)",
        "connectors.0.account": "no account 'mian' under accounts (line 8; did you mean 'main'?)",
        "retention.trades.max_age": "should be a duration: a number with ms, s, m, h or d (90s, 1.5m, 24h), or seconds"
        " (line 11)",
    }


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("connector: []", "connector", "unknown key (line 1; did you mean 'connectors'?)"),
        ("_env_file: x", "_env_file", "unknown key (line 1; known: redis, namespace, connectors, accounts, "),
        ("redis: {ulr: x}", "redis.ulr", "unknown key (line 1; did you mean 'url'?)"),
        ("retention: {trade: {}}", "retention.trade", "unknown key (line 1; did you mean 'trades'?)"),
        (
            "retention: {book: {max_entrys: 1}}",
            "retention.book.max_entrys",
            "unknown key (line 1; did you mean 'max_entries'?)",
        ),
        ("log: {level: loud}", "log.level", "should be 'debug', 'info', 'warning' or 'error' (line 1)"),
        ("redis: 5", "redis", "should be a mapping (line 1; its keys are url, url_file, "),
        ("connectors: {}", "connectors", "should be a list (line 1; begin each connector with a dash, "),
        ("connectors: [text]", "connectors.0", "should be a mapping (line 1; such as {name: coinbase, "),
        ("[1, 2]", "(top level)", "should be a mapping of settings, such as 'redis:' and 'connectors:'"),
        ("heartbeat: {interval: 5s, ttl: 5s}", "heartbeat.ttl", "should be longer than interval"),
        ("buffer: {max_bytes: 1kB}", "buffer.max_bytes", "should be at least 65536 (line 1)"),
        ("shutdown_timeout: 0", "shutdown_timeout", "should be greater than 0 (line 1)"),
        ("namespace: 'a b'", "namespace", "should be letters, digits"),
        ("retention: {book: {max_entries: 0}}", "retention.book.max_entries", "should be greater than 0"),
        ("retention: {book: {max_entries: true}}", "retention.book.max_entries", "should be a whole number"),
        ("retention: {book: {max_entries: 1.5}}", "retention.book.max_entries", "should be a whole number"),
    ],
)
def test_mistakes_of_the_sections(config, text, path, message):
    problems = config.problems(text)
    assert list(problems) == [path]
    assert problems[path].startswith(message)


@pytest.mark.parametrize(
    ("line", "path", "message"),
    [
        ("pairs: []", "pairs", "should not be empty"),
        ("pairs: [BTC-EUR, ETH-EUR, BTC-EUR]", "pairs.2", "BTC-EUR is given twice"),
        ("channels: [trades, bok]", "channels.1", "no channel 'bok' (line N; did you mean 'book'?"),
        (
            "channels: [orders]",
            "channels.0",
            "orders is a private channel (line N; private channels come with account:",
        ),
        ("channels: [trades, trades]", "channels.1", "trades is given twice"),
        ("channels: trades", "channels", "should be a list"),
        ("exchange: venu", "exchange", "no exchange 'venu' (line N; did you mean 'venue'?"),
        ("name: a/b", "name", "should be letters, digits"),
        ("url: ws://example.com", "url", "ws:// is accepted only on loopback (line N; use wss://example.com…"),
        ("url: https://example.com", "url", "should be a URL: wss://host…, or ws:// on loopback"),
        ("url: wss://me:pw@example.com", "url", "should hold no user or password; secrets belong in accounts"),
        ("url: wss://example.com:port", "url", "should have a port from 1 to 65535"),
        ("rest_url: http://10.0.0.1/", "rest_url", "http:// is accepted only on loopback"),
        ("options: {depht: 1}", "options.depht", "unknown key (line N; did you mean 'depth'?"),
        ("options: {depth: deep}", "options.depth", "should be a whole number"),
        ("options: {pair_ids: {BTC-EUR: x}}", "options.pair_ids.BTC-EUR", "should be a whole number"),
        ("silence: {tades: 1s}", "silence.tades", "unknown channel (line N; did you mean 'trades'?"),
        ("silence: {trades: never}", "silence.trades", "should be a duration"),
        ("silence: {trades: 0}", "silence.trades", "should be greater than 0"),
        ("transport: carrier-pigeon", "transport", "should be 'auto', 'websockets' or 'picows'"),
        ("ca_file: /no/such/file", "ca_file", "cannot read /no/such/file: No such file or directory"),
        ("ca_file: /etc/passwd", "ca_file", "/etc/passwd holds no PEM certificate"),
        ("account: 5x", "account", "no account '5x' under accounts"),
    ],
)
def test_mistakes_of_a_connector(config, line, path, message):
    key = line.partition(":")[0]
    lines = {"name": "name: one", "exchange": "exchange: venue", "pairs": "pairs: [BTC-EUR]"} | {key: line}
    problems = config.problems("connectors:\n  -\n" + "".join(f"    {text}\n" for text in lines.values()))
    assert list(problems) == [f"connectors.0.{path}"]
    [said] = problems.values()
    place = f"line {3 + list(lines).index(key)}"
    assert said.startswith(message.replace("line N", place))
    assert f"({place}" in said


@pytest.mark.parametrize("host", ["127.0.0.1:80", "127.8.9.10", "[::1]:8080", "localhost:9", "LOCALHOST"])
def test_loopback_may_be_plain(config, host):
    connectors = f"[{{name: a, exchange: venue, pairs: [A-B], url: 'ws://{host}/x', rest_url: 'http://{host}'}}]"
    assert config.load(f"connectors: {connectors}").connectors[0].url == f"ws://{host}/x"


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "localhost.example.com", "0.0.0.0", "[::2]", "2130706433"])
def test_what_only_looks_like_loopback_may_not(config, host):
    connectors = f"[{{name: a, exchange: venue, pairs: [A-B], url: 'ws://{host}/x'}}]"
    assert "only on loopback" in config.problems(f"connectors: {connectors}")["connectors.0.url"]


def test_a_connector_that_lacks_everything(config):
    problems = config.problems("connectors: [{}]")
    assert problems == {
        "connectors.0.name": "is missing (line 1)",
        "connectors.0.exchange": "is missing (line 1)",
        "connectors.0.pairs": "is missing (line 1)",
    }


def test_channels_must_be_offered_by_the_exchange(config):
    problems = config.problems("connectors: [{name: a, exchange: public, pairs: [A-B], channels: [trades, ticker]}]")
    assert problems == {"connectors.0.channels.1": "public has no ticker (line 1; it offers: trades, book, book10)"}


def test_mistakes_between_the_parts(config):
    assert config.problems("""
        connectors:
          - {name: a, exchange: venue, pairs: [BTC-EUR], channels: [trades, book], account: main}
          - {name: a, exchange: venue, pairs: [ETH-EUR, BTC-EUR], channels: [book, quotes], account: main}
          - {name: b, exchange: public, pairs: [BTC-EUR], account: main}
          - {name: c, exchange: venue, pairs: [BTC-EUR], channels: [ticker]}
          - {name: d, exchange: public, pairs: [XRP-EUR], account: other}
        accounts:
          main: {exchange: venue, api_key: k, api_secret: s}
          other: {exchange: public, api_key: k, api_secret: s}
    """) == {
        "connectors.1.name": "'a' is also the name of connectors.0 (line 4)",
        "connectors.1.account": "account 'main' is already read by connectors.0 (line 4; one stream takes one connector; "
        "let one of them read it, or give it a second name under accounts)",
        "connectors.1.pairs.1": "BTC-EUR (book) is already read by connectors.0 (line 4; one stream takes one connector)",
        "connectors.2.account": "account 'main' is of exchange 'venue', this connector's is 'public' (line 5)",
        "connectors.4.account": "public has no private channels, so it takes no account (line 7)",
    }


def test_an_empty_section_is_a_section_not_given(config):
    settings = config.load("retention:\n  # book: {max_age: 1h}\nredis:\n  url:\nconnectors:\n")
    assert settings == Settings()


def test_text_stays_as_it_is_written(config):
    settings = config.load("""
        connectors: [{name: 007, exchange: venue, pairs: [1INCH-EUR], options: {nested: {no: {on: 0x10}}}}]
        accounts: {0123: {exchange: venue, api_key: 0123, api_secret: 1_000}}
    """)
    account = settings.accounts["0123"]
    assert settings.connectors[0].name == "007"
    assert settings.connectors[0].options.nested == {"no": {"on": "0x10"}}
    assert (account.api_key.get_secret_value(), account.credentials["api_secret"]) == ("0123", "1_000")


def test_anchors_and_merge_keys(config):
    settings = config.load("""
        connectors:
          - &base {name: a, exchange: venue, pairs: [A-B], channels: [book]}
          - <<: *base
            name: b
            pairs: [C-D]
    """)
    assert [(item.name, item.pairs, item.channels) for item in settings.connectors] == [
        ("a", ("A-B",), (Channel.BOOK,)),
        ("b", ("C-D",), (Channel.BOOK,)),
    ]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("a: [1, 2", "(syntax)", "not valid YAML: while parsing a flow sequence expected ',' or ']'"),
        (
            "a: b: c",
            "(syntax)",
            "not valid YAML: mapping values are not allowed here (line 1, column 5; is there a second ': ' in the line, or ",
        ),
        ("a:\n\t- b", "(syntax)", "not valid YAML: while scanning for the next token found character"),
        ("a: \x07", "(syntax)", "not valid YAML: the character U+0007 is not allowed (line 1)"),
        ("loop: auto\nloop: uvloop", "loop", "is given twice: first in line 1 (line 2)"),
        ("redis:\n  url: redis://a\n  url: redis://b\n", "redis.url", "is given twice: first in line 2 (line 3)"),
        ("a: !!python/object:os.system {}", "a", "YAML tags are not supported (line 1)"),
        ("a: &a [*a]", "(syntax)", "not valid YAML: too many or too deeply nested values"),
        ("{[1]: 2}", "(top level)", "a key must be plain text (line 1)"),
    ],
)
def test_slips_of_form(config, text, path, message):
    found = config.problems(text)[path]
    assert found.startswith(message)


def test_an_alias_bomb_is_refused(config):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many" in config.problems("\n".join(levels))["(syntax)"]


def test_a_slip_of_form_hides_no_other_mistake(config):
    problems = config.problems("loop: fast\nnamespace: a\nnamespace: b\n")
    assert set(problems) == {"loop", "namespace"}


def test_files_that_cannot_be_read(config, tmp_path):
    for path, message in [
        (tmp_path / "none.yaml", f"no such file: {tmp_path}/none.yaml"),
        (tmp_path, f"{tmp_path} is a directory"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load_settings(path, {})
        assert caught.value.problems[0].message == message
    (tmp_path / "latin.yaml").write_bytes(b"namespace: \xe9\n")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text .*is in line 1"):
        load_settings(tmp_path / "latin.yaml", {})


def test_a_relative_path_that_is_missing_says_where_it_was_looked_for(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"looked in {tmp_path}"):
        load_settings(type(tmp_path)("none.yaml"), {})


def test_settings_are_frozen(config):
    settings = config.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.namespace = "x"
    with pytest.raises(ValueError, match="frozen"):
        settings.connectors[0].name = "x"


def test_the_error_reads_well(config):
    with pytest.raises(ConfigError) as caught:
        config.load("loop: fast\nnamespace: a b\n")
    assert str(caught.value) == dedent(f"""\
        {config.path}: 2 mistakes
          namespace: should be letters, digits, '_', '.' and '-' only, because it becomes part of Redis keys (line 2)
          loop: should be 'auto', 'asyncio' or 'uvloop' (line 1)""")
    assert caught.value.exit_code == 1


def _sharded(shard: str, more: str = "") -> str:
    return (
        f"connectors: [{{name: a, exchange: venue, pairs: [BTC-EUR, ETH-EUR, SOL-EUR], shard: {shard}{more}}}, "
        "{name: b, exchange: venue, pairs: [BTC-EUR, ETH-EUR, SOL-EUR], shard: 2/2}]\n"
        "accounts: {main: {exchange: venue, api_key: k, api_secret: s}}"
    )


def test_shards_share_the_pairs_out(config):
    one, two = config.load(_sharded("1/2")).connectors
    assert sorted((*one.own_pairs, *two.own_pairs)) == ["BTC-EUR", "ETH-EUR", "SOL-EUR"]


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("0/3", "there is no shard 0 of 3: they are numbered from 1 to 3"),
        ("4/3", "there is no shard 4 of 3"),
        ("1/0", "should be of one shard at least"),
        ("1", "should be NUMBER/COUNT, such as 1/3: the first of three"),
        ("one", "should be NUMBER/COUNT"),
    ],
)
def test_shards_that_are_none(config, shard, message):
    problems = config.problems(_sharded(shard))
    assert message in problems["connectors.0.shard"]


def test_two_with_one_shard_and_an_account_with_a_shard(config):
    problems = config.problems(_sharded("2/2"))
    assert problems
    assert all("is already read by connectors.0" in message for message in problems.values())
    assert "own with channels: []" in config.problems(_sharded("1/2", ", account: main"))["connectors.0.account"]
