from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, Reject, Replace, Restated, Said, Send
from bridge.exchanges.lmex.messages import Market
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Channel, Fill, Order, Position
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, Rig
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import account, ack, answer, changed, fetches, receive, seconds, subscribed

OPEN_ORDER = {
    "symbol": "BTC-PERP",
    "orderID": "o1",
    "orderState": "STATUS_ACTIVE",
    "side": "SELL",
    "orderType": 76,
    "price": 99.5,
    "size": 30,
    "filledSize": 10,
    "timestamp": 1700000000000,
    "clOrderID": None,
}
PAST_FILL = {
    "symbol": "BTC-PERP",
    "tradeId": "t1",
    "orderId": "o1",
    "side": "SELL",
    "price": 99.5,
    "size": 30,
    "filledPrice": 99.75,
    "filledSize": 10,
    "feeAmount": 0.1,
    "feeCurrency": "USDT",
    "timestamp": 1700000000000,
}
HELD = {"symbol": "BTC-PERP", "side": "BUY", "size": 4, "entryPrice": 99, "markPrice": 98, "contractSize": 0.00001}


def restated(session):
    return [action for action in session.actions if isinstance(action, Restated)]


class TestSync:
    def test_not_before_the_subscription_stands(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.receive(ack("fillsV2", "positionsV3"), T0)
        session.tick(T0)
        assert fetches(session) == 0
        session.receive(ack("notificationApiV3"), T0)
        assert fetches(session) == 1

    def test_futures(self):
        session = subscribed()
        requests, _ = drive(session.fetch(T0), answer([OPEN_ORDER]), answer([HELD]), answer([PAST_FILL]))
        since = T0 // 1_000_000 - (24 * 3600 + 60) * 1000
        assert [request.path for request in requests] == [
            "/futures/api/v2.3/user/open_orders",
            "/futures/api/v2.3/user/positions",
            f"/futures/api/v2.3/user/trade_history?startTime={since}&count=500",
        ]
        orders, positions, fills = session.actions
        ts = 1700000000000_000_000
        assert orders.events == [
            Order(
                "main",
                ts,
                T0,
                "o1",
                "",
                "BTC-PERP",
                "limit",
                "sell",
                "99.5",
                "0.0003",
                "0.0001",
                "partially_filled",
                "30",
            )
        ]
        assert positions.events == [
            Position("main", None, T0, "BTC-PERP", "long", "0.00004", "99", "98", "", contracts="4")
        ]
        assert fills.events == [
            Fill("main", ts, T0, "t1", "o1", "BTC-PERP", "sell", "99.75", "0.0001", "0.1", "USDT", contracts="10")
        ]
        assert {action.asked for action in session.actions} == {T0}
        assert session._balances.wanted

    def test_spot(self):
        session = subscribed(Market.SPOT)
        requests, _ = drive(session.fetch(T0), answer([]), answer([]))
        assert [request.path.partition("?")[0] for request in requests] == [
            "/spot/api/v3.2/user/open_orders",
            "/spot/api/v3.2/user/trade_history",
        ]

    def test_orders_that_are_done_are_none_of_the_open_ones(self):
        session = subscribed()
        done = {**OPEN_ORDER, "orderState": "STATUS_INACTIVE"}
        drive(session.fetch(T0), answer([done]), answer([]), answer([]))
        assert session.actions[0].events == []

    def test_the_next_history_begins_where_the_last_ended(self):
        memory = AccountMemory()
        first = subscribed(memory=memory)
        drive(first.fetch(T0), answer([]), answer([]), answer([]))
        receive(first, frames.FILL, recv=1765767212_000_000_000)
        later = subscribed(memory=memory)
        requests, _ = drive(later.fetch(T0), answer([]), answer([]), answer([]))
        assert requests[-1].path.endswith(f"?startTime={1765767211936 - 60_000}&count=500")

    def test_fills_that_come_before_the_history_do_not_shorten_it(self):
        session = subscribed()
        receive(session, frames.FILL, recv=1765767212_000_000_000)
        drive(session.fetch(T0), RestError("lmex", "/user/open_orders", 503, "away"))
        receive(session, changed(frames.FILL, tradeId="later"), recv=1765767213_000_000_000)
        requests, _ = drive(session.fetch(T0), answer([]), answer([]), answer([]))
        assert requests[-1].path.endswith(f"?startTime={T0 // 1_000_000 - (24 * 3600 + 60) * 1000}&count=500")

    def test_fills_come_oldest_first(self):
        session = subscribed()
        newer = {**PAST_FILL, "tradeId": "t2", "timestamp": 1700000000001}
        drive(session.fetch(T0), answer([]), answer([]), answer([newer, PAST_FILL]))
        assert [fill.fill_id for fill in session.actions[-1].events] == ["t1", "t2"]

    def test_where_a_symbol_is_needed_each_pair_is_asked_for(self):
        session = subscribed(pairs=("BTC-PERP", "ETH-PERP"))
        refusal = answer({"status": 400, "errorCode": -2, "message": "symbol is missing"}, 400)
        requests, _ = drive(
            session.fetch(T0), refusal, answer([OPEN_ORDER]), answer([]), answer([]), refusal, answer([]), answer([])
        )
        assert [request.path.rpartition("?")[2].partition("&")[0] for request in requests[1:3]] == [
            "symbol=BTC-PERP",
            "symbol=ETH-PERP",
        ]
        assert "symbol=ETH-PERP&startTime=" in requests[-1].path
        assert len(session.actions[0].events) == 1

    def test_a_limit_price_that_rest_knows_is_kept(self):
        session = subscribed()
        drive(session.fetch(T0), answer([{**OPEN_ORDER, "orderID": frames.ORDER_ID}]), answer([]), answer([]))
        [event] = receive(session, changed(frames.FUTURES_ORDER, status=4, price=1))
        assert event.price == "99.5"

    def test_nor_does_rest_take_it_away(self):
        session = subscribed()
        receive(session, frames.FUTURES_ORDER)
        part = {**OPEN_ORDER, "orderID": frames.ORDER_ID, "orderState": "5", "price": 31990.5}
        drive(session.fetch(T0 + 1), answer([part]), answer([]), answer([]))
        [event] = receive(session, changed(frames.FUTURES_ORDER, status=4, price=1), recv=T0 + 2)
        assert event.price == "32000"

    def test_a_row_without_an_id_may_be_of_any_order_that_is_known(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)
        receive(session, frames.FUTURES_ORDER)
        drive(session.fetch(T0 + 1), answer([{"symbol": "BTC-PERP"}]), answer([]), answer([]))
        assert len(memory.open_orders) == 1

    def test_an_order_that_rest_lists_no_more_is_forgotten(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)
        receive(session, frames.FUTURES_ORDER)
        drive(session.fetch(T0), answer([]), answer([]), answer([]))
        assert len(memory.open_orders) == 1, "it may be newer than the answer"
        drive(session.fetch(T0 + 1), answer([]), answer([]), answer([]))
        assert memory.open_orders == {}

    def test_a_refused_call_is_told(self):
        session = subscribed()
        drive(session.fetch(T0), answer(json.loads(frames.AUTH_FAILED), 400))
        [action] = session.actions
        assert action.error.kind == "rest_login_refused"
        assert (action.error.code, action.error.message) == ("-7", "-7 Authenticate failed")
        assert action.consequence == "orders, positions and fills are not refreshed"

    def test_a_row_that_cant_be_understood_goes_to_the_rejects(self):
        session = subscribed()
        drive(session.fetch(T0), answer([{"symbol": "BTC-PERP"}, OPEN_ORDER]), answer([{}]), answer([{"symbol": "X"}]))
        assert [type(action) for action in session.actions] == [Reject, Restated, Reject, Restated, Reject, Restated]
        assert len(session.actions[1].events) == 1

    def test_what_a_row_that_cant_be_understood_may_be_of_is_not_gone(self):
        """An order whose row has changed its form is still open: nobody may be told that it is not."""
        session = subscribed()
        orders, positions = Rig(Channel.ORDERS), Rig(Channel.POSITIONS)
        for event in receive(session, frames.FUTURES_ORDER):
            orders.topic.accept(event)
        for event in receive(session, frames.POSITION):
            positions.topic.accept(event)
        bad = {**OPEN_ORDER, "orderID": frames.ORDER_ID, "price": "lots"}
        drive(session.fetch(T0 + 1), answer([bad]), answer([{**HELD, "size": "lots"}]), answer([]))
        for rig, state in zip((orders, positions), restated(session), strict=False):
            rig.topic.restate(state.events, state.asked, T0 + 2, state.covers)
            assert len(rig.sink.data) == 1
        drive(session.fetch(T0 + 3), answer([]), answer([]), answer([]))
        for rig, state in zip((orders, positions), restated(session)[3:], strict=False):
            rig.topic.restate(state.events, state.asked, T0 + 4, state.covers)
            assert len(rig.sink.data) == 2

    @pytest.mark.parametrize(("bad", "gone"), [({"orderID": frames.ORDER_ID}, 1), ({"orderID": "?"}, 0), ({}, 0)])
    def test_a_row_that_cant_be_understood_spares_its_order_alone(self, bad, gone):
        """Where it can't be read which one that is, it may be any."""
        session, orders = subscribed(), Rig(Channel.ORDERS)
        for frame in (frames.FUTURES_ORDER, changed(frames.FUTURES_ORDER, orderID="another")):
            for event in receive(session, frame):
                orders.topic.accept(event)
        drive(session.fetch(T0 + 1), answer([{"symbol": "BTC-PERP", **bad}]), answer([]), answer([]))
        state = restated(session)[0]
        orders.topic.restate(state.events, state.asked, T0 + 2, state.covers)
        assert [event.order_id for event in orders.sink.data[2:]] == ["another"] * gone

    def test_a_fill_that_cant_be_understood_is_a_gap(self):
        session = subscribed()
        drive(
            session.fetch(T0),
            answer([]),
            answer([]),
            answer([PAST_FILL, {**PAST_FILL, "price": "lots", "filledPrice": ""}]),
        )
        [gap] = session.fetched
        assert (gap.event, gap.channel, gap.reason) == (
            "gap",
            "fills",
            "a row of a REST answer could not be understood",
        )

    def test_no_answer_is_told(self):
        session = subscribed()
        drive(session.fetch(T0), RestError("lmex", "/user/open_orders", 0, "no answer"))
        assert [type(action) for action in session.actions] == [Said]

    def test_the_other_markets_orders_are_left_alone(self):
        """Spot and futures orders of an account stand in one stream, and each is restated by itself."""
        rig = Rig(Channel.ORDERS)
        spot, futures = subscribed(Market.SPOT), subscribed()
        for event in (*receive(spot, frames.SPOT_ORDER), *receive(futures, frames.FUTURES_ORDER)):
            rig.topic.accept(event)
        drive(futures.fetch(T0 + 1), answer([]), answer([]), answer([]))
        state = futures.actions[0]
        rig.topic.restate(state.events, state.asked, T0 + 2, state.covers)
        assert [(e.pair, e.status) for e in rig.sink.data[2:]] == [("BTC-PERP", "")]


def asks(session, begin, end):
    """When, between two times (seconds), the session asks for its state to be fetched."""
    found = []
    for quarter in range(int(begin * 4), int(end * 4)):
        session.tick(seconds(quarter / 4))
        found += [quarter / 4] * fetches(session)
        session.actions.clear()
    return found


class TestTryingAgain:
    def test_what_could_not_be_fetched_is_tried_again_ever_later(self):
        session = subscribed()
        at = 0.0
        for wait in (5, 10, 20, 40, 60, 60):
            drive(session.fetch(seconds(at)), RestError("lmex", "/user/open_orders", 503, "away"))
            [again] = asks(session, at, at + wait + 1)
            assert again == at + wait
            at = again

    def test_not_before_the_exchange_wants_it(self):
        session = subscribed()
        drive(session.fetch(T0), RestError("lmex", "/user/open_orders", 429, "too many", 300.0))
        assert asks(session, 0, 301) == [300]

    def test_nor_because_a_frame_could_not_be_understood_meanwhile(self):
        session = subscribed()
        drive(session.fetch(T0), RestError("lmex", "/user/open_orders", 429, "too many", 300.0))
        session.rejected(seconds(20))
        assert asks(session, 20, 301) == [300]

    def test_nor_once_it_is_there(self):
        session = subscribed()
        drive(session.fetch(T0), RestError("lmex", "/user/open_orders", 503, "away"))
        assert asks(session, 0, 6) == [5]
        drive(session.fetch(seconds(5)), answer([]), answer([]), answer([]))
        assert asks(session, 6, 200) == []

    def test_bad_frames_in_a_row_fetch_it_once_in_five_seconds(self):
        session = subscribed()
        drive(session.fetch(T0), answer([]), answer([]), answer([]))
        session.actions.clear()
        found = []
        for quarter in range(40):
            session.rejected(seconds(quarter / 4))
            found += asks(session, quarter / 4, quarter / 4 + 0.25)
        assert found == [5]
        assert asks(session, 10, 20) == [10]


class TestExpiredByRest:
    def told(self, session, at):
        drive(session.fetch(seconds(at)), answer(json.loads(frames.EXPIRED), 400))
        session.actions.clear()
        session.tick(seconds(at))
        return [action for action in session.actions if not isinstance(action, Send | Fetch)]

    def test_a_log_in_of_some_age_is_replaced(self):
        session = subscribed()
        assert self.told(session, 61) == [Replace("REST says that the session has expired")]
        assert self.told(session, 61) == []

    def test_a_fresh_one_is_not(self):
        assert self.told(subscribed(), 59) == []
