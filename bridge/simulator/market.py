"""One small matching market: several pairs, a random crowd, and accounts whose orders match in the same books.

It decides by its own seeded random numbers and by nothing else: the same seed and the same calls give the same events.
The clock that it is given only stamps them. Everything happens inside a call, and listeners hear of it before the call
returns, as one list of events in order.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from uuid import UUID

from bridge.simulator.accounts import Account
from bridge.simulator.events import (
    BestChanged,
    Filled,
    LevelChanged,
    MarketEvent,
    OhlcChanged,
    OrderChanged,
    PositionChanged,
    TradeDone,
    WalletChanged,
)
from bridge.simulator.orderbook import BUY, SELL, RestingOrder
from bridge.simulator.pairs import OrderRefusedError, PairState, whole
from bridge.simulator.participants import Crowd
from bridge.simulator.specs import AccountSpec, MarketConfig, default_deposit

__all__ = ["Listener", "Market", "OrderRefusedError", "PairState"]

Listener = Callable[[list[MarketEvent]], None]

_SIDES = {"buy": BUY, "sell": SELL}
_NAMES = {BUY: "buy", SELL: "sell"}
_WARM_UP_STEPS = 400
_SUBACCOUNT_SHARE = Decimal("0.2")
_AVERAGE_UNIT = Decimal("0.00000001")


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
        self._fills = config.trade_ids_after
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
        return self._pair(pair).depth()

    def best(self, pair: str) -> BestChanged:
        """The best bid and ask as they are."""
        return self._pair(pair).best_event()

    def ohlc(self, pair: str) -> OhlcChanged | None:
        """The rolling day as it is; ``None`` before the first trade."""
        return self._pair(pair).day()

    def mark(self, pair: str) -> Decimal:
        """The mark price: between the best bid and ask; the last price known where a side is empty."""
        return self._pair(pair).mark()

    def subaccounts(self, account: str) -> list[Account]:
        """The sub-accounts of an account."""
        return [candidate for candidate in self.accounts.values() if candidate.parent == account]

    def order_event(self, order: RestingOrder, trade: TradeDone | None = None) -> OrderChanged:
        """An account's order as it stands, after ``trade``."""
        spec = self.pairs[order.pair].spec
        done = order.lots - order.left
        return OrderChanged(
            order.pair,
            account=order.owner.name if order.owner else "",
            order_id=order.id,
            kind="market" if order.ticks is None else "limit",
            side=_NAMES[order.side],
            price=None if order.ticks is None else spec.price(order.ticks),
            size=spec.size(order.lots),
            filled=spec.size(done),
            status=order.status,
            created=order.created,
            time=self._now,
            average=(order.paid * spec.tick / done).quantize(_AVERAGE_UNIT) if done else Decimal(0),
            fill_price=trade.price if trade else None,
            fill_size=trade.size if trade else Decimal(0),
            client_id=order.client_id,
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
        if owner.free(state.spec, currency) < amount:
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
        return taker.owner.affordable(taker, state.spec, ticks)

    def _trade(self, state: PairState, taker: RestingOrder, maker: RestingOrder, lots: int) -> None:
        spec, ticks = state.spec, maker.limit
        state.book.take(maker, lots)
        taker.left -= lots
        state.trade_count += 1
        number = self.config.trade_ids_after + state.trade_count
        trade = TradeDone(spec.name, number, _NAMES[taker.side], spec.price(ticks), spec.size(lots), self._now)
        state.trades.append(trade)
        state.rolling.add(ticks, lots, self._now)
        state.traded = True
        self._events.append(trade)
        self._level(state, maker.side, ticks, -lots)
        for order in (maker, taker):
            order.paid += ticks * lots
            if order.owner is not None:
                self._fill(state, order, order.owner, trade, maker=order is maker)

    def _fill(self, state: PairState, order: RestingOrder, owner: Account, trade: TradeDone, *, maker: bool) -> None:
        spec = state.spec
        fee, fee_currency, realised = owner.settle(order, spec, trade.price, trade.size)
        self._fills += 1
        order.status = "partially_filled" if order.left else "filled"
        if not order.left:
            del owner.orders[order.id]
        fill = Filled(
            order.pair,
            owner.name,
            trade.id,
            order.id,
            _NAMES[order.side],
            trade.price,
            trade.size,
            trade.time,
            serial=self._fills,
            maker=maker,
            kind="market" if order.ticks is None else "limit",
            fee=fee,
            fee_currency=fee_currency,
            realised=realised,
            order_price=None if order.ticks is None else spec.price(order.ticks),
            order_size=spec.size(order.lots),
            client_id=order.client_id,
        )
        owner.fills.append(fill)
        owner.fill_count += 1
        self._events += (fill, self.order_event(order, trade))

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
            for pair in sorted(account.margin.touched):
                position = account.margin.positions[pair]
                events.append(PositionChanged(pair, account.name, position.size, position.entry, self._now))
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
        order = RestingOrder("", spec.name, _SIDES[side], ticks, lots, owner=owner)
        currency, amount = owner.need(order, spec)
        free = owner.free(spec, currency)
        if free < amount:
            msg = f"insufficient funds: {amount} {currency} needed, {free} available"
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
        pairs = self.config.pairs
        spot = sorted({code for pair in pairs if not pair.futures for code in (pair.base, pair.quote)})
        futures = sorted({pair.settle for pair in pairs if pair.futures})
        deposits, margin = (
            {code: spec.deposits.get(code, default_deposit(code)) for code in codes} for codes in (spot, futures)
        )
        self.accounts[spec.name] = Account(spec.name, deposits, margin=margin)
        for sub in spec.subaccounts:
            name = f"{spec.name}/{sub}"
            parts = [{code: default_deposit(code, _SUBACCOUNT_SHARE) for code in codes} for codes in (spot, futures)]
            self.accounts[name] = Account(name, parts[0], parent=spec.name, margin=parts[1])

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
