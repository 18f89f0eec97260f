"""A small matching market: several pairs, random participants, and accounts whose orders match in the same books.

It depends only on its seeded random numbers: the same seed and the same calls give the same events. The clock is used
only for timestamps. Everything happens within a call, and listeners get one ordered list of events before it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from bridge.simulator.accounts import Account
from bridge.simulator.events import (
    BestChanged,
    LevelChanged,
    MarketEvent,
    OhlcChanged,
    OrderChanged,
    PositionChanged,
    TradeDone,
    WalletChanged,
)
from bridge.simulator.matching import MatchingEngine
from bridge.simulator.orderbook import BUY, SELL, RestingOrder
from bridge.simulator.pairs import OrderRefusedError, PairState, whole
from bridge.simulator.participants import Crowd
from bridge.simulator.specs import MarketConfig

__all__ = ["Listener", "Market", "OrderRefusedError", "PairState"]

Listener = Callable[[list[MarketEvent]], None]

_SIDES = {"buy": BUY, "sell": SELL}
_WARM_UP_STEPS = 400
_PUBLIC = (LevelChanged, TradeDone, BestChanged, OhlcChanged)


class Market:
    """The market. ``clock`` gives seconds since the epoch, for stamps only."""

    def __init__(self, config: MarketConfig, clock: Callable[[], float]) -> None:
        self.config = config
        self.steps = 0
        self.public_events = 0
        self._engine = MatchingEngine(config)
        self.pairs = self._engine.pairs
        self.accounts = self._engine.accounts
        self._clock = clock
        self._listeners: list[Listener] = []
        self._crowd = Crowd(self._engine, Random(config.seed))
        self._warm_up()

    # What the outside calls

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with the events of each step and order as they happen."""
        self._listeners.append(listener)

    def step(self) -> int:
        """Run one action of one participant; returns the number of public events that it caused."""
        before = self.public_events
        self._engine.now = self._clock()
        self._crowd.act()
        self.steps += 1
        self._deliver()
        return self.public_events - before

    def place(
        self,
        account: str,
        pair: str,
        side: str,
        size: Decimal,
        price: Decimal | None = None,
        *,
        client_id: str = "",
    ) -> RestingOrder:
        """Place an account's limit order, or with no ``price`` a market order, whose unfilled rest is cancelled.

        Raises:
            OrderRefusedError: unknown account or pair, off tick or step, too little money, too many open orders.
        """
        owner = self._account(account)
        state = self._pair(pair)
        order = self._new_order(owner, state, side, size, price)
        order.client_id = client_id
        self._engine.now = order.created = self._clock()
        self._engine.enter(order)
        self._deliver()
        return order

    def cancel(self, account: str, order_id: str) -> None:
        """Cancel one open order.

        Raises:
            OrderRefusedError: the account has no such open order.
        """
        order = self._account(account).orders.get(order_id)
        if order is None:
            msg = "order not found"
            raise OrderRefusedError(msg)
        self._engine.now = self._clock()
        self._engine.withdraw(order)
        self._deliver()

    def cancel_all(self, account: str, pair: str | None = None) -> int:
        """Cancel the account's open orders (of one pair); returns their number."""
        orders = [order for order in self._account(account).orders.values() if pair in (None, order.pair)]
        self._engine.now = self._clock()
        for order in orders:
            self._engine.withdraw(order)
        self._deliver()
        return len(orders)

    def depth(self, pair: str) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The true book: bids and asks as (price, size), best first."""
        return self._pair(pair).depth()

    def best(self, pair: str) -> BestChanged:
        """The current best bid and ask."""
        return self._pair(pair).best_event()

    def ohlc(self, pair: str) -> OhlcChanged | None:
        """The current rolling day; ``None`` before the first trade."""
        return self._pair(pair).day()

    def mark(self, pair: str) -> Decimal:
        """The mark price: between the best bid and ask, or the last known price if a side is empty."""
        return self._pair(pair).mark()

    def subaccounts(self, account: str) -> list[Account]:
        """The sub-accounts of an account."""
        return [candidate for candidate in self.accounts.values() if candidate.parent == account]

    def order_event(self, order: RestingOrder) -> OrderChanged:
        """The current state of an account's order."""
        return self._engine.order_event(order)

    # Inside

    def _deliver(self) -> None:
        """Complete an operation: add what follows from its events, and pass all of them to the listeners."""
        for pair, state in self.pairs.items():
            best = (state.book.best(BUY), state.book.best(SELL))
            if best != state.best:
                state.best = best
                self._engine.events.append(self.best(pair))
            if state.traded:
                state.traded = False
                day = self.ohlc(pair)
                if day is not None:
                    self._engine.events.append(day)
        events, self._engine.events = self._engine.events, []
        self.public_events += sum(isinstance(event, _PUBLIC) for event in events)
        for account in self.accounts.values():
            for pair in sorted(account.margin.touched):
                position = account.margin.positions[pair]
                events.append(PositionChanged(pair, account.name, position.size, position.entry, self._engine.now))
            account.margin.touched.clear()
            if account.touched:
                balances = account.balances()
                changed = {currency: balances[currency] for currency in sorted(account.touched)}
                events.append(WalletChanged("", account.name, changed))
                account.touched = set()
        if events:
            for listener in self._listeners:
                listener(events)

    def _new_order(
        self, owner: Account, state: PairState, side: str, size: Decimal, price: Decimal | None
    ) -> RestingOrder:
        spec = state.spec
        if side not in _SIDES:
            msg = "direction must be buy or sell"
            raise OrderRefusedError(msg)
        lots = whole("amount", size, spec.step)
        ticks = None if price is None else whole("price", price, spec.tick)
        if len(owner.orders) >= self.config.max_open_orders:
            msg = f"too many open orders (limit {self.config.max_open_orders})"
            raise OrderRefusedError(msg)
        order = RestingOrder("", spec.name, _SIDES[side], ticks, lots, owner=owner.name)
        currency, amount = owner.need(order, spec)
        free = owner.free(spec, currency)
        if free < amount:
            msg = f"insufficient funds: {amount} {currency} needed, {free} available"
            raise OrderRefusedError(msg)
        order.id = self._engine.order_id()
        return order

    def _account(self, name: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            msg = f"no account {name!r}; known: {', '.join(self.accounts)}"
            raise OrderRefusedError(msg)
        return account

    def _pair(self, name: str) -> PairState:
        state = self.pairs.get(name)
        if state is None:
            msg = f"no pair {name!r}; known: {', '.join(self.pairs)}"
            raise OrderRefusedError(msg)
        return state

    def _warm_up(self) -> None:
        """Fill the books and make some trades before the start, without the accounts."""
        self._engine.now = self._clock()
        for state in self.pairs.values():
            self._crowd.furnish(state)
        for _ in range(_WARM_UP_STEPS * len(self.pairs)):
            self._crowd.act(accounts=False)
            self._deliver()
        self.public_events = 0
