"""An order book that is kept up to date from the items of its stream, and knows when it is invalid."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from bridge.book import Book
from bridge.entries import format_levels
from bridge.keys import Keys, StreamKey
from bridge.model import BookDelta, BookSnapshot, Control, Levels
from consumers.items import Entry, Hole, Item, Reset, Stored, Trimmed, Undecodable, Unknown, Unreadable

__all__ = ["BookKeeper"]

_SLICE = 2000
_LEVELS_EACH = 1_000
"""Up to this many levels, the late-join hash is written at the full rate; for larger books, proportionally less often."""
_MAX_INTERVAL = 30.0
"""Seconds; a hash is written at least this often if the book changes."""


class BookKeeper:
    """Takes every item of one book stream, in order. Use ``book`` only while it is ``valid``.

    ``id`` is the last entry applied; ``xseq`` and ``recv`` are those of the last snapshot or delta.
    The next snapshot makes an invalid book valid. ``reason`` says to people why it is invalid, ``why`` to programs: the
    event of a control entry (``unknown`` if this version does not know it), ``start``, ``hole``, ``trimmed``, ``reset``,
    ``undecodable`` or ``unreadable``. Both are empty while the book is valid.
    """

    def __init__(self, stream: StreamKey) -> None:
        self.stream = stream
        self.book = Book()
        self.valid = False
        self.why = "start"
        self.reason = "no snapshot yet"
        self.id = ""
        self.xseq = ""
        self.recv = 0
        self._kept = ""
        self._kept_at = -_MAX_INTERVAL
        self._restarted = False
        """Whether a snapshot has come since the hash was written."""

    def take(self, item: Item) -> None:
        """Take the next item of the stream."""
        match item:
            case Entry(event=BookSnapshot() as event):
                self._apply(event)
            case Entry(event=BookDelta() as event):
                if self.valid:
                    self._apply(event)
            case Entry(event=Control() as control):
                why = str(control.event)
                self._invalidate(why, f"{why}: {control.reason}" if control.reason else why)
            case Hole():
                self._invalidate("hole", f"hole: {item.count} entries missing before {item.id}")
            case Trimmed():
                self._invalidate("trimmed", f"trimmed: {item.count} entries gone before {item.oldest}")
            case Reset():
                self._invalidate("reset", f"the stream was recreated at {item.id}")
            case Undecodable():
                self._invalidate("undecodable", f"undecodable entry {item.id}: {item.error}")
            case Unknown(is_control=True):
                self._invalidate("unknown", item.error)
            case Unreadable():
                self._invalidate("unreadable", f"unreadable: {item.error}")
        if isinstance(item, Stored):
            self.id = item.id

    def top(self, count: int | None = None) -> tuple[Levels, Levels]:
        """The best ``count`` bids and asks (default: all), best first; empty while the book is invalid."""
        return (self.book.bids.top(count), self.book.asks.top(count)) if self.valid else ([], [])

    def due(self, now: float, every: float) -> bool:
        """Whether to write the late-join hash now, if it is written every ``every`` seconds for a small book.

        A full book takes megabytes, and a reader that starts from a hash some seconds old only has more deltas to read.
        After a snapshot, any book is due: entries before the snapshot may be trimmed.
        """
        levels = len(self.book.bids) + len(self.book.asks)
        wait = min(every * max(1.0, levels / _LEVELS_EACH), max(every, _MAX_INTERVAL))
        return self._restarted or now - self._kept_at >= wait

    async def keep(self, redis: Redis, keys: Keys, now: float = 0.0) -> bool:
        """Write the late-join hash, if the book is valid and has changed since the last write.

        An invalid book leaves the hash as it is: a reader that starts from it next reads what made the book invalid.
        ``now``, in seconds, is when the interval of `due` starts.

        Raises:
            redis.exceptions.RedisError: any error of redis-py; the next call tries again.
        """
        if not self.valid or self.id == self._kept:
            return False
        entry_id, xseq, recv = self.id, self.xseq, self.recv
        self._restarted = False
        bids, asks = self.top()
        fields: dict[Any, Any] = {
            "id": entry_id,
            "xseq": xseq,
            "recv": str(recv),
            "bids": await _text(bids),
            "asks": await _text(asks),
        }
        # One command, so that no reader sees half of it.
        try:
            await redis.hset(keys.snapshot(self.stream.exchange, self.stream.subject), mapping=fields)
        except BaseException:
            self._restarted = True  # due in the next round
            raise
        self._kept, self._kept_at = entry_id, now
        return True

    def _apply(self, event: BookSnapshot | BookDelta) -> None:
        try:
            if isinstance(event, BookSnapshot):
                self._restarted = True
                self.book.replace(event.bids, event.asks)
            else:
                self.book.apply(event.bids, event.asks)
        except ValueError as error:
            self._invalidate("undecodable", f"unusable levels: {error}")
            return
        self.valid, self.why, self.reason = True, "", ""
        self.xseq, self.recv = event.xseq, event.recv

    def _invalidate(self, why: str, reason: str) -> None:
        self.valid, self.why, self.reason = False, why, reason


async def _text(levels: Levels) -> str:
    """The levels as text, rendered in slices: tens of thousands of levels must not delay reading."""
    parts = []
    for start in range(0, len(levels), _SLICE):
        parts.append(format_levels(levels[start : start + _SLICE]))
        await asyncio.sleep(0)
    return " ".join(parts)
