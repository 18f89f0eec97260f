"""An order book as plain data without I/O, for sessions and readers."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow
from heapq import heapify, heappop, heappush, nlargest, nsmallest

from bridge.model import Levels

__all__ = ["EXACT", "Book", "RankedBook", "RankedSide", "Side"]

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow])
"""For exact sums and products of numbers whose exponents have two digits."""
_SPARE = 64
"""Prices of levels that have gone, beside as many as there are levels, that a heap may have before it is made anew."""


class Side:
    """One side of a book, price → size, both with the exchange's digits; of ``bids`` the highest price is the best.

    The best price comes from a heap with lazy deletion: a full book has tens of thousands of levels, and sorting them
    at every change would cost more than everything else in a connector.
    """

    def __init__(self, *, bids: bool) -> None:
        self._bids = bids
        self._levels: dict[Decimal, tuple[str, str]] = {}
        self._heap: list[Decimal] = []

    def __len__(self) -> int:
        return len(self._levels)

    def __eq__(self, other: object) -> bool:
        """Equal when the same prices carry the same sizes, as numbers."""
        return isinstance(other, Side) and self.numbers() == other.numbers()

    __hash__ = None  # type: ignore[assignment]

    def numbers(self) -> dict[Decimal, Decimal]:
        """Price → size as exact numbers."""
        return {price: Decimal(size) for price, (_, size) in self._levels.items()}

    def replace(self, levels: Iterable[tuple[str, str]]) -> None:
        """Replace all levels by these, without those of size zero.

        Raises:
            ValueError: a price or size is not a number, or a size is negative; the side is then of no use.
        """
        self._levels = {}
        for price, size in levels:
            if _amount(price, size):
                self._levels[_number(price)] = (price, size)
        self._heap = self._keys()
        heapify(self._heap)

    def set(self, price: str, size: str) -> None:
        """Set a level to its absolute ``size``; zero removes it.

        Raises:
            ValueError: the price or size is not a number, or the size is negative.
        """
        key = _number(price)
        levels = self._levels
        if not _amount(price, size):
            levels.pop(key, None)
            return
        before = len(levels)
        levels[key] = (price, size)
        if len(levels) > before:
            place = key.copy_negate() if self._bids else key
            if len(self._heap) < 2 * before + _SPARE:
                heappush(self._heap, place)
            else:
                self._heap = self._keys()
                heapify(self._heap)

    def add(self, price: str, change: str) -> str:
        """Change a level's size by ``change``, which may be negative; returns the size that it has now.

        Raises:
            ValueError: the price or change is not a number, or the size would be negative; the level is unchanged.
        """
        size = f"{EXACT.add(self.size(price), _number(change)):f}"
        self.set(price, size)
        return size

    def size(self, price: str) -> Decimal:
        """The size at a price; zero if there is no level."""
        level = self._levels.get(_number(price))
        return Decimal(level[1]) if level else Decimal(0)

    def best(self) -> tuple[str, str] | None:
        """``(price, size)`` of the best level, or ``None``."""
        price = self.best_price()
        return None if price is None else self._levels[price]

    def best_price(self) -> Decimal | None:
        """The best price as a number, or ``None``."""
        while self._heap:
            price = self._heap[0].copy_negate() if self._bids else self._heap[0]
            if price in self._levels:
                return price
            heappop(self._heap)
        return None

    def _keys(self) -> list[Decimal]:
        """The heap keys of all levels, without arithmetic, which would round prices of more than 28 digits."""
        return [price.copy_negate() for price in self._levels] if self._bids else list(self._levels)

    def top(self, count: int | None = None) -> Levels:
        """The best ``count`` levels (default: all), best first."""
        if count is None:
            prices = sorted(self._levels, reverse=self._bids)
        else:
            prices = (nlargest if self._bids else nsmallest)(count, self._levels)
        return [self._levels[price] for price in prices]


class RankedSide(Side):
    """A side whose levels are kept in order.

    For books of up to some thousand levels, whose best levels and whose worst one are looked at with every change.
    """

    def __init__(self, *, bids: bool) -> None:
        super().__init__(bids=bids)
        self._ranked: list[Decimal] = []
        """The prices, lowest first."""

    def replace(self, levels: Iterable[tuple[str, str]]) -> None:
        super().replace(levels)
        self._heap = []
        self._ranked = sorted(self._levels)

    def set(self, price: str, size: str) -> None:
        key = _number(price)
        if not _amount(price, size):
            if self._levels.pop(key, None):
                del self._ranked[bisect_left(self._ranked, key)]
            return
        if key not in self._levels:
            insort(self._ranked, key)
        self._levels[key] = (price, size)

    def best_price(self) -> Decimal | None:
        if not self._ranked:
            return None
        return self._ranked[-1 if self._bids else 0]

    def top(self, count: int | None = None) -> Levels:
        best = slice(None, None if count is None else -count - 1, -1) if self._bids else slice(count)
        return [self._levels[price] for price in self._ranked[best]]

    def cut(self, depth: int) -> list[str]:
        """Drop the levels behind the best ``depth`` ones; returns their prices."""
        over = len(self._ranked) - depth
        if over <= 0:
            return []
        behind = slice(None, over) if self._bids else slice(depth, None)
        gone = self._ranked[behind]
        del self._ranked[behind]
        return [self._levels.pop(price)[0] for price in gone]


class Book:
    """Bids and asks of one pair, keyed by price; ``7994.50`` and ``7994.5`` are one level."""

    def __init__(self) -> None:
        self.bids = Side(bids=True)
        self.asks = Side(bids=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Book) and self.bids == other.bids and self.asks == other.asks

    __hash__ = None  # type: ignore[assignment]

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Replace the book by a snapshot, with levels in any order.

        Raises:
            ValueError: a price or size is not a number, or a size is negative; the book is then of no use.
        """
        self.bids.replace(bids)
        self.asks.replace(asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Apply a delta with absolute sizes.

        Raises:
            ValueError: a price or size is not a number, or a size is negative; earlier levels are applied.
        """
        for price, size in bids:
            self.bids.set(price, size)
        for price, size in asks:
            self.asks.set(price, size)

    def add(self, bids: Levels, asks: Levels) -> tuple[Levels, Levels]:
        """Apply a delta whose sizes are changes; returns it with the new absolute sizes.

        Raises:
            ValueError: a price or size is not a number, or a size would be negative; earlier levels are applied.
        """
        return (
            [(price, self.bids.add(price, change)) for price, change in bids],
            [(price, self.asks.add(price, change)) for price, change in asks],
        )

    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bid = self.bids.best_price()
        ask = self.asks.best_price()
        return bid is not None and ask is not None and bid >= ask


class RankedBook(Book):
    """A book whose sides are kept in order."""

    bids: RankedSide
    asks: RankedSide

    def __init__(self) -> None:
        self.bids = RankedSide(bids=True)
        self.asks = RankedSide(bids=False)

    def cut(self, depth: int) -> tuple[list[str], list[str]]:
        """Drop the levels behind the best ``depth`` ones of each side; returns the prices of bids and asks."""
        return self.bids.cut(depth), self.asks.cut(depth)


def _amount(price: str, size: str) -> Decimal:
    amount = _number(size)
    if amount and amount.is_signed():  # quicker than a comparison with an integer
        msg = f"negative size {size} at price {price}"
        raise ValueError(msg)
    return amount


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        msg = f"{text!r} is not a number"
        raise ValueError(msg) from None
    if not number.is_finite():
        msg = f"{text!r} is not a finite number"
        raise ValueError(msg)
    return number
