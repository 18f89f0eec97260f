"""What a reader yields: entries with their events, and everything that breaks a stream's continuity."""

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
    "Reset",
    "Stored",
    "Trimmed",
    "Undecodable",
    "Unknown",
    "Unreadable",
    "split_id",
    "to_item",
]


def split_id(entry_id: str) -> tuple[int, int]:
    """``(ms, seq)`` of an entry's ID; a bare ``ms`` has seq 0.

    Raises:
        ValueError: it is no stream ID.
    """
    ms, dash, seq = entry_id.partition("-")
    if not (entry_id.isascii() and ms.isdigit() and (seq.isdigit() or not dash)):
        msg = f"{entry_id!r} is no entry ID"
        raise ValueError(msg)
    return int(ms), int(seq or 0)


class Item(Struct, frozen=True, gc=False):
    """What all items share: the stream's ``key``, and the key taken apart."""

    key: str
    stream: StreamKey


class Entry(Item, frozen=True, gc=False):
    """One entry. ``seq`` counts the stream's entries; ``again`` marks one that a group hands out once more.

    A reader that starts from the late-join hash yields the hash's book as its first entry, a ``BookSnapshot``.
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
    """An entry that this version cannot read: its fields as they stand, and why."""

    id: str
    seq: int
    fields: dict[str, str]
    error: str
    again: bool = False


class Unknown(Item, frozen=True, gc=False):
    """An entry of a type, or of a control event, that this version doesn't know: pass it over.

    Only a book takes notice of one, of a control entry (``is_control``): any of them makes it invalid.
    """

    id: str
    seq: int
    fields: dict[str, str]
    error: str
    again: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it is a control entry, of an event that isn't known."""
        return self.fields.get("type") == "control"


Stored = Entry | Undecodable | Unknown
"""The items that are entries of the stream, with an ``id``; all others say that something is missing."""


class Unreadable(Item, frozen=True, gc=False):
    """Redis refuses to read this stream: its key holds something else, or this user may not.

    The reader goes on with its other streams, and tries this one every few seconds, from where it stood. Said once.
    """

    error: str


class Hole(Item, frozen=True, gc=False):
    """``count`` entries that should stand before ``id`` are not in the stream: ``expected`` to ``found`` - 1."""

    id: str
    expected: int
    found: int

    @property
    def count(self) -> int:
        """How many are missing."""
        return self.found - self.expected


class Trimmed(Item, frozen=True, gc=False):
    """Retention has removed the entries between ``cursor``, where this reader stood, and ``oldest``, the next left.

    ``count`` are gone. In a group of several consumers, others may have had some of them before.
    """

    cursor: str
    oldest: str
    count: int


class Reset(Item, frozen=True, gc=False):
    """The stream counts anew: after ``cursor`` came ``id`` with a lower seq. It was deleted and made again."""

    cursor: str
    id: str


class GroupLost(Item, frozen=True, gc=False):
    """The consumer group had vanished (restart, failover, flush) and was made again at ``resumed``.

    Entries after ``resumed`` come again; what other consumers had pending before it is not known any more.
    """

    group: str
    resumed: str


class PendingGone(Item, frozen=True, gc=False):
    """Entries that were delivered in the group but never acknowledged, and have since been trimmed away."""

    ids: tuple[str, ...]


def to_item(key: str, stream: StreamKey, entry_id: str, flat: list[str], *, again: bool = False) -> Stored:
    """A raw entry as an item, whatever it holds."""
    seq = split_id(entry_id)[1]
    try:
        return Entry(key, stream, entry_id, seq, decode(stream, flat), again)
    except ValueError as error:
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        kind = Unknown if isinstance(error, UnknownKindError) else Undecodable
        return kind(key, stream, entry_id, seq, fields, str(error), again)
