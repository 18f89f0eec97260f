"""Derivatives in the market: positions, margin wallets, fees. All of it exact."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.simulator import PairSpec
from bridge.simulator.events import Filled, PositionChanged
from bridge.simulator.lmex.markets import DEFAULT_PAIRS, is_futures, market_config, old_name, pair_spec
from bridge.simulator.margin import LEVERAGE, Position
from bridge.simulator.market import Market, OrderRefusedError
from tests.simulator.helpers import Clock

BTC = pair_spec("BTC-PERP")
CENT = Decimal("0.00000001")


def futures(**settings: object) -> Market:
    return Market(market_config(("BTC-PERP", "ETH-PERP"), **{"activity": 0.0} | settings), Clock())


@given(st.lists(st.tuples(st.integers(-500, 500).filter(bool), st.integers(500_000, 700_000)), min_size=1, max_size=30))
def test_a_position_loses_no_money(trades: list[tuple[int, int]]) -> None:
    """Realised and unrealised profit together are what buying and selling came to, at whatever mark."""
    position = Position(BTC)
    spent = Decimal(0)
    for lots, ticks in trades:
        position.trade(Decimal(lots), BTC.price(ticks))
        spent += BTC.coins(Decimal(lots)) * BTC.price(ticks)
    assert position.size == sum(lots for lots, _ in trades)
    for mark in (Decimal("50000.0"), Decimal("63043.4"), Decimal("71234.5")):
        worth = BTC.coins(position.size) * mark - spent
        assert abs(position.realised + position.unrealised(mark) - worth) <= CENT * 3 * len(trades)


def test_entry_price_is_the_mean_of_what_opened_it() -> None:
    position = Position(BTC)
    assert position.trade(Decimal(10), Decimal(100)) == 0
    assert position.trade(Decimal(30), Decimal(200)) == 0
    assert (position.size, position.entry) == (40, 175)
    assert position.trade(Decimal(-20), Decimal(275)) == 20 * 100 * BTC.contract
    assert (position.size, position.entry) == (20, 175)
    assert position.trade(Decimal(-30), Decimal(75)) == -20 * 100 * BTC.contract
    assert (position.size, position.entry) == (-10, 75)
    assert position.trade(Decimal(10), Decimal(70)) == 10 * 5 * BTC.contract
    assert (position.size, position.entry) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_the_wallet_is_what_the_fills_say(seed: int) -> None:
    market = futures(seed=seed, activity=0.4)
    events: list[object] = []
    market.subscribe(events.extend)
    for _ in range(400):
        market.step()
    margin = market.accounts["main"].margin
    fills = [event for event in events if isinstance(event, Filled)]
    assert margin.total["USDT"] == margin.deposits["USDT"] + sum(fill.realised - fill.fee for fill in fills)
    for pair, position in margin.positions.items():
        signed = [fill.size if fill.side == "buy" else -fill.size for fill in fills if fill.pair == pair]
        assert position.size == sum(signed)
        last = [event for event in events if isinstance(event, PositionChanged) and event.pair == pair]
        if signed:
            assert (last[-1].size, last[-1].entry) == (position.size, position.entry)
    available, reserved = margin.balances()["USDT"]
    orders = market.accounts["main"].orders.values()
    needed = sum(
        market.pairs[o.pair].spec.coins(Decimal(o.left)) * market.pairs[o.pair].spec.price(o.limit) / LEVERAGE
        for o in orders
    )
    assert margin.held["USDT"] == needed
    assert reserved == needed + sum(position.margin for position in margin.positions.values())
    assert available + reserved == margin.total["USDT"]


def test_serial_numbers_and_sides_of_fills() -> None:
    market = futures()
    fills: list[Filled] = []
    market.subscribe(lambda events: fills.extend(event for event in events if isinstance(event, Filled)))
    best = market.best("BTC-PERP")
    assert best.ask is not None
    market.place("main", "BTC-PERP", "buy", Decimal(1), best.ask)
    assert [(fill.serial, fill.maker, fill.kind) for fill in fills] == [(1, False, "limit")]
    assert fills[0].fee == round(best.ask * BTC.contract * BTC.fee, 8)


def test_an_order_beyond_the_margin_is_refused() -> None:
    market = futures()
    with pytest.raises(OrderRefusedError, match="insufficient funds"):
        market.place("main", "BTC-PERP", "buy", Decimal(2_000_000), Decimal(60000))
    assert market.accounts["main"].margin.held["USDT"] == 0


def test_a_market_order_stops_where_the_margin_does() -> None:
    market = futures(accounts=())
    market = Market(market_config(("BTC-PERP",), activity=0.0), Clock())
    margin = market.accounts["main"].margin
    margin.total["USDT"] = Decimal(10)
    order = market.place("main", "BTC-PERP", "buy", Decimal(100_000))
    assert order.status == "cancelled"
    position = margin.positions["BTC-PERP"]
    assert 0 < position.size < 100_000
    assert abs(position.margin - 10) < 1


def test_cancelling_gives_the_margin_back() -> None:
    market = futures()
    margin = market.accounts["main"].margin
    order = market.place("main", "ETH-PERP", "sell", Decimal(500), Decimal(4000))
    assert margin.reserved("USDT") == Decimal(500) * 4000 * pair_spec("ETH-PERP").contract / LEVERAGE
    market.cancel("main", order.id)
    assert margin.balances()["USDT"] == (margin.deposits["USDT"], 0)


def test_spot_fees_are_taken_from_what_is_received() -> None:
    market = Market(market_config(("BTC-USD",), activity=0.0), Clock())
    account = market.accounts["main"]
    before = account.total("BTC")
    market.place("main", "BTC-USD", "buy", Decimal("0.1"))
    fees = sum(fill.fee for fill in account.fills)
    assert {fill.fee_currency for fill in account.fills} == {"BTC"}
    assert fees == Decimal("0.00005")
    assert account.total("BTC") == before + Decimal("0.1") - fees


@pytest.mark.parametrize("name", [*DEFAULT_PAIRS, "LTC-PERP", "XRP-PERP", "BTC-260626", "XRP-USDT", "DOGE-USD"])
def test_units_of_any_pair(name: str) -> None:
    spec = pair_spec(name)
    assert spec.futures == is_futures(name)
    assert spec.anchor % spec.tick == 0
    assert spec.quote == ("USDT" if spec.futures else name.partition("-")[2])
    assert spec.typical / spec.step >= 1
    market = Market(market_config((name,), activity=0.2), Clock())
    for _ in range(300):
        market.step()
    assert market.pairs[name].trade_count > 50


def test_old_names() -> None:
    assert [old_name(name) for name in ("BTC-PERP", "BTC-260626", "BTC-USD")] == ["BTCPFC", "BTC-260626", "BTC-USD"]


def test_a_contract_needs_a_currency_to_settle_in() -> None:
    with pytest.raises(ConfigError, match="settle"):
        PairSpec("BTC-PERP", Decimal("0.1"), Decimal(1), Decimal(60000), Decimal(1), contract=Decimal("0.001"))


def test_accounts_come_back_towards_flat() -> None:
    market = futures(activity=0.5, seed=3)
    worst = 0.0
    for _ in range(8000):
        market.step()
        worst = max(worst, *(float(abs(p.size)) for p in market.accounts["main"].margin.positions.values()))
    typical = max(state.typical for state in market.pairs.values())
    assert 0 < worst < 60 * typical
    assert market.accounts["main"].margin.available("USDT") > 0
