"""Kraken's WebSocket v2: requests and their answers, and the public channels of spot. JSON numbers are read as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, json

from bridge.exchange_errors import ErrorKind
from bridge.exchanges.api import Output, Said, Subscription, Unknown, Warn
from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.session import TopicSession
from bridge.exchanges.toolkit.sessions.standstills import Standstills
from bridge.exchanges.toolkit.sessions.topics import Request
from bridge.exchanges.toolkit.sessions.wording import Wording
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.values.checksums import Decimals
from bridge.exchanges.toolkit.values.fields import decoder, digits, fields_of
from bridge.exchanges.toolkit.values.holes import TradeNumbers
from bridge.exchanges.toolkit.values.numbers import (
    best_first,
    check_amounts,
    check_ids,
    check_levels,
    check_values,
    shortened,
)
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, peek, rows_of
from bridge.exchanges.toolkit.values.tickers import SparseTickers
from bridge.model import BookDelta, BookSnapshot, Channel, Levels, Quote, Ticker, Trade

__all__ = ["NAME", "WORDING", "Envelope", "KrakenSession", "PublicSession"]

NAME = "kraken"
_INSTRUMENT = "instrument"
_CHANNELS = {Channel.TRADES: "trade", Channel.BOOK: "book", Channel.QUOTES: "ticker", Channel.TICKER: "ticker"}
_MOST = 50
"""Symbols of one request; a limit isn't known."""
_STANDS_STILL = ("maintenance", "cancel_only", "delisted", "work_in_progress")
"""States of the system, or of a pair, in which nothing is traded."""
WORDING = Wording(
    NAME,
    {
        ErrorKind.UNKNOWN_MARKET: ("Currency pair not supported", "EQuery:Unknown asset pair"),
        ErrorKind.UNKNOWN_TOPIC: ("Subscription name invalid",),
        ErrorKind.SESSION_EXPIRED: ("EAPI:Invalid token", "ESession:Invalid session"),
        ErrorKind.LOGIN_REFUSED: ("EAPI:Invalid", "EAuth:", "Permission denied", "EGeneral:Temporary lockout"),
        ErrorKind.TOO_MANY_REQUESTS: ("Rate limit exceeded", "Too many requests", "EService: Throttled"),
        ErrorKind.BAD_REQUEST: ("EGeneral:Invalid arguments", "Unsupported field"),
    },
    waits={"EGeneral:Temporary lockout": 900.0, "EService:": 5.0},
    hints={
        ("Permission denied", "GetWebSocketsToken"): "the key lacks the permission 'WebSocket interface'",
        ("Permission denied", "OpenOrders"): "the key lacks the permission 'Query open orders & trades'",
        ("Permission denied", "QueryOrders"): "the key lacks the permission 'Query closed orders & trades'",
        ("Permission denied", "TradesHistory"): "the key lacks the permission 'Query closed orders & trades'",
        ("Permission denied", "BalanceEx"): "the key lacks the permission 'Query funds'",
        ("EAPI:Invalid nonce", ""): "does another program use the key?",
    },
)
"""REST and WebSocket use the same words."""
_QUOTE = ("bid", "bid_qty", "ask", "ask_qty")
_DAY = ("high", "low", "last", "change", "change_pct", "volume")


class Envelope(Struct):
    """Any message: data has a ``channel``, an answer a ``method``.

    ``{"channel":"trade","type":"update","data":[…]}``
    ``{"error":"Currency pair not supported XBT/USD","method":"subscribe","req_id":7,"success":false,"symbol":"XBT/USD"}``
    """

    channel: str = ""
    type: str = ""
    data: Raw = Raw()
    sequence: int | None = None
    method: str = ""
    success: Any = None
    error: str | None = None
    symbol: str | None = None
    req_id: Any = None
    result: Raw = Raw(b"{}")


class _Named(Struct):
    """What the result of a request, or a row of data, is about."""

    channel: str = ""
    symbol: Any = ""
    system: str = ""
    warnings: list[str] | None = None


def _about(data: Raw) -> _Named:
    """What a result, or the first row of data, is about; nothing, if that can't be read."""
    with suppress(*UNREADABLE):
        for row in rows_of(data):
            return _decode_named(row)
    return _Named()


class _Level(Struct):
    price: Any
    qty: Any


