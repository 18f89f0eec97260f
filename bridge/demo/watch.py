"""Reads every stream, like any other service, builds the books, and counts."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import takewhile

from msgspec import Struct

from bridge.demo.rates import Rate
from bridge.demo.venue import Instrument
from bridge.keys import StreamKey
from bridge.latency import Latency
from bridge.model import Channel, Control, ControlEvent, Trade
from consumers.items import Entry, Hole, Item, Reset, Trimmed, Undecodable
from consumers.keeper import BookKeeper
from consumers.reader import Position, Reader

__all__ = ["Lag", "Watcher"]

_TRADES_KEPT = 50_000
_LAGS_KEPT = 20_000
_SETTLING = 500_000_000
"""Nanoseconds until the reader has begun to read an added stream."""


class Lag(Struct, frozen=True):
    """The median and the 99th percentile of durations, in milliseconds; ``None`` without any."""

    half: float | None
    most: float | None


class Watcher:
    """Reads every stream of the catalog from its start, builds the books, and counts.

    ``notify`` is called when a book becomes invalid or valid; ``now`` returns nanoseconds since the epoch, like
    ``recv``.
    """

    def __init__(self, reader: Reader, notify: Callable[[str], None], now: Callable[[], int] = time.time_ns) -> None:
        self.keepers: dict[Instrument, BookKeeper] = {}
        self.trades: dict[Instrument, deque[Trade]] = {}
        self.read: Counter[str] = Counter()
        """Exchange → data entries, without control entries."""
        self.holes = 0
        """Entries that are missing in ``seq``."""
        self.undecodable = 0
        self.interruptions: dict[str, int] = {}
        """Stream key → control entries other than ``live`` and ``stop``."""
        self.known_since: dict[str, int] = {}
        """Stream key → ``recv`` of its last control entry: older state may have changed since."""
        self.began: dict[str, int] = {}
        """Stream key → ``recv`` of its first entry."""
        self.rate = Rate()
        self.latency = Latency()
        self._reader = reader
        self._notify = notify
        self._now = now
        self._lags: deque[tuple[int, int]] = deque(maxlen=_LAGS_KEPT)
        self._added: dict[str, int] = {}
        self._invalid_since: dict[Instrument, int] = {}

    @property
    def cursors(self) -> dict[str, str]:
        """Stream key → ID of the last entry read."""
        return self._reader.cursors

    async def found(self, key: str, stream: StreamKey) -> None:
        """Read a stream of the catalog."""
        if key in self._reader.streams:
            return
        instrument = Instrument(stream.exchange, stream.subject)
        if stream.channel is Channel.BOOK:
            self.keepers[instrument] = BookKeeper(stream)
        elif stream.channel is Channel.TRADES:
            self.trades[instrument] = deque(maxlen=_TRADES_KEPT)
        await self._reader.add(key, Position.START)
        self._added[key] = self._now()

    async def follow(self) -> None:
        """Read, endlessly."""
        async for batch in self._reader.batches():
            now = self._now()
            before = self.read.total()
            for item in batch:
                self._take(item, now)
            self.rate.add(self.read.total() - before)

    def lag(self, seconds: float = 5.0) -> Lag:
        """The lag from the socket to this reader, over the last ``seconds``."""
        since = self._now() - int(seconds * 1e9)
        lags = sorted(lag for _, lag in takewhile(lambda each: each[0] >= since, reversed(self._lags)))
        if not lags:
            return Lag(None, None)
        return Lag(lags[len(lags) // 2] / 1e6, lags[int(len(lags) * 0.99)] / 1e6)

    def _take(self, item: Item, now: int) -> None:
        instrument = Instrument(item.stream.exchange, item.stream.subject)
        keeper = self.keepers.get(instrument) if item.stream.channel is Channel.BOOK else None
        if keeper is not None:
            keeper.take(item)
            self._judge(instrument, keeper, item.event.recv if isinstance(item, Entry) else now)
        match item:
            case Entry(event=Control() as control):
                self.began.setdefault(item.key, control.recv)
                self.known_since[item.key] = control.recv
                if control.event not in (ControlEvent.LIVE, ControlEvent.STOP):
                    self.interruptions[item.key] = self.interruptions.get(item.key, 0) + 1
            case Entry(event=event):
                self.read[item.stream.exchange] += 1
                self._measure(item.key, event.recv, now)
                if isinstance(event, Trade):
                    self.trades[instrument].append(event)
            case Hole() | Trimmed():
                self.holes += item.count
            case Reset():
                self.holes += 1
            case Undecodable():
                self.undecodable += 1

    def _measure(self, key: str, recv: int, now: int) -> None:
        # Entries that were there before the reader started say nothing about latency.
        if recv > self._added.get(key, now) + _SETTLING:
            lag = max(0, now - recv)
            self.latency.add(lag)
            self._lags.append((now, lag))

    def _judge(self, instrument: Instrument, keeper: BookKeeper, now: int) -> None:
        """Report when a book becomes invalid, and when it is valid again."""
        if keeper.valid and instrument in self._invalid_since:
            since = self._invalid_since.pop(instrument)
            self._notify(f"{instrument} book is valid again after {max(0, now - since) / 1e9:.2f} s")
        elif not keeper.valid and keeper.recv and instrument not in self._invalid_since:
            # Before its first snapshot, a book does not exist yet.
            self._invalid_since[instrument] = now
            self._notify(f"{instrument} book is invalid: {keeper.reason}")
