"""The matching market: what must hold whatever is done to it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from bridge.simulator.market import Market, OrderRefusedError
from tests.simulator.helpers import Clock, market

PAIR = "BTC-EUR"
STEP = Decimal("0.0001")
TICK = Decimal("0.50")

_ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 12)),
    st.tuples(
        st.just("place"),
        st.sampled_from(["main", "main/savings"]),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 4000),
        st.one_of(st.none(), st.integers(-80, 80)),
    ),
    st.tuples(st.just("cancel"), st.sampled_from(["main", "main/savings"]), st.integers(0, 5)),
)


class Recorder:
    """Rebuilds books, wallets and orders from events alone."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.events: list[MarketEvent] = []
        self.levels = {
            pair: {"buy": dict(market.depth(pair)[0]), "sell": dict(market.depth(pair)[1])} for pair in market.pairs
        }
        self.wallets = {name: dict(account.balances()) for name, account in market.accounts.items()}
        self.orders: dict[str, OrderChanged] = {}
        market.subscribe(self.heard)

    def heard(self, events: list[MarketEvent]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, LevelChanged):
                side = self.levels[event.pair][event.side]
                assert side.get(event.price, 0) + event.change == event.size
                side[event.price] = event.size
                if not event.size:
                    del side[event.price]
            elif isinstance(event, WalletChanged):
                self.wallets[event.account] |= event.balances
            elif isinstance(event, OrderChanged):
                self.orders[event.order_id] = event
        for pair, sides in self.levels.items():
            assert max(sides["buy"], default=Decimal(0)) < min(sides["sell"], default=Decimal("Infinity")), pair

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def act(market: Market, action: tuple[Any, ...]) -> None:
    if action[0] == "step":
        for _ in range(action[1]):
            market.step()
    elif action[0] == "place":
        _, account, side, lots, offset = action
        price = None if offset is None else market.pairs[PAIR].spec.anchor + offset * TICK
        # A poor account is refused, and must then be as it was: the invariants say so.
        with suppress(OrderRefusedError):
            market.place(account, PAIR, side, lots * STEP, price)
    else:
        orders = list(market.accounts[action[1]].orders)
        if orders:
            market.cancel(action[1], orders[action[2] % len(orders)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), actions=st.lists(_ACTIONS, max_size=25))
def test_invariants(seed: int, actions: list[tuple[Any, ...]]) -> None:
    under_test = market(seed=seed, activity=0.3)
    recorder = Recorder(under_test)
    before = {name: account.balances() for name, account in under_test.accounts.items()}

    for action in actions:
        act(under_test, action)

    # The events alone give the true books, wallets and open orders.
    for pair in under_test.pairs:
        bids, asks = under_test.depth(pair)
        assert recorder.levels[pair] == {"buy": dict(bids), "sell": dict(asks)}
    for name, account in under_test.accounts.items():
        assert recorder.wallets[name] == account.balances()
        is_open = {i for i, o in recorder.orders.items() if o.account == name and o.status in OPEN}
        assert is_open == set(account.orders)
        assert all(amount >= 0 for pair in account.balances().values() for amount in pair)
    check_orders(recorder)
    check_money(recorder, before)
    check_fills_are_trades(recorder)


OPEN = ("open", "partially_filled")


def check_orders(recorder: Recorder) -> None:
    """What an order has filled is the sum of its fills; what wallets reserve is what open orders need."""
    filled: Counter[str] = Counter()
    for fill in recorder.of(Filled):
        filled[fill.order_id] += fill.size
    for order in recorder.orders.values():
        assert filled[order.order_id] == order.filled <= order.size
        assert (order.status == "filled") == (order.filled == order.size)
    for name, account in recorder.market.accounts.items():
        needed: Counter[str] = Counter()
        for order in recorder.orders.values():
            if order.account == name and order.status in OPEN:
                base, quote = order.pair.split("-")
                left = order.size - order.filled
                assert order.price is not None
                needed[quote if order.side == "buy" else base] += left * order.price if order.side == "buy" else left
        assert {code: reserved for code, (_, reserved) in account.balances().items() if reserved} == dict(+needed)


