"""What an account has in derivatives: one margin wallet per currency, one position per pair. All amounts are exact.

Positions are one-way and share one wallet (cross margin). Nobody is liquidated: a wallet can become negative.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from bridge.simulator.specs import PairSpec

__all__ = ["LEVERAGE", "Margin", "Position"]

LEVERAGE = 10
"""What an order's and a position's value is divided by for its margin; ten keeps the digits few."""

_ZERO = Decimal(0)
_UNIT = Decimal("0.00000001")


class Position:
    """``size`` in contracts, signed: above zero long, below short. ``entry`` is the mean price, to 8 decimals."""

    def __init__(self, spec: PairSpec) -> None:
        self.spec = spec
        self.size = _ZERO
        self.entry = _ZERO
        self.realised = _ZERO

    @property
    def margin(self) -> Decimal:
        """What the position holds back."""
        return (self.spec.coins(abs(self.size)) * self.entry / LEVERAGE).quantize(_UNIT)

    def unrealised(self, mark: Decimal) -> Decimal:
        """What would be won (lost: negative) if it were closed at ``mark``."""
        return (self.spec.coins(self.size) * (mark - self.entry)).quantize(_UNIT)

    def trade(self, change: Decimal, price: Decimal) -> Decimal:
        """Add ``change`` contracts (negative: sold) at ``price``; returns what that realised."""
        before, after = self.size, self.size + change
        realised = _ZERO
        if before * change >= 0:
            self.entry = ((self.entry * before + price * change) / after).quantize(_UNIT)
        else:
            closed = min(abs(before), abs(change)).copy_sign(before)
            realised = (self.spec.coins(closed) * (price - self.entry)).quantize(_UNIT)
            if not after:
                self.entry = _ZERO
            elif before * after < 0:
                self.entry = price
        self.size = after
        self.realised += realised
        return realised


class Margin:
    """The wallets (currency → amount) and positions; ``deposits`` are what it begins with."""

    def __init__(self, deposits: dict[str, Decimal]) -> None:
        self.deposits = dict(deposits)
        self.total = dict(deposits)
        self.held: defaultdict[str, Decimal] = defaultdict(lambda: _ZERO)
        self.positions: dict[str, Position] = {}
        self.touched: set[str] = set()

    def position(self, spec: PairSpec) -> Position:
        """The position in a pair, if only an empty one."""
        found = self.positions.get(spec.name)
        if found is None:
            found = self.positions[spec.name] = Position(spec)
        return found

    def open_positions(self) -> list[Position]:
        """Those that are not empty."""
        return [position for position in self.positions.values() if position.size]

    def reserved(self, currency: str) -> Decimal:
        """What open orders and positions hold back."""
        used = (each.margin for each in self.positions.values() if each.spec.settle == currency)
        return sum(used, self.held[currency])

    def available(self, currency: str) -> Decimal:
        """What new orders can use; unrealised profits don't count."""
        return self.total[currency] - self.reserved(currency)

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Currency → (available, reserved)."""
        return {currency: (self.available(currency), self.reserved(currency)) for currency in self.total}

    def need(self, spec: PairSpec, ticks: int, lots: int) -> Decimal:
        """The margin of an order."""
        return spec.coins(spec.size(lots)) * spec.price(ticks) / LEVERAGE

    def settle(self, spec: PairSpec, change: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Book an execution of ``change`` contracts, signed; returns the fee and what was realised."""
        fee = (spec.coins(abs(change)) * price * spec.fee).quantize(_UNIT)
        realised = self.position(spec).trade(change, price)
        self.total[spec.settle] += realised - fee
        self.touched.add(spec.name)
        return fee, realised
