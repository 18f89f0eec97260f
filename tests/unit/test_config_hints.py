"""What a config's mistakes suggest: only what may stand in that place, and where a key belongs that stands elsewhere."""

from __future__ import annotations

import re

import pytest

from bridge.config import load_settings
from bridge.errors import ConfigError

CONNECTOR = "connectors: [{{name: a, exchange: coinbase, pairs: [BTC-USD], {}}}]"
PATTERNS = "connectors: [{{name: a, exchange: coinbase, pairs: [{}], max_pairs: 3}}]"


@pytest.fixture
def mistakes(tmp_path):
    """Path → message with its hint, with the exchanges that there are."""

    def load(text: str | bytes) -> dict[str, str]:
        path = tmp_path / "tickbridge.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load_settings(path, {})
        return {problem.path: str(problem).partition(": ")[2] for problem in caught.value.problems}

    return load


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        (CONNECTOR.format("channels: [trade]"), "channels.0", "did you mean 'trades'?"),
        (CONNECTOR.format("channels: [name]"), "channels.0", "known: trades, book, book10, quotes, ticker"),
        (CONNECTOR.format("channels: trades"), "channels", "write [trades]"),
        (CONNECTOR.format("channels: 'trade, books'"), "channels", "write [trades, book]"),
        (CONNECTOR.format("transport: websocket"), "transport", "did you mean 'websockets'?"),
        (CONNECTOR.format("options: {depth: 5}"), "options.depth", "known: portfolio, balances_interval"),
        (CONNECTOR.format("url: 'wss://h.example.com:99999'"), "url", "should have a port from 1 to 65535"),
        (CONNECTOR.format("retention: {}"), "retention", "it belongs at the top level of the file"),
        (CONNECTOR.format("api_key: x"), "api_key", "it belongs to an account under 'accounts:'"),
        ("connectors: [{name: a, exchange: coinbse, pairs: [A-B]}]", "exchange", "did you mean 'coinbase'?"),
        ("connectors: [{name: a, exchange: coinbase, pairs: btcusd}]", "pairs", "write [BTC-USD]"),
        ("connectors: [{name: a, exchange: coinbase, pairs: '*-USD, btc-eur'}]", "pairs", 'write ["*-USD", BTC-EUR]'),
        (PATTERNS.format("'BTC-[UE]*'"), "pairs.0", "'*' stands for any text, '?' for one character"),
        (PATTERNS.format("BTC-USD"), "max_pairs", "leave it out, or give pairs a pattern"),
        ("connectors: [{name: a, exchange: bybit, pairs: all}]", "max_pairs", "'tickbridge pairs bybit PATTERN' shows"),
        ("connectors: {coinbase: {pairs: [BTC-USD]}}", "connectors", "begin each connector with a dash"),
        ("connectors: [coinbase]", "connectors.0", "such as {name: coinbase, exchange: coinbase"),
        ("accounts: [{name: main}]", "accounts", "write each account under its name"),
        ("name: a", "name", "it belongs to a connector"),
        ("redis: {connectors: []}", "redis.connectors", "it belongs at the top level of the file"),
        ("redis: {host: localhost}", "redis.host", "it is part of url: redis://"),
        ("redis: {url: 'redis://h:99999/0'}", "redis.url", "should have a port from 1 to 65535"),
        ("redis: 5", "redis", "its keys are url, url_file,"),
        ("log_level: debug", "log_level", "write log: {level: …}"),
        ("max_bytes: 1MB", "max_bytes", "it belongs to 'buffer:'"),
        ("log: {level: WARN}", "log.level", "did you mean 'warning'?"),
        ("http: {port: 99999}", "http.port", "99999 is out of range: a port is 0 (any free one) to 65535"),
        ("http: {port: -1}", "http.port", "-1 is out of range"),
        ("http: {port: none}", "http.port", "did you mean off?"),
        ("shutdown_timeout: 10 sec", "shutdown_timeout", "did you mean 10s?"),
        ("buffer: {max_age: 5min}", "buffer.max_age", "did you mean 5m?"),
        ("buffer: {max_bytes: 64M}", "buffer.max_bytes", "did you mean 64MiB?"),
        ("colour: red", "colour", "known: redis, namespace, connectors,"),
    ],
)
def test_the_hint_is_of_the_place(mistakes, text, path, hint):
    [(where, said)] = mistakes(text).items()
    assert where.endswith(path)
    assert hint in said
    assert "line 1" in said


@pytest.mark.parametrize(
    ("pair", "meant"),
    [
        ("btcusd", "BTC-USD"),
        ("ETHBTC", "ETH-BTC"),
        ("BTC_USDT", "BTC-USDT"),
        ("btc/eur", "BTC-EUR"),
        ("1000SHIBUSDT", "1000SHIB-USDT"),
    ],
)
def test_a_pair_in_another_spelling(mistakes, pair, meant):
    said = mistakes(f"connectors: [{{name: a, exchange: coinbase, pairs: [{pair}]}}]")["connectors.0.pairs.0"]
    assert f"(line 1; did you mean '{meant}'?)" in said


def test_what_looks_like_no_pair_says_where_pairs_are_listed(mistakes):
    said = mistakes("connectors: [{name: a, exchange: coinbase, pairs: [bitcoin]}]")["connectors.0.pairs.0"]
    assert "'tickbridge pairs EXCHANGE' lists them" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis:\n\turl: x\n", "(line 2, column 1; indent with spaces, not with tabs)"),
        ("loop: auto\n---\nloop: auto\n", "the file takes one document: remove this '---'"),
        ("redis: url: x\n", "is there a second ': ' in the line"),
        ("namespace: @a\n", "(line 1, column 12; put a text that begins with this character into quotes)"),
        ("redis:\n  url: x\n ca_file: y\n", "(line 3, column 2; the indentation does not fit that of the lines above)"),
        ("namespace: 'a\n", "the quote that begins in line 1 is not closed"),
        ("loop: auto\nconnectors: [a\n", "is the bracket of line 2 not closed?"),
        ("loop: auto\nnamespace: a\x07\n", "the character U+0007 is not allowed (line 2)"),
        (b"loop: auto\n# caf\xe9\n", "save it as UTF-8; the first such character is in line 2"),
        ("loop: auto\n".encode("utf-16"), "is UTF-16 text (save it as UTF-8)"),
        ("loop: auto\nloop: auto\n", "is given twice: first in line 1 (line 2)"),
    ],
)
def test_slips_of_form_say_what_to_do(mistakes, text, said):
    [shown] = mistakes(text).values()
    assert said in shown


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "tickbridge.yaml"
    path.write_bytes(b"\xef\xbb\xbfloop: asyncio\r\nnamespace: a\r\n")
    assert load_settings(path, {}).loop == "asyncio"


def test_no_value_is_quoted_that_may_be_a_secret(mistakes):
    said = mistakes(
        "redis: {url: 'redis://:pass-word:99999/x@h'}\naccounts: {main: {exchange: lmex, api_kye: hunter22}}"
    )
    assert not re.search("hunter22|pass-word|99999", str(said))
