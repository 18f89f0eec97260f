"""What goes wrong, when: random, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from msgspec import Struct

from bridge.simulator.lmex import LMEX

__all__ = ["OUTAGES", "SHORT", "Happening", "schedule"]

OUTAGES = ("kill", "redis_pause", "redis_kill")
"""What happens to the processes; anything else is a fault of the simulator's."""

_PAIRS = ("BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP")


class Happening(Struct, frozen=True):
    """A fault, or what else happens (see ``OUTAGES``). ``then`` follows two seconds later."""

    name: str
    fields: dict[str, Any] = {}
    then: Happening | None = None


SHORT = (
    Happening("drop", {"sockets": "public", "count": 20}),
    Happening("corrupt", {"count": 5}),
    Happening("gap", {"count": 2}),
    Happening("crossed", {"pair": "ETH-PERP"}),
    Happening("kill"),
    Happening("duplicate", {"count": 50}),
    Happening("freeze", {"duration": 5, "pair": "BTC-USD"}),
    Happening("refuse_login", {"count": 1}, Happening("cut", {"sockets": "private"})),
    Happening("redis_kill"),
    Happening("rest_errors", {"duration": 2, "status": 429, "retry_after": 1}, Happening("cut")),
    Happening("expire_tokens"),
    Happening("maintenance", {"mode": "refuse", "duration": 2}),
)
"""Some of each sort, for a run of half a minute."""


def schedule(seed: int) -> Iterator[Happening]:
    """Endlessly: all there is in a random order, then again in another order."""
    random = Random(seed)
    while True:
        kinds = [*map(_happening, LMEX.scenario.chaos(random, _PAIRS)), *map(Happening, OUTAGES)]
        random.shuffle(kinds)
        yield from kinds


def _happening(bodies: Sequence[Mapping[str, Any]]) -> Happening:
    fields = {name: value for name, value in bodies[0].items() if name not in ("fault", "after")}
    return Happening(bodies[0]["fault"], fields, _happening(bodies[1:]) if len(bodies) > 1 else None)
