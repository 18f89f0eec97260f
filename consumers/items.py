"""What a reader yields: entries with their events, and everything that breaks a stream's continuity."""

from __future__ import annotations

from msgspec import Struct

from bridge.entries import decode
from bridge.keys import StreamKey
from bridge.model import Event

__all__ = [
    "Entry",
    "GroupLost",
    "Hole",
    "Item",
    "PendingGone",
    "Reset",
    "Trimmed",
    "Undecodable",
    "split_id",
    "to_item",
]


def split_id(entry_id: str) -> tuple[int, int]:
    """``(ms, seq)`` of an entry's ID; a bare ``ms`` has seq 0.

    Raises:
        ValueError: it is no stream ID.
    """
    ms, _, seq = entry_id.partition("-")
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


def to_item(key: str, stream: StreamKey, entry_id: str, flat: list[str], *, again: bool = False) -> Entry | Undecodable:
    """A raw entry as an item, whatever it holds."""
    seq = split_id(entry_id)[1]
    try:
        return Entry(key, stream, entry_id, seq, decode(stream, flat), again)
    except ValueError as error:
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        return Undecodable(key, stream, entry_id, seq, fields, str(error), again)
