"""What LMEX shows of a book: the best 50 levels of each side, and one chain of numbers per pair and grouping."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from bridge.simulator.pairs import Levels, PairState

__all__ = ["GROUPINGS", "LEVELS", "BookFeed", "Change"]

LEVELS = 50
GROUPINGS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Ticks per level for each grouping; what LMEX has is documented nowhere."""

_ZERO = Decimal(0)

Side = dict[Decimal, Decimal]


class Change(Struct, frozen=True):
    """Levels with their new sizes (zero: gone), in no particular order, and the number of this change."""

    bids: Levels
    asks: Levels
    seq: int


class BookFeed:
    """One pair's book in one grouping; ``seq`` is the number of the newest change.

    The chain goes on whether or not anybody looks; what changed is computed only for those who do.
    """

    def __init__(self, state: PairState, grouping: int, seq: int) -> None:
        self.seq = seq
        self._state = state
        self._unit = state.spec.tick * GROUPINGS[grouping]
        self._grouped = grouping > 0
        self._bids: Side = {}
        self._asks: Side = {}

    def snapshot(self) -> Change:
        """The book as it is, best levels first; the groupings have the same one. Changes count from here on."""
        self._bids, self._asks = self.window()
        bids, asks = self._state.depth()
        return Change(bids[:LEVELS], asks[:LEVELS], self.seq)

    def skip(self) -> None:
        """Count a change of the book without computing it."""
        self.seq += 1

    def change(self) -> Change | None:
        """What is different since the last look, ``None`` where nothing is."""
        bids, asks = self.window()
        changed = _changed(self._bids, bids), _changed(self._asks, asks)
        if not changed[0] and not changed[1]:
            return None
        self._bids, self._asks = bids, asks
        self.seq += 1
        return Change(changed[0], changed[1], self.seq)

    def window(self) -> tuple[Side, Side]:
        """The levels shown now, price → size."""
        bids, asks = self._state.depth()
        if not self._grouped:
            return dict(bids[:LEVELS]), dict(asks[:LEVELS])
        return self._merged(bids, ROUND_FLOOR), self._merged(asks, ROUND_CEILING)

    def _merged(self, levels: Levels, rounding: str) -> Side:
        merged: Side = {}
        for price, size in levels:
            group = (price / self._unit).to_integral_value(rounding) * self._unit
            if group not in merged and len(merged) == LEVELS:
                break
            merged[group] = merged.get(group, _ZERO) + size
        return merged


def _changed(before: Side, after: Side) -> Levels:
    gone = [(price, _ZERO) for price in before if price not in after]
    return gone + [(price, size) for price, size in after.items() if before.get(price) != size]
