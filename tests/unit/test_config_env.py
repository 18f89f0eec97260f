from __future__ import annotations

import pytest

from bridge.config import Settings, load_settings
from bridge.model import Channel
from tests.unit.config_helpers import GOOD


@pytest.mark.parametrize(
    ("variable", "text", "get", "value"),
    [
        ("REDIS__URL", "redis://other:1/2", lambda s: s.redis.plain_url, "redis://other:1/2"),
        ("redis__url", "redis://other:1/2", lambda s: s.redis.plain_url, "redis://other:1/2"),
        ("REDIS", "{url: 'redis://other'}", lambda s: s.redis.plain_url, "redis://other"),
        ("REDIS__REPLY_TIMEOUT", "250ms", lambda s: s.redis.reply_timeout, 0.25),
        ("NAMESPACE", "007", lambda s: s.namespace, "007"),
        ("NAMESPACE", "", lambda s: s.namespace, ""),
        ("RETENTION__TRADES__MAX_ENTRIES", "77", lambda s: s.retention.trades.max_entries, 77),
        ("RETENTION__FILLS", "{max_age: 1d}", lambda s: s.retention.fills.max_age, 86400),
        ("BUFFER__MAX_BYTES", "1MiB", lambda s: s.buffer.max_bytes, 2**20),
        ("LOOP", "asyncio", lambda s: s.loop, "asyncio"),
        ("CONNECTORS__0__URL", "wss://x.example", lambda s: s.connectors[0].url, "wss://x.example"),
        ("CONNECTORS__ONE__URL", "wss://x.example", lambda s: s.connectors[0].url, "wss://x.example"),
        ("CONNECTORS__0__PAIRS__1", "XRP-EUR", lambda s: s.connectors[0].pairs, ("BTC-EUR", "XRP-EUR")),
        ("CONNECTORS__0__PAIRS__2", "XRP-EUR", lambda s: s.connectors[0].pairs, ("BTC-EUR", "ETH-EUR", "XRP-EUR")),
        ("CONNECTORS__0__PAIRS", "[A-B, C-D]", lambda s: s.connectors[0].pairs, ("A-B", "C-D")),
        ("CONNECTORS__0__PAIRS", "A-B, C-D", lambda s: s.connectors[0].pairs, ("A-B", "C-D")),
        ("CONNECTORS__0__PAIRS", "A-B", lambda s: s.connectors[0].pairs, ("A-B",)),
        ("CONNECTORS__0__OPTIONS__DEPTH", "9", lambda s: s.connectors[0].options.depth, 9),
        ("CONNECTORS__0__OPTIONS", "{depth: 9}", lambda s: s.connectors[0].options.depth, 9),
        ("CONNECTORS__0__SILENCE__BOOK", "off", lambda s: s.connectors[0].silence, {Channel.BOOK: None}),
        ("ACCOUNTS__MAIN__API_SECRET", "[x", lambda s: s.accounts["main"].credentials["api_secret"], "[x"),
        ("ACCOUNTS__MAIN__SUBACCOUNTS", "true", lambda s: s.accounts["main"].subaccounts, True),
    ],
)
def test_every_value_can_be_overridden(config, variable, text, get, value):
    before = get(config.load())
    after = get(config.load(**{f"TICKBRIDGE_{variable}": text}))
    assert after == value
    assert before != after or variable == "NAMESPACE"


