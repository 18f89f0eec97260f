"""Follows some streams: their books and trades, and what happened to them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from redis.exceptions import ResponseError

from bridge.errors import BridgeError
from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, BookDelta, BookSnapshot, Channel, Control, Event, Trade
from bridge.overview.rows import StreamRow
from bridge.overview.words import is_plain
from bridge.redis.errors import FAILURES, explain
from bridge.redis.topology import Topology
from consumers.items import Entry, Hole, Item, Reset, Trimmed, Undecodable, Unknown, Unreadable, split_id, to_item
from consumers.keeper import BookKeeper
from consumers.reader import Position, Reader

__all__ = ["Follow", "Happening", "newest_first", "newest_words"]

_BEFORE = 300
"""Entries before now that are looked through."""
_TRADES = 100
_HAPPENINGS = 1_000
_EVENTS = 200
_BLOCK = 0.5
_PAUSE = 1.0
_FIELDS = 4
_UNSAID = frozenset({"id", "fill_id", "order_id", "client_id", "window"})


class Happening(Struct, frozen=True, order=True):
    """Something that happened to a stream: a control entry, or something missing. ``ms`` is since the epoch."""

    ms: int
    exchange: str
    subject: str
    channel: str
    event: str
    words: str


class Follow:
    """Reads streams from a few hundred entries before now, and keeps what is newest.

    With ``books`` false, books are not built: their streams are read from now on, for what happens to them.
    """

    def __init__(self, topology: Topology, keys: Keys, rows: Iterable[StreamRow], *, books: bool = True) -> None:
        self._topology = topology
        self._keys = keys
        self._streams = {row.key: row.stream for row in rows}
        self._books = books
        self.keepers: dict[Channel, BookKeeper] = {}
        self.trades: deque[Trade] = deque(maxlen=_TRADES)
        self.newest: dict[str, Event] = {}
        """The newest event of each channel (of candles: of each interval), except control events."""
        self.items: deque[Item] = deque(maxlen=_EVENTS)
        """The newest entries of accounts' streams."""
        self.happenings: deque[Happening] = deque(maxlen=_HAPPENINGS)
        self.trouble = ""
        """Why nothing can be read; empty while it can."""

    @property
    def keys(self) -> list[str]:
        """The streams that are followed."""
        return list(self._streams)

    async def run(self) -> None:
        """Read, endlessly; after a failure, try again."""
        while True:
            try:
                await self._read()
            except (BridgeError, ValueError, *FAILURES) as error:
                self.trouble = str(error) if isinstance(error, BridgeError) else explain(error, self._topology.address)
            await asyncio.sleep(_PAUSE)

    async def _read(self) -> None:
        async with Reader(self._topology, namespace=self._keys.namespace, block=_BLOCK) as reader:
            for key, stream in self._streams.items():
                await reader.add(key, await self._begin(reader, key, stream))
            self.trouble = ""
            self.trades.clear()
            self.items.clear()
            async for batch in reader.batches():
                for item in batch:
                    self._take(item)

    async def _begin(self, reader: Reader, key: str, stream: StreamKey) -> Position | str:
        """Where to read from; what happened before that is noted."""
        book = stream.channel in BOOKS
        if book and self._books:
            self.keepers[stream.channel] = BookKeeper(stream)
        try:
            page: Any = await reader.outlive(lambda: reader.redis.xrevrange(key, count=_BEFORE))
        except ResponseError:
            return Position.NOW  # the reader says why
        if not page:
            return Position.START
        if not book:
            # The reader returns these again, the first one aside.
            return str(page[-1][0]) if len(page) == _BEFORE else Position.START
        for entry_id, fields in reversed(page):
            if fields.get("type") == "control":
                flat = [part for field in fields.items() for part in field]
                self._note(to_item(key, stream, entry_id, flat))
        if not self._books:
            return str(page[0][0])
        return Position.SNAPSHOT

    def _take(self, item: Item) -> None:
        channel = item.stream.channel
        if keeper := self.keepers.get(channel):
            keeper.take(item)
        if isinstance(item, Entry) and not isinstance(item.event, Control):
            self.newest[item.stream.suffix] = item.event
            if isinstance(item.event, Trade):
                self._trade(item, item.event)
            if not item.stream.public:
                self.items.append(item)
            return
        self._note(item)

    def _trade(self, item: Entry, trade: Trade) -> None:
        if trade.price and is_plain(trade.price) and is_plain(trade.size):
            self.trades.append(trade)
        else:
            self._happened(item, item.id, "undecodable", "price or size is not a decimal number")

    def _note(self, item: Item) -> None:
        match item:
            case Entry(event=Control() as control):
                words = control.reason + (f" ({control.count} events)" if control.count else "")
                self._happened(item, item.id, str(control.event), words)
            case Hole():
                self._happened(item, item.id, "hole", f"{item.count} entries are missing")
            case Trimmed():
                self._happened(item, item.oldest, "trimmed", f"{item.count} entries were removed before they were read")
            case Reset():
                self._happened(item, item.id, "reset", "the stream was deleted and created again")
            case Undecodable():
                self._happened(item, item.id, "undecodable", item.error)
            case Unknown():
                self._happened(item, item.id, "unknown", item.error)
            case Unreadable():
                self._happened(item, "", "unreadable", item.error)

    def _happened(self, item: Item, entry_id: str, event: str, words: str) -> None:
        stream = item.stream
        ms = split_id(entry_id)[0] if entry_id else 0
        found = Happening(ms, stream.exchange, stream.subject, stream.suffix, event, words)
        # A book's stream is read again from its last snapshot, which may be before what was looked through.
        if found not in self.happenings:
            self.happenings.append(found)


def newest_first(*lists: Sequence[Happening] | deque[Happening]) -> list[Happening]:
    """What happened, newest first."""
    return sorted((each for found in lists for each in found), reverse=True)


def newest_words(event: Event) -> str:
    """An event in a few words: its first fields; empty for books, which have levels."""
    if isinstance(event, BookSnapshot | BookDelta):
        return ""
    names = [name for name in getattr(event, "WIRE", ()) if name not in _UNSAID]
    said = [(name, getattr(event, name)) for name in names]
    return "  ".join(f"{name} {value}" for name, value in said[:_FIELDS] if value not in ("", None))
