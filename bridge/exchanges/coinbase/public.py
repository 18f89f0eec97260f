"""One connection to Coinbase's market data: its messages, what comes, and what is missing or can't be understood."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bridge.exchange_errors import ErrorKind, FrameError
from bridge.exchanges.api import NOT_UNDERSTOOD, Output, Send, Subscription, Unknown
from bridge.exchanges.toolkit.pairs.product_list import ProductList
from bridge.exchanges.toolkit.pairs.served_names import ServedNames
from bridge.exchanges.toolkit.sessions.listed_requests import Key
from bridge.exchanges.toolkit.sessions.listed_salvage import SalvagingSession
from bridge.exchanges.toolkit.sessions.listed_session import ListedMemory
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.values.message_numbers import MessageNumbers
from bridge.exchanges.toolkit.values.numbers import (
    best_first,
    check_amounts,
    check_ids,
    check_levels,
    check_numbers,
    check_values,
)
from bridge.exchanges.toolkit.values.remains import Remains, fields_in, read_remains, rows_in, text_in
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, WRONG
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Levels, Quote, Ticker, Trade

__all__ = ["NAME", "RATE_LIMITED", "CoinbaseSession", "remains_of"]

NAME = "coinbase"
RATE_LIMITED = re.compile(r"rate.?limit|too many (requests|messages)", re.IGNORECASE).search
"""Whether an error's words say that there was too much."""
_INVALID = re.compile(r"not a valid product|invalid product|unknown product|product not found", re.IGNORECASE).search
_NAMES = re.compile(r"[A-Z0-9][A-Z0-9-]*").findall
_WORDS = 300
_SAME = {"USD": "USDC", "USDC": "USD"}
_LEVEL2, _TICKER, _TRADES = "level2", "ticker", "market_trades"
_CHANNELS = {Channel.TRADES: _TRADES, Channel.BOOK: _LEVEL2, Channel.QUOTES: _TICKER, Channel.TICKER: _TICKER}
"""The exchange's channel for each of ours."""
_DATA = {"l2_data": _LEVEL2, "market_trades": _TRADES, "ticker": _TICKER}
"""The name of a channel's messages → the channel."""
_KNOWN = {*_DATA, "heartbeats", "subscriptions"}
_ROWS = {_TRADES: "trades", _TICKER: "tickers"}
"""Where a channel's events have their rows; a book's event stands or falls as a whole."""

_Kind = Literal["snapshot", "update"]


class _Message(Struct, tag_field="channel", gc=False):
    sequence_num: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    timestamp: str = ""


class _Level(Struct, gc=False):
    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class _BookEvent(Struct, gc=False):
    type: _Kind
    product_id: str
    updates: list[_Level]


class _Books(_Message, tag="l2_data"):
    """A full book, best first on both sides; then changed levels with their new sizes.

    ``{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.506659391Z","sequence_num":15,"events":[{"type":"update",
    "product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-08-09T21:05:48.264069Z","price_level":
    "65106.54","new_quantity":"0.15361938"}]}]}``
    """

    events: list[_BookEvent] = []


class _Trade(Struct, gc=False):
    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class _TradesEvent(Struct, gc=False):
    trades: list[_Trade]
    type: _Kind = "update"


class _Trades(_Message, tag="market_trades"):
    """Trades, newest first; after a subscribe, a ``snapshot`` of the latest hundred or so. ``side`` is the maker's.

    ``{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":9,"events":[{"type":
    "update","trades":[{"product_id":"BTC-USD","trade_id":"1068572091","price":"65083.67","size":"0.01034361","time":
    "2026-08-09T21:05:48.167634Z","side":"SELL"}]}]}``
    """

    events: list[_TradesEvent] = []


class _Ticker(Struct, gc=False):
    product_id: str
    price: str = ""
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    price_percent_chg_24_h: str = ""
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class _TickersEvent(Struct, gc=False):
    tickers: list[_Ticker]
    type: _Kind = "update"