def check_money(recorder: Recorder, before: dict[str, Any]) -> None:
    """A wallet changes by its fills and by nothing else."""
    for name, account in recorder.market.accounts.items():
        expected = {code: sum(amounts) for code, amounts in before[name].items()}
        for fill in recorder.of(Filled):
            if fill.account == name:
                base, quote = fill.pair.split("-")
                sign = 1 if fill.side == "buy" else -1
                expected[base] += sign * fill.size
                expected[quote] -= sign * fill.size * fill.price
        assert {code: account.total(code) for code in expected} == expected


def check_fills_are_trades(recorder: Recorder) -> None:
    """Every fill is part of a public trade, at its price and size, and no trade has the same account on both sides."""
    trades = {(trade.pair, trade.id): trade for trade in recorder.of(TradeDone)}
    assert len(trades) == len(recorder.of(TradeDone))
    parties: Counter[tuple[str, int, str]] = Counter()
    for fill in recorder.of(Filled):
        trade = trades[fill.pair, fill.trade_id]
        assert (trade.price, trade.size, trade.time) == (fill.price, fill.size, fill.time)
        parties[fill.pair, fill.trade_id, fill.account] += 1
    assert set(parties.values()) <= {1}


def test_price_then_time() -> None:
    under_test = market(activity=0)
    recorder = Recorder(under_test)
    best = under_test.best(PAIR)
    assert best.bid is not None
    assert best.ask is not None
    inside = best.bid + TICK  # alone at a new best price, if the spread leaves room
    if inside >= best.ask:
        pytest.skip("the seed has no room inside the spread")
    first = under_test.place("main", PAIR, "buy", 3 * STEP, inside)
    second = under_test.place("main/savings", PAIR, "buy", 3 * STEP, inside)

    under_test.place("main/bot", PAIR, "sell", 4 * STEP, inside)

    fills = [(fill.order_id, fill.size, fill.price) for fill in recorder.of(Filled) if fill.side == "buy"]
    assert fills == [(first.id, 3 * STEP, inside), (second.id, STEP, inside)]
    assert recorder.orders[first.id].status == "filled"
    assert recorder.orders[second.id].status == "partially_filled"


def test_better_price_gives_the_difference_back() -> None:
    under_test = market(activity=0)
    best = under_test.best(PAIR)
    assert best.ask is not None
    before = under_test.accounts["main"].total("EUR")

    order = under_test.place("main", PAIR, "buy", STEP, best.ask + 10 * TICK)

    assert order.status == "filled"
    assert under_test.accounts["main"].balances()["EUR"] == (before - best.ask * STEP, 0)


def test_own_orders_never_trade_with_each_other() -> None:
    under_test = market(activity=0)
    recorder = Recorder(under_test)
    best = under_test.best(PAIR)
    assert best.ask is not None
    resting = under_test.place("main", PAIR, "sell", STEP, best.ask - TICK if best.ask - TICK != best.bid else best.ask)

    under_test.place("main", PAIR, "buy", STEP, resting.limit * TICK)

    assert recorder.orders[resting.id].status == "cancelled"
    assert under_test.accounts["main"].balances()["BTC"][1] == 0


def test_market_order_rest_is_cancelled_when_money_runs_out() -> None:
    under_test = market(activity=0)
    recorder = Recorder(under_test)
    funds = under_test.accounts["main/bot"].available["EUR"]

    order = under_test.place("main/bot", PAIR, "buy", Decimal(100))

    assert order.status == "cancelled"
    assert 0 <= under_test.accounts["main/bot"].available["EUR"] < funds
    assert recorder.orders[order.id].filled > 0
    assert not under_test.accounts["main/bot"].orders


@pytest.mark.parametrize(
    ("side", "size", "price", "said"),
    [
        ("buy", "0.00015", "58000.00", "amount must be a positive multiple"),
        ("buy", "0.0001", "58000.30", "price must be a positive multiple"),
        ("buy", "-1", "58000.00", "amount must be a positive multiple"),
        ("buy", "NaN", "58000.00", "amount must be a positive multiple"),
        ("buy", "Infinity", "58000.00", "amount must be a positive multiple"),
        ("buy", "1e400", "58000.00", "amount must be a positive multiple"),
        ("hold", "1", "58000.00", "direction must be"),
        ("buy", "100", "58000.00", "insufficient funds"),
        ("sell", "100", None, "insufficient funds"),
    ],
)
def test_refused_orders_change_nothing(side: str, size: str, price: str | None, said: str) -> None:
    under_test = market()
    recorder = Recorder(under_test)
    before = under_test.accounts["main"].balances()

    with pytest.raises(OrderRefusedError, match=said):
        under_test.place("main", PAIR, side, Decimal(size), None if price is None else Decimal(price))

    assert (recorder.events, under_test.accounts["main"].balances()) == ([], before)


