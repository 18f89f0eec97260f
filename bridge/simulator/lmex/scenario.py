"""The scenario for LMEX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from random import Random
from typing import Any

from bridge.simulator.scenario import Scenario, ScenarioFault

__all__ = ["SCENARIO"]

_BALANCES_EVERY = 1.0
"""Seconds between polls: balances that an order reserves are only reported on request."""
_MAINTENANCE = 2.0
_PATIENCE = 2.0
"""Seconds until a silent connection is dropped, and a missing snapshot is requested again."""


def _faults(pairs: Sequence[str]) -> Iterator[ScenarioFault]:
    """Trades are not dropped: their numbers have holes, so no client could notice."""
    names = cycle(pairs)
    while True:
        pair = next(names)
        yield ScenarioFault(f"3 book changes of {pair} are dropped", {"fault": "gap", "pair": pair, "count": 3})
        pair = next(names)
        yield ScenarioFault(f"the book of {pair} is crossed", {"fault": "crossed", "pair": pair})
        yield ScenarioFault(f"the outbound buffer of {pair} is full", {"fault": "buffer_full", "pair": pair})
        pair = next(names)
        yield ScenarioFault(
            f"8 trades of {pair} are duplicated",
            {"fault": "duplicate", "pair": pair, "sockets": "public", "type": "trades", "count": 8},
        )
        yield ScenarioFault("the account's session is over", {"fault": "expire_tokens", "cut": True})
        yield ScenarioFault(
            f"4 book changes of {pair} are sent in the wrong order",
            {"fault": "reorder", "pair": pair, "sockets": "public", "type": "delta", "count": 4},
        )
        pair = next(names)
        yield ScenarioFault(
            f"maintenance for {_MAINTENANCE:g} s", {"fault": "maintenance", "mode": "refuse", "duration": _MAINTENANCE}
        )
        yield ScenarioFault(
            f"a broken book message of {pair}",
            {"fault": "corrupt", "pair": pair, "sockets": "public", "type": "delta"},
        )
        yield ScenarioFault(f"no snapshot for the next subscription of {pair}", {"fault": "no_snapshot", "pair": pair})
        yield ScenarioFault(f"the connections of {pair} are cut", {"fault": "cut", "pair": pair, "sockets": "public"})
        pair = next(names)
        yield ScenarioFault(f"the connections of {pair} freeze", {"fault": "freeze", "pair": pair, "sockets": "public"})
        yield ScenarioFault("the account's connections freeze", {"fault": "freeze", "sockets": "private"})


def _chaos(random: Random, pairs: Sequence[str]) -> list[tuple[dict[str, Any], ...]]:
    """All there is but ``block``, which means ten minutes of waiting.

    What the exchange leaves out of private messages shows with the next connection only, so one follows.
    """
    pair = random.choice(pairs)
    cut: dict[str, Any] = {"fault": "cut", "after": 2}
    cut_pair, cut_private = {**cut, "pair": pair}, {**cut, "sockets": "private"}
    messages: list[tuple[dict[str, Any], ...]] = [
        ({"fault": "drop", "sockets": "public", "count": random.randint(1, 40)},),
        ({"fault": "drop", "sockets": "public", "type": "trades", "count": 2},),
        ({"fault": "drop", "sockets": "public", "type": "snapshot", "count": 1}, cut_pair),
        ({"fault": "duplicate", "count": random.randint(1, 100)},),
        ({"fault": "reorder", "sockets": "public", "count": random.randint(1, 10)},),
        ({"fault": "corrupt", "count": random.randint(1, 20), "inject": random.random() < 0.5},),
        ({"fault": "unknown", "count": 3},),
        ({"fault": "gap", "count": random.randint(1, 5), "pair": pair},),
        ({"fault": "gap", "count": 1},),
        ({"fault": "crossed", "count": random.randint(1, 2), "pair": pair},),
        ({"fault": "mute", "type": "delta", "pair": pair, "duration": 6},),
    ]
    connections: list[tuple[dict[str, Any], ...]] = [
        ({"fault": "cut"},),
        ({"fault": "cut", "pair": pair},),
        ({"fault": "close", "code": 1012},),
        ({"fault": "close", "pair": pair},),
        ({"fault": "freeze", "duration": random.choice([1, 5])},),
        ({"fault": "freeze", "duration": 5, "pair": pair},),
        ({"fault": "buffer_full"},),
        ({"fault": "no_snapshot", "count": 1, "pair": pair}, cut_pair),
    ]
    exchange: list[tuple[dict[str, Any], ...]] = [
        ({"fault": "maintenance", "mode": "refuse", "duration": random.randint(2, 5)},),
        ({"fault": "maintenance", "mode": "silent", "duration": random.randint(2, 6)},),
        ({"fault": "refuse", "duration": 3}, {"fault": "cut", "after": 0.1}),
        ({"fault": "rest_errors", "duration": 3},),
        ({"fault": "rest_errors", "duration": 4, "status": 429, "retry_after": 1}, cut),
        ({"fault": "rest_errors", "duration": 3, "path": "user/"}, cut_private),
    ]
    private: list[tuple[dict[str, Any], ...]] = [
        ({"fault": "refuse_login", "count": random.randint(1, 3)}, cut_private),
        ({"fault": "expire_tokens"},),
        ({"fault": "expire_tokens", "cut": True},),
        ({"fault": "drop", "sockets": "private", "count": 3}, cut_private),
        ({"fault": "reorder", "sockets": "private", "count": 2}, cut_private),
        ({"fault": "freeze", "sockets": "private", "duration": 5},),
    ]
    return [*messages, *connections, *exchange, *private]


SCENARIO = Scenario(
    _faults,
    _chaos,
    connector={"options": {"balances_interval": _BALANCES_EVERY}},
    connector_with_faults={
        "ping_interval": _PATIENCE / 4,
        "dead_after": _PATIENCE,
        "options": {"balances_interval": _BALANCES_EVERY, "snapshot_timeout": _PATIENCE},
    },
    simulate=("--session-end", "error"),
)
