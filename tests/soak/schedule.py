"""What goes wrong, when: random, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from msgspec import Struct

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
        kinds = _all(random)
        random.shuffle(kinds)
        yield from kinds


def _all(random: Random) -> list[Happening]:
    """One of each. LMEX's ``block`` is not among them: it means ten minutes of waiting."""
    return [*_messages(random), *_connections(random), *_exchange(random), *_private(random), *map(Happening, OUTAGES)]


def _messages(random: Random) -> list[Happening]:
    pair = _any(random, _PAIRS)
    return [
        Happening("drop", {"sockets": "public", "count": random.randint(1, 40)}),
        Happening("drop", {"sockets": "public", "type": "trades", "count": 2}),
        Happening("drop", {"sockets": "public", "type": "snapshot", "count": 1}, Happening("cut", {"pair": pair})),
        Happening("duplicate", {"count": random.randint(1, 100)}),
        Happening("reorder", {"sockets": "public", "count": random.randint(1, 10)}),
        Happening("corrupt", {"count": random.randint(1, 20), "inject": random.random() < 0.5}),
        Happening("unknown", {"count": 3}),
        Happening("gap", {"count": random.randint(1, 5), "pair": pair}),
        Happening("gap", {"count": 1}),
        Happening("crossed", {"count": random.randint(1, 2), "pair": pair}),
        Happening("mute", {"type": "delta", "pair": pair, "duration": 6}),
    ]


def _connections(random: Random) -> list[Happening]:
    pair = _any(random, _PAIRS)
    return [
        Happening("cut"),
        Happening("cut", {"pair": pair}),
        Happening("close", {"code": 1012}),
        Happening("close", {"pair": pair}),
        Happening("freeze", {"duration": random.choice([1, 5])}),
        Happening("freeze", {"duration": 5, "pair": pair}),
        Happening("buffer_full"),
        Happening("no_snapshot", {"count": 1, "pair": pair}, Happening("cut", {"pair": pair})),
    ]


def _exchange(random: Random) -> list[Happening]:
    return [
        Happening("maintenance", {"mode": "refuse", "duration": random.randint(2, 5)}),
        Happening("maintenance", {"mode": "silent", "duration": random.randint(2, 6)}),
        Happening("refuse", {"duration": 3}, Happening("cut")),
        Happening("rest_errors", {"duration": 3}),
        Happening("rest_errors", {"duration": 4, "status": 429, "retry_after": 1}, Happening("cut")),
        Happening("rest_errors", {"duration": 3, "path": "user/"}, Happening("cut", {"sockets": "private"})),
    ]


def _private(random: Random) -> list[Happening]:
    """What the exchange leaves out here shows with the next connection only: nothing is numbered. So one follows."""
    cut = Happening("cut", {"sockets": "private"})
    return [
        Happening("refuse_login", {"count": random.randint(1, 3)}, cut),
        Happening("expire_tokens"),
        Happening("expire_tokens", {"cut": True}),
        Happening("drop", {"sockets": "private", "count": 3}, cut),
        Happening("reorder", {"sockets": "private", "count": 2}, cut),
        Happening("freeze", {"sockets": "private", "duration": 5}),
    ]


def _any(random: Random, what: Sequence[str]) -> str:
    return random.choice(what)
