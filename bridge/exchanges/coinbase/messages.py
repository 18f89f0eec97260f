"""Coinbase's messages as far as they are used, and what can still be read of a message that is not as it should be."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bridge.exchanges.toolkit.salvage import UNREADABLE, readable
from bridge.model import Channel

__all__ = [
    "CHANNELS",
    "LEVEL2",
    "NAME",
    "TICKER",
    "TRADES",
    "BookEvent",
    "BookUpdate",
    "Heartbeats",
    "L2Data",
    "MarketTrades",
    "Message",
    "Other",
    "Remains",
    "Subscriptions",
    "SubscriptionsEvent",
    "TickerEvent",
    "TickerMessage",
    "TickerRow",
    "TradeRow",
    "TradesEvent",
    "decode",
    "decode_book",
    "decode_other",
    "decode_ticker",
    "decode_trade",
    "event_type",
    "product_of",
    "remains_of",
    "rows_of",
]

NAME = "coinbase"
LEVEL2, TICKER, TRADES = "level2", "ticker", "market_trades"
CHANNELS = {
    Channel.TRADES: TRADES,
    Channel.BOOK: LEVEL2,
    Channel.QUOTES: TICKER,
    Channel.TICKER: TICKER,
}
"""The exchange's channel for each of ours."""

Kind = Literal["snapshot", "update"]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A message's number on its connection."""
_HEAD = 512
_CHANNEL = re.compile(rb'"channel"\s*:\s*"([a-z0-9_]{1,40})"').search
_NUMBER = re.compile(rb'"sequence_num"\s*:\s*([0-9]{1,18})\s*[,}]').search
_NULL = Raw(b"null")
_ERROR = Raw(b'"error"')


class TradeRow(Struct, gc=False):
    """A trade; ``side`` is the maker's."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class TradesEvent(Struct, gc=False):
    """Some trades, newest first; a ``snapshot`` of recent ones after a subscription."""

    trades: list[TradeRow]
    type: Kind = "update"


class BookUpdate(Struct, gc=False):
    """A level and its new size."""

    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class BookEvent(Struct, gc=False):
    """A full book, or what has changed of it."""

    type: Kind
    product_id: str
    updates: list[BookUpdate]


class TickerRow(Struct, gc=False):
    """Best prices and the last 24 hours of one product."""

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


class TickerEvent(Struct, gc=False):
    """Some tickers."""

    tickers: list[TickerRow]
    type: Kind = "update"


class SubscriptionsEvent(Struct):
    """Channel → products that are subscribed to."""

    subscriptions: dict[str, list[str]] = {}


class Message(Struct, tag_field="channel", gc=False):
    """What all messages have."""

    sequence_num: Number
    timestamp: str = ""


class MarketTrades(Message, tag="market_trades"):
    """A message of the channel ``market_trades``."""

    events: list[TradesEvent] = []


class L2Data(Message, tag="l2_data"):
    """A message of the channel ``level2``."""

    events: list[BookEvent] = []


class TickerMessage(Message, tag="ticker"):
    """A message of the channel ``ticker``."""

    events: list[TickerEvent] = []


class Heartbeats(Message, tag="heartbeats"):
    """One a second."""


class Subscriptions(Message, tag="subscriptions"):
    """The list of all present subscriptions, after each change of them."""

    events: list[SubscriptionsEvent] = []


class Other(Struct):
    """Any other JSON object: an error (``type``), or a channel of later invention."""

    type: str = ""
    channel: str = ""
    message: str = ""
    reason: str = ""
    sequence_num: Number | None = None


decode = msgspec.json.Decoder(MarketTrades | L2Data | TickerMessage | Heartbeats | Subscriptions).decode
decode_other = msgspec.json.Decoder(Other).decode
decode_book = msgspec.json.Decoder(BookEvent).decode
decode_trade = msgspec.json.Decoder(TradeRow).decode
decode_ticker = msgspec.json.Decoder(TickerRow).decode


# --- what can still be read of a bad message ---------------------------------------------------------------------------


class Remains(Struct):
    """What can be read of a message that is not as it should be; ``events`` is ``None`` where they can't be told apart."""

    channel: str
    number: int
    timestamp: str = ""
    events: list[Raw] | None = None
    is_error: bool = False
    """Whether it says that it is an error."""


class _Whole(Struct):
    """A message that is sound but for its events."""

    channel: str
    sequence_num: Number
    events: list[Raw]
    timestamp: str = ""
    type: Raw = _NULL


class _Rows(Struct):
    """An event that is sound but for its rows."""

    trades: list[Raw] | None = None
    tickers: list[Raw] | None = None
    type: Kind = "update"


class _Named(Struct):
    product_id: str


class _Loose(Struct):
    type: Raw = _NULL
    channel: Raw = _NULL
    sequence_num: Raw = _NULL
    timestamp: Raw = _NULL
    events: Raw = _NULL


class _LooseRow(Struct):
    type: Raw = _NULL
    trades: Raw = _NULL
    tickers: Raw = _NULL


_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_rows = msgspec.json.Decoder(_Rows).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_row = msgspec.json.Decoder(_LooseRow).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_int = msgspec.json.Decoder(Number).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_kind = msgspec.json.Decoder(Kind).decode


def remains_of(frame: bytes) -> Remains | None:
    """What can be read of the frame; ``None`` where that is neither a channel nor a number."""
    mended = readable(frame)
    try:
        whole = _decode_whole(mended)
    except UNREADABLE:
        pass
    else:
        return Remains(whole.channel, whole.sequence_num, whole.timestamp, whole.events, whole.type == _ERROR)
    found = _loose(mended)
    if found is None:
        head = frame[:_HEAD]
        named, numbered = _CHANNEL(head), _NUMBER(head)
        return Remains(named[1].decode(), int(numbered[1])) if named and numbered else None
    try:
        number = _decode_int(found.sequence_num)
    except UNREADABLE:
        return None
    channel = _text(found.channel)
    if not channel:
        return None
    return Remains(channel, number, _text(found.timestamp) or "", _list(found.events), found.type == _ERROR)


def product_of(row: Raw) -> str | None:
    """The product that an event or a row is about; ``None`` where that can't be read."""
    try:
        return _decode_named(row).product_id
    except UNREADABLE:
        return None


def rows_of(event: Raw) -> tuple[list[Raw] | None, Kind | None]:
    """The trades or tickers of an event, each by itself, and its type; ``None`` for what of it can't be told."""
    try:
        found = _decode_rows(event)
    except UNREADABLE:
        return _rows(event), None
    return found.trades if found.tickers is None else found.tickers, found.type


def event_type(event: Raw) -> Kind:
    """The type of an event, ``update`` where it has none.

    Raises:
        ValidationError: it is an unknown one.
    """
    found = _decode_row(event).type
    return "update" if found is _NULL else _decode_kind(found)


def _rows(event: Raw) -> list[Raw] | None:
    try:
        found = _decode_row(event)
    except UNREADABLE:
        return None
    return _list(found.trades if found.tickers == _NULL else found.tickers)


def _loose(frame: bytes) -> _Loose | None:
    try:
        return _decode_loose(frame)
    except UNREADABLE:
        return None


def _text(raw: Raw) -> str | None:
    try:
        return _decode_text(raw)
    except UNREADABLE:
        return None


def _list(raw: Raw) -> list[Raw] | None:
    try:
        return _decode_list(raw)
    except UNREADABLE:
        return None