class _Tickers(_Message, tag="ticker"):
    """Best prices and the last 24 hours, at every match.

    ``{"channel":"ticker","timestamp":"2026-08-09T21:05:48.298032046Z","sequence_num":10,"events":[{"type":"update",
    "tickers":[{"type":"ticker","product_id":"ETH-USD","price":"1919.41","volume_24_h":"19975.95927439","low_24_h":
    "1911.04","high_24_h":"1925","low_52_w":"1505","high_52_w":"4955.9","price_percent_chg_24_h":"0.02501394006035",
    "best_bid":"1919.44","best_ask":"1919.49","best_bid_quantity":"0.02858092","best_ask_quantity":"0.07814824"}]}]}``
    """

    events: list[_TickersEvent] = []


class _SubscriptionsEvent(Struct):
    subscriptions: dict[str, list[str]] = {}


class _Subscriptions(_Message, tag="subscriptions"):
    """All present subscriptions, channel → products, after each change of them.

    ``{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.229148053Z","sequence_num":5,"events":[
    {"subscriptions":{"candles":["ETH-USD","BTC-USD"],"market_trades":["ETH-USD","BTC-USD"]}}]}``
    """

    events: list[_SubscriptionsEvent] = []


class _Heartbeat(_Message, tag="heartbeats"):
    pass


_decode = msgspec.json.Decoder(_Trades | _Books | _Tickers | _Heartbeat | _Subscriptions).decode


def remains_of(frame: bytes) -> Remains:
    """What can be read of any frame."""
    return read_remains(frame, channel="channel", number="sequence_num")