def test_a_whole_config_can_come_from_the_environment(config):
    settings = load_settings(
        None,
        {
            "TICKBRIDGE_CONNECTORS__0__NAME": "a",
            "TICKBRIDGE_CONNECTORS__0__EXCHANGE": "venue",
            "TICKBRIDGE_CONNECTORS__0__PAIRS": "[BTC-EUR]",
            "TICKBRIDGE_CONNECTORS__0__OPTIONS__PAIR_IDS": "{BTC-EUR: 7}",
            "TICKBRIDGE_CONNECTORS__0__ACCOUNT": "main_one",
            "TICKBRIDGE_CONNECTORS__1": "{name: b, exchange: public, pairs: [X-Y]}",
            "TICKBRIDGE_ACCOUNTS__MAIN_ONE__EXCHANGE": "venue",
            "TICKBRIDGE_ACCOUNTS__MAIN_ONE__API_KEY": "k",
            "TICKBRIDGE_ACCOUNTS__MAIN_ONE__API_SECRET": "s: {[",
            "PATH": "/bin",
        },
    )
    assert [connector.name for connector in settings.connectors] == ["a", "b"]
    assert settings.connectors[0].options.pair_ids == {"BTC-EUR": 7}
    assert settings.accounts["main_one"].credentials["api_secret"] == "s: {["


def test_connectors_and_accounts_are_found_by_their_names_as_variables_spell_them(config):
    settings = config.load(
        """
        connectors:
          - {name: venue-eur.1, exchange: venue, pairs: [BTC-EUR]}
          - {name: Venue-USD, exchange: venue, pairs: [BTC-USD]}
        accounts: {My-Account: {exchange: venue, api_key: k, api_secret: s}}
        """,
        TICKBRIDGE_CONNECTORS__VENUE_EUR_1__PAIRS__0="ETH-EUR",
        TICKBRIDGE_CONNECTORS__VENUE_USD__CHANNELS="trades",
        TICKBRIDGE_ACCOUNTS__MY_ACCOUNT__API_KEY="other",
    )
    assert settings.connectors[0].pairs == ("ETH-EUR",)
    assert settings.connectors[1].channels == (Channel.TRADES,)
    assert settings.accounts["My-Account"].api_key.get_secret_value() == "other"


def test_a_name_that_two_connectors_share_in_a_variable_needs_a_position(config):
    problems = config.problems(
        "connectors: [{name: a-b, exchange: venue, pairs: [A-B]}, {name: a.b, exchange: venue, pairs: [C-D]}]",
        TICKBRIDGE_CONNECTORS__A_B__TRANSPORT="auto",
    )
    assert problems == {
        "TICKBRIDGE_CONNECTORS__A_B__TRANSPORT": "unknown variable (2 have this name; use a position: "
        "TICKBRIDGE_CONNECTORS__0)"
    }


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("REDIS_URL", "did you mean TICKBRIDGE_REDIS__URL?"),
        ("REDIS__ULR", "did you mean TICKBRIDGE_REDIS__URL?"),
        ("RETENTION__TRADE__MAX_AGE", "did you mean TICKBRIDGE_RETENTION__TRADES__MAX_AGE?"),
        ("CONNECTORS__OEN__URL", "did you mean TICKBRIDGE_CONNECTORS__ONE…?"),
        ("CONNECTORS__0__CHANELS", "did you mean TICKBRIDGE_CONNECTORS__0__CHANNELS?"),
        ("CONNECTORS__0__OPTIONS__DEPHT", "did you mean TICKBRIDGE_CONNECTORS__0__OPTIONS__DEPTH?"),
        ("CONNECTORS__7__URL", "there are only 1 before it"),
        ("NAMESPACE__X", "did you mean TICKBRIDGE_NAMESPACE?"),
        ("NAMESPACES", "did you mean TICKBRIDGE_NAMESPACE?"),
        ("", ""),
        ("REDIS__", "did you mean TICKBRIDGE_REDIS?"),
        ("__REDIS", ""),
    ],
)
def test_unknown_variables_are_mistakes(config, variable, hint):
    problems = config.problems(**{f"TICKBRIDGE_{variable}": "1"})
    assert problems == {f"TICKBRIDGE_{variable}": "unknown variable" + (f" ({hint})" if hint else "")}


