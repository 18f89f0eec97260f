"""Which pairs a connector reads, by its config and its exchange's list; and what a config that is read again changes."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from bridge.config import ConnectorSettings, Settings, load_settings
from bridge.connector.pairs import choose, choose_or_refuse
from bridge.connector.reload import Reloader
from bridge.errors import ConfigError
from bridge.exchanges.api import ListedPair

LISTED = [
    ListedPair("BTC-USDT", status="online"),
    ListedPair("ETH-USDT", status="online"),
    ListedPair("SOL-USDT", status="halted"),
    ListedPair("BTC-USDT-PERP", status=""),
    ListedPair("BTC-EUR", status="online"),
    ListedPair("BTC-USDT-260626-100-C", status="online"),
]


def connector(**settings: object) -> ConnectorSettings:
    base = {"name": "a", "exchange": "bybit", "channels": ("trades",)}
    return ConnectorSettings.model_validate(base | settings)


@pytest.mark.parametrize(
    ("settings", "present", "expected", "too_many"),
    [
        ({"pairs": ["ADA-USDT"]}, (), ("ADA-USDT",), 0),
        ({"pairs": ["*-USDT"], "max_pairs": 9}, (), ("BTC-USDT", "ETH-USDT"), 0),
        ({"pairs": ["*-USDT"], "max_pairs": 9}, ("SOL-USDT",), ("BTC-USDT", "ETH-USDT", "SOL-USDT"), 0),
        ({"pairs": ["*-USDT"], "max_pairs": 1}, (), ("BTC-USDT",), 1),
        ({"pairs": ["*-USDT"], "max_pairs": 1}, ("ETH-USDT",), ("ETH-USDT",), 1),
        ({"pairs": ["ADA-USDT", "BTC-*-PERP"], "max_pairs": 1}, (), ("ADA-USDT", "BTC-USDT-PERP"), 0),
        ({"pairs": ["BTC-USDT", "BTC-????"], "max_pairs": 1}, (), ("BTC-USDT",), 0),
        ({"pairs": "all", "max_pairs": 4}, (), ("BTC-EUR", "BTC-USDT", "BTC-USDT-PERP", "ETH-USDT"), 0),
        ({"pairs": ["DOGE-*"], "max_pairs": 1}, (), (), 0),
    ],
)
def test_what_is_chosen(
    settings: dict[str, object], present: tuple[str, ...], expected: tuple[str, ...], too_many: int
) -> None:
    chosen = choose(connector(**settings), LISTED, present)
    assert (chosen.pairs, chosen.too_many) == (expected, too_many)


def test_shards_share_what_matches() -> None:
    shards = [connector(pairs=["*"], max_pairs=9, shard=f"{number}/3") for number in (1, 2, 3)]
    chosen = [pair for shard in shards for pair in choose(shard, LISTED).pairs]
    assert sorted(chosen) == sorted(choose(connector(pairs="all", max_pairs=9), LISTED).pairs)


def test_too_many_at_the_start_is_a_mistake_with_the_number() -> None:
    with pytest.raises(ConfigError, match=r"connectors\.a\.max_pairs: 4 pairs match \*, and 3 are allowed"):
        choose_or_refuse(connector(pairs="all", max_pairs=3), LISTED)


@pytest.mark.parametrize(
    ("connectors", "message"),
    [
        ("[{name: a, exchange: bybit, pairs: ['*-USDT']}]", "max_pairs: is needed with patterns (*-USDT)"),
        ("[{name: a, exchange: bybit, pairs: [BTC-USDT], max_pairs: 3}]", "limits what patterns come to"),
        ("[{name: a, exchange: bybit, pairs: ['*-usdt'], max_pairs: 3}]", "did you mean '*-USDT'?"),
        (
            "[{name: a, exchange: bybit, pairs: [BTC-USDT]}, {name: b, exchange: bybit, pairs: ['*-USDT'], max_pairs: 3}]",
            "*-USDT matches BTC-USDT, which connectors.0 reads",
        ),
        (
            "[{name: a, exchange: bybit, pairs: ['*'], max_pairs: 3}, {name: b, exchange: bybit, pairs: all, max_pairs: 3}]",
            "connectors.0 has the pattern * too",
        ),
    ],
)
def test_mistakes(connectors: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"TICKBRIDGE_CONNECTORS": connectors})
    assert message in str(caught.value)


def test_shards_may_have_the_same_pattern() -> None:
    one = "{{name: a{0}, exchange: bybit, pairs: ['*-USDT'], max_pairs: 3, shard: {0}/2}}"
    load_settings(None, {"TICKBRIDGE_CONNECTORS": f"[{one.format(1)}, {one.format(2)}]"})


# --- a config that is read again -------------------------------------------------------------------------------------


def settings(pairs: str, **more: str) -> Settings:
    one = f"{{name: a, exchange: coinbase, pairs: {pairs}}}"
    other = "{name: b, exchange: coinbase, pairs: [SOL-USD]}"
    return load_settings(None, {"TICKBRIDGE_CONNECTORS": f"[{one}, {other}]", **more})


async def reloaded(before: Settings, after: Settings) -> tuple[dict[str, ConnectorSettings], list[tuple[str, object]]]:
    """What running connectors are told, and what is logged: the event, with the setting or the connectors."""
    told: dict[str, ConnectorSettings] = {}
    structlog.reset_defaults()
    with capture_logs() as logs:
        reloader = Reloader(before, lambda: after)
        reloader.serve("a", lambda connector: told.update(a=connector))
        reloader.reload()
    return told, [(entry["event"], entry.get("setting", entry.get("connectors"))) for entry in logs]


async def test_changed_pairs_are_handed_on() -> None:
    told, logs = await reloaded(settings("[BTC-USD]"), settings("[BTC-USD, ETH-USD]"))
    assert told["a"].pairs == ("BTC-USD", "ETH-USD")
    assert logs == [("reloaded", ["a"])]


async def test_without_a_change_the_list_is_looked_at_all_the_same() -> None:
    told, logs = await reloaded(settings("[BTC-USD]"), settings("[BTC-USD]"))
    assert told["a"].pairs == ("BTC-USD",)
    assert logs == [("reloaded", [])]


async def test_what_takes_a_restart_is_named() -> None:
    after = settings("[ETH-USD]", TICKBRIDGE_LOG__LEVEL="debug", TICKBRIDGE_CONNECTORS__0__DEAD_AFTER="45s")
    told, logs = await reloaded(settings("[BTC-USD]"), after)
    assert (told["a"].pairs, told["a"].dead_after) == (("ETH-USD",), None)
    assert logs == [
        ("restart_needed", "connectors.a.dead_after"),
        ("restart_needed", "log"),
        ("reloaded", ["a"]),
    ]


async def test_a_connector_that_is_new_takes_a_restart() -> None:
    after = load_settings(None, {"TICKBRIDGE_CONNECTORS": "[{name: c, exchange: coinbase, pairs: [BTC-USD]}]"})
    told, logs = await reloaded(settings("[BTC-USD]"), after)
    assert not told
    assert ("restart_needed", "connectors.a") in logs
    assert ("restart_needed", "connectors.c") in logs
