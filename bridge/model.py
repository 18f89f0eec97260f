"""The normalised events that exchange sessions return and readers receive.

Each struct is one type of stream entry. ``tag`` is the ``type`` field of the entry; ``WIRE`` names the fields that
follow ``type``, ``ts`` and ``recv``, in order; ``MORE`` names further fields, which follow if they are not ``None``:
in all data entries of a stream, or in none. Other attributes are never published.

Units: ``ts`` and ``recv`` are integer nanoseconds since the epoch (``ts`` is ``None`` if the exchange gives no time);
prices, sizes and amounts are decimal text with the exchange's own digits, never a float; unknown values are empty text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct

from bridge.values import Amount, CandleState, Fees, Leg, OrderSide, OrderStatus, PositionSide, SignedAmount

__all__ = [
    "BOOKS",
    "CONNECTOR_CHANNELS",
    "DATA_EVENTS",
    "NEWEST_ONLY",
    "PRIVATE_CHANNELS",
    "PUBLIC_CHANNELS",
    "SCHEMA_VERSION",
    "SERVICE_CHANNELS",
    "Balance",
    "BookDelta",
    "BookSnapshot",
    "Candle",
    "Channel",
    "Control",
    "ControlEvent",
    "Event",
    "Fill",
    "Funding",
    "Interest",
    "Levels",
    "Liquidation",
    "Mark",
    "Order",
    "Position",
    "Quote",
    "Ticker",
    "Trade",
    "events_of",
]

SCHEMA_VERSION = 2
"""Version of keys, entries and guarantees, as published in the catalog."""

Levels = list[tuple[str, str]]
"""Book levels ``(price, size)`` as decimal text; best first in a snapshot; size ``0`` removes the level in a delta."""


class Channel(StrEnum):
    """A kind of stream: the last part of its key. After ``candles`` follows their interval (``candles:1m``)."""

    TRADES = "trades"
    BOOK = "book"
    BOOK10 = "book10"
    QUOTES = "quotes"
    TICKER = "ticker"
    FUNDING = "funding"
    MARK = "mark"
    INTEREST = "interest"
    LIQUIDATIONS = "liquidations"
    CANDLES = "candles"
    ORDERS = "orders"
    FILLS = "fills"
    BALANCES = "balances"
    POSITIONS = "positions"


PRIVATE_CHANNELS = (Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS)
PUBLIC_CHANNELS = tuple(channel for channel in Channel if channel not in PRIVATE_CHANNELS)
SERVICE_CHANNELS = frozenset({Channel.CANDLES})  # services write them, from connectors' streams; no control entries
CONNECTOR_CHANNELS = tuple(channel for channel in Channel if channel not in SERVICE_CHANNELS)
NEWEST_ONLY = frozenset({Channel.QUOTES, Channel.TICKER, Channel.FUNDING, Channel.MARK, Channel.INTEREST})
"""Channels whose newest entry says all that the older ones did: those are dropped first."""
BOOKS = frozenset({Channel.BOOK, Channel.BOOK10})
"""Channels of snapshots and deltas. ``book10`` is derived from ``book`` by the connector, for every exchange that has it."""


class ControlEvent(StrEnum):
    """The event of a control entry; the documentation of control entries says what a reader does about each."""

    LIVE = "live"
    DOWN = "down"
    STALE = "stale"
    GAP = "gap"
    LOST = "lost"
    STOP = "stop"


class Event(Struct, frozen=True, gc=False):
    """The attributes of all events.

    ``subject`` is the pair (``BTC-EUR``) of a public event, or the account (``main`` or ``main/<subaccount>``) of a
    private one. Exchange, subject and channel make the stream key.
    """

    subject: str
    ts: int | None
    recv: int


class Trade(Event, frozen=True, gc=False, tag="trade"):
    """A public trade. ``side`` is that of the taker, ``buy`` or ``sell``; ``size`` is in base coins.

    ``replay`` marks a trade of the batch that an exchange repeats after each subscribe. ``contracts`` is the size as a
    number of contracts, for derivatives only, also in orders, fills and positions.
    """

    channel: ClassVar[Channel] = Channel.TRADES
    WIRE: ClassVar[tuple[str, ...]] = ("id", "side", "price", "size")
    MORE: ClassVar[tuple[str, ...]] = ("contracts",)

    id: str
    side: OrderSide
    price: Amount
    size: Amount
    replay: bool = False
    contracts: Amount | None = None


class BookSnapshot(Event, frozen=True, gc=False, tag="snapshot"):
    """The whole book (of ``book10``: its ten best levels a side), best levels first.

    ``xseq`` is the exchange's own sequence number, or empty. ``checksum`` is what the exchange computes of the book; a
    delta's is of the book that it leads to.
    """

    channel: ClassVar[Channel] = Channel.BOOK
    WIRE: ClassVar[tuple[str, ...]] = ("xseq", "bids", "asks")

    xseq: str
    bids: Levels
    asks: Levels
    checksum: int | None = None


class BookDelta(Event, frozen=True, gc=False, tag="delta"):
    """Changed levels with their new absolute sizes.

    ``prev`` is the ``xseq`` that this delta continues, or empty if the exchange does not chain its deltas.
    """

    channel: ClassVar[Channel] = Channel.BOOK
    WIRE: ClassVar[tuple[str, ...]] = ("xseq", "bids", "asks")

    xseq: str
    bids: Levels
    asks: Levels
    prev: str = ""
    checksum: int | None = None


class Quote(Event, frozen=True, gc=False, tag="quote"):
    """Best bid and ask, empty for a side without orders."""

    channel: ClassVar[Channel] = Channel.QUOTES
    WIRE: ClassVar[tuple[str, ...]] = ("bid", "bid_size", "ask", "ask_size")

    bid: Amount
    bid_size: Amount
    ask: Amount
    ask_size: Amount


class Ticker(Event, frozen=True, gc=False, tag="ticker"):
    """Rolling statistics over ``window`` seconds; ``volume`` in base coins, ``change_pct`` in percent."""

    channel: ClassVar[Channel] = Channel.TICKER
    WIRE: ClassVar[tuple[str, ...]] = ("window", "open", "high", "low", "last", "change", "change_pct", "volume")

    window: Amount
    open: Amount
    high: Amount
    low: Amount
    last: Amount
    change: SignedAmount
    change_pct: SignedAmount
    volume: Amount


class Funding(Event, frozen=True, gc=False, tag="funding"):
    """What a perpetual's longs pay its shorts next (a negative ``rate``: shorts pay longs).

    ``rate`` is a fraction of the position's value (``0.0001``: 0.01 %), as the exchange expects it at present, due at
    ``next_ts`` (ns); ``interval`` is the number of seconds between two payments.
    """

    channel: ClassVar[Channel] = Channel.FUNDING
    WIRE: ClassVar[tuple[str, ...]] = ("rate", "next_ts", "interval")

    rate: SignedAmount
    next_ts: int | None
    interval: Amount


class Mark(Event, frozen=True, gc=False, tag="mark"):
    """A derivative's mark price, and the index price of what underlies it."""

    channel: ClassVar[Channel] = Channel.MARK
    WIRE: ClassVar[tuple[str, ...]] = ("mark", "index")

    mark: Amount
    index: Amount


