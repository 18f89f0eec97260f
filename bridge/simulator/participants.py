"""The random crowd: who places, cancels and takes, and the accounts that trade by themselves.

A fair price per pair wanders and is drawn back to the pair's anchor; orders are placed around it, most of them close.
Where it has moved into the other side, placing crosses the book: that is what makes the price follow. Numbers come from
``random()`` alone and plain arithmetic, so that a seed means the same on every platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from bridge.simulator.accounts import Account
from bridge.simulator.matching import MatchingEngine
from bridge.simulator.orderbook import BUY, SELL
from bridge.simulator.pairs import PairState

__all__ = ["Crowd"]

_T = TypeVar("_T")

_WANDER = 2.0  # ticks by which the fair price moves in a step, at most half of it either way
_PULL = 2e-5  # share of the distance to the anchor by which it comes back in a step
_SPAN = 90  # ticks from the fair price within which orders are placed
_TAKE = 0.12  # share of steps in which somebody takes from the book
_TAKE_DEPTH = 12  # ticks that a taker is willing to go
_ACCOUNT_ORDERS = 5  # orders that an account keeps open by itself
_ACCOUNT_CANCEL = 0.25
_ACCOUNT_TAKE = 0.3
_ACCOUNT_SPAN = 45


class Crowd:
    """Gives orders to ``engine`` by ``rng``; one action per call."""

    def __init__(self, engine: MatchingEngine, rng: Random) -> None:
        self._engine = engine
        self._rng = rng
        self._states = list(engine.pairs.values())
        self._accounts = list(engine.accounts.values())

    def furnish(self, state: PairState) -> None:
        """Place the first orders of an empty book."""
        levels = (self._engine.config.min_levels + self._engine.config.max_levels) // 2
        for side in (BUY, SELL):
            for _ in range(levels):
                self._place(state, side)

    def act(self, *, accounts: bool = True) -> None:
        """One action; with ``accounts=False`` of the anonymous crowd only."""
        if accounts and self._accounts and self._rng.random() < self._engine.config.activity:
            self._account_acts(self._pick(self._accounts), self._pick(self._states))
            return
        state = self._pick(self._states)
        state.fair += (state.anchor - state.fair) * _PULL + (self._rng.random() - 0.5) * _WANDER
        side = BUY if self._rng.random() < 0.5 else SELL
        low, high = self._engine.config.min_levels, self._engine.config.max_levels
        count = len(state.book.prices[side])
        roll = self._rng.random()
        # The fuller a side, the more is cancelled and the less is placed.
        place = 0.5 + 0.5 * ((low + high) / 2 - count) / (high - low + 1)
        if count < low:
            self._place(state, side)
        elif roll < _TAKE:
            self._take(state, side)
        elif roll < _TAKE + place * (1 - _TAKE):
            self._place(state, side)
        else:
            self._cancel(state, side)

    def _place(self, state: PairState, side: int) -> None:
        ticks = max(1, int(state.fair) - side * (1 + self._skewed(_SPAN)))
        self._engine.enter(self._engine.anonymous(state, side, ticks, 1 + self._skewed(state.typical * 3)))
        while len(state.book.prices[side]) > self._engine.config.max_levels:
            worst = state.book.worst_anonymous(side)
            if worst is None:
                return
            self._engine.withdraw(worst)

    def _take(self, state: PairState, side: int) -> None:
        best = state.book.best(-side)
        if best is None:
            return
        ticks = max(1, best + side * self._skewed(_TAKE_DEPTH))
        order = self._engine.anonymous(state, side, ticks, 1 + self._skewed(state.typical * 4))
        self._engine.enter(order, rest=False)

    def _cancel(self, state: PairState, side: int) -> None:
        level = state.book.levels[side][self._pick(state.book.prices[side])]
        anonymous = [order for order in level.orders.values() if not order.owner]
        if anonymous:
            self._engine.withdraw(self._pick(anonymous))

    def _account_acts(self, account: Account, state: PairState) -> None:
        own = [order for order in account.orders.values() if order.automatic]
        roll = self._rng.random()
        if len(own) >= _ACCOUNT_ORDERS or (own and roll < _ACCOUNT_CANCEL):
            self._engine.withdraw(self._pick(own))
            return
        for side in self._preferred(account, state):
            if roll > 1 - _ACCOUNT_TAKE:
                ticks = state.book.best(-side) or state.anchor
            else:
                ticks = max(1, int(state.fair) - side * (1 + self._skewed(_ACCOUNT_SPAN)))
            lots = 1 + self._skewed(state.typical)
            order = self._engine.automatic(account, state, side, ticks, lots)
            if order is not None:
                self._engine.enter(order)
                return

    def _preferred(self, account: Account, state: PairState) -> tuple[int, int]:
        """The sides in the order in which an account tries them: rather back towards what it began with."""
        chance = min(0.9, max(0.1, 0.5 + account.missing(state.spec, state.typical)))
        return (BUY, SELL) if self._rng.random() < chance else (SELL, BUY)

    def _skewed(self, span: int) -> int:
        """A number from 0 to below ``span``, small ones more often."""
        roll = self._rng.random()
        return int(roll * roll * span)

    def _pick(self, items: Sequence[_T]) -> _T:
        return items[int(self._rng.random() * len(items))]
