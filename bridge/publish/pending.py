"""An entry on its way to Redis, what it costs, and the `lost` entry that takes the place of dropped ones."""

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
)
from bridge.publish.wire import render

__all__ = [
    "CONTROL",
    "DATA",
    "KINDS",
    "LOSSES",
    "LOST",
    "OVERHEAD",
    "REDIS_LOST",
    "SNAPSHOT",
    "WIDE",
    "WIDER",
    "Budget",
    "Lost",
    "Pending",
    "lost_entry",
    "width",
]

DATA, SNAPSHOT, WIDE, WIDER, CONTROL, LOST = range(6)
"""Kinds of pending entries: all below `CONTROL` are data.

A `SNAPSHOT` is data on which a book can start again; `WIDE` data has a further field, `WIDER` two; a `LOST` entry is a control entry that
declares events lost.
"""

KINDS: dict[type[Event], int] = {
    **{kind: (DATA, WIDE, WIDER)[len(getattr(kind, "MORE", ()))] for kind in DATA_EVENTS},
    BookSnapshot: SNAPSHOT,
    Control: CONTROL,
}
"""Kinds of entries by class; what may have further fields and doesn't is of a narrower kind."""


def width(event: Event) -> int:
    """The kind of an entry with as many further fields as the event has."""
    more = [name for name in event.MORE if getattr(event, name) is not None]  # type: ignore[attr-defined]
    return (DATA, WIDE, WIDER)[len(more)]


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

REDIS_LOST = "Redis lost acknowledged entries"
"""The reason of a `lost` entry for what Redis had, and has no more."""

OVERHEAD = 200
"""Bytes that a pending entry takes in the process beside its text: the struct, the string's header, two integers, its place.

Measured: with this, 64 MiB of trades, or of deltas, are 60 to 66 MiB of resident memory on CPython 3.11 to 3.13.
"""


class Budget(Struct, frozen=True):
    """How much may wait while Redis takes nothing: bytes of the process, and seconds since it was received."""

    max_bytes: int = 64 * 1024 * 1024
    max_age: float = 300.0


class Pending(Struct, gc=False):
    """An entry on its way: rendered at once, numbered (``ms`` and ``seq``) when it is sent.

    ``recv`` is by the steady clock (`bridge.clock`), what is rendered by the host's.

    ``seq`` is 0 as long as it has no number, and again after Redis has certainly not taken it. With a number, it may be in
    Redis, or still be on its way over a connection that was given up: then it keeps its number, and is never dropped.
    """

    recv: int
    body: str
    kind: int
    ms: int = 0
    seq: int = 0

    @property
    def weight(self) -> int:
        """Bytes it counts for in the budget."""
        return len(self.body) + OVERHEAD


class Lost(Pending, gc=False):
    """A `lost` entry: how many events it declares, and one of the words of `LOSSES`."""

    count: int = 0
    loss: str = ""


def lost_entry(subject: str, channel: Channel, recv: int, count: int, reason: str) -> Lost:
    """The entry that declares ``count`` dropped events at its place in the stream."""
    event = Control(subject, None, recv + CLOCK.shift, channel, ControlEvent.LOST, reason, count)
    loss = next((word for beginning, word in LOSSES.items() if reason.startswith(beginning)), "other")
    return Lost(recv, render(event), LOST, count=count, loss=loss)
