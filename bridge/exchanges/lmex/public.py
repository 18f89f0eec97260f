"""LMEX's public connections: order books and best prices over the OSS endpoints, trades over the main ones."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bridge.exchange_errors import ErrorKind, FrameError, ReportedError
from bridge.exchanges.api import Output, Reconnect, Reject, Said, Subscription, Unknown
from bridge.exchanges.lmex.messages import (
    GROUPING_IGNORED,
    NAME,
    BookData,
    Envelope,
    Market,
    TradeRow,
    decode_book,
    decode_trade,
    decode_trades,
    envelope,
    nanoseconds,
    old_symbol,
    pair_of,
)
from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.session import SubscribingSession
from bridge.exchanges.toolkit.sessions.topics import Request
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import fields_of, text
from bridge.exchanges.toolkit.values.numbers import SECOND, best_first, check_levels, check_numbers, shortened
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, Damage, peek, rows_of
from bridge.model import BookDelta, BookSnapshot, Channel, Levels, Quote, Trade

__all__ = ["BooksSession", "LmexSession", "TradesSession"]

_PONGS = frozenset({b"pong", b"ping"})
_OF_THE_CONNECTION = (ErrorKind.BUFFER_FULL, ErrorKind.TOO_MANY_FAILURES, ErrorKind.SESSION_EXPIRED)
"""Errors that end the connection, also where a topic is named."""
_ANSWERS = ("subscribe", "unsubscribe", "login", "authKeyExpires", "pong")
_MOST = 2**63
_QUIET = 20 * SECOND
"""Silence after which a book is asked for again: the answer shows that it is there still, before it would be stale."""
_SHORTEST = 100
"""No book message is shorter than so many bytes."""
_SIDES = {"BUY": "buy", "SELL": "sell"}


class LmexSession(SubscribingSession):
    """One connection: pings, answers that name topics, errors in all their forms.

    ``kinds`` are what the names of its topics begin with.
    """

    def __init__(
        self, url: str, streams: Mapping[str, list[Subscription]], topics: NamedTopics, kinds: tuple[str, ...]
    ) -> None:
        # The exchange hangs up after 60 seconds without a ping.
        super().__init__(NAME, url, streams, topics, Pings("ping", 15, limit=10))
        self._named = topics
        self._kinds = kinds
        self._names = {fed[0].subject: topic for topic, fed in streams.items()}
        """Pair → topic."""

    def connected(self, now: int) -> Sequence[Output]:
        self._pings.begin(now)
        return self._begin(now)

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        self._pings.heard = True
        if frame in _PONGS:
            return []
        try:
            message = envelope(frame)
        except UNREADABLE as error:
            return self._unreadable(frame, recv, error)
        topic = message.topic
        if not topic:
            return self._answer(message, recv)
        if not topic.startswith(self._kinds):
            return [Unknown(topic.partition(":")[0])]
        return self._rows(message, frame, recv)

    def rejected(self, recv: int) -> Sequence[Output]:
        return self.gaps(self._missing("", b""), recv)

    @abstractmethod
    def _rows(self, message: Envelope, frame: bytes, recv: int) -> list[Output]:
        """The events of a message of one of the topics."""

    def _name(self, topic: str) -> str | None:
        """Which of the session's topics this is, in whatever spelling."""
        if not topic.startswith(self._kinds):
            return None
        return self._names.get(pair_of(topic.partition(":")[2].partition("_")[0]))

    def _missing(self, topic: str, frame: bytes) -> list[Subscription]:
        """The streams that miss something where a frame can't be understood; its topic may be known."""
        del frame
        name = self._name(topic)
        return [stream for one in ([name] if name else self._streams) for stream in self._streams[one]]

    def _unreadable(self, frame: bytes, recv: int, error: Exception) -> Sequence[Output]:
        """A frame that isn't JSON, or has another form than any message: judged by its first fields."""
        topic = peek(frame, "topic")
        if topic or (peek(frame, "event") not in _ANSWERS and not peek(frame, "severity")):
            return self._bad(topic, frame, error, recv)
        return [_reject(frame, error)]  # an answer, and no data; one that is waited for will be missed

    def _bad(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Output]:
        """A message can't be understood."""
        return [_reject(frame, error), *self.gaps(self._missing(topic, frame), recv)]

    def _came(self, name: str, recv: int) -> list[Output]:
        """What it means that data of a topic has come: it is served, also where the answer is still to come."""
        return self._settle([name], (), recv) if self._topics.came(name, recv) else []

    # Answers

    def _request(self, request: Request) -> str:
        forms = [self._named.form(name) for name in request.topics]
        return msgspec.json.encode({"op": request.op, "args": forms}).decode()

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        """``{"event":"subscribe","channel":["tradeHistoryApi:BTC-USD"]}``: in any order, and maybe after the first data.

        Topics that aren't accepted are not in it.
        """
        if message.is_pong:
            return []
        if message.event in ("login", "authKeyExpires"):
            return self._logged_in(message, recv)
        if message.is_fault:
            return self._faults(message, recv)
        if message.event == "subscribe":
            names = [name for topic in message.channel or () if (name := self._name(topic))]
            return self._settle(*self._named.accepted(names, recv), recv) if names or not message.channel else []
        if message.event == "unsubscribe":
            return []
        return [Unknown(message.event or message.op or "message without topic")]

    def _logged_in(self, message: Envelope, recv: int) -> list[Output]:
        del recv
        return [Unknown(message.event)]

    def _faults(self, message: Envelope, recv: int) -> list[Output]:
        """Errors of topics, of the request, or of the session; each is said, and what is refused is ``down``.

        ``{"severity":"ERROR","errors":[{"arg":"update:NOPE-PERP_0","error":{"code":1000,"message":"Market pair provided
        is currently not supported."}}]}``
        """
        out: list[Output] = []
        for error in message.faults() or [message.fault()]:
            if not error.topic or error.kind in _OF_THE_CONNECTION:
                out += self._failed(error, recv)
                continue
            out.append(Said(error))
            name = self._name(error.topic)
            if name and error.code != GROUPING_IGNORED:
                out += self._topic_refused(name, error, recv)
        return out

    def _topic_refused(self, name: str, error: ReportedError, recv: int) -> list[Output]:
        """The exchange doesn't serve a topic, or one of its forms."""
        return self._settle((), self._named.rejected_topic(name, error.words, recv), recv, told=True)

    def _failed(self, error: ReportedError, recv: int) -> list[Output]:
        """An error of no single topic; after some of them the connection is of no more use."""
        del recv
        if error.kind is ErrorKind.SESSION_EXPIRED:
            return [Said(error), Reconnect(f"the session has expired: {error.words}")]
        if error.kind in _OF_THE_CONNECTION:
            wait = LONG_WAIT if error.kind is ErrorKind.TOO_MANY_FAILURES else 0.0
            return [Said(error), Reconnect(f"the exchange gives this connection up: {error.words}", wait)]
        return [Said(error)]

    def _refusal(self, topic: str, reason: str) -> Output:
        streams = self._streams[topic]
        error = ReportedError(NAME, reason, ErrorKind.TOPIC_LEFT_OUT, topic=self._named.form(topic))
        return Said(error, f"no {' and '.join(one.channel for one in streams)} of {streams[0].subject}")


