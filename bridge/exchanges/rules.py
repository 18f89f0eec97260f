"""What the connector holds an exchange's order books to, by a book of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from msgspec import Struct

from bridge.book import RankedBook
from bridge.model import Channel, Event

__all__ = ["NOT_UNDERSTOOD", "BestPrices", "BookRules", "Checksum"]

NOT_UNDERSTOOD = "a frame could not be understood"
"""The reason of the gap that a rejected frame leaves."""

Checksum = Callable[[str, RankedBook], int | None]
"""Computes the checksum of a pair's book as the exchange does, out of the exchange's own digits; ``None`` while it is not
known how."""


class BookRules(Struct, frozen=True):
    """How a book is checked and mended; every exchange's deltas that name their predecessor are checked for that, too.

    Such an exchange's sessions only say what came. A book that breaks (a hole in the chain, best prices that cross, a
    frame that can't be understood, no snapshot in time) has a ``gap``, and is asked for again: over its connection
    (`Session.resync`), after ``attempts`` within a minute over a fresh one, and then ever more rarely; it is ``down``
    meanwhile.
    """

    snapshot: Literal["stream", "rest"] = "stream"
    """Where a snapshot comes from: ``rest`` if from a REST call only (`Session.resync` returns its `Fetch`). Then deltas
    are numbered across connections, ``prev`` and ``xseq`` are decimal numbers, and deltas are held until the snapshot is
    there. Of the other rules ``quotes``, ``patience`` and ``attempts`` count."""
    attempts: int = 3
    patience: float = 30.0
    """Seconds that a snapshot may take."""
    snapshot_first: bool = False
    """Whether a subscription begins with a snapshot: a delta before it shows that it was missed."""
    continuous: bool = False
    """Whether numbers go on across snapshots, one by one: a snapshot that is ahead shows how many deltas were missed."""
    large: bool = False
    """Whether books have tens of thousands of levels, and deltas must cost little: that they are crossed is found within
    a minute, and of these rules only ``attempts`` and ``patience`` count."""
    quotes: bool = False
    """Whether the best prices of the book are the quotes."""
    best: float | None = None
    """Seconds for which a book may be crossed, or differ from the `BestPrices` told beside it; ``None``: none are told,
    and a crossed book is wrong at once."""
    in_transit: float | None = None
    """Seconds by which one connection may be behind another: a snapshot of a whole book is compared with it, but for
    what has changed in that time, and shows what was missed. ``None``: it says nothing about what was before."""
    may_cross: Callable[[str], bool] | None = None
    """Whether a pair's book may be crossed at present, as before it opens; ``None``: it never may."""
    restarts: bool = False
    """Whether a chain may go on at a smaller number: then a delta that continues another number is never a repeat."""
    changes: bool = False
    """Whether a delta says by how much a level's size has changed, and not what it is now."""
    depth: int | None = None
    """Levels a side that the exchange keeps, where it doesn't say which ones drop out behind the last: the copy drops them,
    too, and the delta that is published removes them. ``None``: it says so, or keeps them all."""
    checksum: Checksum | None = None
    """What the book is held against with every message that has a ``checksum``."""


class BestPrices(Event, frozen=True, gc=False):
    """Best prices that an exchange tells beside a book: the book is held against them, and they are not published.

    A side without orders is empty; with ``known`` false they could not be understood.
    """

    channel: ClassVar[Channel] = Channel.BOOK

    bid: str
    ask: str
    known: bool = True
