"""Order books and best prices over LMEX's OSS endpoints.

Deltas are chained (``seqNum``, ``prevSeqNum``); a hole, a delta before its snapshot or a crossed book is mended by
unsubscribing and subscribing that topic, which brings a snapshot and leaves the other pairs alone. Pairs that are
mended at the same time share the two messages.

A book that says nothing is either quiet or dead: subscribing to it once more tells which, because the exchange answers
with a snapshot, and the chain goes on across it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.book import Book
from bridge.exchange_errors import FrameError, ReportedError
from bridge.exchanges.actions import Reconnect, Reject, Warn
from bridge.exchanges.lmex.messages import NAME, BookData, Envelope, decode_book, nanoseconds
from bridge.exchanges.lmex.names import Contracts, Market, old_symbol, pair_of
from bridge.exchanges.lmex.options import LmexOptions
from bridge.exchanges.lmex.session import LmexSession
from bridge.exchanges.numbers import SECOND, best_first, check_levels, shortened
from bridge.exchanges.salvage import UNREADABLE
from bridge.exchanges.session import NOT_UNDERSTOOD, Subscription
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Levels, Quote

__all__ = ["BooksSession"]

_FAILURES = 3
"""Attempts at one pair's snapshot after which the whole connection is given up."""
_CALM = 60 * SECOND
"""After so long without trouble, a pair's failures are forgotten."""
_SOUND = 10 * SECOND
"""After so long with a good book, a new connection was not in vain; a first snapshot alone proves nothing."""
_PAUSE = 10.0
"""Seconds before the next new connection, where one was in vain already."""
_REPEAT = 1000
"""How far behind a delta may be to count as a repeat; further behind, the exchange counts anew."""
_RETRY = 60 * SECOND
"""Between attempts at a topic that the exchange refuses, or says nothing of while it serves the others."""
_MOST_PATIENCE = 600 * SECOND
_MOST = 2**63
_QUIET = 20 * SECOND
"""Silence after which a book is asked whether it is still there; its answer comes before it would be stale."""
_SHORTEST = 100
"""No book message is shorter than so many bytes."""


class _Pair:
    """What the session keeps of one pair's book."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spellings = (f"{name}_".encode(), f'{name}"'.encode(), old_symbol(name).encode())
        self.book = Book()
        self.last: int | None = None
        """``seqNum`` of the newest message of an unbroken chain; ``None`` while the book is no good."""
        self.best: tuple[tuple[str, str] | None, tuple[str, str] | None] = (None, None)
        self.awaited: int | None = None
        """Since when a snapshot (without books: its first message) is awaited (ns)."""
        self.heard = 0
        """When its last message came (ns)."""
        self.mending = False
        """Whether it has been subscribed anew: deltas of the old subscription may still be under way."""
        self.retry: int | None = None
        """When to ask again for a topic that is refused."""
        self.patience = _RETRY
        """How long it is left alone, once its messages can't be understood again and again (ns)."""
        self.failures = 0
        self.failed_at = 0
        """When the last thing went wrong, or the connection began (ns)."""


