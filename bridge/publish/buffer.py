"""What waits for Redis, and what has to go when too much waits."""

from __future__ import annotations

from msgspec import Struct

from bridge.clock import CLOCK
from bridge.model import (
    DATA_EVENTS,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Event,
    Fill,
    Order,
    Position,
    Trade,
)
from bridge.publish.stream import Stream
from bridge.publish.wire import render

__all__ = [
    "CONTROL",
    "DATA",
    "KINDS",
    "LOSSES",
    "OVERHEAD",
    "SNAPSHOT",
    "WIDE",
    "Budget",
    "Pending",
    "batch_length",
    "lost_marker",
    "shed",
]

DATA, SNAPSHOT, CONTROL, WIDE = 0, 1, 2, 3
"""Kinds of pending entries.

A `SNAPSHOT` is data on which a book can start again; `WIDE` data has a further field.
"""

KINDS: dict[type[Event], int] = {
    **dict.fromkeys(DATA_EVENTS, DATA),
    BookSnapshot: SNAPSHOT,
    Control: CONTROL,
    Trade: WIDE,
    Order: WIDE,
    Fill: WIDE,
    Position: WIDE,
}
"""Kinds of entries by class; all others are `DATA`, and so is what may have a further field and doesn't."""

LOSSES = {
    "the buffer of": "buffer_full",
    "Redis was away": "redis_away",
    "Redis lost": "redis_forgot",
    "Redis refused this stream": "stream_refused",
    "refused by Redis": "entry_refused",
    "deltas without a snapshot": "no_snapshot",
    "too many events before": "stream_not_open",
}
"""How the reasons of `lost` entries begin, and one word for each, to count them by."""

OVERHEAD = 200
"""Bytes of Python objects that a pending entry costs beside its text; an estimate on the safe side."""


class Budget(Struct, frozen=True):
    """How much may wait while Redis is away: bytes, and seconds since it was received."""

    max_bytes: int = 64 * 1024 * 1024
    max_age: float = 300.0


class Pending(Struct, gc=False):
    """An entry on its way: rendered at once, numbered (``ms`` and ``seq``) when it is sent.

    ``recv`` is by the steady clock (`bridge.clock`), what is rendered by the host's.
    ``lost`` is the count of a `lost` entry, else 0; ``loss`` then is one of `LOSSES`.
    """

    stream: Stream
    recv: int
    body: str
    kind: int
    lost: int = 0
    ms: int = 0
    seq: int = 0
    loss: str = ""

    @property
    def weight(self) -> int:
        """Bytes it counts for in the budget."""
        return len(self.body) + OVERHEAD


def batch_length(pending: list[Pending], most: int, most_bytes: int) -> int:
    """How many of the entries make the next batch: ``most`` at the most, and one at least, of so many bytes."""
    size = 0
    for count, entry in enumerate(pending[:most]):
        size += len(entry.body)
        if size > most_bytes and count:
            return count
    return min(most, len(pending))


def lost_marker(stream: Stream, recv: int, count: int, reason: str) -> Pending:
    """The entry that declares ``count`` dropped events at its place in the stream."""
    event = Control(stream.subject, None, recv + CLOCK.shift, stream.channel, ControlEvent.LOST, reason, count)
    loss = next((word for beginning, word in LOSSES.items() if reason.startswith(beginning)), "other")
    return Pending(stream, recv, render(event), CONTROL, count, loss=loss)


def shed(pending: list[Pending], need: int, oldest: int, reason: str) -> tuple[list[Pending], dict[Stream, int]]:
    """Drop the oldest entries: all received before ``oldest``, and then until ``need`` bytes are free.

    Market data goes first, private entries only when that was not enough; control entries stay. A book that lost a
    delta is of no use until its next snapshot, so its deltas up to there go too. A `lost` entry takes the place of
    what was dropped.

    Returns:
        What is left, in order; and per stream how many events were dropped now.
    """
    dropped: set[int] = set()
    freed = 0
    for public in (True, False):
        for index, entry in enumerate(pending):
            if freed >= need and entry.recv >= oldest:
                break
            if entry.kind != CONTROL and entry.stream.public is public and (freed < need or entry.recv < oldest):
                dropped.add(index)
                freed += entry.weight
    if not dropped:
        return pending, {}
    return _without(pending, _with_broken_books(pending, dropped), reason)


def _with_broken_books(pending: list[Pending], dropped: set[int]) -> set[int]:
    """The dropped indexes, and with them the deltas that continue a dropped one."""
    broken: set[Stream] = set()
    result = set(dropped)
    for index, entry in enumerate(pending):
        if entry.stream.channel is not Channel.BOOK:
            continue
        if index in dropped:
            broken.add(entry.stream)
        elif entry.kind == SNAPSHOT:
            broken.discard(entry.stream)
        elif entry.kind == DATA and entry.stream in broken:
            result.add(index)
    return result


def _without(pending: list[Pending], dropped: set[int], reason: str) -> tuple[list[Pending], dict[Stream, int]]:
    kept: list[Pending] = []
    marker: dict[Stream, Pending] = {}
    counts: dict[Stream, int] = {}
    for index, entry in enumerate(pending):
        stream = entry.stream
        count = entry.lost
        if index in dropped:
            counts[stream] = counts.get(stream, 0) + 1
            count = 1
        if not count:
            marker.pop(stream, None)
            kept.append(entry)
        elif stream in marker:
            marker[stream].lost += count
        else:
            marker[stream] = Pending(stream, entry.recv, "", CONTROL, count)
            kept.append(marker[stream])
    for entry in kept:
        if entry.lost:
            marked = lost_marker(entry.stream, entry.recv, entry.lost, reason)
            entry.body, entry.loss = marked.body, marked.loss
    return kept, counts
