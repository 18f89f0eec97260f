"""Coinbase's messages, as far as they are used."""

from __future__ import annotations

import msgspec
from msgspec import Struct

__all__ = [
    "NAME",
    "BookEvent",
    "BookUpdate",
    "Heartbeats",
    "L2Data",
    "MarketTrades",
    "Message",
    "Other",
    "Subscriptions",
    "SubscriptionsEvent",
    "TickerEvent",
    "TickerMessage",
    "TickerRow",
    "TradeRow",
    "TradesEvent",
    "decode",
    "decode_other",
]

NAME = "coinbase"


class TradeRow(Struct):
    """A trade; ``side`` is the maker's."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class TradesEvent(Struct):
    """Some trades, newest first; a ``snapshot`` of recent ones after a subscription."""

    trades: list[TradeRow]
    type: str = "update"


class BookUpdate(Struct):
    """A level and its new size."""

    side: str
    event_time: str
    price_level: str
    new_quantity: str


class BookEvent(Struct):
    """A full book, or what has changed of it."""

    type: str
    product_id: str
    updates: list[BookUpdate]


class TickerRow(Struct):
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


class TickerEvent(Struct):
    """Some tickers."""

    tickers: list[TickerRow]


class SubscriptionsEvent(Struct):
    """Channel → products that are subscribed to."""

    subscriptions: dict[str, list[str]] = {}


class Message(Struct, tag_field="channel"):
    """What all messages have."""

    sequence_num: int
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
    sequence_num: int | None = None


decode = msgspec.json.Decoder(MarketTrades | L2Data | TickerMessage | Heartbeats | Subscriptions).decode
decode_other = msgspec.json.Decoder(Other).decode
