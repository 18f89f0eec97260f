"""What happens in the simulated market, in the market's own terms: no exchange's words, no sockets.

Prices and sizes are exact ``Decimal`` on the pair's tick and step, with the digits of the tick and the step, so that an
exchange's dialect can print them as they are. Times are seconds since the epoch, as they were given to the market.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

__all__ = [
    "BestChanged",
    "Filled",
    "LevelChanged",
    "MarketEvent",
    "OhlcChanged",
    "OrderChanged",
    "PositionChanged",
    "TradeDone",
    "WalletChanged",
]


class MarketEvent(Struct, frozen=True, gc=False):
    """What all events share: the pair (``BTC-EUR``), empty for a wallet."""

    pair: str


class LevelChanged(MarketEvent, frozen=True, gc=False):
    """A book level has a new absolute ``size`` (zero: gone); ``change`` is signed. ``side`` is ``buy`` or ``sell``."""

    side: str
    price: Decimal
    size: Decimal
    change: Decimal


class TradeDone(MarketEvent, frozen=True, gc=False):
    """A public trade; ``side`` is the taker's, ``id`` counts 1, 2, 3 … within the pair (or on from elsewhere)."""

    id: int
    side: str
    price: Decimal
    size: Decimal
    time: float


class BestChanged(MarketEvent, frozen=True, gc=False):
    """The best bid or ask has another price; ``None`` where a side is empty."""

    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None


class OhlcChanged(MarketEvent, frozen=True, gc=False):
    """The rolling day; ``volume`` in base coins."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class OrderChanged(MarketEvent, frozen=True, gc=False):
    """An account's order is new, partly or wholly filled, or cancelled.

    ``kind`` is ``limit`` or ``market`` (then ``price`` is ``None``); ``status`` is ``open``, ``partially_filled``,
    ``filled`` or ``cancelled``. ``average`` is the mean price of what is filled, with all digits that it needs up to 8
    (zero: nothing is); ``fill_price`` and ``fill_size`` are those of the execution that this event tells of.
    """

    account: str
    order_id: str
    kind: str
    side: str
    price: Decimal | None
    size: Decimal
    filled: Decimal
    status: str
    created: float
    time: float = 0.0
    average: Decimal = Decimal(0)
    fill_price: Decimal | None = None
    fill_size: Decimal = Decimal(0)
    client_id: str = ""


class Filled(MarketEvent, frozen=True, gc=False):
    """One execution of an account's order; ``trade_id`` is that of the public trade.

    ``serial`` counts all executions of all accounts. ``fee`` has been taken from the wallet of ``fee_currency``.
    """

    account: str
    trade_id: int
    order_id: str
    side: str
    price: Decimal
    size: Decimal
    time: float
    serial: int = 0
    maker: bool = False
    kind: str = "limit"
    fee: Decimal = Decimal(0)
    fee_currency: str = ""
    realised: Decimal = Decimal(0)
    order_price: Decimal | None = None
    order_size: Decimal = Decimal(0)
    client_id: str = ""


class PositionChanged(MarketEvent, frozen=True, gc=False):
    """An account's position after an execution: ``size`` in contracts, signed (zero: closed), ``entry`` its price."""

    account: str
    size: Decimal
    entry: Decimal
    time: float


class WalletChanged(MarketEvent, frozen=True, gc=False):
    """New balances of one account: currency → (available, reserved), only the currencies that changed."""

    account: str
    balances: dict[str, tuple[Decimal, Decimal]]
