"""The scenario for Limitlex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from random import Random
from typing import Any

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


def _chaos(random: Random, pairs: Sequence[str]) -> list[tuple[dict[str, Any], ...]]:
    """Nothing is numbered, so no public message is dropped or reordered; a freeze is longer than a connector waits."""
    pair = random.choice(pairs)
    public: dict[str, Any] = {"sockets": "public", "pair": pair}
    cut = {"fault": "cut", "after": 0.1}
    return [
        ({"fault": "cut"},),
        ({"fault": "cut", "pair": pair},),
        ({"fault": "cut", "sockets": "private"},),
        ({"fault": "close", "code": 1012},),
        ({"fault": "freeze", "duration": 6, **public},),
        ({"fault": "freeze", "duration": 6, "sockets": "private"},),
        ({"fault": "corrupt", "count": random.randint(1, 10), **public, "type": "order_book"},),
        ({"fault": "corrupt", "count": random.randint(1, 3), **public, "type": "last_trade"},),
        ({"fault": "corrupt", "count": random.randint(1, 10), "inject": True, **public},),
        ({"fault": "duplicate", "count": random.randint(1, 30), **public, "type": "order_book"},),
        ({"fault": "unknown", "count": 3, **public},),
        ({"fault": "maintenance", "mode": "refuse", "duration": random.randint(2, 5)},),
        ({"fault": "maintenance", "mode": "silent", "duration": 6},),
        ({"fault": "refuse", "duration": 3}, cut),
        ({"fault": "refuse", "status": 429, "retry_after": 2, "duration": 3}, cut),
        ({"fault": "rest_errors", "duration": 4, "status": 429, "retry_after": 1}, cut),
        ({"fault": "rest_errors", "duration": 3}, cut),
        ({"fault": "expire_tokens"}, cut),
        ({"fault": "expire_tokens", "cut": True},),
    ]


SCENARIO = Scenario(
    _faults, _chaos, connector_with_faults={"options": {"resnapshot": _FAST_RESNAPSHOT}}, simulate=("--hello-wallets",)
)
