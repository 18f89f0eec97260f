"""Which pairs a connector reads, by its config and its exchange's list."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from bridge.config import ConnectorSettings, load_settings
from bridge.connector.pairs import choose, choose_or_refuse, first_pairs
from bridge.errors import ConfigError
from bridge.exchanges import exchange_type
from bridge.exchanges.api import ListedPair, Profile

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


class Listing:
    """REST that has the list of the exchange."""

    async def drive(self, _flow: object) -> list[ListedPair]:
        return LISTED


@pytest.mark.parametrize(
    ("settings", "written", "expected"),
    [
        ({"pairs": "all", "max_pairs": 4}, (), ("BTC-EUR", "BTC-USDT", "BTC-USDT-PERP", "ETH-USDT")),
        ({"pairs": "all", "max_pairs": 2}, ("ETH-USDT",), ("BTC-EUR", "ETH-USDT")),
        ({"pairs": "all", "max_pairs": 2}, ("ETH-USDT", "SOL-USDT", "GONE-USDT"), ("ETH-USDT", "SOL-USDT")),
        ({"pairs": "all", "max_pairs": 2}, ("GONE-USDT",), None),
        ({"pairs": "all", "max_pairs": 2}, (), None),
        ({"pairs": ["BTC-USDT", "*"], "max_pairs": 2}, ("BTC-USDT",), None),
        ({"pairs": ["BTC-USDT", "*"], "max_pairs": 2}, ("BTC-EUR",), ("BTC-USDT", "BTC-EUR", "BTC-USDT-PERP")),
    ],
)
async def test_a_connector_starts_again_with_what_it_has_written_before(
    settings: dict[str, object], written: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    async def before() -> set[str]:
        return set(written)

    exchange = exchange_type("bybit")(Profile((), frozenset()))
    log: Any = structlog.get_logger()
    asked = first_pairs(connector(**settings), exchange, Listing(), log, before)  # type: ignore[arg-type]
    if expected is None:
        with pytest.raises(ConfigError, match="are allowed"):
            await asked
    else:
        assert await asked == expected


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
        (
            "[{name: a, exchange: bybit, pairs: [ALL], max_pairs: 3}, {name: b, exchange: bybit, pairs: All, max_pairs: 3}]",
            "connectors.0 has the pattern * too",
        ),
    ],
)
def test_mistakes(connectors: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"TICKBRIDGE_CONNECTORS": connectors})
    [problem] = caught.value.problems
    assert message in str(problem)


@pytest.mark.parametrize("text", ["*-USDT, BTC-EUR", "['*-USDT', BTC-EUR]"])
def test_patterns_in_a_variable(text: str) -> None:
    one = "[{name: a, exchange: bybit, pairs: [BTC-EUR], max_pairs: 3}]"
    settings = load_settings(None, {"TICKBRIDGE_CONNECTORS": one, "TICKBRIDGE_CONNECTORS__A__PAIRS": text})
    assert settings.connectors[0].pairs == ("*-USDT", "BTC-EUR")


def test_shards_may_have_the_same_pattern() -> None:
    one = "{{name: a{0}, exchange: bybit, pairs: ['*-USDT'], max_pairs: 3, shard: {0}/2}}"
    load_settings(None, {"TICKBRIDGE_CONNECTORS": f"[{one.format(1)}, {one.format(2)}]"})
