"""Bybit's public topics of one category, spot or linear: trades, books, best prices, tickers, liquidations.

A symbol is the same text in both categories, and nothing in a message names the category: the connection does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bridge.exchange_errors import ReportedError
from bridge.exchanges.api import Output, Said, Subscription, Unknown
from bridge.exchanges.toolkit.pairs.names import channels_of
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.session import TopicSession
from bridge.exchanges.toolkit.sessions.topics import Request, Topics
from bridge.exchanges.toolkit.values.fields import EXACT, plain
from bridge.exchanges.toolkit.values.numbers import (
    MILLISECOND,
    best_first,
    check_amounts,
    check_ids,
    check_levels,
    check_numbers,
    check_values,
    epoch_ns,
    shortened,
)
from bridge.exchanges.toolkit.values.salvage import rows_of
from bridge.exchanges.toolkit.values.tickers import SparseTickers
from bridge.model import (
    BookDelta,
    BookSnapshot,
    Channel,
    Event,
    Funding,
    Interest,
    Levels,
    Liquidation,
    Mark,
    Quote,
    Ticker,
    Trade,
)

__all__ = [
    "CHANNELS",
    "NAME",
    "BybitSession",
    "Envelope",
    "PublicSession",
    "milliseconds",
    "topics_of",
]

NAME = "bybit"


class Envelope(Struct):
    """Any message: data has a ``topic``, an answer an ``op``.

    ``{"topic":"orderbook.200.BTCUSDT","ts":1786310816618,"type":"delta","data":{…},"cts":1786310816585}``
    ``{"success":true,"ret_msg":"subscribe","conn_id":"2324…","req_id":"10001","op":"subscribe"}``
    """

    topic: str = ""
    type: str = ""
    ts: int = 0
    cts: int = 0
    data: Raw = Raw()
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""
    retCode: int = 0  # noqa: N815 - the exchange's name
    retMsg: str = ""  # noqa: N815 - the exchange's name

    @property
    def is_pong(self) -> bool:
        """On public connections the pong says ``"op":"ping"``."""
        return self.op == "pong" or self.ret_msg == "pong"

    @property
    def failed(self) -> bool:
        return self.success is False or self.retCode != 0

    @property
    def words(self) -> str:
        return self.ret_msg or self.retMsg or "no reason given"


class _BookData(Struct):
    s: str
    b: Levels
    a: Levels
    u: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class _Row(Struct):
    """A trade; a liquidation has no ``i``."""

    T: int
    s: str
    S: Literal["Buy", "Sell"]
    v: str
    p: str
    i: str = ""


_TICKER_FIELDS = {
    Channel.TICKER: ("prevPrice24h", "highPrice24h", "lowPrice24h", "lastPrice", "price24hPcnt", "volume24h"),
    Channel.FUNDING: ("fundingRate", "nextFundingTime", "fundingIntervalHour"),
    Channel.MARK: ("markPrice", "indexPrice"),
    Channel.INTEREST: ("singleOpenInterest", "singleOpenInterestValue"),
}
"""What the channels that the ticker topic feeds are made of. ``openInterest`` counts both sides of each contract."""
_SIGNED = ("price24hPcnt", "fundingRate")
_KINDS = {
    Channel.TRADES: "publicTrade",
    Channel.BOOK: "orderbook.{depth}",
    Channel.QUOTES: "orderbook.1",
    **dict.fromkeys(_TICKER_FIELDS, "tickers"),
    Channel.LIQUIDATIONS: "allLiquidation",
}
CHANNELS = frozenset(_KINDS)
_ROWS = ("publicTrade.", "allLiquidation.")
"""Topics whose messages are rows, each of which is an event."""
_TickerData = msgspec.defstruct(
    "_TickerData",
    [("symbol", str), *((name, str | None, None) for names in _TICKER_FIELDS.values() for name in names)],
)
"""A missing field is unchanged, an empty one unknown."""
_decode_envelope: Callable[[bytes], Envelope] = msgspec.json.Decoder(Envelope).decode
_decode_book: Callable[[Any], _BookData] = msgspec.json.Decoder(_BookData).decode
_decode_rows: Callable[[Any], list[_Row]] = msgspec.json.Decoder(list[_Row]).decode
_decode_row: Callable[[Any], _Row] = msgspec.json.Decoder(_Row).decode
_decode_ticker: Callable[[Any], Any] = msgspec.json.Decoder(_TickerData).decode


def milliseconds(count: int) -> int:
    """Milliseconds since the epoch in nanoseconds.

    Raises:
        ValueError: it is no time.
    """
    return epoch_ns(count, MILLISECOND)


def topics_of(symbol: str, channels: Collection[Channel], depth: int) -> dict[Channel, str]:
    """The topic of each channel; one may be that of several."""
    return {channel: f"{_KINDS[channel].format(depth=depth)}.{symbol}" for channel in sorted(channels)}


class BybitSession(TopicSession):
    """How public and private connections speak: requests, answers, pongs."""

    def __init__(self, url: str, streams: Mapping[str, list[Subscription]], most: int) -> None:
        super().__init__(NAME, url, streams, Topics(streams, most), Pings('{"op":"ping"}', 20))

    def _decode(self, frame: bytes) -> tuple[str, Envelope]:
        message = _decode_envelope(frame)
        return message.topic, message

    def _request(self, request: Request) -> str:
        return msgspec.json.encode({"req_id": request.ident, "op": request.op, "args": request.topics}).decode()

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        """An acknowledgement names its request and no topics; a refusal the first topic that is wrong.

        ``{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.NOPEUSDT","conn_id":"…","req_id":"7",
        "op":"subscribe"}``
        """
        if message.is_pong:
            return []
        if message.op == "subscribe":
            named = message.words.rpartition("topic:")[2]
            if not message.failed:
                return self._acknowledged(message.req_id, recv)
            if message.words.startswith("error:already subscribed"):
                return self._standing(message.req_id, named, recv)
            return self._refused(message.req_id, message.words, named, recv)
        if message.failed:
            return [Said(ReportedError(NAME, message.words))]
        return [] if message.op == "unsubscribe" else [Unknown(message.op or "message without topic")]


class PublicSession(BybitSession):
    """Some pairs of one category. ``symbols`` are their names at the exchange, ``depth`` the levels a side of books."""

    def __init__(
        self, url: str, symbols: dict[str, str], channels: frozenset[Channel], *, depth: int, most: int
    ) -> None:
        streams: dict[str, list[Subscription]] = {}
        self._books: dict[str, str] = {}
        """Pair → topic of its book."""
        for pair, symbol in symbols.items():
            for channel, topic in topics_of(symbol, channels_of(pair, channels), depth).items():
                streams.setdefault(topic, []).append(Subscription(channel, pair))
                if channel is Channel.BOOK:
                    self._books[pair] = topic
        super().__init__(url, streams, most)
        self._never_quiet = tuple(self._books.values())
        self._pairs = {symbol: pair for pair, symbol in symbols.items()}
        self._tickers = SparseTickers(_TICKER_FIELDS)
        self._used = {
            topic: self._tickers.fields_of({stream.channel for stream in of}) for topic, of in streams.items()
        }
        """Topic → the fields that its streams are made of; what else it has may be what it likes."""
        self._best: dict[str, tuple[str, str, str, str]] = {}
        """Topic → its last quote."""

    def connected(self, now: int) -> Sequence[Output]:
        return self._begin(now)

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """The exchange answers a subscription with a snapshot."""
        del now, reason
        if subject in self._books:
            self._due.add(self._books[subject])
        return ()

    def rejected(self, recv: int) -> Sequence[Output]:
        for topic in self._topics.served:
            self._forget(topic)
        return super().rejected(recv)

    def _forget(self, topic: str) -> None:
        """Something of this topic is lost: what comes next is news, even if it says the same as what came before."""
        self._best.pop(topic, None)
        if topic.startswith("tickers."):
            self._tickers.forget(topic)
            self._doubtful.add(topic)

    def _data(self, topic: str, message: Envelope, recv: int) -> list[Output]:
        if topic.startswith("orderbook."):
            return self._levels(message, recv)
        if topic.startswith(_ROWS):
            return [self._row(row, topic, recv) for row in _decode_rows(message.data)]
        return self._ticker(message, recv)

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """Trades and liquidations row by row."""
        if message is not None and topic.startswith(_ROWS):

            def take(row: Raw) -> list[Output]:
                return [self._row(_decode_row(row), topic, recv)]

            return self._each(topic, rows_of(message.data), take, frame, recv, counted=True)
        self._forget(topic)
        return super()._salvage(topic, message, frame, recv=recv, error=error)

    def _pair(self, symbol: str, topic: str) -> str:
        if not topic.endswith(f".{symbol}"):
            raise ValueError(f"{shortened(symbol)} is not the topic's symbol")
        return self._pairs[symbol]

    def _row(self, row: _Row, topic: str, recv: int) -> Event:
        """A trade or a liquidation, oldest first.

        Of a trade, ``S`` is the taker's side, ``i`` a UUID (linear) or digits (spot).

        ``{"topic":"publicTrade.ETHUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417","T":
        1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"ETHUSDT","BT":false,"RPI":false}]}``

        Of a liquidation, ``S`` is the side of the position (``Buy``: a long one, which an order to sell closes), ``p`` its
        bankruptcy price. It comes with others, every 500 ms at most (from the exchange's documentation):

        ``{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"ROSEUSDT",
        "S":"Sell","v":"20000","p":"0.04499"}]}``
        """
        check_numbers(row.p, row.v)
        pair, ts = self._pair(row.s, topic), milliseconds(row.T)
        if topic.startswith("allLiquidation."):
            return Liquidation(pair, ts, recv, "", "sell" if row.S == "Buy" else "buy", row.p, row.v)
        check_ids(row.i)
        return Trade(pair, ts, recv, row.i, row.S.lower(), row.p, row.v)

    def _levels(self, message: Envelope, recv: int) -> list[Output]:
        """A book's levels; ``cts`` is the matching engine's time, ``u`` rises by one from delta to delta.

        ``u`` 1 is a snapshot whatever ``type`` says: the exchange's service has been restarted. One level a side is
        always whole, and comes again after three seconds without a change, with the same ``u``.

        ``{"topic":"orderbook.200.BTCUSDT","ts":1786310816618,"type":"delta","data":{"s":"BTCUSDT","b":[["65140.4",
        "0.875077"]],"a":[["65154.6","0.09948"]],"u":62505425,"seq":112488545865},"cts":1786310816585}``
        """
        data = _decode_book(message.data)
        pair = self._pair(data.s, message.topic)
        ts = milliseconds(message.cts or message.ts)
        if message.type not in ("snapshot", "delta"):
            raise ValueError(f"type {shortened(message.type)}")
        check_levels(data.b)
        check_levels(data.a)
        whole = message.type == "snapshot" or data.u == 1
        if message.topic.startswith("orderbook.1.") and not whole:
            raise ValueError("a delta of one level")
        events: list[Output] = []
        for stream in self._streams[message.topic]:
            if stream.channel is Channel.QUOTES:
                best = (*(data.b[0] if data.b else ("", "")), *(data.a[0] if data.a else ("", "")))
                if best != self._best.get(message.topic):
                    self._best[message.topic] = best
                    events.append(Quote(pair, ts, recv, *best))
            elif whole:
                bids, asks = best_first(data.b, bids=True), best_first(data.a, bids=False)
                events.append(BookSnapshot(pair, ts, recv, str(data.u), bids, asks))
            else:
                events.append(BookDelta(pair, ts, recv, str(data.u), data.b, data.a, str(data.u - 1)))
        return events

    def _ticker(self, message: Envelope, recv: int) -> list[Output]:
        """Statistics: spot always whole, linear a snapshot and then what has changed; published when any of it has.

        ``{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","price24hPcnt":"-0.158315","lastPrice":
        "66666.60"},"cs":753843907770,"ts":1786310817883}``
        """
        topic, ts = message.topic, milliseconds(message.ts)
        data = _decode_ticker(message.data)
        pair = self._pair(data.symbol, topic)
        given = {name: value for name in self._used[topic] if (value := getattr(data, name)) is not None}
        check_amounts(*(value for name, value in given.items() if name not in _SIGNED))
        check_values(*(given.get(name, "") for name in _SIGNED))
        if message.type == "snapshot":
            self._tickers.whole(topic, given)
            self._doubtful.discard(topic)
        elif message.type != "delta":
            raise ValueError(f"type {shortened(message.type)}")
        elif not self._tickers.change(topic, given):
            self._doubtful.add(topic)
            return []  # the snapshot is to come
        return [
            _STATISTICS[stream.channel](pair, ts, recv, *values)
            for stream in self._streams[topic]
            if (values := self._tickers.news(topic, stream.channel))
        ]


def _day(pair: str, ts: int, recv: int, *values: str) -> Event:
    """The last 24 hours; ``price24hPcnt`` is a fraction."""
    opened, high, low, last, share, volume = values
    change = f"{EXACT.subtract(Decimal(last), Decimal(opened)):f}" if last and opened else ""
    percent = f"{Decimal(share).scaleb(2, EXACT):f}" if share else ""
    return Ticker(pair, ts, recv, "86400", opened, high, low, last, change, percent, volume)


def _funding(pair: str, ts: int, recv: int, *values: str) -> Event:
    """Of ``"fundingIntervalHour":"8","nextFundingTime":"1786320000000","fundingRate":"0.0001"``."""
    rate, due, hours = values
    at = milliseconds(int(due)) if due.strip("0") else None
    return Funding(pair, ts, recv, rate, at, plain(EXACT.multiply(Decimal(hours), Decimal(3600))) if hours else "")


_STATISTICS: dict[Channel, Callable[..., Event]] = {
    Channel.TICKER: _day,
    Channel.FUNDING: _funding,
    Channel.MARK: Mark,
    Channel.INTEREST: Interest,
}
"""What makes an event of a channel's fields."""
