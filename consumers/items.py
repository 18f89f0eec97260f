"""What a reader yields: entries with their events, and everything that interrupts a stream."""

from __future__ import annotations

from msgspec import Struct

from bridge.entries import UnknownKindError, decode
from bridge.keys import StreamKey
from bridge.model import Event

__all__ = [
    "Entry",
    "GroupLost",
    "Hole",
    "Item",
    "PendingGone",
    "Raw",
    "Reset",
    "Stored",
    "Trimmed",
    "Undecodable",
    "Unknown",
    "Unreadable",
    "split_id",
    "to_item",
]

_END = 2**64


def split_id(entry_id: str) -> tuple[int, int]:
    """``(ms, seq)`` of an entry's ID; a bare ``ms`` has seq 0.

    Raises:
        ValueError: it is not a stream ID.
    """
    ms, dash, seq = entry_id.partition("-")
    if entry_id.isascii() and ms.isdigit() and (seq.isdigit() or not dash):
        found = int(ms), int(seq or 0)
        if max(found) < _END:  # what Redis takes
            return found
    msg = f"{entry_id!r} is not an entry ID"
    raise ValueError(msg)


class Item(Struct, frozen=True, gc=False):
    """What all items have: the ``key`` of the stream, and its parts."""

    key: str
    stream: StreamKey


class Entry(Item, frozen=True, gc=False):
    """One entry. ``seq`` counts the stream's entries; ``again`` marks an entry that a group delivers again.

    A reader that starts from the late-join snapshot yields that book as its first entry, a ``BookSnapshot``.
    """

    id: str
    seq: int
    event: Event
    again: bool = False

    @property
    def ms(self) -> int:
        """When the bridge received it, milliseconds since the epoch."""
        return int(self.id.partition("-")[0])


class Undecodable(Item, frozen=True, gc=False):
    """An entry that this version cannot parse: its raw fields, and the ``error``."""

    id: str
    seq: int
    fields: dict[str, str]
    error: str
    again: bool = False


class Unknown(Item, frozen=True, gc=False):
    """An entry of a type, or of a control event, that this version does not know: ignore it.

    There is one exception: any control entry (``is_control``) makes a book invalid.
    """

    id: str
    seq: int
    fields: dict[str, str]
    error: str
    again: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it is a control entry with an unknown event."""
        return self.fields.get("type") == "control"


Stored = Entry | Undecodable | Unknown
"""The items that are entries of the stream, with an ``id``; all others report that something is missing."""


class Raw(Item, frozen=True, gc=False):
    """An entry as Redis has it: names and values of its fields alternate in ``flat``. Only a ``raw`` reader yields it."""

    id: str
    seq: int
    flat: list[str]


class Unreadable(Item, frozen=True, gc=False):
    """Redis refuses to read this stream: its key holds something else, or this user may not read it.

    Yielded once. The reader continues with its other streams, and tries this one every few seconds, from where it was.
    """

    error: str


class Hole(Item, frozen=True, gc=False):
    """``count`` entries before ``id`` are missing in the stream: those with ``seq`` ``expected`` to ``found`` - 1."""

    id: str
    expected: int
    found: int

    @property
    def count(self) -> int:
        """How many are missing."""
        return self.found - self.expected


class Trimmed(Item, frozen=True, gc=False):
    """Retention has removed ``count`` entries between ``cursor``, the reader's position, and ``oldest``, the next entry.

    In a group of several consumers, others may have read some of them before.
    """

    cursor: str
    oldest: str
    count: int


class Reset(Item, frozen=True, gc=False):
    """The stream was deleted and created again: after ``cursor`` came ``id``, with a lower ``seq``."""

    cursor: str
    id: str


class GroupLost(Item, frozen=True, gc=False):
    """The consumer group had disappeared (restart, failover, flush) and was created again at ``resumed``.

    Entries after ``resumed`` are delivered again. What other consumers had pending before it is no longer known.
    """

    group: str
    resumed: str


class PendingGone(Item, frozen=True, gc=False):
    """Entries that the group delivered and nobody acknowledged, and that have since been trimmed."""

    ids: tuple[str, ...]


def to_item(key: str, stream: StreamKey, entry_id: str, flat: list[str], *, again: bool = False) -> Stored:
    """A raw entry as an item, whatever it contains."""
    seq = split_id(entry_id)[1]
    try:
        return Entry(key, stream, entry_id, seq, decode(stream, flat), again)
    except ValueError as error:
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        kind = Unknown if isinstance(error, UnknownKindError) else Undecodable
        return kind(key, stream, entry_id, seq, fields, str(error), again)
