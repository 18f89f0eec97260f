"""The demo's scenario for LMEX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

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


SCENARIO = Scenario(
    _faults,
    connector={"options": {"balances_interval": _BALANCES_EVERY}},
    connector_with_faults={
        "ping_interval": _PATIENCE / 4,
        "dead_after": _PATIENCE,
        "options": {"balances_interval": _BALANCES_EVERY, "snapshot_timeout": _PATIENCE},
    },
)
