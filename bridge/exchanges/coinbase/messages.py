"""Coinbase's messages as far as they are used, and what can still be read of one that is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bridge.exchanges.toolkit.fields import fields_of
from bridge.exchanges.toolkit.salvage import UNREADABLE, peek, peek_count, readable, rows_of
from bridge.model import Channel

__all__ = [
    "CHANNELS",
    "DATA",
    "LEVEL2",
    "NAME",
    "TICKER",
    "TRADES",
    "Books",
    "Remains",
    "Subscriptions",
    "Tickers",
    "Trades",
    "decode",
    "pieces",
    "product_in",
    "remains_of",
    "text_in",
]

NAME = "coinbase"
LEVEL2, TICKER, TRADES = "level2", "ticker", "market_trades"
CHANNELS = {Channel.TRADES: TRADES, Channel.BOOK: LEVEL2, Channel.QUOTES: TICKER, Channel.TICKER: TICKER}
"""The exchange's channel for each of ours."""
DATA = {"l2_data": LEVEL2, "market_trades": TRADES, "ticker": TICKER}
"""The name of a channel's messages → the channel."""
_ROWS = {TRADES: "trades", TICKER: "tickers"}
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


class Books(_Message, tag="l2_data"):
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


class Trades(_Message, tag="market_trades"):
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


class Tickers(_Message, tag="ticker"):
    """Best prices and the last 24 hours, at every match.

    ``{"channel":"ticker","timestamp":"2026-08-09T21:05:48.298032046Z","sequence_num":10,"events":[{"type":"update",
    "tickers":[{"type":"ticker","product_id":"ETH-USD","price":"1919.41","volume_24_h":"19975.95927439","low_24_h":
    "1911.04","high_24_h":"1925","low_52_w":"1505","high_52_w":"4955.9","price_percent_chg_24_h":"0.02501394006035",
    "best_bid":"1919.44","best_ask":"1919.49","best_bid_quantity":"0.02858092","best_ask_quantity":"0.07814824"}]}]}``
    """

    events: list[_TickersEvent] = []


class _SubscriptionsEvent(Struct):
    subscriptions: dict[str, list[str]] = {}


class Subscriptions(_Message, tag="subscriptions"):
    """All present subscriptions, channel → products, after each change of them.

    ``{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.229148053Z","sequence_num":5,"events":[
    {"subscriptions":{"candles":["ETH-USD","BTC-USD"],"market_trades":["ETH-USD","BTC-USD"]}}]}``
    """

    events: list[_SubscriptionsEvent] = []


class _Heartbeat(_Message, tag="heartbeats"):
    pass


class _Named(Struct):
    product_id: str


decode = msgspec.json.Decoder(Trades | Books | Tickers | _Heartbeat | Subscriptions).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_text = msgspec.json.Decoder(str).decode


class Remains(Struct):
    """What can be read of any frame; without ``fields`` it is no JSON object, and the rest was found in its first bytes."""

    channel: str
    number: int | None
    type: str
    fields: dict[str, Raw]


def remains_of(frame: bytes) -> Remains:
    """What can be read of the frame."""
    fields = _fields(frame)
    if not fields:
        return Remains(peek(frame, "channel"), peek_count(frame, "sequence_num"), "", {})
    digits = bytes(fields.get("sequence_num", b""))
    number = int(digits) if digits.isdigit() and len(digits) <= 18 else None
    return Remains(text_in(fields.get("channel")), number, text_in(fields.get("type")), fields)


def pieces(remains: Remains) -> Iterator[tuple[Raw | None, dict[str, Any]]]:
    """Each row of a message, and the message as it were with this row alone; no row where rows can't be told apart.

    Of trades and tickers a row is one of them, of books an event. Trades come oldest first.
    """
    fields, name = remains.fields, _ROWS.get(DATA[remains.channel])
    head = {"channel": remains.channel, "sequence_num": remains.number, "timestamp": text_in(fields.get("timestamp"))}
    events = _rows(fields.get("events"))
    for event in [Raw(b"null")] if events is None else events:
        parts = _fields(event)
        rows = _rows(parts.get(name)) if name else [event]
        if rows is None:
            yield None, {}
        for row in reversed(rows or ()):
            yield row, {**head, "events": [{**parts, name: [row]} if name else event]}


def product_in(row: Raw) -> str | None:
    """The product that a row is about; ``None`` where that can't be read."""
    try:
        return _decode_named(row).product_id
    except UNREADABLE:
        return None


def text_in(raw: Raw | None) -> str:
    """The text that a field holds; empty where it holds none."""
    try:
        return _decode_text(raw or b"")
    except UNREADABLE:
        return ""


def _fields(data: bytes | Raw) -> dict[str, Raw]:
    try:
        return fields_of(readable(bytes(data)))
    except UNREADABLE:
        return {}


def _rows(data: Raw | None) -> list[Raw] | None:
    try:
        return None if data is None else rows_of(data)
    except UNREADABLE:
        return None
