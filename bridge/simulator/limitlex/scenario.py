"""The demo's scenario for Limitlex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

from bridge.simulator.scenario import Scenario, ScenarioFault

__all__ = ["SCENARIO"]

_FAST_RESNAPSHOT = 6.0
"""Seconds between fresh books when messages are dropped on purpose; most losses would not be noticed otherwise."""


def _faults(pairs: Sequence[str]) -> Iterator[ScenarioFault]:
    """Trades are neither dropped nor duplicated: nothing is numbered, so no client could notice."""
    names = cycle(pairs)
    while True:
        pair = next(names)
        yield ScenarioFault(f"the connection of {pair} is cut", {"fault": "cut", "pair": pair, "sockets": "public"})
        pair = next(names)
        book: dict[str, object] = {"pair": pair, "sockets": "public", "type": "order_book"}
        yield ScenarioFault(f"a broken book message of {pair}", {"fault": "corrupt", **book})
        yield ScenarioFault(f"8 book messages of {pair} are dropped", {"fault": "drop", "count": 8, **book})
        pair = next(names)
        book = {"pair": pair, "sockets": "public", "type": "order_book"}
        yield ScenarioFault(f"8 book messages of {pair} are duplicated", {"fault": "duplicate", "count": 8, **book})
        yield ScenarioFault("the account's connection is cut", {"fault": "cut", "sockets": "private"})
        yield ScenarioFault(
            f"a message of unknown type of {pair}", {"fault": "unknown", "pair": pair, "sockets": "public"}
        )


SCENARIO = Scenario(
    _faults, connector_with_faults={"options": {"resnapshot": _FAST_RESNAPSHOT}}, simulate=("--hello-wallets",)
)
