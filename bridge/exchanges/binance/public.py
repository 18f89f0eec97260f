"""Binance's public streams, of spot and of USD-M futures: trades, books, best prices, tickers.

Each message is wrapped with the name of its stream. A symbol is the same text in both markets: the host tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, Struct

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse, Output, Pause, Replace, Said, Subscription, Unknown
from bridge.exchanges.binance.rest import Market, failure, instant
from bridge.exchanges.toolkit.rest.rest import asked
from bridge.exchanges.toolkit.sessions.coded_errors import CodedError
from bridge.exchanges.toolkit.sessions.pings import NoPings
from bridge.exchanges.toolkit.sessions.proven_session import ProvenSession
from bridge.exchanges.toolkit.sessions.snapshots import SnapshotFetches
from bridge.exchanges.toolkit.sessions.topics import Request, Topics
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import decode_rows, nested
from bridge.exchanges.toolkit.values.holes import TradeNumbers
from bridge.exchanges.toolkit.values.numbers import best_first, check_levels, shortened
from bridge.exchanges.toolkit.values.salvage import UNREADABLE
from bridge.model import BookDelta, BookSnapshot, Channel, Funding, Levels, Liquidation, Mark, Quote, Ticker, Trade

__all__ = ["MOST_IN_FULL", "PublicSession"]

MOST_IN_FULL = 20
"""Levels a side up to which there are streams whose every message is the whole book."""
_MOST_NAMES, _MOST_BYTES = 100, 3_500
"""Streams of one request, and bytes of their names: what is longer than some 4 KB is ignored, without an answer."""
_LIST = 0
"""The id of the request for a list; those of subscriptions begin at 1."""
_SIDES = {"BUY": "buy", "SELL": "sell"}
_TRADED = ("MARKET", "RPI")


class _Message(Struct):
    """Any message: data has the name of its ``stream``, an answer the ``id`` of its request."""

    stream: str = ""
    data: Raw = Raw()
    e: str = ""
    id: int | str | None = None
    result: Raw = Raw()
    code: int | None = None
    msg: str = ""
    error: CodedError | None = None


class _Data(Struct, kw_only=True):
    """What all have: the symbol, but for a spot book of few levels, and the kind of futures: 1 is USD-M, 2 COIN-M."""

    s: str = ""
    st: int = 1
    E: int = 0
    T: int = 0


class _Trade(_Data):
    p: str
    q: str
    m: bool
    t: int = 0
    a: int = 0
    X: str = "MARKET"


class _Book(_Data):
    """Changed levels (``U`` to ``u``), or all (``lastUpdateId`` or ``u``)."""

    U: int = 0
    u: int = 0
    pu: int = -1
    b: Levels | None = None
    a: Levels | None = None
    lastUpdateId: int = 0  # noqa: N815 - the exchange's name
    bids: Levels | None = None
    asks: Levels | None = None

    def sides(self) -> tuple[Levels, Levels]:
        """Bids and asks.

        Raises:
            ValueError: one is missing, or has what is no level.
        """
        bids, asks = (self.bids, self.asks) if self.b is None else (self.b, self.a)
        if bids is None or asks is None or not 0 < max(self.u, self.lastUpdateId) < 2**63:
            raise ValueError("a side or the number is missing")
        check_levels(bids)
        check_levels(asks)
        return bids, asks


class _Best(_Data):
    b: str
    B: str
    a: str
    A: str


_decode_message: Callable[[bytes], _Message] = msgspec.json.Decoder(_Message).decode
_decode_names: Callable[[Any], list[str]] = msgspec.json.Decoder(list[str]).decode
_decode_head: Callable[[Any], _Data] = msgspec.json.Decoder(_Data).decode
_decode_book: Callable[[Any], _Book] = msgspec.json.Decoder(_Book).decode
_decode_trade: Callable[[Any], _Trade] = msgspec.json.Decoder(_Trade).decode
_decode_best: Callable[[Any], _Best] = msgspec.json.Decoder(_Best).decode


class PublicSession(ProvenSession):
    """Some pairs of one market; each stream feeds one pair.

    Args:
        url: where the connection goes.
        market: which one.
        symbols: pair → its name at the exchange.
        streams: the exchange's stream → what it feeds.
        depth: levels a side of a book's snapshot.
        canary: a stream that always speaks, where a wrong path would acknowledge everything.
        halted: pair → why it can't be traded.
    """

    _topic_field: ClassVar = "stream"

    def __init__(
        self,
        url: str,
        market: Market,
        symbols: Mapping[str, str],
        streams: Mapping[str, list[Subscription]],
        *,
        depth: int,
        canary: str = "",
        halted: Mapping[str, str] | None = None,
    ) -> None:
        streams = {**({canary: []} if canary else {}), **streams}
        topics = Topics(streams, _MOST_NAMES, most_bytes=_MOST_BYTES)
        super().__init__(market.name, url, streams, topics, NoPings())
        self._canary = canary
        self._listing = msgspec.json.encode({"method": "LIST_SUBSCRIPTIONS", "id": _LIST}).decode()
        self._market = market
        self._symbols = symbols
        self._depth = depth
        self._in_full = depth <= MOST_IN_FULL
        """Whether each message of a book is all of it."""
        self._halted = halted or {}
        self._books = {of.subject: topic for topic in streams for of in streams[topic] if of.channel is Channel.BOOK}
        self._snapshots = SnapshotFetches(self._fetch_book)
        self._trades = TradeNumbers()
        self._fed = {of for topic in streams.values() for of in topic}
        self._funding: dict[str, tuple[str, int]] = {}
        """Pair → what was told of its next funding."""

    def connected(self, now: int) -> Sequence[Output]:
        return self._begin(now)

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """By REST; of few levels each message is the whole book, and a new subscription brings one."""
        del now, reason
        topic = self._books.get(subject)
        if topic is None:
            return ()
        if self._in_full:
            self._due.add(topic)
            return ()
        return self._snapshots.begin(subject)

    def rejected(self, recv: int) -> Sequence[Output]:
        self._trades.forget_all()
        self._funding.clear()
        return super().rejected(recv)

    # Requests and answers

    def _decode(self, frame: bytes) -> tuple[str, _Message]:
        message = _decode_message(frame)
        return "" if message.stream == "!serverShutdown" else message.stream, message

    def _request(self, request: Request) -> str:
        """``{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":1}``."""
        method = request.op.upper()
        return msgspec.json.encode({"method": method, "params": request.topics, "id": int(request.ident)}).decode()

    def _answer(self, message: _Message, recv: int) -> list[Output]:
        """An acknowledgement has no more than its request's id; errors come in two forms, and a shutdown in two.

        ``{"result":null,"id":1}``
        ``{"code":2,"msg":"Invalid request: unknown variant …","id":4}``
        ``{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}``
        ``{"result":["btcusdt@trade"],"id":0}``
        ``{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}``
        """
        if message.stream or message.e == "serverShutdown":
            return [Replace("the exchange shuts this server down")]
        error = message.error if message.code is None else CodedError(message.code, message.msg)
        if error is not None:
            said = ReportedError(self._exchange, error.msg, ErrorKind.BAD_REQUEST, code=error.code)
            return [Said(said), *self._refused(str(message.id), said.words, "", recv)]
        if message.id == _LIST:
            try:
                return self._listed(_decode_names(message.result), recv)
            except UNREADABLE:
                return [Unknown("list of subscriptions")]
        if message.id is None:
            return [Unknown(message.e or "message without stream")]
        return self._acknowledged(str(message.id), recv)

    def _settle(self, served: Iterable[str], refused: Iterable[str], now: int, *, told: bool = False) -> list[Output]:
        """A pair that is halted is acknowledged, too: until something comes, there is nothing to be expected."""
        news = list(served)
        out = super()._settle(news, refused, now, told=told)
        pairs = dict.fromkeys(of.subject for topic in news for of in self._streams[topic])
        return [*out, *(Pause(self._halted[pair], None, [pair]) for pair in pairs if pair in self._halted)]

    # Data

    def _data(self, topic: str, message: _Message, recv: int) -> list[Output]:
        of = self._streams[topic]
        if not of:
            return []  # the canary
        head = _decode_head(message.data)
        if head.st != 1:
            return []
        if head.s and head.s.lower() != topic.partition("@")[0]:
            raise ValueError(f"{shortened(head.s)} is not the stream's symbol")
        return _READ[topic.split("@")[1].rstrip("0123456789")](self, of[0].subject, message.data, recv)

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        for stream in self._streams[topic]:
            if stream.channel is Channel.TRADES:
                self._trades.forget(stream.subject)
            self._funding.pop(stream.subject, None)
        return super()._salvage(topic, message, frame, recv=recv, error=error)

    def _trade(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """A trade, or all that one order got at one price; ``m``: the buyer was the maker.

        Between the trades of futures, ``MARKET`` and ``RPI`` (with an order of retail price improvement), there are prints
        of the insurance fund and the like, at prices far off, and empty ones (``X``).

        ``{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}``
        ``{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":
        123456785,"m":true,"st":1}``
        """
        data = _decode_trade(raw)
        number = data.t or data.a
        if number < 1:
            raise ValueError("no id")
        gap = self._trades.came(pair, number, recv)
        if data.X not in _TRADED:
            return [*gap]
        side = "sell" if data.m else "buy"
        return [*gap, checked(Trade(pair, instant(data.T), recv, str(number), side, data.p, data.q))]

    def _levels(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """Changed levels. Spot counts changes from ``U`` to ``u``; of futures ``pu`` is the ``u`` of the message before.

        ``{"e":"depthUpdate","E":1633998512068,"s":"NKNUSDT","U":499869750,"u":499869752,"b":[["0.35130000",
        "6195.00000000"]],"a":[]}``
        ``{"e":"depthUpdate","E":123456789,"T":123456788,"s":"BTCUSDT","U":157,"u":160,"pu":149,"b":[["0.0024","10"]],
        "a":[["0.0026","100"]],"ps":"BTCUSDT","st":1}``
        """
        data = _decode_book(raw)
        if self._in_full:
            return [_whole(pair, data, recv)]
        before = data.pu if self._market.chained else data.U - 1
        if not 0 <= before <= data.u:
            raise ValueError(f"numbers from {before} to {data.u}")
        return [BookDelta(pair, instant(data.T or data.E), recv, str(data.u), *data.sides(), str(before))]

    def _fetch_book(self, pair: str) -> Flow[BookSnapshot]:
        market, limit = self._market, self._depth
        path = f"{market.api}/depth?symbol={self._symbols[pair]}&limit={limit}"
        request = HttpRequest("GET", path, weight=next(cost for most, cost in market.weights if limit <= most))

        def read(answer: HttpResponse) -> BookSnapshot:
            return _whole(pair, _decode_book(answer.body), answer.recv)

        return (yield from asked(market.name, request, partial(failure, market), read))

    def _best(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """Best prices; spot gives no time. A side without orders is all zeros.

        ``{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}``
        """
        data = _decode_best(raw)
        sides = ((data.b, data.B), (data.a, data.A))
        bid, ask = ((price, size) if size.strip("0.") else ("", "") for price, size in sides)
        return [checked(Quote(pair, instant(data.T) if data.T else None, recv, *bid, *ask))]

    def _day(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """The last 24 hours, always whole; ``P`` is in percent.

        ``{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018","c":"0.0025","Q":"10",
        "o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}``
        """
        [row] = decode_rows(raw)
        values = [row[name] for name in ("o", "h", "l", "c", "p", "P", "v")]
        return [checked(Ticker(pair, instant(int(row["E"])), recv, "86400", *values))]

    def _mark(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """The mark price each second, and the next funding where that has changed; dated futures have none.

        ``{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091","P":
        "11784.25641265","r":"0.00038167","T":1562306400000,"st":1}``
        """
        [row] = decode_rows(raw)
        ts, due, out = instant(int(row["E"])), int(row["T"]), list[Output]()
        if Subscription(Channel.MARK, pair) in self._fed:
            out.append(checked(Mark(pair, ts, recv, row["p"], row["i"])))
        if Subscription(Channel.FUNDING, pair) in self._fed and self._funding.get(pair) != (row["r"], due):
            out.append(checked(Funding(pair, ts, recv, row["r"], instant(due) if due else None, "")))
            self._funding[pair] = (row["r"], due)
        return out

    def _forced(self, pair: str, raw: Raw, recv: int) -> list[Output]:
        """The largest liquidation of a second, as it was executed.

        ``{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910",
        "ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}``
        """
        [row] = decode_rows(raw)
        order = nested(row, "o")
        if self._symbols[pair] != order["s"]:
            raise ValueError(f"{shortened(order['s'])} is not the stream's symbol")
        side, ts = _SIDES[order["S"]], instant(int(order["T"]))
        return [checked(Liquidation(pair, ts, recv, "", side, order["ap"], order["z"]))]


def _whole(pair: str, data: _Book, recv: int) -> BookSnapshot:
    """A book in full: of a stream of few levels, or by REST.

    ``{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}``
    """
    at = data.T or data.E
    bids, asks = data.sides()
    best = best_first(bids, bids=True), best_first(asks, bids=False)
    return BookSnapshot(pair, instant(at) if at else None, recv, str(data.u or data.lastUpdateId), *best)


_READ: dict[str, Callable[[PublicSession, str, Raw, int], list[Output]]] = {
    "trade": PublicSession._trade,  # noqa: SLF001 - its own
    "aggTrade": PublicSession._trade,  # noqa: SLF001
    "depth": PublicSession._levels,  # noqa: SLF001
    "bookTicker": PublicSession._best,  # noqa: SLF001
    "ticker": PublicSession._day,  # noqa: SLF001
    "markPrice": PublicSession._mark,  # noqa: SLF001
    "forceOrder": PublicSession._forced,  # noqa: SLF001
}
"""What reads the messages of each kind of stream."""