class BooksSession(LmexSession):
    """The books, or where no books are wanted the best prices, of some pairs of one market.

    ``troubled`` is shared by a plan's successive sessions: pairs for which a new connection has been tried already.
    """

    def __init__(
        self,
        url: str,
        market: Market,
        pairs: tuple[str, ...],
        channels: frozenset[Channel],
        *,
        contracts: Contracts,
        options: LmexOptions,
        troubled: set[str],
    ) -> None:
        super().__init__(f"{url}/ws/oss/{market}")
        self._pairs = {pair: _Pair(pair) for pair in pairs}
        self._channels = sorted(channels & {Channel.BOOK, Channel.QUOTES})
        self._contracts = contracts
        self._limit = int(options.snapshot_timeout * SECOND)
        self._troubled = troubled
        self._with_books = Channel.BOOK in channels
        self._answered = False
        self._suspects: list[_Pair] = []
        """Whose message the frame was that could not be understood."""
        self._anew: dict[str, None] = {}
        """Topics that are to be unsubscribed and subscribed, all in one message each."""

    def connected(self, now: int) -> None:
        super().connected(now)
        self.subscribe([self._topic(pair) for pair in self._pairs])
        for pair in self._pairs.values():
            pair.awaited = pair.failed_at = now

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            return super().receive(frame, recv)
        except FrameError:
            self._suspects = self._named_in(frame)
            raise
        finally:
            self._ask_anew()

    def rejected(self, recv: int) -> Sequence[Event]:
        """The chain would show what is missing, but only with the next message: those who may miss it are mended now."""
        suspects, self._suspects = self._suspects, []
        events = [event for pair in suspects for event in self._missed(pair, recv)]
        self._ask_anew()
        return events

    def tick(self, now: int) -> Sequence[Event]:
        super().tick(now)
        late = [p for p in self._pairs.values() if p.awaited is not None and now - p.awaited > self._limit]
        seconds = f"{self._limit / SECOND:g} s"
        if late and not self._answered:
            for pair in late:
                pair.awaited = None
            self.actions.append(Reconnect(f"no answer to the subscription within {seconds}"))
            return ()
        what = "snapshot" if self._with_books else "answer to the subscription"
        events = [event for pair in late for event in self._mend(pair, now, f"no {what} within {seconds}")]
        for pair in self._pairs.values():
            if pair.failures and now - pair.failed_at > _CALM:
                pair.failures = 0
            if pair.last is not None and now - pair.failed_at > pair.patience:
                pair.patience = _RETRY
            if pair.name in self._troubled and now - pair.failed_at > _SOUND and self._well(pair):
                self._troubled.discard(pair.name)
            if pair.retry is not None and now >= pair.retry:
                self._subscribe_anew(pair, now)
        self._ask_anew()
        self._ask_quiet_ones(now)
        return events

    def resync(self, subject: str, now: int, reason: str) -> None:
        """Have the next tick unsubscribe and subscribe this pair, together with the others that are asked for by then."""
        del reason
        pair = self._pairs.get(subject)
        if pair is not None and pair.awaited is None and pair.retry is None:
            self._subscribe_anew(pair, now)

    def _ask_quiet_ones(self, now: int) -> None:
        """Have the exchange send the books again that have been silent for long, with one request for all of them."""
        good = [pair for pair in self._pairs.values() if pair.last is not None and pair.awaited is None]
        quiet = [pair for pair in good if now - pair.heard >= _QUIET]
        for pair in quiet:
            pair.awaited = now
        self.subscribe([self._topic(pair.name) for pair in quiet])

    def _well(self, pair: _Pair) -> bool:
        """Whether its subscription stands, with a good book where there is one."""
        return pair.last is not None if self._with_books else pair.awaited is None and pair.retry is None

    def _topic(self, pair: str) -> str:
        return f"update:{pair}_0" if self._with_books else f"snapshotL1:{pair}"

    def _streams_of(self, topic: str) -> list[Subscription]:
        pair = pair_of(topic.partition(":")[2].partition("_")[0])
        return self._streams(self._pairs[pair]) if pair in self._pairs else []

    def _streams(self, pair: _Pair) -> list[Subscription]:
        return [Subscription(channel, pair.name) for channel in self._channels]

    def _acknowledged(self, message: Envelope, recv: int) -> list[Event]:
        self._answered = True
        events = super()._acknowledged(message, recv)
        if not self._with_books:
            for topic in message.channel or ():
                for stream in self._streams_of(topic):
                    self._pairs[stream.subject].awaited = None
        return events

    def _refused(self, error: ReportedError, recv: int) -> list[Event]:
        self._answered = True
        if error.topic not in map(self._topic, self._pairs):
            return []
        events = super()._refused(error, recv)
        for stream in self._streams_of(error.topic):
            self._give_up(self._pairs[stream.subject], recv)
        return events

    def _data(self, message: Envelope, frame: bytes, recv: int) -> list[Event]:
        """A book message; it is routed by ``data.symbol``, because a topic has several spellings.

        ``{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.6","60672"]],"asks":[],"seqNum":86511210,"prevSeqNum":
        86511209,"type":"delta","symbol":"BTC-PERP","timestamp":1790133628076}}``
        """
        if not message.topic.startswith(("update:", "snapshotL1:")):
            return self._unknown(message.topic)
        try:
            data = decode_book(message.data)
            pair = self._pair_of(data, message.topic)
            if pair is None:
                return []
            self._answered = True
            pair.heard = recv
            events = self._understand(pair, data, recv)
        except (*UNREADABLE, ValueError) as error:
            return self._bad(message.topic, frame, error, recv)
        return [*self.lively(self._streams(pair), recv), *events] if pair.retry is None else events

    def _pair_of(self, data: BookData, topic: str) -> _Pair | None:
        pair = self._pairs.get(pair_of(data.symbol))
        if pair is None and self._streams_of(topic):
            raise ValueError(f"{shortened(data.symbol)} is not the topic's")
        return pair

    def _damaged(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event] | None:
        return self._bad(topic, frame, error, recv) if topic.startswith(("update:", "snapshotL1:")) else None

    def _bad(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event]:
        """A message can't be understood: its pair's book is mended, and no other."""
        streams = self._streams_of(topic)
        suspects = [self._pairs[streams[0].subject]] if streams else self._named_in(frame)
        self.actions.append(Reject(FrameError(NAME, frame, f"{type(error).__name__}: {error}")))
        self._answered = self._answered or bool(streams)
        for pair in suspects:
            pair.heard = recv
        return [event for pair in suspects for event in self._missed(pair, recv)]

    def _named_in(self, frame: bytes) -> list[_Pair]:
        """The pairs that a frame may be of: those whose name is in it, else all, unless it is too short for a book."""
        named = [pair for pair in self._pairs.values() if any(name in frame for name in pair.spellings)]
        return named or (list(self._pairs.values()) if len(frame) >= _SHORTEST else [])

    def _missed(self, pair: _Pair, recv: int) -> list[Event]:
        """A message of this pair is missing: what that means for its streams."""
        if not self._well(pair):
            return []
        if not self._with_books:
            return self.gaps(self._streams(pair), recv)  # the next one says all there is to say
        return self._mend(pair, recv, NOT_UNDERSTOOD)

    def _understand(self, pair: _Pair, data: BookData, recv: int) -> list[Event]:
        ts = nanoseconds(data.timestamp)
        bids, asks = self._coins(pair, data.bids), self._coins(pair, data.asks)
        if data.type == "snapshotL1":
            pair.awaited = pair.retry = None
            return self._quote(pair, (bids[0] if bids else None, asks[0] if asks else None), ts, recv)
        if data.type not in ("snapshot", "delta"):
            raise ValueError(f"unknown type {shortened(data.type)}")
        if data.seqNum is None or (data.prevSeqNum is None and data.type == "delta"):
            raise ValueError("no seqNum, or no prevSeqNum")
        if not 0 <= data.seqNum < _MOST or not 0 <= (data.prevSeqNum or 0) < _MOST:
            raise ValueError("seqNum or prevSeqNum is no such number")
        if data.type == "snapshot":
            event = BookSnapshot(
                pair.name, ts, recv, str(data.seqNum), best_first(bids, bids=True), best_first(asks, bids=False)
            )
            return self._snapshot(pair, event, data.seqNum)
        delta = BookDelta(pair.name, ts, recv, str(data.seqNum), bids, asks, str(data.prevSeqNum))
        return self._delta(pair, delta, data.seqNum, data.prevSeqNum)

    def _snapshot(self, pair: _Pair, event: BookSnapshot, number: int) -> list[Event]:
        """At most 50 levels a side; asks come worst first. One ahead of the chain shows that deltas were missed."""
        pair.book.replace(event.bids, event.asks)
        if pair.book.crossed():
            return self._mend(pair, event.recv, "the snapshot is crossed")
        missed: list[Event] = []
        if pair.last is not None and number > pair.last:
            reason = f"seqNum {pair.last} was last, then came a snapshot of {number}"
            count = number - pair.last
            missed = [Control(pair.name, None, event.recv, Channel.BOOK, ControlEvent.GAP, reason, count)]
        pair.last = number
        pair.awaited = pair.retry = None
        pair.mending = False
        return [*missed, event, *self._book_quote(pair, event)]

    def _delta(self, pair: _Pair, event: BookDelta, number: int, continued: int | None) -> list[Event]:
        """What stands after a gap is of no use, and counts as lost: the snapshot that is under way makes it good."""
        if pair.last is None and pair.retry is not None:
            return []
        if pair.last is None:
            return (
                [event] if pair.mending else [*self._mend(pair, event.recv, "a delta came before its snapshot"), event]
            )
        if 0 <= pair.last - number < _REPEAT:
            return []
        if continued != pair.last:
            reason = f"seqNum {pair.last} was last, {number} continues {continued}"
            return [*self._mend(pair, event.recv, reason), event]
        pair.book.apply(event.bids, event.asks)
        if pair.book.crossed():
            return [*self._mend(pair, event.recv, "the book is crossed"), event]
        pair.last = number
        return [event, *self._book_quote(pair, event)]

    def _book_quote(self, pair: _Pair, event: BookSnapshot | BookDelta) -> list[Event]:
        """Best prices out of the book, where they are wanted."""
        if Channel.QUOTES not in self._channels:
            return []
        return self._quote(pair, (pair.book.bids.best(), pair.book.asks.best()), event.ts, event.recv)

    def _quote(
        self, pair: _Pair, best: tuple[tuple[str, str] | None, tuple[str, str] | None], ts: int | None, recv: int
    ) -> list[Event]:
        """A quote, when it says something new; a side may be empty.

        ``{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],"type":
        "snapshotL1","symbol":"ETHPFC","timestamp":1759373840687}}``
        """
        if best == pair.best:
            return []
        pair.best = best
        bid, ask = (side or ("", "") for side in best)
        return [Quote(pair.name, ts, recv, *bid, *ask)]

    def _coins(self, pair: _Pair, levels: Levels) -> Levels:
        check_levels(levels)
        return [(price, self._contracts.coins(pair.name, size)) for price, size in levels]

    def _mend(self, pair: _Pair, now: int, reason: str) -> list[Event]:
        """The book is no good: say so, and fetch a snapshot; after some failures, over a new connection.

        Where that was in vain already while other pairs are well, the pair is down, and asked for again now and then.
        """
        pair.failures += 1
        pair.failed_at = now
        pair.last = None
        pair.best = (None, None)
        streams = self._streams(pair)
        if pair.failures <= _FAILURES:
            self._subscribe_anew(pair, now)
        elif reason is NOT_UNDERSTOOD:
            # The exchange would write the same over a new connection, and the other pairs are well on this one.
            self._give_up(pair, now, pair.patience)
            pair.patience = min(2 * pair.patience, _MOST_PATIENCE)
            return self.dead(streams, now, reason)
        elif pair.name in self._troubled and any(map(self._well, self._pairs.values())):
            self._give_up(pair, now)
            self.actions.append(Warn(f"{pair.name}: {reason}; over a new connection, too"))
            return self.dead(streams, now, reason)
        else:
            wait = _PAUSE if pair.name in self._troubled else 0.0
            self._troubled.add(pair.name)
            pair.awaited = None
            pair.mending = True
            self.actions.append(Reconnect(f"{pair.name}: {reason}, {pair.failures} times within a minute", wait))
        return self.gaps(streams, now, reason)

    def _give_up(self, pair: _Pair, now: int, wait: int = _RETRY) -> None:
        pair.last = pair.awaited = None
        pair.mending = True
        pair.failures = 0
        pair.retry = now + wait

    def _subscribe_anew(self, pair: _Pair, now: int) -> None:
        pair.last = None
        pair.awaited = now
        pair.mending = True
        if pair.retry is not None:
            pair.retry = None
            pair.failures, pair.failed_at = _FAILURES, now  # one attempt, then down again
        self._anew[self._topic(pair.name)] = None

    def _ask_anew(self) -> None:
        if self._anew:
            topics = list(self._anew)
            self._anew.clear()
            self.unsubscribe(topics)
            self.subscribe(topics)

    def _clock_back(self, now: int) -> None:
        for pair in self._pairs.values():
            pair.heard, pair.failed_at = min(pair.heard, now), min(pair.failed_at, now)
            if pair.awaited is not None:
                pair.awaited = min(pair.awaited, now)
            if pair.retry is not None:
                pair.retry = min(pair.retry, now + pair.patience)
