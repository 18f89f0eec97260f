"""A few things that go wrong at the exchange while the demo runs, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle

from bridge.demo.control import AWAY, Control

__all__ = ["make_trouble"]

_FIRST_AFTER = 2.0
_EVERY = 3.0

Trouble = tuple[str, dict[str, object]]
"""In words, and as the simulator's control path takes it."""


async def make_trouble(control: Control, pairs: Sequence[str], tell: Callable[[str], None]) -> None:
    """Strike every few seconds, endlessly.

    No trade is left out or sent twice: Limitlex numbers neither messages nor trades, so no client could notice.
    """
    await asyncio.sleep(_FIRST_AFTER)
    for words, fault in _troubles(pairs):
        with suppress(*AWAY):
            await control.fault(**fault)
            tell(f"fault: {words}")
        await asyncio.sleep(_EVERY)


def _troubles(pairs: Sequence[str]) -> Iterator[Trouble]:
    names = cycle(pairs)
    while True:
        pair = next(names)
        yield f"the connection of {pair} is cut", {"fault": "cut", "pair": pair, "sockets": "public"}
        pair = next(names)
        book = {"pair": pair, "sockets": "public", "type": "order_book"}
        yield f"a broken book message of {pair}", {"fault": "corrupt", **book}
        yield f"8 book messages of {pair} are left out", {"fault": "drop", "count": 8, **book}
        pair = next(names)
        book = {"pair": pair, "sockets": "public", "type": "order_book"}
        yield f"8 book messages of {pair} come twice", {"fault": "duplicate", "count": 8, **book}
        yield "the account's connection is cut", {"fault": "cut", "sockets": "private"}
        yield f"a message of unknown type of {pair}", {"fault": "unknown", "pair": pair, "sockets": "public"}
