"""One small matching market: several pairs, a random crowd, and accounts whose orders match in the same books.

It decides by its own seeded random numbers and by nothing else: the same seed and the same calls give the same events.
The clock that it is given only stamps them. Everything happens inside a call, and listeners hear of it before the call
returns, as one list of events in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from random import Random
from uuid import UUID

from bridge.errors import BridgeError
from bridge.simulator.accounts import Account
from bridge.simulator.events import (
    BestChanged,
    Filled,
    LevelChanged,
    MarketEvent,
    OhlcChanged,
    OrderChanged,
    TradeDone,
    WalletChanged,
)
from bridge.simulator.ohlc import Rolling
from bridge.simulator.orderbook import BUY, SELL, LimitBook, RestingOrder
from bridge.simulator.participants import Crowd
from bridge.simulator.specs import AccountSpec, MarketConfig, PairSpec, default_deposit

__all__ = ["Listener", "Market", "OrderRefusedError", "PairState"]

Listener = Callable[[list[MarketEvent]], None]

_SIDES = {"buy": BUY, "sell": SELL}
_NAMES = {BUY: "buy", SELL: "sell"}
_WARM_UP_STEPS = 400
_SUBACCOUNT_SHARE = Decimal("0.2")


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


class Market:
    """The market. ``clock`` gives seconds since the epoch, for stamps only."""

    def __init__(self, config: MarketConfig, clock: Callable[[], float]) -> None:
        self.config = config
        self.steps = 0
        self.public_events = 0
        self.pairs = {spec.name: PairState(spec, config.trades_kept) for spec in config.pairs}
        self.accounts: dict[str, Account] = {}
        for spec in config.accounts:
            self._open_account(spec)
        self._clock = clock
        self._now = 0.0
        self._ids = Random(f"{config.seed}/orders")
        self._serial = 0
        self._listeners: list[Listener] = []
        self._events: list[MarketEvent] = []
        self._crowd = Crowd(self, Random(config.seed))
        self._warm_up()

    # What the outside calls

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with the events of each step and of each order, as soon as they happened."""
        self._listeners.append(listener)

    def step(self) -> int:
        """One action of one participant; returns the number of public events that came of it."""
        before = self.public_events
        self._now = self._clock()
        self._crowd.act()
        self.steps += 1
        self._deliver()
        return self.public_events - before

    def place(self, account: str, pair: str, side: str, size: Decimal, price: Decimal | None = None) -> RestingOrder:
        """Place an account's limit order, or with no ``price`` a market order, whose unfilled rest is cancelled.

        Raises:
            OrderRefusedError: unknown account or pair, off tick or step, too little money, too many open orders.
        """
        owner = self._account(account)
        state = self._pair(pair)
        order = self._new_order(owner, state, side, size, price)
        self._now = order.created = self._clock()
        self.enter(order)
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
        self._now = self._clock()
        self.withdraw(order)
        self._deliver()

    def cancel_all(self, account: str, pair: str | None = None) -> int:
        """Cancel the account's open orders (of one pair); returns their number."""
        orders = [order for order in self._account(account).orders.values() if pair in (None, order.pair)]
        self._now = self._clock()
        for order in orders:
            self.withdraw(order)
        self._deliver()
        return len(orders)

    def depth(self, pair: str) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The true book: bids and asks as (price, size), best first."""
        state = self._pair(pair)
        spec = state.spec
        bids, asks = (
            [(spec.price(ticks), spec.size(lots)) for ticks, lots in state.book.depth(side)] for side in (BUY, SELL)
        )
        return bids, asks

    def best(self, pair: str) -> BestChanged:
        """The best bid and ask as they are."""
        state = self._pair(pair)
        spec = state.spec
        bid, ask = state.book.best(BUY), state.book.best(SELL)
        return BestChanged(
            pair,
            None if bid is None else spec.price(bid),
            None if bid is None else spec.size(state.book.lots_at(BUY, bid)),
            None if ask is None else spec.price(ask),
            None if ask is None else spec.size(state.book.lots_at(SELL, ask)),
        )

    def ohlc(self, pair: str) -> OhlcChanged | None:
        """The rolling day as it is; ``None`` before the first trade."""
        state = self._pair(pair)
        spec, day = state.spec, state.rolling
        if day.empty:
            return None
        price = spec.price
        return OhlcChanged(
            pair,
            open=price(day.open),
            high=price(day.high),
            low=price(day.low),
            close=price(day.close),
            volume=spec.size(day.lots),
        )

    def subaccounts(self, account: str) -> list[Account]:
        """The sub-accounts of an account."""
        return [candidate for candidate in self.accounts.values() if candidate.parent == account]

    def order_event(self, order: RestingOrder) -> OrderChanged:
        """An account's order as it stands."""
        spec = self.pairs[order.pair].spec
        return OrderChanged(
            order.pair,
            account=order.owner.name if order.owner else "",
            order_id=order.id,
            kind="market" if order.ticks is None else "limit",
            side=_NAMES[order.side],
            price=None if order.ticks is None else spec.price(order.ticks),
            size=spec.size(order.lots),
            filled=spec.size(order.lots - order.left),
            status=order.status,
            created=order.created,
        )

    # What the crowd calls, inside a step

    def anonymous(self, state: PairState, side: int, ticks: int, lots: int) -> RestingOrder:
        """An order of nobody in particular."""
        self._serial += 1
        return RestingOrder(str(self._serial), state.spec.name, side, ticks, lots)

    def automatic(self, owner: Account, state: PairState, side: int, ticks: int, lots: int) -> RestingOrder | None:
        """An order that an account places by itself; ``None`` where it lacks the money."""
        order = RestingOrder("", state.spec.name, side, ticks, lots, owner=owner, created=self._now, automatic=True)
        currency, amount = owner.need(order, state.spec)
        if owner.available[currency] < amount:
            return None
        order.id = self._order_id()
        return order

    def enter(self, order: RestingOrder, *, rest: bool = True) -> None:
        """Match an order; what is left rests in the book, or with ``rest=False`` is cancelled."""
        state = self.pairs[order.pair]
        owner = order.owner
        if owner is not None:
            owner.orders[order.id] = order
            if order.ticks is not None:
                owner.reserve(order, state.spec)
            self._events.append(self.order_event(order))
        self._match(state, order)
        if order.left and rest and order.ticks is not None:
            state.book.add(order)
            self._level(state, order.side, order.ticks, order.left)
        elif order.left and owner is not None:
            self._close(state, order)

    def withdraw(self, order: RestingOrder) -> None:
        """Take a resting order out of the book."""
        state = self.pairs[order.pair]
        state.book.remove(order)
        self._level(state, order.side, order.limit, -order.left)
        if order.owner is not None:
            self._close(state, order)

    # Inside

    def _match(self, state: PairState, taker: RestingOrder) -> None:
        book = state.book
        while taker.left:
            maker = book.first(-taker.side)
            if maker is None or not taker.reaches(maker.limit):
                return
            if maker.owner is not None and maker.owner is taker.owner:
                # No trades with oneself: the older order goes, as at most exchanges.
                self.withdraw(maker)
                continue
            lots = min(taker.left, maker.left, self._affordable(state, taker, maker.limit))
            if not lots:
                return
            self._trade(state, taker, maker, lots)

    def _affordable(self, state: PairState, taker: RestingOrder, ticks: int) -> int:
        if taker.owner is None or taker.ticks is not None:
            return taker.left
        if taker.side == SELL:
            return int(taker.owner.available[state.spec.base] // state.spec.step)
        return int(taker.owner.available[state.spec.quote] // (state.spec.price(ticks) * state.spec.step))

    def _trade(self, state: PairState, taker: RestingOrder, maker: RestingOrder, lots: int) -> None:
        spec, ticks = state.spec, maker.limit
        state.book.take(maker, lots)
        taker.left -= lots
        state.trade_count += 1
        trade = TradeDone(
            spec.name, state.trade_count, _NAMES[taker.side], spec.price(ticks), spec.size(lots), self._now
        )
        state.trades.append(trade)
        state.rolling.add(ticks, lots, self._now)
        state.traded = True
        self._events.append(trade)
        self._level(state, maker.side, ticks, -lots)
        for order in (maker, taker):
            if order.owner is not None:
                self._fill(state, order, order.owner, trade)

    def _fill(self, state: PairState, order: RestingOrder, owner: Account, trade: TradeDone) -> None:
        owner.settle(order, state.spec, trade.price, trade.size)
        order.status = "partially_filled" if order.left else "filled"
        if not order.left:
            del owner.orders[order.id]
        fill = Filled(
            order.pair, owner.name, trade.id, order.id, _NAMES[order.side], trade.price, trade.size, trade.time
        )
        owner.fills.append(fill)
        owner.fill_count += 1
        self._events += (fill, self.order_event(order))

    def _close(self, state: PairState, order: RestingOrder) -> None:
        """Cancel what is left of an account's order."""
        if order.owner is None:
            return
        if order.ticks is not None:
            order.owner.release(order, state.spec)
        del order.owner.orders[order.id]
        order.status = "cancelled"
        self._events.append(self.order_event(order))

    def _level(self, state: PairState, side: int, ticks: int, change: int) -> None:
        spec = state.spec
        lots = state.book.lots_at(side, ticks)
        self._events.append(
            LevelChanged(spec.name, _NAMES[side], spec.price(ticks), spec.size(lots), spec.size(change))
        )

    def _deliver(self) -> None:
        """Close an operation: what follows from its events, and out to the listeners."""
        for pair, state in self.pairs.items():
            best = (state.book.best(BUY), state.book.best(SELL))
            if best != state.best:
                state.best = best
                self._events.append(self.best(pair))
            if state.traded:
                state.traded = False
                day = self.ohlc(pair)
                if day is not None:
                    self._events.append(day)
        events, self._events = self._events, []
        self.public_events += sum(isinstance(event, _PUBLIC) for event in events)
        for account in self.accounts.values():
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
        lots = _whole("amount", size, spec.step)
        ticks = None if price is None else _whole("price", price, spec.tick)
        if len(owner.orders) >= self.config.max_open_orders:
            msg = f"too many open orders (limit {self.config.max_open_orders})"
            raise OrderRefusedError(msg)
        order = RestingOrder("", spec.name, _SIDES[side], ticks, lots, owner=owner)
        currency, amount = owner.need(order, spec)
        if owner.available[currency] < amount:
            msg = f"insufficient funds: {amount} {currency} needed, {owner.available[currency]} available"
            raise OrderRefusedError(msg)
        order.id = self._order_id()
        return order

    def _order_id(self) -> str:
        return str(UUID(int=self._ids.getrandbits(128), version=4))

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

    def _open_account(self, spec: AccountSpec) -> None:
        currencies = sorted({code for pair in self.config.pairs for code in (pair.base, pair.quote)})
        deposits = {code: spec.deposits.get(code, default_deposit(code)) for code in currencies}
        self.accounts[spec.name] = Account(spec.name, deposits)
        for sub in spec.subaccounts:
            name = f"{spec.name}/{sub}"
            part = {code: default_deposit(code, _SUBACCOUNT_SHARE) for code in currencies}
            self.accounts[name] = Account(name, part, parent=spec.name)

    def _warm_up(self) -> None:
        """Fill the books and trade a little before anybody looks; accounts stay out of it."""
        self._now = self._clock()
        for state in self.pairs.values():
            self._crowd.furnish(state)
        for _ in range(_WARM_UP_STEPS * len(self.pairs)):
            self._crowd.act(accounts=False)
            self._deliver()
        self.public_events = 0


_PUBLIC = (LevelChanged, TradeDone, BestChanged, OhlcChanged)


def _whole(what: str, value: Decimal, unit: Decimal) -> int:
    # NaN compares as false, so this order of the tests refuses it too.
    if not value.is_finite() or value <= 0 or value.adjusted() > 15 or value % unit:
        msg = f"{what} must be a positive multiple of {unit}"
        raise OrderRefusedError(msg)
    return int(value / unit)