class BooksSession(LmexSession):
    """The books, or where no books are wanted the best prices, of some pairs of one market.

    Deltas are chained (``seqNum``, ``prevSeqNum``); the connector holds the books to that (`Lmex.book`), and has those
    that are no good unsubscribed and subscribed, which brings a snapshot and leaves the other pairs alone. A book that
    says nothing is subscribed once more: the exchange answers with a snapshot, and the chain goes on across it.
    """

    _quiet_gives_back = False

    def __init__(
        self,
        url: str,
        market: Market,
        pairs: tuple[str, ...],
        channels: frozenset[Channel],
        *,
        contracts: Contracts,
        patience: float,
    ) -> None:
        wanted = sorted(channels & {Channel.BOOK, Channel.QUOTES})
        books = wanted[0] is Channel.BOOK
        streams = {
            f"update:{pair}_0" if books else f"snapshotL1:{pair}": [Subscription(channel, pair) for channel in wanted]
            for pair in pairs
        }
        topics = NamedTopics({topic: (topic,) for topic in streams}, len(streams), limit=patience)
        super().__init__(f"{url}/ws/oss/{market}", streams, topics, ("update:", "snapshotL1:"))
        self._never_quiet = tuple(streams) if books else ()
        self._quiet_after = _QUIET
        self._contracts = contracts
        self._best: dict[str, tuple[str, ...]] = {}

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """Have this pair unsubscribed and subscribed, together with the others that are asked for by the next tick."""
        del now, reason
        topic = self._names.get(subject, "")
        if topic in self._topics.served:
            self._due.add(topic)
        return ()

    def _rows(self, message: Envelope, frame: bytes, recv: int) -> list[Output]:
        """A book message; it is routed by ``data.symbol``, because a topic has several spellings.

        ``{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.6","60672"]],"asks":[],"seqNum":86511210,"prevSeqNum":
        86511209,"type":"delta","symbol":"BTC-PERP","timestamp":1790133628076}}``
        """
        try:
            data = decode_book(message.data)
            pair = pair_of(data.symbol)
            topic = self._names.get(pair)
            events = self._understand(pair, data, recv) if topic else []
        except (*UNREADABLE, ValueError) as error:
            return self._bad(message.topic, frame, error, recv)
        if topic is None:
            if not self._name(message.topic):
                return []
            return self._bad(message.topic, frame, ValueError(f"{shortened(data.symbol)} is not the topic's"), recv)
        return [*self._settle([topic], (), recv), *events] if self._topics.came(topic, recv) else events

    def _understand(self, pair: str, data: BookData, recv: int) -> list[Output]:
        """At most 50 levels a side; a snapshot's asks come worst first.

        ``{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],"type":
        "snapshotL1","symbol":"ETHPFC","timestamp":1759373840687}}``: a side may be empty.
        """
        ts = nanoseconds(data.timestamp)
        bids, asks = self._coins(pair, data.bids), self._coins(pair, data.asks)
        if data.type == "snapshotL1":
            best = (*(bids[0] if bids else ("", "")), *(asks[0] if asks else ("", "")))
            if best == self._best.get(pair):
                return []
            self._best[pair] = best
            return [Quote(pair, ts, recv, *best)]
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

    def _coins(self, pair: str, levels: Levels) -> Levels:
        check_levels(levels)
        return [(price, self._contracts.coins(pair, size)) for price, size in levels]

    def _bad(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Output]:
        for name in self._suspects(topic, frame):
            self._topics.heard(name, recv)
            self._best.pop(self._streams[name][0].subject, None)  # after a gap, the next quote is news
        return super()._bad(topic, frame, error, recv)

    def _missing(self, topic: str, frame: bytes) -> list[Subscription]:
        """The chain would show what is missing, but only with the next message. Quotes are seen to with their book."""
        served = (name for name in self._suspects(topic, frame) if name in self._topics.served)
        return [self._streams[name][0] for name in served]

    def _suspects(self, topic: str, frame: bytes) -> list[str]:
        """The topics that a frame may be of: those whose name is in it, else all, unless it is too short for a book."""
        name = self._name(topic)
        found = [name] if name else [self._names[pair] for pair in self._names if _named_in(pair, frame)]
        return found or (list(self._streams) if not frame or len(frame) >= _SHORTEST else [])