class Interest(Event, frozen=True, gc=False, tag="interest"):
    """A derivative's open interest, each open contract counted once: ``size`` in base coins, ``value`` in the quote currency."""

    channel: ClassVar[Channel] = Channel.INTEREST
    WIRE: ClassVar[tuple[str, ...]] = ("size", "value")
    MORE: ClassVar[tuple[str, ...]] = ("contracts",)

    size: Amount
    value: Amount
    contracts: Amount | None = None


class Liquidation(Event, frozen=True, gc=False, tag="liquidation"):
    """A position that the exchange closed by force. ``side`` is that of the closing order: ``sell`` closes a long position.

    ``size`` is in base coins. ``id`` is empty where the exchange gives none.
    """

    channel: ClassVar[Channel] = Channel.LIQUIDATIONS
    WIRE: ClassVar[tuple[str, ...]] = ("id", "side", "price", "size")
    MORE: ClassVar[tuple[str, ...]] = ("contracts",)

    id: str
    side: OrderSide
    price: Amount
    size: Amount
    contracts: Amount | None = None


class Candle(Event, frozen=True, gc=False, tag="candle"):
    """The trades from ``open_ts`` to before ``close_ts`` (ns), whose interval is in the key: 1m.

    ``open``, ``high``, ``low`` and ``close`` are empty without trades. ``volume`` is the exact sum of their sizes,
    ``value`` that of price times size, ``count`` how many they are; ``late`` counts trades that came after their candle
    was written. ``first`` and ``last`` are the entries of the first and the last trade. ``reason`` says why trades may be
    missing, if ``state`` is ``incomplete``. ``after`` and ``upto`` say where the service continues after a restart.
    """

    channel: ClassVar[Channel] = Channel.CANDLES
    WIRE: ClassVar[tuple[str, ...]] = (
        *("open_ts", "close_ts", "open", "high", "low", "close", "volume", "value", "count", "late"),
        *("first", "last", "state", "reason", "after", "upto"),
    )
    MORE: ClassVar[tuple[str, ...]] = ("contracts",)

    open_ts: int
    close_ts: int
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount
    value: Amount
    count: int
    late: int
    first: str
    last: str
    state: CandleState
    reason: str
    after: str
    upto: str
    contracts: Amount | None = None


