"""OKX's private side: the topics, and what REST says of the time before."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Reject, Warn
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Balance, Channel, Fill, Order, Position
from tests.unit import okx_frames as frames
from tests.unit.core import SECOND, T0, refused
from tests.unit.okx_sessions import DAY, MILLISECOND, ORDER, Answers, asked, subscribed
from tests.unit.session_views import actions, controls, states, take, wants


class TestTopics:
    def test_a_channel_with_too_many_connections_is_down_alone(self):
        session = subscribed()
        events = session.receive(frames.CROWDED, T0)
        assert controls(events) == [("down", "orders", "main"), ("down", "fills", "main")]
        session.tick(T0 + 75 * SECOND)
        assert asked(session) == [("subscribe", "orders")]

    def test_once_it_is_served_again_the_state_is_fetched(self):
        session = subscribed()
        Answers().drive(session.fetch(T0))
        session.receive(frames.CROWDED, T0)
        session.tick(T0 + 75 * SECOND)
        session.actions.clear()
        session.receive(frames.WARM[1], T0 + 76 * SECOND)
        session.tick(T0 + 82 * SECOND)
        assert wants(session) == 1

    def test_one_that_the_exchange_ends_is_down(self):
        session = subscribed()
        frame = b'{"event":"unsubscribe","arg":{"channel":"account"},"connId":"d0b44253"}'
        assert controls(session.receive(frame, T0)) == [("down", "balances", "main")]

    @pytest.mark.parametrize("about", [{"instType": "ANY"}, {"instType": "SPOT", "instId": "BTC-USDT", "uid": "6"}, {}])
    def test_a_message_may_name_its_type_more_closely(self, about):
        message = json.loads(frames.ORDER)
        message["arg"] = {"channel": "orders", **about}
        assert len(take(subscribed(), json.dumps(message).encode())) == 1


def order(**values):
    return frames.changed(frames.ORDER, **values)


class TestOrders:
    def test_to_the_digit(self):
        assert take(subscribed(), frames.ORDER, frames.FILLED) == [
            Order(
                "main", 1597026383085000000, T0, ORDER, "b1", "BTC-USDT", "limit", "buy", "999", "3", "0", "open", ""
            ),
            Fill(
                "main",
                1692266434010000000,
                T0,
                "242589207",
                "312269865356374017",
                "BTC-USDT-PERP",
                "sell",
                "26000.1",
                "0.04",
                "0.52",
                "USDT",
                "4",
            ),
            Order(
                "main",
                1692266434011000000,
                T0,
                "312269865356374017",
                "",
                "BTC-USDT-PERP",
                "limit",
                "sell",
                "26000.1",
                "0.07",
                "0.07",
                "filled",
                "7",
            ),
        ]

    def test_the_same_told_twice_stands_once(self):
        session = subscribed()
        assert len(take(session, frames.ORDER, frames.ORDER, order(uTime="1597026383999"))) == 1

    def test_what_has_ended_is_not_reopened(self):
        session = subscribed()
        take(session, order(state="canceled", uTime="1597026383999"))
        assert take(session, frames.ORDER) == []

    @pytest.mark.parametrize("time", ["1597026383085", "1597026383999"])
    def test_nor_where_an_earlier_state_is_told_again_as_if_it_were_newer(self, time):
        session = subscribed()
        part = order(state="partially_filled", accFillSz="1", uTime="1597026383084")
        assert len(take(session, part, order(state="filled", accFillSz="3"))) == 2
        assert take(session, order(state="partially_filled", accFillSz="1", uTime=time)) == []

    def test_the_first_that_is_heard_of_an_order_may_be_its_end(self):
        [event] = take(subscribed(), order(state="canceled", cancelSource="31"))
        assert (event.status, event.price, event.size, event.filled) == ("cancelled", "999", "3", "0")

    @pytest.mark.parametrize(
        ("state", "status"),
        [
            ("live", "open"),
            ("partially_filled", "partially_filled"),
            ("filled", "filled"),
            ("canceled", "cancelled"),
            ("mmp_canceled", "cancelled"),
        ],
    )
    def test_states(self, state, status):
        [event] = take(subscribed(), order(state=state))
        assert event.status == status

    @pytest.mark.parametrize(("filled", "status"), [("0", "open"), ("2", "open"), ("3", "filled")])
    def test_a_state_that_is_not_known_is_told_once(self, filled, status):
        session = subscribed()
        [event] = take(session, order(state="frozen", accFillSz=filled))
        take(session, order(state="frozen", accFillSz=filled, ordId="2"))
        assert event.status == status
        assert len(actions(session, Warn)) == 1

    @pytest.mark.parametrize(
        "kind", ["post_only", "fok", "ioc", "optimal_limit_ioc", "mmp", "mmp_and_post_only", "rpi"]
    )
    def test_kinds_are_the_exchanges(self, kind):
        [event] = take(subscribed(), order(ordType=kind))
        assert event.kind == kind

    def test_one_to_buy_for_an_amount_of_money_has_no_size(self):
        [event] = take(subscribed(), order(ordType="market", px="", sz="100", tgtCcy="quote_ccy"))
        assert (event.price, event.size, event.kind) == ("", "", "market")

    @pytest.mark.parametrize(
        ("row", "size"),
        [
            ({"ordType": "market"}, ""),
            ({"ordType": "market", "side": "sell"}, "100"),
            ({"ordType": "market", "tgtCcy": "base_ccy"}, "100"),
            ({"ordType": "limit"}, "100"),
        ],
    )
    def test_on_margin_a_market_order_to_buy_is_for_money(self, row, size):
        [event] = take(subscribed(), order(instType="MARGIN", tdMode="cross", sz="100", **row))
        assert event.size == size

    @pytest.mark.parametrize("row", [{"tradeId": ""}, {"fillSz": "0"}])
    def test_that_nothing_was_filled_is_no_fill(self, row):
        found = take(subscribed(), frames.changed(frames.FILLED, **row))
        assert [type(event) for event in found] == [Order]

    @pytest.mark.parametrize(("fee", "paid"), [("-0.5", "0.5"), ("0.5", "-0.5"), ("0", "0"), ("", "")])
    def test_a_fee_that_is_charged_is_positive(self, fee, paid):
        [fill, _] = take(subscribed(), frames.changed(frames.FILLED, fillFee=fee))
        assert fill.fee == paid

    def test_a_liquidation_has_a_negative_id(self):
        [fill, _] = take(subscribed(), frames.changed(frames.FILLED, tradeId="-12"))
        assert fill.fill_id == "-12"

    def test_inverse_contracts_have_no_size_in_coins(self):
        [fill, event] = take(subscribed(), frames.changed(frames.FILLED, instId="BTC-USD-SWAP"))
        assert (event.pair, event.size, event.filled, event.contracts) == ("BTC-USD-PERP", "", "", "7")
        assert (fill.size, fill.contracts) == ("", "4")

    def test_a_margin_order_is_of_its_pair(self):
        [event] = take(subscribed(), order(instType="MARGIN"))
        assert (event.pair, event.size) == ("BTC-USDT", "3")

    def test_a_bad_row_harms_no_other_and_is_fetched(self):
        session = subscribed()
        message = json.loads(frames.ORDER)
        row = message["data"][0]
        message["data"] = [row | {"px": "dear"}, row | {"ordId": "2"}]
        events = session.receive(json.dumps(message).encode(), T0)
        assert sorted(controls(events)) == [("gap", "fills", "main"), ("gap", "orders", "main")]
        assert [event.order_id for event in events if isinstance(event, Order)] == ["2"]
        assert len(actions(session, Reject)) == 1
        session.tick(T0 + 6 * SECOND)
        assert wants(session) == 1


def position(**values):
    return frames.changed(frames.POSITION, **values)


class TestPositionsAndBalances:
    def test_a_leg(self):
        assert take(subscribed(), frames.POSITION, position(uTime="1619507761463")) == [
            Position(
                "main",
                1619507761462000000,
                T0,
                "BTC-USDT-PERP",
                "long",
                "0.01",
                "3320",
                "3353.8",
                "0.3",
                "1",
                "long",
            )
        ]

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            ({"posSide": "net", "pos": "5"}, ("long", "0.05", "5", "")),
            ({"posSide": "net", "pos": "-5"}, ("short", "0.05", "5", "")),
            ({"posSide": "short", "pos": "5"}, ("short", "0.05", "5", "short")),
            ({"posSide": "net", "pos": "0"}, ("", "0", "0", "")),
            ({"posSide": "long", "pos": ""}, ("", "0", "0", "long")),
        ],
    )
    def test_modes(self, values, found):
        [event] = take(subscribed(), position(**values))
        assert (event.side, event.size, event.contracts, event.leg) == found

    def test_cross_and_isolated_are_summed_and_that_is_told_once(self):
        session = subscribed()
        take(session, position(posSide="net", pos="5", mgnMode="cross"))
        [event] = take(session, position(posSide="net", pos="-2", upl="-1"))
        assert (event.side, event.contracts, event.size, event.unrealised_pnl) == ("long", "3", "0.03", "-0.7")
        take(session, position(posSide="net", pos="-3"))
        assert len(actions(session, Warn)) == 1

    def test_of_margin_trading_none_is_a_derivative(self):
        assert take(subscribed(), position(instType="MARGIN", instId="BTC-USDT")) == []

    def test_balances(self):
        assert take(subscribed(), frames.BALANCE) == [Balance("main", 1705564223311000000, T0, "BTC", "0.9", "0.1")]

    def test_all_currencies_of_a_message(self):
        found = take(subscribed(), frames.changed(frames.BALANCE, details=[frames.COIN, frames.COIN | {"ccy": "USDT"}]))
        assert [event.currency for event in found] == ["BTC", "USDT"]

    def test_a_currency_that_is_no_good_is_rejected(self):
        coins = [frames.COIN | {"availBal": "lots"}]
        assert refused(subscribed(), frames.changed(frames.BALANCE, details=coins)) == [("balances", "main")]


def fetched(answers, session=None, now=T0):
    session = session or subscribed()
    table = Answers(answers)
    events = table.drive(session.fetch(now))
    return session, table, events


class TestCatchingUp:
    def test_what_is_asked_for(self):
        _, table, _ = fetched({})
        day = T0 // MILLISECOND - DAY - 60_000
        assert table.called == [
            "/api/v5/trade/orders-pending?limit=100",
            "/api/v5/account/positions",
            f"/api/v5/trade/fills?begin={day}&limit=100",
            "/api/v5/account/balance",
        ]

    def test_fills_of_more_than_three_days_are_asked_for_by_type(self):
        memory = AccountMemory(newest_fill=T0 - 4 * DAY * MILLISECOND)
        _, table, _ = fetched({}, subscribed(memory=memory))
        kinds = [called.split("instType=")[1].split("&")[0] for called in table.called if "history" in called]
        assert kinds == ["SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"]

    def test_fills_come_in_their_order_with_their_own_fee(self):
        rows = [frames.FILL | {"tradeId": "2", "fillTime": "1692266434020"}, frames.FILL | {"ts": "1"}]
        session, _, _ = fetched({"/api/v5/trade/fills": rows})
        fills = states(session)[Channel.FILLS].events
        assert [(fill.fill_id, fill.fee, fill.size) for fill in fills] == [
            ("242589207", "0.52", "0.04"),
            ("2", "0.52", "0.04"),
        ]

    def test_fills_of_one_millisecond_come_oldest_first_as_they_happened(self):
        rows = [frames.FILL | {"tradeId": str(number)} for number in (12, 11, 10)]
        session, _, _ = fetched({"/api/v5/trade/fills": rows})
        assert [fill.fill_id for fill in states(session)[Channel.FILLS].events] == ["10", "11", "12"]

    def test_a_list_of_fills_without_end_is_a_gap(self):
        page = [frames.FILL | {"billId": str(number)} for number in range(100)]
        _, _, events = fetched({"/api/v5/trade/fills": page})
        assert ("gap", "fills", "main") in controls(events)

    def test_an_order_that_is_no_longer_open_is_looked_up(self):
        session = subscribed()
        take(session, frames.ORDER, order(ordId="gone"))
        session, table, _ = fetched(
            {
                f"/api/v5/trade/order?ordId={ORDER}": [
                    frames.row(frames.ORDER, state="filled", accFillSz="3", tradeId="7", fillSz="3")
                ],
                "/api/v5/trade/order?ordId=gone": b'{"code":"51603","msg":"Order does not exist","data":[]}',
            },
            session,
            T0 + SECOND,
        )
        assert f"/api/v5/trade/order?instId=BTC-USDT&ordId={ORDER}" in table.called
        assert [(event.order_id, event.status) for event in states(session)[Channel.ORDERS].events] == [
            (ORDER, "filled")
        ]

    def test_an_instrument_that_is_listed_no_more_stops_nothing_and_is_told_once(self):
        session = subscribed()
        take(session, *(order(ordId=ident, instId="OLD-USDT") for ident in ("1", "2")), frames.ORDER)
        unknown = b'{"code":"51001","msg":"Instrument ID does not exist.","data":[]}'
        answers = {
            "/api/v5/trade/order?instId=OLD-USDT": unknown,
            "/api/v5/trade/order?instId=BTC-USDT": [frames.row(frames.ORDER, state="canceled")],
        }
        session, _, _ = fetched(answers, session, T0 + SECOND)
        assert set(states(session)) == {Channel.ORDERS, Channel.POSITIONS, Channel.FILLS, Channel.BALANCES}
        assert [event.order_id for event in states(session)[Channel.ORDERS].events] == [ORDER]
        [warning] = actions(session, Warn)
        assert warning.message.startswith("OLD-USDT is not listed any more")

    def test_an_order_of_a_swap_that_was_listed_later_is_looked_up_by_its_own_name(self):
        session, symbol = subscribed(), "NEWC-USDT-SWAP"
        take(session, order(instId=symbol, instType="SWAP"))
        ended = [frames.row(frames.ORDER, instId=symbol, instType="SWAP", state="canceled")]
        session, _, _ = fetched({f"/api/v5/trade/order?instId={symbol}": ended}, session, T0 + SECOND)
        [event] = states(session)[Channel.ORDERS].events
        assert (event.pair, event.status) == ("NEWC-USDT-PERP", "cancelled")

    def test_one_that_is_open_still_is_not_looked_up(self):
        session, row = subscribed(), {"instId": "NEWC-USDT-SWAP", "instType": "SWAP"}
        take(session, order(**row))
        listed = {"/api/v5/trade/orders-pending": [frames.row(frames.ORDER, **row)]}
        session, table, _ = fetched(listed, session, T0 + SECOND)
        assert not [called for called in table.called if called.startswith("/api/v5/trade/order?")]

    def test_what_is_left_out_is_zero(self):
        session = subscribed()
        take(session, frames.BALANCE, frames.POSITION)
        session, _, _ = fetched({}, session, T0 + SECOND)
        [balance] = states(session)[Channel.BALANCES].events
        assert (balance.currency, balance.available, balance.reserved) == ("BTC", "0", "0")
        [flat] = states(session)[Channel.POSITIONS].events
        assert (flat.pair, flat.side, flat.leg, flat.size, flat.contracts) == ("BTC-USDT-PERP", "", "long", "0", "0")

    def test_a_bad_row_spares_only_what_it_is_of(self):
        session = subscribed()
        take(session, frames.POSITION, frames.changed(frames.POSITION, instId="BTC-USDT-261225"))
        bad = {"/api/v5/account/positions": [frames.row(frames.POSITION, posSide="up")]}
        session, _, _ = fetched(bad, session, T0 + SECOND)
        [flat] = states(session)[Channel.POSITIONS].events
        assert (flat.pair, flat.side) == ("BTC-USDT-261225", "")

    def test_cross_and_isolated_in_one_list_are_one_state(self):
        rows = [frames.row(frames.POSITION, posSide="net", mgnMode=mode) for mode in ("cross", "isolated")]
        session, _, _ = fetched({"/api/v5/account/positions": rows})
        [event] = states(session)[Channel.POSITIONS].events
        assert event.contracts == "2"

    def test_a_mode_that_the_list_leaves_out_is_gone(self):
        session = subscribed()
        take(session, *(position(posSide="net", pos="5", mgnMode=mode) for mode in ("cross", "isolated")))
        rows = [frames.row(frames.POSITION, posSide="net", pos="2", mgnMode="isolated")]
        session, _, _ = fetched({"/api/v5/account/positions": rows}, session, T0 + SECOND)
        [event] = states(session)[Channel.POSITIONS].events
        assert event.contracts == "2"

    def test_one_fetch_looks_up_fifty_orders_at_most_and_the_next_one_the_others(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)
        take(session, *(order(ordId=str(number)) for number in range(1, 61)))
        _, table, _ = fetched({}, session, T0 + SECOND)
        assert len([called for called in table.called if called.startswith("/api/v5/trade/order?")]) == 50
        assert sum(not states(session)[Channel.ORDERS].covers(event) for event in memory.open_orders.values()) == 10
        session.actions.clear()
        session.tick(T0 + 7 * SECOND)
        assert wants(session) == 1
        _, table, _ = fetched({}, session, T0 + 7 * SECOND)
        assert len([called for called in table.called if called.startswith("/api/v5/trade/order?")]) == 10
        assert memory.open_orders == {}

    @pytest.mark.parametrize(("hours", "begin"), [(70, 70 * 3_600_000 + 60_000), (2_400, 90 * DAY)])
    def test_fills_are_asked_for_as_far_back_as_the_exchange_keeps_them(self, hours, begin):
        memory = AccountMemory(newest_fill=T0 - hours * 3_600 * SECOND)
        _, table, _ = fetched({}, subscribed(memory=memory))
        asked_for = [called for called in table.called if "begin=" in called]
        assert all(f"begin={T0 // MILLISECOND - begin}&" in called for called in asked_for)
        assert {called.partition("?")[0].rpartition("/")[2] for called in asked_for} == {
            "fills" if hours < 71 else "fills-history"
        }