def test_open_orders_are_limited() -> None:
    under_test = market(activity=0, max_open_orders=2)
    for _ in range(2):
        under_test.place("main", PAIR, "buy", STEP, Decimal(1000))
    with pytest.raises(OrderRefusedError, match="too many open orders"):
        under_test.place("main", PAIR, "buy", STEP, Decimal(1000))


def test_same_seed_same_events() -> None:
    runs = []
    for _ in range(2):
        under_test = market(seed=11, activity=0.2)
        recorder = Recorder(under_test)
        for number in range(600):
            under_test.step()
            if number == 300:
                under_test.place("main", PAIR, "buy", 5 * STEP, Decimal("57990.00"))
        runs.append(recorder.events)
    assert runs[0] == runs[1]
    assert {type(event) for event in runs[0]} >= {LevelChanged, TradeDone, BestChanged, OhlcChanged, Filled}


def test_other_seed_other_events() -> None:
    recorders = [Recorder(market(seed=seed)) for seed in (1, 2)]
    for recorder in recorders:
        for _ in range(50):
            recorder.market.step()
    assert recorders[0].events != recorders[1].events


def test_the_clock_decides_nothing() -> None:
    """Another time of day gives the same market, only its stamps differ."""
    prices = []
    for now in (1e9, 1.7e9):
        recorder = Recorder(market(clock=Clock(now)))
        for _ in range(300):
            recorder.market.step()
        prices.append([(trade.id, trade.side, trade.price, trade.size) for trade in recorder.of(TradeDone)])
        assert {trade.time for trade in recorder.of(TradeDone)} == {now}
    assert prices[0] == prices[1]


def test_books_stay_bounded_and_prices_come_back() -> None:
    under_test = market(("BTC-EUR",), seed=5)
    spec = under_test.pairs[PAIR].spec
    for number in range(30_000):
        under_test.step()
        if number % 100 == 0:
            bids, asks = under_test.depth(PAIR)
            assert all(10 <= len(side) <= 70 for side in (bids, asks)), (len(bids), len(asks))
            assert abs(bids[0][0] - spec.anchor) < spec.anchor / 50
    assert under_test.pairs[PAIR].trade_count > 1000


def test_a_full_side_loses_its_worst_anonymous_orders_only() -> None:
    under_test = market(("BTC-EUR",), activity=0, min_levels=5, max_levels=8)
    far = under_test.place("main", PAIR, "buy", STEP, Decimal("1000.00"))
    for _ in range(2000):
        under_test.step()
        bids, asks = under_test.depth(PAIR)
        assert max(len(bids), len(asks)) <= 8
    assert bids[-1] == (Decimal("1000.00"), STEP)
    assert far.id in under_test.accounts["main"].orders


def test_best_changed_tells_the_top_of_the_book() -> None:
    recorder = Recorder(market(("BTC-EUR",)))
    seen = 0
    for _ in range(500):
        recorder.events.clear()
        recorder.market.step()
        bids, asks = recorder.market.depth(PAIR)
        for best in recorder.of(BestChanged):
            seen += 1
            assert (best.bid, best.bid_size, best.ask, best.ask_size) == (*bids[0], *asks[0])
    assert seen > 20


def test_day_follows_the_trades_and_forgets_them() -> None:
    clock = Clock()
    recorder = Recorder(market(("BTC-EUR",), clock=clock))
    opened = recorder.market.ohlc(PAIR)
    assert opened is not None
    for _ in range(400):
        recorder.market.step()
    trades = recorder.of(TradeDone)
    day = recorder.market.ohlc(PAIR)
    assert day is not None
    assert day.high == max(opened.high, *(trade.price for trade in trades))
    assert day.low == min(opened.low, *(trade.price for trade in trades))
    assert (day.open, day.close) == (opened.open, trades[-1].price)
    assert day.volume == opened.volume + sum(trade.size for trade in trades)

    clock.now += 86_400
    recorder.events.clear()
    while not recorder.of(TradeDone):
        recorder.market.step()
    first = recorder.of(TradeDone)[0]
    later = recorder.market.ohlc(PAIR)
    assert later is not None
    assert later.open == first.price
    assert later.volume == sum(trade.size for trade in recorder.of(TradeDone))
