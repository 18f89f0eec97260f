"""A consumer's position in the streams of its group: what it was delivered, and what is not acknowledged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from bridge.keys import StreamKey
from consumers.items import Hole, Item, PendingGone, Reset, split_id, to_item
from consumers.positions import Cursor

__all__ = ["GroupPosition", "creation_options", "recording_acknowledgements"]


class GroupPosition:
    """This consumer's position in one stream."""

    __slots__ = ("acknowledged", "inflight", "key", "last", "next_seq", "stream")

    def __init__(self, key: str, stream: StreamKey, cursor: Cursor) -> None:
        self.key = key
        self.stream = stream
        self.next_seq = cursor.next_seq
        self.last = cursor.id
        """The newest ID delivered to this consumer, or the group's position when this consumer joined."""
        self.inflight: dict[str, None] = {}
        """IDs returned to the caller, or about to be, and not acknowledged, in order."""
        self.acknowledged: set[str] | None = None
        """What was acknowledged while Redis is asked what is pending; see `recording_acknowledgements`."""

    def acknowledge(self, ids: Iterable[str]) -> None:
        """Record that Redis has acknowledged these entries."""
        for entry_id in ids:
            self.inflight.pop(entry_id, None)
            if self.acknowledged is not None:
                self.acknowledged.add(entry_id)

    def resume(self) -> str:
        """Where a new group must start so that no unacknowledged entry is skipped."""
        if not self.inflight:
            return self.last
        ms, seq = min(map(split_id, self.inflight))
        return f"{ms}-{seq - 1}" if seq else f"{ms - 1}-0"

    def break_at(self, entry_id: str, expected: int) -> Item:
        """The item to report before an entry whose ``seq`` is not the expected one."""
        found = split_id(entry_id)[1]
        if found > expected:
            return Hole(self.key, self.stream, entry_id, expected, found)
        return Reset(self.key, self.stream, self.last, entry_id)

    def gone(self, ids: Iterable[str]) -> list[Item]:
        """Report pending entries that no longer exist, except those that the caller has or has acknowledged."""
        gone = tuple(entry_id for entry_id in ids if not self._is_known(entry_id))
        return [PendingGone(self.key, self.stream, gone)] if gone else []

    def again(self, entries: Iterable[tuple[str, list[str] | None]]) -> list[Item]:
        """Pending entries as items, except those that the caller has or has acknowledged."""
        return [
            to_item(self.key, self.stream, entry_id, flat, again=True)
            for entry_id, flat in entries
            if flat is not None and not self._is_known(entry_id)
        ]

    def _is_known(self, entry_id: str) -> bool:
        return entry_id in self.inflight or entry_id in (self.acknowledged or ())


@contextmanager
def recording_acknowledgements(positions: Collection[GroupPosition]) -> Iterator[None]:
    """Record acknowledgements while Redis is asked what is pending, since its answer may be older than they are."""
    for position in positions:
        position.acknowledged = set()
    try:
        yield
    finally:
        for position in positions:
            position.acknowledged = None


def creation_options(start: str) -> tuple[tuple[object, ...], ...]:
    """What a group that starts after the ID ``start`` is created with, best first: Redis before 7.0 knows no option.

    Redis' own figure of the lag is exact only if it knows how many entries the group has read: the ID's number. A
    position in time has none.
    """
    ms, seq = split_id(start)
    return (("ENTRIESREAD", seq), ()) if seq or not ms else ((),)
