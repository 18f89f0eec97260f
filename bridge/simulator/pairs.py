"""One simulated pair: its book, its rolling day, its trades."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from bridge.errors import BridgeError
from bridge.simulator.events import BestChanged, OhlcChanged, TradeDone
from bridge.simulator.ohlc import Rolling
from bridge.simulator.orderbook import BUY, SELL, LimitBook
from bridge.simulator.specs import PairSpec

__all__ = ["OrderRefusedError", "PairState", "whole"]

Levels = list[tuple[Decimal, Decimal]]


class OrderRefusedError(BridgeError):
    """The market doesn't take this order, or doesn't know it; the message is for the account's owner."""

    exit_code = 1


class PairState:
    """Everything of one pair; ``fair`` is the price in ticks around which the crowd places its orders."""

    def __init__(self, spec: PairSpec, trades_kept: int) -> None:
        self.spec = spec
        self.book = LimitBook()
        self.rolling = Rolling()
        self.trades: deque[TradeDone] = deque(maxlen=trades_kept)
        self.trade_count = 0
        self.anchor = int(spec.anchor / spec.tick)
        self.fair = float(self.anchor)
        self.typical = max(1, int(spec.typical / spec.step))
        self.best: tuple[int | None, int | None] = (None, None)
        self.traded = False

    def depth(self) -> tuple[Levels, Levels]:
        """Bids and asks as (price, size), best first."""
        price, size = self.spec.price, self.spec.size
        bids, asks = ([(price(ticks), size(lots)) for ticks, lots in self.book.depth(side)] for side in (BUY, SELL))
        return bids, asks

    def best_event(self) -> BestChanged:
        """The best bid and ask as they are."""
        spec, book = self.spec, self.book
        bid, ask = book.best(BUY), book.best(SELL)
        return BestChanged(
            spec.name,
            None if bid is None else spec.price(bid),
            None if bid is None else spec.size(book.lots_at(BUY, bid)),
            None if ask is None else spec.price(ask),
            None if ask is None else spec.size(book.lots_at(SELL, ask)),
        )

    def day(self) -> OhlcChanged | None:
        """The rolling day as it is; ``None`` before the first trade."""
        spec, day = self.spec, self.rolling
        if day.empty:
            return None
        price = spec.price
        return OhlcChanged(
            spec.name,
            open=price(day.open),
            high=price(day.high),
            low=price(day.low),
            close=price(day.close),
            volume=spec.size(day.lots),
        )

    def mark(self) -> Decimal:
        """The middle of the best bid and ask; where a side is empty, the last trade or the anchor."""
        bid, ask = self.book.best(BUY), self.book.best(SELL)
        if bid is not None and ask is not None:
            return self.spec.price(bid + ask) / 2
        return self.trades[-1].price if self.trades else self.spec.price(self.anchor)


def whole(what: str, value: Decimal, unit: Decimal) -> int:
    """``value`` in units (tick or step).

    Raises:
        OrderRefusedError: it is not a positive whole number of them.
    """
    # NaN compares as false, so this order of the tests refuses it too.
    if not value.is_finite() or value <= 0 or value.adjusted() > 15 or value % unit:
        msg = f"{what} must be a positive multiple of {unit}"
        raise OrderRefusedError(msg)
    return int(value / unit)