class _BookRow(Struct):
    symbol: str
    bids: list[_Level] = []
    asks: list[_Level] = []
    checksum: Annotated[int, Meta(ge=0)] | None = None
    timestamp: str | None = None


class _TradeRow(Struct):
    symbol: str
    side: Literal["buy", "sell"]
    price: Any
    qty: Any
    trade_id: Any
    timestamp: str


_decode_envelope = decoder(Envelope)
_decode_named = decoder(_Named)
_decode_books = decoder(list[_BookRow])
_decode_trades = decoder(list[_TradeRow])
_decode_trade = decoder(_TradeRow)
_decode_rows = decoder(list[dict[str, Any]])
_decode_row = decoder(dict[str, Any])


def _channel_of(topic: str) -> str:
    return topic.partition(":")[0]


class KrakenSession(TopicSession):
    """How public and private connections speak. A topic is a channel, with a colon and the symbol where it has symbols.

    A request may name many symbols of one channel; each is answered for itself, and only an acknowledgement always says
    which channel and symbol it is of.
    """

    def __init__(self, url: str, streams: Mapping[str, list[Subscription]], first: str = "") -> None:
        topics = NamedTopics({topic: (topic,) for topic in streams}, _MOST, kind=_channel_of, first=first)
        super().__init__(NAME, url, streams, topics, Pings('{"method":"ping"}', 20, limit=10))
        self._named: NamedTopics = topics
        self._standstills = Standstills(_STANDS_STILL)
        self._known_by: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        """What every request says of a channel: it is part of what a subscription is known by."""
        self._wanted: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        """What is asked for with a channel."""

    def connected(self, now: int) -> Sequence[Output]:
        self._pings.begin(now)
        return self._begin(now)

    def _decode(self, frame: bytes) -> tuple[str, Envelope]:
        message = _decode_envelope(frame)
        if message.method or message.channel in ("", "heartbeat", "status"):
            return "", message
        topic = self._topic(message)
        return topic if topic in self._streams else "", message

    def _request(self, request: Request) -> str:
        """As in ``{"method":"subscribe","params":{"channel":"book","symbol":["ALGO/USD"],"depth":10},"req_id":7}``."""
        channel, symbols = _channel_of(request.topics[0]), [topic.partition(":")[2] for topic in request.topics]
        params = {"channel": channel, **({"symbol": symbols} if symbols != [""] else {}), **self._known_by[channel]}
        params |= self._wanted[channel] if request.op == "subscribe" else {}
        return json.encode({"method": request.op, "params": params, "req_id": int(request.ident)}).decode()

    def _topic(self, message: Envelope) -> str:
        return message.channel

    def _peek(self, frame: bytes) -> Sequence[str]:
        return [peek(frame, "channel")]

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        if message.method == "subscribe" or message.channel == "status":
            return (self._subscribed if message.method else self._status)(message, recv)
        if message.error or message.success is False:
            return [Said(WORDING.reported(message.error or ""))]
        if message.method in ("pong", "unsubscribe") or message.channel == "heartbeat" or not rows_of(message.data):
            return []
        return [Unknown(message.method or message.channel or "message without channel")]

    def _subscribed(self, message: Envelope, recv: int) -> list[Output]:
        """An acknowledgement names its topic; a refusal maybe nothing but its request, or the pair at the end of its words.

        What an acknowledgement warns of is no error: mostly, each time, that fields are going to be given up.

        ``{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"ALGO/USD",…},"success":true,"req_id":7,…}``
        """
        result = _about(message.result)
        topic, words = f"{result.channel}:{result.symbol}".rstrip(":"), message.error or "no reason given"
        symbol = message.symbol or result.symbol or words.rpartition(" ")[2]
        topics = [topic] if topic in self._streams else self._named.meant(str(message.req_id), f":{symbol}")
        if message.success is True or "already subscribed" in words.lower():
            warned: list[Output] = [Warn(f"{topic}: {text}") for text in result.warnings or ()]
            return [*warned, *(self._settle(*self._named.accepted(topics, recv), recv) if topics else ())]
        return self._denied(topics, words, str(message.req_id), recv)

    def _denied(self, topics: Sequence[str], words: str, ident: str, recv: int) -> list[Output]:
        if not topics:  # which ones isn't said: each is asked for by itself
            return [Said(WORDING.reported(words)), *self._refused(ident, words, "", recv)]
        refused = [found for topic in topics for found in self._named.rejected_topic(topic, words, recv)]
        return self._settle((), refused, recv)

    def _refusal(self, topic: str, reason: str) -> Output:
        return Said(WORDING.reported(reason, topic))

    def _status(self, message: Envelope, recv: int) -> list[Output]:
        """It comes unasked after each connect, and whenever the state of the system changes.

        ``{"channel":"status","type":"update","data":[{"connection_id":13834774380200032777,"system":"online",…}]}``
        """
        system = _about(message.data).system
        return self._standstills.told("its system", system, recv) if system else []