class Order(Event, frozen=True, gc=False, tag="order"):
    """The newest state of one of the account's orders.

    ``status`` is ``open``, ``partially_filled``, ``filled``, ``cancelled`` or ``rejected``; ``kind`` is ``limit``,
    ``market`` or the exchange's own lower-case word.
    """

    channel: ClassVar[Channel] = Channel.ORDERS
    WIRE: ClassVar[tuple[str, ...]] = (
        "order_id",
        "client_id",
        "pair",
        "kind",
        "side",
        "price",
        "size",
        "filled",
        "status",
    )
    MORE: ClassVar[tuple[str, ...]] = ("contracts",)

    order_id: str
    client_id: str
    pair: str
    kind: str
    side: OrderSide
    price: Amount
    size: Amount
    filled: Amount
    status: OrderStatus
    contracts: Amount | None = None


class Fill(Event, frozen=True, gc=False, tag="fill"):
    """One execution of the account; ``fee`` in units of ``fee_currency``.

    ``fees`` are all of them, where the exchange may charge several: ``amount:currency``, with a space between two. ``fee``
    and ``fee_currency`` are then the first.
    """

    channel: ClassVar[Channel] = Channel.FILLS
    WIRE: ClassVar[tuple[str, ...]] = ("fill_id", "order_id", "pair", "side", "price", "size", "fee", "fee_currency")
    MORE: ClassVar[tuple[str, ...]] = ("contracts", "fees")

    fill_id: str
    order_id: str
    pair: str
    side: OrderSide
    price: Amount
    size: Amount
    fee: SignedAmount
    fee_currency: str
    contracts: Amount | None = None
    fees: Fees | None = None


class Balance(Event, frozen=True, gc=False, tag="balance"):
    """A currency of the account's wallet, in units of that currency."""

    channel: ClassVar[Channel] = Channel.BALANCES
    WIRE: ClassVar[tuple[str, ...]] = ("currency", "available", "reserved")

    currency: str
    available: SignedAmount
    reserved: SignedAmount


class Position(Event, frozen=True, gc=False, tag="position"):
    """A derivatives position. ``side`` is ``long`` or ``short``, empty when flat; ``size`` is unsigned.

    ``leg`` is ``long`` or ``short`` in hedge mode, where a pair may have both positions; otherwise ``None``.
    """

    channel: ClassVar[Channel] = Channel.POSITIONS
    WIRE: ClassVar[tuple[str, ...]] = ("pair", "side", "size", "entry_price", "mark_price", "unrealised_pnl")
    MORE: ClassVar[tuple[str, ...]] = ("contracts", "leg")

    pair: str
    side: PositionSide
    size: Amount
    entry_price: Amount
    mark_price: Amount
    unrealised_pnl: SignedAmount
    contracts: Amount | None = None
    leg: Leg | None = None


class Control(Event, frozen=True, gc=False, tag="control"):
    """A change of the stream's own state. ``count`` is the number of events concerned, if known."""

    WIRE: ClassVar[tuple[str, ...]] = ("event", "reason", "count")

    channel: Channel
    event: ControlEvent
    reason: str = ""
    count: int | None = None


DATA_EVENTS: tuple[type[Event], ...] = (
    Trade,
    BookSnapshot,
    BookDelta,
    Quote,
    Ticker,
    Funding,
    Mark,
    Interest,
    Liquidation,
    Candle,
    Order,
    Fill,
    Balance,
    Position,
)


def events_of(channel: Channel) -> tuple[type[Any], ...]:
    """The types of the entries that the streams of a channel may have."""
    if channel in BOOKS:
        return BookSnapshot, BookDelta, Control
    kinds = tuple(kind for kind in DATA_EVENTS if kind.channel is channel)  # type: ignore[attr-defined]
    return kinds if channel in SERVICE_CHANNELS else (*kinds, Control)
