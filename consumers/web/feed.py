"""The newest entries of one stream, in memory once for all clients that watch it; of a book also its current state."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Collection

from bridge.keys import StreamKey
from bridge.model import BOOKS
from consumers.items import Entry, Hole, Item, Raw, Reset, Trimmed, Unreadable, split_id, to_item
from consumers.keeper import BookKeeper
from consumers.web.records import EntryId, Record, entry_json, head_json, notice_json, snapshot_json

__all__ = ["Feed", "passes"]

_STEP = 1.25
"""Memory is cleared in steps: it may exceed its limits by a quarter."""


class Feed:
    """One stream. Every entry after ``floor``, up to ``head``, is in ``records``.

    Records are numbered: ``first`` is the number of the first one in memory, ``end`` that of the next one to come. A
    client's position is such a number, so the feed does not know its clients; ``users`` counts them.
    """

    def __init__(self, key: str, stream: StreamKey, *, most_bytes: int, most_entries: int) -> None:
        self.key = key
        self.stream = stream
        self.json_head = head_json(key)
        self.records: list[Record] = []
        self.first = 0
        self.floor: EntryId = (0, 0)
        self.head: EntryId = (0, 0)
        self.head_text = "0-0"
        self.sent = 0
        """The number up to which clients that have everything were sent the records."""
        self.sent_text = "0-0"
        """The ID of the last entry of those."""
        self.control: Record | None = None
        """The newest control entry that was read."""
        self.newest: Record | None = None
        """The newest other entry that was read."""
        self.keeper = BookKeeper(stream) if stream.channel in BOOKS else None
        self.users = 0
        self.idle_since = 0.0
        self.opened = False
        self.lock = asyncio.Lock()
        self.ready = asyncio.Event()
        """Set once everything that was there at the opening has been read: a book is then current."""
        self.unreadable = ""
        """Why Redis refuses to read the stream; empty while it does not."""
        self._goal: EntryId = (0, 0)
        self._most_bytes = most_bytes
        self._most_entries = most_entries
        self._total = 0
        self._joined: dict[int, bytes] = {}
        self._snapshots: dict[int | None, bytes] = {}

    @property
    def end(self) -> int:
        """The number of the next record."""
        return self.first + len(self.records)

    def note_sent(self) -> None:
        """All clients have been sent what is new, or know of it."""
        self.sent, self.sent_text = self.end, self.head_text

    def begin(self, after: str, goal: str, book: Entry | None) -> None:
        """Start with the entries after ``after``; a book starts as ``book``. Ready when ``goal`` is read."""
        self.floor = self.head = split_id(after)
        self.head_text = after
        self._goal = split_id(goal)
        if book is not None and self.keeper is not None:
            self.keeper.take(book)
        self._note_progress()
        self.note_sent()

    def take(self, item: Item, now: float) -> None:
        """Take the next item of the stream; ``now`` is the loop's time."""
        self._joined.clear()
        self._snapshots.clear()
        if isinstance(item, Raw):
            self._take_entry(item, now)
        else:
            self._take_notice(item, now)
        if self._total - self.records[0].offset > _STEP * self._most_bytes or len(self.records) > (
            _STEP * self._most_entries
        ):
            self._forget()

    def covers(self, entry_id: EntryId) -> bool:
        """Whether everything after this ID is in memory."""
        return entry_id >= self.floor

    def number_after(self, entry_id: EntryId) -> int:
        """The number of the first record after this ID."""
        return self.first + bisect_right(self.records, entry_id, key=lambda record: record.id)

    def size_from(self, number: int) -> int:
        """Bytes of the records from this number on, with commas."""
        place = number - self.first
        return self._total - self.records[place].offset + len(self.records) - place - 1

    def text_from(self, number: int) -> bytes:
        """The records from this number on, separated by commas; joined once for all clients that are at this number."""
        text = self._joined.get(number)
        if text is None:
            text = b",".join([record.data for record in self.records[number - self.first :]])
            self._joined[number] = text
        return text

    def snapshot(self, depth: int | None = None) -> bytes:
        """The valid book, or its best levels, as JSON; made once for all clients with this ``depth``."""
        assert self.keeper is not None
        text = self._snapshots.get(depth)
        if text is None:
            text = self._snapshots[depth] = snapshot_json(self.json_head, self.keeper, depth)
        return text

    def refuse(self, words: str, now: float) -> None:
        """Redis does not let the stream be read: say so, once for each reason."""
        if words != self.unreadable:
            self.take(Unreadable(self.key, self.stream, words), now)

    def _take_entry(self, item: Raw, now: float) -> None:
        flat = item.flat
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        kind = fields.get("type", "")
        entry_id = split_id(item.id)
        # Nothing but notices has an empty kind.
        record = self._append(entry_id, item.id, kind or "?", entry_json(self.json_head, item.id, fields), now)
        if kind == "control":
            self.control = record
        else:
            self.newest = record
        self.head, self.head_text = entry_id, item.id
        self.unreadable = ""
        if self.keeper is not None:
            self.keeper.take(to_item(item.key, item.stream, item.id, flat))
        self._note_progress()

    def _take_notice(self, item: Item, now: float) -> None:
        match item:
            case Hole():
                data = notice_json(self.key, "hole", count=item.count, before=item.id)
                self._append(split_id(item.id), "", "", data, now)
            case Trimmed():
                data = notice_json(self.key, "trimmed", count=item.count, before=item.oldest)
                self._append(split_id(item.oldest), "", "", data, now)
            case Reset():
                data = notice_json(self.key, "reset", before=item.id)
                self._append(split_id(item.id), "", "", data, now)
                self._goal = (0, 0)  # what was to be read is gone
            case Unreadable():
                self.unreadable = item.error
                self._append(self.head, "", "", notice_json(self.key, "unreadable", message=item.error), now)
                self._goal = (0, 0)
            case _:
                raise TypeError(f"a feed takes no {type(item).__name__}")
        if self.keeper is not None:
            self.keeper.take(item)
        self._note_progress()

    def _append(self, entry_id: EntryId, text_id: str, kind: str, data: bytes, now: float) -> Record:
        record = Record(entry_id, text_id, kind, data, now, self._total)
        self.records.append(record)
        self._total += len(data)
        return record

    def _note_progress(self) -> None:
        if not self.ready.is_set() and self.head >= self._goal:
            self.ready.set()

    def _forget(self) -> None:
        """Drop the oldest records beyond the limits, but never the newest one."""
        excess = self._total - self._most_bytes
        place = max(0, len(self.records) - self._most_entries)
        while place < len(self.records) - 1 and self.records[place].offset < excess:
            place += 1
        for record in reversed(self.records[:place]):
            if record.kind:
                self.floor = record.id
                break
        del self.records[:place]
        self.first += place


def passes(record: Record, types: Collection[str] | None) -> bool:
    """Whether a record is of one of these types; notices always pass."""
    return types is None or not record.kind or record.kind in types
