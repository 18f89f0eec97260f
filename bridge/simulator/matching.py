"""The matching engine of the simulated market: price-time priority, accounts that pay, and an event for all that happens.

It moves only when it is told to, and says what happened in ``events``, in order, until they are taken.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from uuid import UUID

from bridge.simulator.accounts import Account
from bridge.simulator.events import Filled, LevelChanged, MarketEvent, OrderChanged, TradeDone
from bridge.simulator.orderbook import BUY, SELL, RestingOrder
from bridge.simulator.pairs import PairState
from bridge.simulator.specs import AccountSpec, MarketConfig, default_deposit

__all__ = ["MatchingEngine"]

_NAMES = {BUY: "buy", SELL: "sell"}
_SUBACCOUNT_SHARE = Decimal("0.2")
_AVERAGE_UNIT = Decimal("0.00000001")


class MatchingEngine:
    """Books and accounts. ``now`` (seconds since the epoch) is the time of events; the caller sets it before orders."""

    def __init__(self, config: MarketConfig) -> None:
        self.config = config
        self.pairs = {spec.name: PairState(spec, config.trades_kept) for spec in config.pairs}
        self.accounts: dict[str, Account] = {}
        for spec in config.accounts:
            self._open_account(spec)
        self.events: list[MarketEvent] = []
        self.now = 0.0
        self._ids = Random(f"{config.seed}/orders")
        self._serial = 0
        self._fills = config.trade_ids_after

    # Orders

    def anonymous(self, state: PairState, side: int, ticks: int, lots: int) -> RestingOrder:
        """Place an order of an anonymous participant."""
        self._serial += 1
        return RestingOrder(str(self._serial), state.spec.name, side, ticks, lots)

    def automatic(self, owner: Account, state: PairState, side: int, ticks: int, lots: int) -> RestingOrder | None:
        """An order that an account places by itself; ``None`` where it lacks the money."""
        order = RestingOrder("", state.spec.name, side, ticks, lots, owner=owner.name, created=self.now, automatic=True)
        currency, amount = owner.need(order, state.spec)
        if owner.free(state.spec, currency) < amount:
            return None
        order.id = self.order_id()
        return order

    def enter(self, order: RestingOrder, *, rest: bool = True) -> None:
        """Match an order; what is left rests in the book, or with ``rest=False`` is cancelled."""
        state = self.pairs[order.pair]
        owner = self._owner(order)
        if owner is not None:
            owner.orders[order.id] = order
            if order.ticks is not None:
                owner.reserve(order, state.spec)
            self.events.append(self.order_event(order))
        self._match(state, order)
        if order.left and rest and order.ticks is not None:
            state.book.add(order)
            self._level(state, order.side, order.ticks, order.left)
        elif order.left:
            self._close(state, order)

    def withdraw(self, order: RestingOrder) -> None:
        """Take a resting order out of the book."""
        state = self.pairs[order.pair]
        state.book.remove(order)
        self._level(state, order.side, order.limit, -order.left)
        self._close(state, order)

    def order_id(self) -> str:
        """The next order's id, a UUID; the same seed gives the same ones."""
        return str(UUID(int=self._ids.getrandbits(128), version=4))

    def order_event(self, order: RestingOrder, trade: TradeDone | None = None) -> OrderChanged:
        """An account's order as it stands, after ``trade``."""
        spec = self.pairs[order.pair].spec
        done = order.lots - order.left
        return OrderChanged(
            order.pair,
            account=order.owner,
            order_id=order.id,
            kind="market" if order.ticks is None else "limit",
            side=_NAMES[order.side],
            price=None if order.ticks is None else spec.price(order.ticks),
            size=spec.size(order.lots),
            filled=spec.size(done),
            status=order.status,
            created=order.created,
            time=self.now,
            average=(order.paid * spec.tick / done).quantize(_AVERAGE_UNIT) if done else Decimal(0),
            fill_price=trade.price if trade else None,
            fill_size=trade.size if trade else Decimal(0),
            client_id=order.client_id,
        )

    # Inside

    def _match(self, state: PairState, taker: RestingOrder) -> None:
        book = state.book
        while taker.left:
            maker = book.first(-taker.side)
            if maker is None or not taker.reaches(maker.limit):
                return
            if maker.owner and maker.owner == taker.owner:
                # No trades with oneself: the older order goes, as at most exchanges.
                self.withdraw(maker)
                continue
            lots = min(taker.left, maker.left, self._affordable(state, taker, maker.limit))
            if not lots:
                return
            self._trade(state, taker, maker, lots)

    def _affordable(self, state: PairState, taker: RestingOrder, ticks: int) -> int:
        owner = self._owner(taker)
        if owner is None or taker.ticks is not None:
            return taker.left
        return owner.affordable(taker, state.spec, ticks)

    def _trade(self, state: PairState, taker: RestingOrder, maker: RestingOrder, lots: int) -> None:
        spec, ticks = state.spec, maker.limit
        state.book.take(maker, lots)
        taker.left -= lots
        state.trade_count += 1
        number = self.config.trade_ids_after + state.trade_count
        trade = TradeDone(spec.name, number, _NAMES[taker.side], spec.price(ticks), spec.size(lots), self.now)
        state.trades.append(trade)
        state.rolling.add(ticks, lots, self.now)
        state.traded = True
        self.events.append(trade)
        self._level(state, maker.side, ticks, -lots)
        for order in (maker, taker):
            order.paid += ticks * lots
            if (owner := self._owner(order)) is not None:
                self._fill(state, order, owner, trade, maker=order is maker)

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
        self.events += (fill, self.order_event(order, trade))

    def _close(self, state: PairState, order: RestingOrder) -> None:
        """Cancel what is left of an order, if it is an account's."""
        owner = self._owner(order)
        if owner is None:
            return
        if order.ticks is not None:
            owner.release(order, state.spec)
        del owner.orders[order.id]
        order.status = "cancelled"
        self.events.append(self.order_event(order))

    def _owner(self, order: RestingOrder) -> Account | None:
        return self.accounts[order.owner] if order.owner else None

    def _level(self, state: PairState, side: int, ticks: int, change: int) -> None:
        spec = state.spec
        lots = state.book.lots_at(side, ticks)
        self.events.append(LevelChanged(spec.name, _NAMES[side], spec.price(ticks), spec.size(lots), spec.size(change)))

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