class CoinbaseSession(SalvagingSession):
    """One connection to Coinbase, for some pairs and channels."""

    def __init__(
        self,
        url: str,
        pairs: Sequence[str],
        channels: frozenset[Channel],
        listing: ProductList | None = None,
        memory: ListedMemory | None = None,
    ) -> None:
        listing = listing or ProductList()
        products = {pair: listing.served_as(pair) for pair in pairs}
        streams: dict[Key, list[Subscription]] = {}
        for channel in sorted(channels):
            for pair, product in products.items():
                streams.setdefault((_CHANNELS[channel], product), []).append(Subscription(channel, pair))
        super().__init__(NAME, url, streams, listing, whole=_LEVEL2, memory=memory or ListedMemory())
        self._channels = channels
        self._wire = tuple(dict.fromkeys(channel for channel, _ in streams))
        self._names = ServedNames(products, _second_name)
        self._asked_as, self._pairs_of = self._names.asked_as, self._names.pairs_of
        takes: dict[str, tuple[type, Callable[[Any, int, list[Output]], None]]] = {
            _LEVEL2: (_Books, self._books),
            _TICKER: (_Tickers, self._tickers),
            _TRADES: (_Trades, self._trades),
        }
        self._takes = dict(takes[channel] for channel in self._wire)
        self._takes[_Subscriptions] = self._subscriptions
        self._ns = UtcTimes().ns
        self._numbers = MessageNumbers("sequence_num", self._missed)

    def connected(self, now: int) -> Sequence[Output]:
        """Subscribe: one message per channel, within 5 seconds of connecting (else the exchange hangs up)."""
        return [*self._begin(now), Send('{"type":"subscribe","channel":"heartbeats"}')]

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        out: list[Output] = []
        take = self._takes.get(message.__class__)
        if not self._numbers.take(message.sequence_num, recv, out) or take is None:
            return out
        counted = len(out)
        try:
            take(message, recv, out)
        except WRONG as error:
            return [*out[:counted], *self._rows(remains_of(frame), frame, recv, error)]
        return out

    def rejected(self, recv: int) -> Sequence[Output]:
        """The next message's number shows what is missing; where that can't be read either, the streams say so now."""
        return self._numbers.unreadable(recv, NOT_UNDERSTOOD)

    def failed(self, recv: int) -> Sequence[Output]:
        """Its number may have been taken: the next one would fit."""
        return self._missed(recv, NOT_UNDERSTOOD, None)

    def _missed(self, recv: int, reason: str, count: int | None) -> list[Output]:
        gap = ControlEvent.GAP
        gaps = [Control(s.subject, None, recv, s.channel, gap, reason, count) for s in self._served()]
        return [*gaps, *self._renew_all(recv)]

    # Data

    def _books(self, message: _Books, recv: int, out: list[Output]) -> None:
        xseq = str(message.sequence_num)
        for event in message.events:
            pairs = self._pairs_of.get(event.product_id)
            if pairs is None:
                continue
            bids: Levels = []
            asks: Levels = []
            for update in event.updates:
                (bids if update.side == "bid" else asks).append((update.price_level, update.new_quantity))
            check_levels(bids)
            check_levels(asks)
            ts = self._ns(event.updates[-1].event_time if event.updates else message.timestamp)
            if event.type == "snapshot":
                bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
                self._snapshot_came((_LEVEL2, self._asked_as[event.product_id]), recv)
                for pair in pairs:
                    out.append(BookSnapshot(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one
            elif not self._refused or (_LEVEL2, self._asked_as[event.product_id]) not in self._refused:
                for pair in pairs:
                    out.append(BookDelta(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one

    def _trades(self, message: _Trades, recv: int, out: list[Output]) -> None:
        """``side`` is the maker's: in recorded traffic every SELL stands at the ask and every BUY at the bid."""
        for event in message.events:
            replay = event.type == "snapshot"
            for trade in reversed(event.trades):
                pairs = self._pairs_of.get(trade.product_id)
                if pairs is None:
                    continue
                ts, ident, side = self._ns(trade.time), trade.trade_id, "sell" if trade.side == "BUY" else "buy"
                check_ids(ident)
                check_numbers(trade.price, trade.size)
                if self._unsettled:
                    self._data_came((_TRADES, self._asked_as[trade.product_id]))
                for pair in pairs:
                    row = Trade(pair, ts, recv, ident, side, trade.price, trade.size, replay=replay)
                    out.append(row)

    def _tickers(self, message: _Tickers, recv: int, out: list[Output]) -> None:
        ts = self._ns(message.timestamp)
        for event in message.events:
            for t in event.tickers:
                pairs = self._pairs_of.get(t.product_id)
                if pairs is None:
                    continue
                change, high, low, last = t.price_percent_chg_24_h, t.high_24_h, t.low_24_h, t.price
                check_amounts(t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                check_amounts(high, low, last, t.volume_24_h)
                check_values(change)
                if self._unsettled:
                    self._data_came((_TICKER, self._asked_as[t.product_id]))
                for pair in pairs:
                    if Channel.QUOTES in self._channels:
                        bid, ask = t.best_bid, t.best_ask
                        out.append(Quote(pair, ts, recv, bid, t.best_bid_quantity, ask, t.best_ask_quantity))
                    if Channel.TICKER in self._channels:
                        out.append(Ticker(pair, ts, recv, "86400", "", high, low, last, "", change, t.volume_24_h))

    # Subscriptions

    def _request(self, op: str, channel: str, products: Sequence[str]) -> Send:
        return Send(msgspec.json.encode({"type": op, "product_ids": products, "channel": channel}).decode())

    def _subscriptions(self, message: _Subscriptions, recv: int, out: list[Output]) -> None:
        listed = [
            (channel, name) for e in message.events for channel, names in e.subscriptions.items() for name in names
        ]
        present = {(channel, self._asked_as[name]) for channel, name in listed if name in self._asked_as}
        other = any("heartbeats" in event.subscriptions for event in message.events)
        out += self._listed(present, recv, other=other)

    def _said(self, words: str, recv: int) -> list[Output]:
        """``{"type":"error","message":"too many L2 streams requested in a single session"}``"""  # noqa: D415
        kind = ErrorKind.UNKNOWN_MARKET if _INVALID(words) else ErrorKind.REPORTED
        if words == "authentication failure":
            kind = ErrorKind.LOGIN_REFUSED
        elif RATE_LIMITED(words):
            kind = ErrorKind.TOO_MANY_REQUESTS
        products = {self._asked_as.get(name, name) for name in _NAMES(words)}
        channels = [name for name in self._wire if name in words or (name == _LEVEL2 and "L2" in words)]
        return self._failed(words, kind, products, channels, recv)

    def _left_out(self, key: Key, now: int) -> list[Output]:
        """An answer left a product out: it is served under its second name, if that is asked for, too, or not at all."""
        channel, product = key
        other = self._names.second(product)
        if other == product or (channel, other) in self._refused:
            return super()._left_out(key, now)
        self._names.merge(product, other)
        return [output for name in self._wire for output in self._merge((name, product), (name, other), now)]

    # What is not as it should be

    def _other(self, frame: bytes, recv: int, error: Exception) -> list[Output]:
        """A bad message, an error, or a channel that wasn't asked for.

        ``{"type":"error","message":"channel is not supported"}``
        """
        found = remains_of(frame)
        fields, channel, number = found.fields, found.channel, found.number
        out: list[Output] = []
        if found.type == "error" or (fields and channel not in _KNOWN and (channel or found.type)):
            if number is not None:
                self._numbers.take(number, recv, out)
            if found.type != "error":
                return [*out, Unknown(channel or found.type)]
            words = ": ".join(part for name in ("message", "reason") if (part := text_in(fields.get(name))))
            return [*out, *self._said(words[:_WORDS], recv)]
        if channel not in _KNOWN or number is None:
            raise FrameError(NAME, frame, str(error)) from None
        return [*out, *self._rows(found, frame, recv, error)] if self._numbers.take(number, recv, out) else out

    def _rows(self, remains: Remains, frame: bytes, recv: int, error: Exception) -> list[Output]:
        channel = _DATA.get(remains.channel, "")
        rows = _pieces(remains, channel) if channel in self._wire else ()
        return self._salvage(channel, rows, frame, recv, error)

    def _take(self, message: bytes, recv: int, out: list[Output]) -> None:
        read = _decode(message)
        self._takes[read.__class__](read, recv, out)

    def _product_of(self, row: Raw) -> str | None:
        product = fields_in(row).get("product_id")
        return None if bytes(product or b"")[:1] != b'"' else self._asked_as.get(text_in(product), "")

    def _may_be_snapshot(self, row: Raw) -> bool:
        return b'"update"' not in bytes(row)


def _pieces(remains: Remains, channel: str) -> Iterator[tuple[Raw | None, bytes]]:
    """Each row of a message, and the message as it were with this row alone; no row where rows can't be told apart.

    Of trades and tickers a row is one of them, of books an event. Trades come oldest first.
    """
    fields, name = remains.fields, _ROWS.get(channel)
    head = {"channel": remains.channel, "sequence_num": remains.number, "timestamp": text_in(fields.get("timestamp"))}
    events = rows_in(fields.get("events"))
    for event in [Raw(b"null")] if events is None else events:
        parts = fields_in(event)
        rows = rows_in(parts.get(name)) if name else [event]
        if rows is None:
            yield None, b""
        for row in reversed(rows or ()):
            yield row, msgspec.json.encode({**head, "events": [{**parts, name: [row]} if name else event]})


def _second_name(product: str) -> str:
    """The name under which the exchange may answer for a product, where its list is not to be had; its own, if none.

    "Only the user channel takes -USDC products, elsewhere they are served as -USD", say its documents; all 400 aliases
    of its list of August 2026 are of this kind.
    """
    base, _, currency = product.rpartition("-")
    return f"{base}-{_SAME[currency]}" if base and currency in _SAME else product