class PublicSession(KrakenSession):
    """Some pairs, by their names at the exchange. Books are asked for once the decimals are known that checksums need."""

    def __init__(
        self,
        url: str,
        symbols: Mapping[str, str],
        channels: Collection[Channel],
        decimals: Decimals,
        trades: TradeNumbers,
        *,
        depth: int,
    ) -> None:
        streams: dict[str, list[Subscription]] = {_INSTRUMENT: []}
        for channel in sorted(channels):
            for pair, symbol in symbols.items():
                streams.setdefault(f"{_CHANNELS[channel]}:{symbol}", []).append(Subscription(channel, pair))
        known = Channel.BOOK not in channels or all(pair in decimals for pair in symbols)
        super().__init__(url, streams, "" if known else _INSTRUMENT)
        self._symbols = dict(symbols)
        self._pairs = {symbol: pair for pair, symbol in symbols.items()}
        trigger = "bbo" if Channel.QUOTES in channels else "trades"
        self._known_by |= {"book": {"depth": depth}, "ticker": {"event_trigger": trigger}}
        self._wanted["trade"] = {"snapshot": True}
        self._decimals = decimals
        self._trades = trades
        self._tickers = SparseTickers({Channel.QUOTES: _QUOTE, Channel.TICKER: _DAY})
        self._times = UtcTimes()

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """The exchange answers a subscription with a snapshot."""
        del now, reason
        topic = f"book:{self._symbols.get(subject)}"
        if topic in self._topics.served:
            self._due.add(topic)
        return ()

    def rejected(self, recv: int) -> Sequence[Output]:
        return [*self._lost([*self._topics.served]), *super().rejected(recv)]

    def _lost(self, topics: Sequence[str]) -> list[Output]:
        for channel, _, symbol in (topic.partition(":") for topic in topics):
            self._tickers.forget(symbol)
            if channel == "trade":
                self._trades.forget(self._pairs[symbol])
        self._doubtful.update({_INSTRUMENT} & {*topics})
        return []

    def _topic(self, message: Envelope) -> str:
        if message.channel not in _CHANNELS.values():
            return message.channel
        symbol = _about(message.data).symbol
        if symbol and isinstance(symbol, str):
            return f"{message.channel}:{symbol}"
        if not rows_of(message.data):  # the snapshot of a pair without trades, and it doesn't say of which
            return ""
        raise msgspec.ValidationError("no symbol")

    def _peek(self, frame: bytes) -> Sequence[str]:
        """Where no pair can be read, it may be any of those that have the channel."""
        channel, symbol = peek(frame, "channel"), peek(frame, "symbol")
        alike = [
            topic for topic in self._streams if _channel_of(topic) == channel and topic not in self._topics.refused
        ]
        return [f"{channel}:{symbol}"] if symbol else alike

    def _data(self, topic: str, message: Envelope, recv: int) -> list[Output]:
        channel = _channel_of(topic)
        if message.type not in ("snapshot", "update"):
            raise ValueError(f"type {shortened(message.type)}")
        whole = message.type == "snapshot"
        if channel == "book":
            return [self._book(row, topic, recv, whole=whole) for row in _decode_books(message.data)]
        if channel == "trade":
            rows = _decode_trades(message.data)
            if whole:
                rows.sort(key=lambda row: digits(row.trade_id).rjust(20))  # oldest first
            return [event for row in rows for event in self._trade(row, topic, message, recv)]
        if channel == "ticker":
            return [event for row in _decode_rows(message.data) for event in self._ticker(row, topic, recv)]
        return self._instruments(message, recv)

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """Trades and tickers row by row; a trade that is missing is no hole that is found once more."""
        self._lost([topic])
        channel = _channel_of(topic)
        if message is None or channel not in ("trade", "ticker"):
            return super()._salvage(topic, message, frame, recv=recv, error=error)

        def take(row: Raw) -> list[Output]:
            if channel == "ticker":
                return self._ticker(_decode_row(row), topic, recv)
            self._lost([topic])
            return self._trade(_decode_trade(row), topic, message, recv)

        events = self._each(topic, rows_of(message.data), take, frame, recv, counted=channel == "trade")
        self._lost([topic])
        return events

    def _pair(self, symbol: str, topic: str) -> str:
        if topic.partition(":")[2] != symbol:
            raise ValueError(f"{shortened(symbol)} is not the topic's symbol")
        return self._pairs[symbol]

    def _trade(self, row: _TradeRow, topic: str, message: Envelope, recv: int) -> list[Output]:
        """A trade; ``side`` is the taker's, ``trade_id`` rises by one with each trade of the pair.

        ``{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,
        "ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}]}``
        """
        ident, price, size = digits(row.trade_id), digits(row.price), digits(row.qty)
        check_ids(ident)
        check_levels([(price, size)])
        pair, ts = self._pair(row.symbol, topic), self._times.known(row.timestamp)
        trade = Trade(pair, ts, recv, ident, row.side, price, size, message.type == "snapshot")
        return [*self._trades.followed(trade)]

    def _book(self, row: _BookRow, topic: str, recv: int, *, whole: bool) -> Output:
        """A book, or its changes. No number joins them: the checksum is what shows that nothing is missing.

        ``{"channel":"book","type":"update","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5657,"qty":1098.3947558}],
        "asks":[],"checksum":2114181697,"timestamp":"2023-10-06T17:35:55.440295Z"}]}``
        """
        pair, ts = self._pair(row.symbol, topic), self._times.known(row.timestamp)
        bids, asks = _levels(row.bids), _levels(row.asks)
        if whole:
            bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
            return BookSnapshot(pair, ts, recv, "", bids, asks, row.checksum)
        return BookDelta(pair, ts, recv, "", bids, asks, checksum=row.checksum)

    def _ticker(self, row: dict[str, Any], topic: str, recv: int) -> list[Output]:
        """The best prices, and the last 24 hours; each is published when it has changed.

        ``{"channel":"ticker","type":"update","data":[{"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,"last":0.10035,…}]}``
        """
        pair, ts = self._pair(row.get("symbol", ""), topic), self._times.known(row.get("timestamp"))
        given = {name: digits(value) for name in (*_QUOTE, *_DAY) if (value := row.get(name)) is not None}
        check_amounts(*(value for name, value in given.items() if not name.startswith("change")))
        check_values(given.get("change", ""), given.get("change_pct", ""))
        for side in ("bid", "ask"):
            if not given.get(side, "").strip("0."):  # absent, or zero: nobody offers
                given |= {side: "", f"{side}_qty": ""}
        self._tickers.whole(row["symbol"], given)
        events: list[Output] = []
        for stream in self._streams[topic]:
            if news := self._tickers.news(row["symbol"], stream.channel):
                quote = stream.channel is Channel.QUOTES
                events.append(Quote(pair, ts, recv, *news) if quote else Ticker(pair, ts, recv, "86400", "", *news))
        return events

    def _instruments(self, message: Envelope, recv: int) -> list[Output]:
        """All pairs, and then what changes of some: precisions, and whether they are traded.

        ``{"channel":"instrument","type":"snapshot","data":{"assets":[…],"pairs":[{"symbol":"BTC/USD","status":"online",
        "qty_precision":8,"price_precision":1,…}]}}``
        """
        out: list[Output] = []
        for row in _decode_rows(fields_of(message.data).get("pairs", b"[]")):
            if pair := self._pairs.get(row.get("symbol", "")):
                self._decimals.learn(pair, row.get("price_precision"), row.get("qty_precision"))
                status = row.get("status")  # what is missing is as before
                out += self._standstills.told(pair, status, recv, [pair]) if isinstance(status, str) else ()
        if message.type == "snapshot":
            self._doubtful.discard(_INSTRUMENT)
            self._topics.ask_others(recv)
        return [*out, *self._settle((), (), recv)]


def _levels(rows: list[_Level]) -> Levels:
    levels = [(digits(row.price), digits(row.qty)) for row in rows]
    check_levels(levels)
    return levels
