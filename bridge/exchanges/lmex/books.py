"""Order books and best prices over LMEX's OSS endpoints.

Deltas are chained (``seqNum``, ``prevSeqNum``); the connector holds the books to that (`Lmex.book`), and has those that
are no good unsubscribed and subscribed, which brings a snapshot and leaves the other pairs alone. Pairs that are mended
at the same time share the two messages.

A book that says nothing is either quiet or dead: subscribing to it once more tells which, because the exchange answers
with a snapshot, and the chain goes on across it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.exchange_errors import ErrorKind, FrameError, ReportedError
from bridge.exchanges.api import Reconnect, Reject, Said, Subscription
from bridge.exchanges.lmex.messages import NAME, BookData, Envelope, decode_book, nanoseconds
from bridge.exchanges.lmex.names import Contracts, Market, old_symbol, pair_of
from bridge.exchanges.lmex.options import LmexOptions
from bridge.exchanges.lmex.session import LmexSession
from bridge.exchanges.toolkit.numbers import SECOND, best_first, check_levels, shortened
from bridge.exchanges.toolkit.salvage import UNREADABLE
from bridge.model import BookDelta, BookSnapshot, Channel, Event, Levels, Quote

__all__ = ["BooksSession"]

_RETRY = 60 * SECOND
"""Between attempts at a topic that the exchange refuses, or says nothing of while it serves the others."""
_MOST = 2**63
_QUIET = 20 * SECOND
"""Silence after which a book is asked whether it is still there; its answer comes before it would be stale."""
_SHORTEST = 100
"""No book message is shorter than so many bytes."""


class BooksSession(LmexSession):
    """The books, or where no books are wanted the best prices, of some pairs of one market."""

    def __init__(
        self,
        url: str,
        market: Market,
        pairs: tuple[str, ...],
        channels: frozenset[Channel],
        *,
        contracts: Contracts,
        options: LmexOptions,
    ) -> None:
        super().__init__(f"{url}/ws/oss/{market}")
        self._pairs = pairs
        self._channels = sorted(channels & {Channel.BOOK, Channel.QUOTES})
        self._channel = self._channels[0]
        """Whose stream misses a message; best prices that come out of a book are seen to with it."""
        self._contracts = contracts
        self._limit = int(options.snapshot_timeout * SECOND)
        self._answered = False
        self._asked: dict[str, int] = {}
        """Pairs of which nothing has been heard yet, and since when (ns)."""
        self._retry: dict[str, int] = {}
        """Pairs that are refused, and when to ask again."""
        self.unserved: set[str] = set()
        self._anew: dict[str, None] = {}
        """Pairs that are to be unsubscribed and subscribed, all in one message each."""
        self._came_at: dict[str, int] = {}
        """When each pair's last message came (ns)."""
        self._best: dict[str, tuple[str, ...]] = {}
        self._suspects: list[str] = []
        """Whose message the frame was that could not be understood."""

    def connected(self, now: int) -> None:
        super().connected(now)
        self._asked = dict.fromkeys(self._pairs, now)
        self.subscribe([self._topic(pair) for pair in self._pairs])

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        self._ask_anew()
        try:
            return super().receive(frame, recv)
        except FrameError:
            self._suspects = self._named_in(frame)
            raise

    def rejected(self, recv: int) -> Sequence[Event]:
        """The chain would show what is missing, but only with the next message."""
        suspects, self._suspects = self._suspects, []
        return self.gaps(self._served(suspects), recv)

    def tick(self, now: int) -> Sequence[Event]:
        super().tick(now)
        late = [pair for pair, since in self._asked.items() if now - since > self._limit]
        reason = f"no answer to the subscription within {self._limit / SECOND:g} s"
        if late and not self._answered:
            self._asked.clear()
            self.actions.append(Reconnect(reason))
            return ()
        events = [event for pair in late for event in self._unanswered(pair, now, reason)]
        due = [pair for pair, at in self._retry.items() if now >= at]
        for pair in due:
            del self._retry[pair]
            self._asked[pair] = now
        self._anew.update(dict.fromkeys(due))
        self._ask_anew()
        quiet = [
            pair for pair, heard in self._came_at.items() if now - heard >= _QUIET and self._channel is Channel.BOOK
        ]
        self._came_at.update(dict.fromkeys(quiet, now))
        self.subscribe([self._topic(pair) for pair in quiet])
        return events

    def resync(self, subject: str, now: int, reason: str) -> None:
        """Have this pair unsubscribed and subscribed, together with the others that are asked for by the next frame."""
        del now, reason
        if subject in self._pairs and subject not in self._asked and subject not in self._retry:
            self._anew[subject] = None

    def _ask_anew(self) -> None:
        if self._anew:
            topics = [self._topic(pair) for pair in self._anew]
            self._anew.clear()
            self.unsubscribe(topics)
            self.subscribe(topics)

    # --- what is served --------------------------------------------------------------------------------------------

    def _topic(self, pair: str) -> str:
        return f"update:{pair}_0" if self._channel is Channel.BOOK else f"snapshotL1:{pair}"

    def _streams_of(self, topic: str) -> list[Subscription]:
        pair = pair_of(topic.partition(":")[2].partition("_")[0])
        return self._streams(pair) if pair in self._pairs else []

    def _streams(self, pair: str) -> list[Subscription]:
        return [Subscription(channel, pair) for channel in self._channels]

    def _served(self, pairs: Iterable[str]) -> list[Subscription]:
        return [stream for pair in pairs if (stream := Subscription(self._channel, pair)) in self._live]

    def _acknowledged(self, message: Envelope, recv: int) -> list[Event]:
        self._answered = True
        for topic in message.channel or ():
            for stream in self._streams_of(topic):
                self._answers(stream.subject)
        return super()._acknowledged(message, recv)

    def _answers(self, pair: str) -> None:
        """The exchange serves it."""
        self._answered = True
        self._asked.pop(pair, None)
        self._retry.pop(pair, None)
        self.unserved.discard(pair)

    def _refused(self, error: ReportedError, recv: int) -> list[Event]:
        self._answered = True
        if error.topic not in map(self._topic, self._pairs):
            return []
        return self._give_up(self._streams_of(error.topic)[0].subject, recv, error.words)

    def _unanswered(self, pair: str, now: int, reason: str) -> list[Event]:
        if pair not in self.unserved:
            error = ReportedError(NAME, reason, ErrorKind.TOPIC_LEFT_OUT, topic=self._topic(pair))
            self.actions.append(Said(error, f"no {' and '.join(self._channels)} of {pair}"))
        return self._give_up(pair, now, reason)

    def _give_up(self, pair: str, now: int, reason: str) -> list[Event]:
        self._asked.pop(pair, None)
        self._came_at.pop(pair, None)
        self._retry[pair] = now + _RETRY
        self.unserved.add(pair)
        return self.dead(self._streams(pair), now, reason)

    def _clock_back(self, now: int) -> None:
        self._asked = {pair: min(since, now) for pair, since in self._asked.items()}
        self._came_at = {pair: min(heard, now) for pair, heard in self._came_at.items()}
        self._retry = {pair: min(at, now + _RETRY) for pair, at in self._retry.items()}

    # --- data ------------------------------------------------------------------------------------------------------

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
            self._came_at[pair] = recv
            events = self._understand(pair, data, recv)
        except (*UNREADABLE, ValueError) as error:
            return self._bad(message.topic, frame, error, recv)
        self._answers(pair)
        return [*self.lively(self._streams(pair), recv), *events]

    def _pair_of(self, data: BookData, topic: str) -> str | None:
        pair = pair_of(data.symbol)
        if pair in self._pairs:
            return pair
        if self._streams_of(topic):
            raise ValueError(f"{shortened(data.symbol)} is not the topic's")
        return None

    def _understand(self, pair: str, data: BookData, recv: int) -> list[Event]:
        """At most 50 levels a side; a snapshot's asks come worst first."""
        ts = nanoseconds(data.timestamp)
        bids, asks = self._coins(pair, data.bids), self._coins(pair, data.asks)
        if data.type == "snapshotL1":
            return self._quote(pair, bids, asks, ts, recv)
        if data.type not in ("snapshot", "delta"):
            raise ValueError(f"unknown type {shortened(data.type)}")
        if data.seqNum is None or (data.prevSeqNum is None and data.type == "delta"):
            raise ValueError("no seqNum, or no prevSeqNum")
        if not 0 <= data.seqNum < _MOST or not 0 <= (data.prevSeqNum or 0) < _MOST:
            raise ValueError("seqNum or prevSeqNum is no such number")
        xseq = str(data.seqNum)
        if data.type == "delta":
            return [BookDelta(pair, ts, recv, xseq, bids, asks, str(data.prevSeqNum))]
        return [BookSnapshot(pair, ts, recv, xseq, best_first(bids, bids=True), best_first(asks, bids=False))]

    def _quote(self, pair: str, bids: Levels, asks: Levels, ts: int, recv: int) -> list[Event]:
        """A quote, when it says something new; a side may be empty.

        ``{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],"type":
        "snapshotL1","symbol":"ETHPFC","timestamp":1759373840687}}``
        """
        best = (*(bids[0] if bids else ("", "")), *(asks[0] if asks else ("", "")))
        if best == self._best.get(pair):
            return []
        self._best[pair] = best
        return [Quote(pair, ts, recv, *best)]

    def _coins(self, pair: str, levels: Levels) -> Levels:
        check_levels(levels)
        return [(price, self._contracts.coins(pair, size)) for price, size in levels]

    # --- what can't be understood ------------------------------------------------------------------------------------

    def _damaged(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event] | None:
        return self._bad(topic, frame, error, recv) if topic.startswith(("update:", "snapshotL1:")) else None

    def _bad(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event]:
        """A message can't be understood: its pair has missed it, and no other."""
        streams = self._streams_of(topic)
        suspects = [streams[0].subject] if streams else self._named_in(frame)
        self.actions.append(Reject(FrameError(NAME, frame, f"{type(error).__name__}: {error}")))
        self._answered = self._answered or bool(streams)
        self._came_at.update(dict.fromkeys(suspects, recv))
        return self.gaps(self._served(suspects), recv)

    def _named_in(self, frame: bytes) -> list[str]:
        """The pairs that a frame may be of: those whose name is in it, else all, unless it is too short for a book."""
        named = [pair for pair in self._pairs if any(name in frame for name in _spellings(pair))]
        return named or (list(self._pairs) if len(frame) >= _SHORTEST else [])


def _spellings(pair: str) -> tuple[bytes, ...]:
    return f"{pair}_".encode(), f'{pair}"'.encode(), old_symbol(pair).encode()
