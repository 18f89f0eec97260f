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
    """A public trade; ``side`` is the taker's, ``id`` counts 1, 2, 3 … within the pair."""

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
    ``filled`` or ``cancelled``.
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


class Filled(MarketEvent, frozen=True, gc=False):
    """One execution of an account's order; ``trade_id`` is that of the public trade."""

    account: str
    trade_id: int
    order_id: str
    side: str
    price: Decimal
    size: Decimal
    time: float


class WalletChanged(MarketEvent, frozen=True, gc=False):
    """New balances of one account: currency → (available, reserved), only the currencies that changed."""

    account: str
    balances: dict[str, tuple[Decimal, Decimal]]