@pytest.mark.parametrize(
    "variable",
    [
        "TICKBRIDGE_CONFIG",
        "TICKBRIDGE_TEST_ANYTHING",
        # Kubernetes' own, beside Services called "tickbridge" and "tickbridge-metrics".
        "TICKBRIDGE_SERVICE_HOST",
        "TICKBRIDGE_SERVICE_PORT_METRICS",
        "TICKBRIDGE_PORT",
        "TICKBRIDGE_PORT_9090_TCP_ADDR",
        "TICKBRIDGE_METRICS_PORT_9090_TCP",
        "TICKBRIDGER",
        "OTHER",
    ],
)
def test_variables_that_are_no_settings_are_left_alone(config, variable):
    assert config.load(**{variable: "tcp://10.0.0.1:9090"}) == config.load()


def test_a_wrong_value_names_its_variable(config):
    problems = config.problems(
        TICKBRIDGE_LOOP="fast",
        TICKBRIDGE_CONNECTORS__ONE__PAIRS="[A-B, c]",
        TICKBRIDGE_RETENTION__BOOK="{max_age: 1h, max_entries: [",
    )
    assert problems["loop"] == "should be 'auto', 'asyncio' or 'uvloop' (from TICKBRIDGE_LOOP)"
    assert problems["connectors.0.pairs.1"].count(" (from TICKBRIDGE_CONNECTORS__ONE__PAIRS; ") == 1
    assert problems["TICKBRIDGE_RETENTION__BOOK"].startswith("not valid YAML: ")


def test_mistakes_of_the_file_and_of_variables_come_together(config):
    problems = config.problems("loop: fast\nredis: nowhere\n", TICKBRIDGE_REDIS__URL="x", TICKBRIDGE_NAMSPACE="y")
    assert set(problems) == {"loop", "redis", "TICKBRIDGE_NAMSPACE"}


def test_an_override_mends_a_wrong_value(config):
    assert config.load("loop: fast", TICKBRIDGE_LOOP="uvloop").loop == "uvloop"


def test_a_variable_takes_the_place_of_the_other_way_to_give_the_value(config, tmp_path):
    (tmp_path / "secret").write_text("from-a-file\n")
    settings = config.load(GOOD, TICKBRIDGE_ACCOUNTS__MAIN__API_SECRET_FILE=str(tmp_path / "secret"))
    assert settings.accounts["main"].credentials["api_secret"] == "from-a-file"
    both = config.problems(
        GOOD,
        TICKBRIDGE_ACCOUNTS__MAIN__API_SECRET="x",
        TICKBRIDGE_ACCOUNTS__MAIN__API_SECRET_FILE=str(tmp_path / "secret"),
    )
    assert "exactly one" in both["accounts.main.api_secret_file"]


def test_the_process_environment_is_the_default(config, monkeypatch):
    monkeypatch.setenv("TICKBRIDGE_NAMESPACE", "from-env")
    assert load_settings(None).namespace == "from-env"


def test_settings_that_are_made_in_code_take_nothing_from_the_environment(monkeypatch):
    monkeypatch.setenv("TICKBRIDGE_NAMESPACE", "from-env")
    assert Settings(loop="asyncio").namespace == ""
    assert load_settings(None).namespace == "from-env"
    assert Settings().namespace == ""


def test_what_a_variable_gives_replaces_what_the_file_has(config):
    """A mapping too: it isn't merged."""
    settings = config.load(
        "redis: {url: redis://a, reply_timeout: 1s}\nbuffer: {max_age: 1s}",
        TICKBRIDGE_REDIS="{url: redis://b}",
        TICKBRIDGE_BUFFER__MAX_BYTES="1MiB",
    )
    assert (settings.redis.plain_url, settings.redis.reply_timeout) == ("redis://b", 10.0)
    assert (settings.buffer.max_bytes, settings.buffer.max_age) == (2**20, 1.0)


def test_a_key_in_another_case_is_unknown_beside_a_variable_too(config):
    problems = config.problems("redis: {URL: redis://a}\nLoop: auto", TICKBRIDGE_REDIS__REPLY_TIMEOUT="1s")
    assert set(problems) == {"redis.URL", "Loop"}
