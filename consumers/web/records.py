"""What goes to clients: entries and notices as JSON, made once however many clients there are, and arrays of them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bridge.entries import format_levels
from consumers.keeper import BookKeeper

__all__ = ["Batch", "EntryId", "Record", "entry_json", "head_json", "notice_json", "snapshot_json"]

EntryId = tuple[int, int]
"""``(ms, seq)``, which compare as Redis compares IDs."""

_TAKEN = frozenset({"id", "stream", "notice"})
"""Members of every entry: an entry's own field of such a name is prefixed."""


class Record(Struct, frozen=True, gc=False):
    """An entry (``kind`` is its type) or a notice (``kind`` is empty) as clients get it.

    A notice has the ``id`` of the entry that it precedes. ``at`` is when it was read, by the loop's clock; ``offset`` is
    the number of bytes of all records before it.
    """

    id: EntryId
    text_id: str
    kind: str
    data: bytes
    at: float
    offset: int


def head_json(key: str) -> bytes:
    """The beginning of the JSON of each entry of a stream, up to the ID."""
    return b'{"stream":' + msgspec.json.encode(key) + b',"id":"'


def entry_json(head: bytes, entry_id: str, fields: Mapping[str, str]) -> bytes:
    """An entry as JSON, all values as text."""
    if not _TAKEN.isdisjoint(fields):
        fields = {f"event_{name}" if name in _TAKEN else name: value for name, value in fields.items()}
    body = msgspec.json.encode(fields)
    end = b'"}' if body == b"{}" else b'",' + body[1:]
    return head + entry_id.encode() + end


def notice_json(key: str, notice: str, **members: object) -> bytes:
    """A notice as JSON; numbers become text, members that are ``None`` are left out."""
    more = {name: str(value) for name, value in members.items() if value is not None}
    return msgspec.json.encode({"stream": key, "notice": notice, **more})


def snapshot_json(head: bytes, keeper: BookKeeper, depth: int | None = None) -> bytes:
    """The book, or its best levels, as an entry of type ``snapshot`` with the ID of the last entry in it."""
    bids, asks = keeper.top(depth)
    fields = {
        "type": "snapshot",
        "ts": "",
        "recv": str(keeper.recv),
        "xseq": keeper.xseq,
        "bids": format_levels(bids),
        "asks": format_levels(asks),
    }
    return head + keeper.id.encode() + b'",' + msgspec.json.encode(fields)[1:]


class Batch:
    """The array that a client is sent next: up to ``limit`` bytes, or one larger record."""

    def __init__(self, limit: int) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.more = False
        """Whether there is more to send at once after this array."""
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether nothing more should be added."""
        return self.size >= self._limit

    def fits(self, size: int) -> bool:
        """Whether so many bytes can be added; the first record always can."""
        return not self.parts or self.size + size <= self._limit

    def add(self, data: bytes) -> None:
        """Add a record, or several separated by commas."""
        self.parts.append(data)
        self.size += len(data) + 1

    def json(self) -> bytes:
        """The array; empty if there is nothing in it."""
        return b"[" + b",".join(self.parts) + b"]" if self.parts else b""
