"""Rules of Redis users, without a server."""

from __future__ import annotations

from bridge import acl
from bridge.config import load_settings

CONFIG = {
    "TICKBRIDGE_NAMESPACE": "prod",
    "TICKBRIDGE_CONNECTORS__0": "{name: a, exchange: coinbase, pairs: [BTC-USD, ETH-USD], channels: [book, trades]}",
}


def test_a_connector_has_its_own_streams_and_no_other():
    settings = load_settings(None, CONFIG)
    rules = acl.connector(settings, settings.connectors[0])
    assert [rule for rule in rules if rule.startswith("~")] == [
        f"~prod:md:{{coinbase:{pair}}}:{channel}" for pair in ("BTC-USD", "ETH-USD") for channel in ("book", "trades")
    ]


def test_a_connector_writes_its_pairs_instruments():
    settings = load_settings(None, CONFIG)
    one = settings.connectors[0]
    keys = [f"~prod:md:{{coinbase:{pair}}}:instrument" for pair in ("BTC-USD", "ETH-USD")]
    assert f"({' '.join(keys)} +watch +hgetall +hset)" in acl.connector(settings, one)
    assert "(~prod:md:{coinbase:*}:instrument +watch +hgetall +hset)" in acl.connector(settings, one, broad=True)


def test_a_shard_has_its_own_pairs_and_broad_rules_are_few():
    settings = load_settings(None, {**CONFIG, "TICKBRIDGE_CONNECTORS__0__SHARD": "1/2"})
    one = settings.connectors[0]
    patterns = [rule for rule in acl.connector(settings, one) if rule.startswith("~")]
    assert len(patterns) == 2 * len(one.own_pairs)
    broad = [rule for rule in acl.connector(settings, one, broad=True) if rule.startswith("~")]
    assert broad == ["~prod:md:{coinbase:*}:book", "~prod:md:{coinbase:*}:trades"]


def test_a_namespace_that_looks_like_public_keys_is_not():
    """Keys of namespace ``md`` begin with ``md:`` too."""
    [pattern] = [rule for rule in acl.public_reader("") if rule.startswith("%")]
    assert pattern == "%R~md:{*"


def test_candles_are_written_beside_trades_that_are_only_read():
    rules = acl.candles("prod")
    assert rules[0] == "%R~prod:md:{*:*}:trades"
    assert "(~prod:md:{*:*}:candles:* +xadd +xrevrange)" in rules
    assert "(~prod:bridge:catalog +hkeys +hmget +hset)" in rules
    assert not [rule for rule in rules if "acct" in rule]