class TradesSession(LmexSession):
    """The trades of some pairs of one market."""

    def __init__(self, url: str, market: Market, pairs: tuple[str, ...], contracts: Contracts) -> None:
        forms: dict[str, tuple[str, ...]] = {}
        streams: dict[str, list[Subscription]] = {}
        for pair in pairs:
            newest = [f"tradeHistoryApiV2:{pair}"] if market is Market.FUTURES else []  # with the new symbols
            spelled = [*newest, f"tradeHistoryApi:{old_symbol(pair)}", f"tradeHistoryApi:{pair}"]
            forms[spelled[0]] = tuple(dict.fromkeys(spelled))
            streams[spelled[0]] = [Subscription(Channel.TRADES, pair)]
        topics = NamedTopics(forms, len(forms), left_out="the exchange doesn't accept the topic")
        super().__init__(f"{url}/ws/{market}", streams, topics, ("tradeHistoryApi",))
        self._contracts = contracts
        self._begun: set[str] = set()
        """Pairs whose first batch, the exchange's recent trades, has come."""

    def _rows(self, message: Envelope, frame: bytes, recv: int) -> list[Output]:
        """Trades, newest first; the first batch of a pair is the exchange's recent history, and isn't marked.

        ``{"topic":"tradeHistoryApi","data":[{"price":77099.9,"size":6530,"side":"SELL","symbol":"BTCPFC","tradeId":
        35993384,"timestamp":1779800209269}]}``
        """
        damage = Damage(NAME, frame, counted=True)
        found: list[Output] = []
        heard: dict[str, None] = {}
        for row in sorted(self._decode_rows(message, damage), key=_number):
            pair = pair_of(row.symbol)
            topic = self._names.get(pair)
            if topic is None:
                if name := self._name(message.topic):
                    damage.row(ValueError(f"{shortened(row.symbol)} is not the topic's"), self._streams[name])
                continue
            heard[pair] = None
            try:
                found.append(self._trade(row, pair, recv))
            except (ValueError, KeyError) as error:
                damage.row(error, self._streams[topic], len(found))
        self._begun.update(heard)
        live = [output for pair in heard for output in self._came(self._names[pair], recv)]
        if damage:
            found = damage.settle(self, found, recv)
        return [*live, *found] if live else found

    def _decode_rows(self, message: Envelope, damage: Damage) -> Iterable[TradeRow]:
        """The rows of a message that can be decoded, each for itself where one can't."""
        try:
            return decode_trades(message.data)
        except UNREADABLE:
            rows = []
            for raw in rows_of(message.data):
                try:
                    rows.append(decode_trade(raw))
                except UNREADABLE as error:
                    damage.row(error, self._streams_of(raw, message.topic))
            return rows

    def _streams_of(self, raw: msgspec.Raw, topic: str) -> list[Subscription]:
        """Who misses a row that can't be decoded: the pair that it names, or its topic; else any of the connection's."""
        with contextlib.suppress(*UNREADABLE, KeyError):
            pair = pair_of(text(fields_of(raw)["symbol"]))
            if pair in self._names:
                return self._streams[self._names[pair]]
        return self._missing(topic, b"")

    def _trade(self, row: TradeRow, pair: str, recv: int) -> Trade:
        ident, ts, price, size = str(row.tradeId), nanoseconds(row.timestamp), text(row.price), text(row.size)
        check_numbers(price, size)
        if not 0 <= row.tradeId < _MOST:
            raise ValueError("tradeId is not an id")
        coins, counted = self._contracts.coins(pair, size), self._contracts.contracts(pair, size) or None
        replay = pair not in self._begun
        return Trade(pair, ts, recv, ident, _SIDES[row.side], price, coins, replay=replay, contracts=counted)


def _reject(frame: bytes, error: Exception) -> Reject:
    return Reject(FrameError(NAME, frame, f"{type(error).__name__}: {error}"))


def _number(row: TradeRow) -> int:
    return row.tradeId


def _named_in(pair: str, frame: bytes) -> bool:
    return f"{pair}_".encode() in frame or f'{pair}"'.encode() in frame or old_symbol(pair).encode() in frame
