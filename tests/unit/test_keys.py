from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.keys import Keys, StreamKey
from bridge.model import CONNECTOR_CHANNELS, PRIVATE_CHANNELS, PUBLIC_CHANNELS, Channel


@pytest.mark.parametrize(
    ("subject", "channel", "key"),
    [
        ("BTC-EUR", Channel.TRADES, "md:{limitlex:BTC-EUR}:trades"),
        ("BTC-EUR", Channel.BOOK, "md:{limitlex:BTC-EUR}:book"),
        ("BTC-EUR", Channel.QUOTES, "md:{limitlex:BTC-EUR}:quotes"),
        ("BTC-EUR", Channel.TICKER, "md:{limitlex:BTC-EUR}:ticker"),
        ("BTC-EUR", Channel.FUNDING, "md:{limitlex:BTC-EUR}:funding"),
        ("main", Channel.ORDERS, "acct:{limitlex:main}:orders"),
        ("main", Channel.FILLS, "acct:{limitlex:main}:fills"),
        ("main", Channel.BALANCES, "acct:{limitlex:main}:balances"),
        ("main", Channel.POSITIONS, "acct:{limitlex:main}:positions"),
        ("main/sub", Channel.ORDERS, "acct:{limitlex:main/sub}:orders"),
    ],
)
def test_the_contracts_keys(subject, channel, key):
    assert Keys().stream("limitlex", subject, channel) == key
    assert Keys("ns").stream("limitlex", subject, channel) == f"ns:{key}"
    for keys in (Keys(), Keys("ns")):
        assert keys.parse(keys.stream("limitlex", subject, channel)) == StreamKey("limitlex", subject, channel)


@pytest.mark.parametrize("interval", ["1s", "5m", "48h", "366d", "999999999s"])
def test_the_keys_of_candles_have_an_interval(interval):
    for keys in (Keys(), Keys("ns")):
        key = keys.candles("limitlex", "BTC-EUR", interval)
        assert key == f"{'ns:' * bool(keys.namespace)}md:{{limitlex:BTC-EUR}}:candles:{interval}"
        parsed = keys.parse(key)
        assert parsed == StreamKey("limitlex", "BTC-EUR", Channel.CANDLES, interval)
        assert parsed.suffix == f"candles:{interval}"
        assert keys.of(parsed) == key


def test_the_other_keys():
    keys = Keys("ns")
    assert keys.snapshot("limitlex", "BTC-EUR") == "ns:md:{limitlex:BTC-EUR}:book:snapshot"
    assert keys.instrument("limitlex", "BTC-EUR") == "ns:md:{limitlex:BTC-EUR}:instrument"
    assert keys.catalog() == "ns:bridge:catalog"
    assert keys.accounts_catalog() == "ns:bridge:catalog:accounts"
    assert {keys.catalog_of(channel) for channel in PUBLIC_CHANNELS} == {keys.catalog()}
    assert {keys.catalog_of(channel) for channel in PRIVATE_CHANNELS} == {keys.accounts_catalog()}
    assert keys.connector("one") == "ns:bridge:connector:one"
    assert keys.service("5f0c9a1be27d") == "ns:bridge:service:5f0c9a1be27d"
    assert keys.rejects("limitlex") == "ns:bridge:rejects:limitlex"
    assert keys.limits_held("api.lmex.io") == "ns:bridge:limits:{api.lmex.io}:held"
    assert keys.limits_used("a@api.lmex.io:444") == "ns:bridge:limits:{a@api.lmex.io:444}:used"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "bridge:catalog",
        "md:{limitlex:BTC-EUR}:book:snapshot",
        "md:{limitlex:BTC-EUR}:instrument",
        "md:{limitlex:BTC-EUR}:orders",
        "acct:{limitlex:main}:trades",
        "acct:{limitlex:main}:wallet",
        "md:{limitlex:BTC-EUR}:candles",
        "md:{limitlex:BTC-EUR}:candles:",
        "md:{limitlex:BTC-EUR}:candles:1",
        "md:{limitlex:BTC-EUR}:candles:0m",
        "md:{limitlex:BTC-EUR}:candles:1M",
        "md:{limitlex:BTC-EUR}:candles:1m:x",
        "md:{limitlex:BTC-EUR}:candles:\u0661m",
        "md:{limitlex:BTC-EUR}:trades:1m",
        "md:{limitlex:BTC-EUR}:trades:",
        "acct:{limitlex:main}:candles:1m",
        "md:{limitlex}:trades",
        "md:{:BTC-EUR}:trades",
        "md:{limitlex:}:trades",
        "md:limitlex:BTC-EUR:trades",
        "ns:md:{limitlex:BTC-EUR}:trades",
        "xx:{limitlex:BTC-EUR}:trades",
    ],
)
def test_other_keys_are_no_streams(key):
    assert Keys().parse(key) is None
    assert Keys("other").parse(key) is None


@given(st.text(max_size=60))
def test_any_text_is_a_key_or_none(key):
    Keys().parse(key)


@given(
    st.sampled_from(CONNECTOR_CHANNELS), st.from_regex(r"[A-Z0-9]{2,6}-[A-Z]{3,4}|[a-z]+(/[a-z0-9-]+)?", fullmatch=True)
)
def test_every_key_can_be_taken_apart(channel, subject):
    keys = Keys("prod:eu")
    parsed = keys.parse(keys.stream("coinbase", subject, channel))
    assert parsed == StreamKey("coinbase", subject, channel)
    assert parsed.public == (channel in PUBLIC_CHANNELS)
