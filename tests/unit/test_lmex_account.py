from __future__ import annotations

import json

import pytest

from bridge.errors import FrameError, RestError
from bridge.exchanges.base import Reconnect, Restated, Send, Synchronise, Unknown, Warn
from bridge.exchanges.lmex.account import Memory
from bridge.exchanges.lmex.names import Market
from bridge.exchanges.lmex.rest import sign
from bridge.model import Channel, ControlEvent, Fill, Order, Position
from tests.unit import lmex_frames as frames
from tests.unit.core import SECOND, T0, Rig
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import (
    account,
    ack,
    answer,
    asked,
    changed,
    contracts,
    data,
    said,
    seconds,
    sent,
    subscribed,
)

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
NONCE = int(frames.NONCE) * 1_000_000
FLAT = Position("main", None, T0, "BTC-PERP", "", "0", "", "", "", "0")


def receive(session, *many, recv=T0):
    return [event for frame in many for event in data(session.receive(frame, recv))]


class TestLogin:
    @pytest.mark.parametrize(("path", "signature"), frames.SIGNATURES.items())
    def test_the_documents_signatures(self, path, signature):
        assert sign(frames.SECRET, path, frames.NONCE) == signature

    @pytest.mark.parametrize("market", Market)
    def test_it_is_the_first_message_and_secret(self, market):
        session = account(market, now=NONCE)
        [send] = session.actions
        signature = frames.SIGNATURES[f"/ws/{market}"]
        assert json.loads(send.text) == {"op": "authKeyExpires", "args": ["the-key-id", frames.NONCE, signature]}
        assert send.secret

    def test_then_the_subscription(self):
        session = account()
        session.actions.clear()
        assert session.receive(frames.LOGGED_IN, T0) == []
        assert sent(session) == [("subscribe", "notificationApiV4", "fillsV2", "positionsV3")]

    def test_spot_has_no_positions(self):
        session = account(Market.SPOT)
        session.receive(frames.LOGGED_IN, T0)
        assert asked(session) == ["notificationApiV3", "fillsV2"]

    @pytest.mark.parametrize(
        "frame", [b'{"event":"authKeyExpires","success":true}', b'{"event":"login"}', frames.LOGGED_IN]
    )
    def test_forms_of_success(self, frame):
        session = account()
        session.receive(frame, T0)
        assert asked(session)

    @pytest.mark.parametrize(
        "frame",
        [
            frames.LOGIN_FAILED,
            frames.AUTH_FAILED,
            b'{"code":1001,"message":"no"}',
            b'{"event":"login","code":-7,"message":"no"}',
        ],
    )
    def test_a_refusal_is_followed_by_the_other_form_then_by_a_new_connection(self, frame):
        session = account()
        session.actions.clear()
        session.receive(frame, T0)
        assert [op for op, *_ in sent(session)] == ["login"]
        session.receive(frame, T0)
        [action] = session.actions
        assert isinstance(action, Reconnect)
        assert action.reason.startswith("the log-in is refused")

    def test_no_answer(self):
        session = account()
        session.actions.clear()
        session.tick(seconds(5))
        assert session.actions == []
        session.tick(seconds(5.1))
        assert [op for op, *_ in sent(session)] == ["login"]
        session.tick(seconds(10.3))
        assert session.actions == [Reconnect("the log-in is refused: no answer to the log-in")]

    def test_the_form_that_did_is_the_first_the_next_time(self):
        memory = Memory()
        first = account(memory=memory)
        first.receive(frames.LOGIN_FAILED, T0)
        first.receive(frames.LOGGED_IN, T0)
        second = account(memory=memory)
        assert [op for op, *_ in sent(second)] == ["login"]

    @pytest.mark.parametrize("login", ["login", "authKeyExpires"])
    def test_the_option(self, login):
        session = account(login=login)
        assert [op for op, *_ in sent(session)] == [login]
        session.receive(frames.LOGIN_FAILED, T0)
        assert [type(action) for action in session.actions] == [Reconnect]

    def test_no_ping_before_the_log_in(self):
        session = account()
        session.actions.clear()
        for second in range(60):
            session.tick(seconds(second))
        assert Send("ping") not in session.actions

    def test_then_one_every_15_seconds(self):
        session = subscribed()
        session.tick(seconds(15))
        assert session.actions == [Send("ping")]

    def test_it_expires(self):
        session = account(session_lifetime="2h")
        assert session.expires is None
        session.receive(frames.LOGGED_IN, T0)
        assert session.expires == T0 + 7200 * SECOND

    def test_an_expired_session_is_replaced(self):
        session = subscribed()
        session.receive(frames.EXPIRED, T0)
        assert [type(action) for action in session.actions] == [Warn, Reconnect]

    def test_the_secret_is_nowhere_to_be_seen(self):
        session = account()
        session.receive(frames.LOGIN_FAILED, T0)
        session.receive(frames.LOGIN_FAILED, T0)
        warnings = [action for action in session.actions if not isinstance(action, Send)]
        assert frames.SECRET not in repr(vars(session)) + repr(warnings)
        assert all(action.secret for action in session.actions if isinstance(action, Send))


class TestSubscription:
    def test_the_ack_is_live_and_brings_the_present_state(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.actions.clear()
        assert not session.ready
        events = session.receive(ack("positionsV3", "notificationApiV4", "fillsV2"), T0)
        assert said(events) == [("live", channel, "main") for channel in ("orders", "fills", "positions")]
        assert session.ready
        assert session.actions == [Synchronise()]

    def test_what_is_left_out_is_asked_for_in_its_older_forms(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.receive(ack("fillsV2"), T0)
        assert asked(session) == ["notificationApiV3", "positionsV2"]
        session.receive(ack("notificationApiV3"), T0)
        assert asked(session) == ["positions"]
        session.receive(frames.EMPTY_ACK, T0)
        assert asked(session) == ["allPositionV4"]
        assert [channel for _, channel, _ in said(session.receive(ack("allPositionV4"), T0))] == [
            "orders",
            "fills",
            "positions",
        ]
        assert session.ready

    def test_without_any_form_the_channel_is_down_with_the_reason(self):
        session = account(Market.SPOT)
        session.receive(frames.LOGGED_IN, T0)
        session.receive(ack("fillsV2"), T0)
        down, live = session.receive(frames.EMPTY_ACK, T0)
        assert (live.event, live.channel) == (ControlEvent.LIVE, Channel.FILLS)
        assert (down.event, down.channel) == (ControlEvent.DOWN, Channel.ORDERS)
        assert down.reason == "the exchange accepts none of the channel's topics"
        assert session.ready
        session.tick(seconds(14))
        assert not [action for action in session.actions if isinstance(action, Reconnect)]

    def test_an_error_of_a_topic_falls_back_too(self):
        session = account(Market.SPOT)
        session.receive(frames.LOGGED_IN, T0)
        row = {"arg": "fillsV2", "error": {"code": 1005, "message": "no"}}
        session.receive(json.dumps({"severity": "ERROR", "errors": [row]}).encode(), T0)
        assert asked(session) == ["notificationApiV3", "fills"]

    def test_no_answer(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.actions.clear()
        session.tick(seconds(5.1))
        assert session.actions == [Reconnect("no answer to the subscription of private topics")]

    def test_data_before_the_ack_is_live(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        assert said(session.receive(frames.FUTURES_ORDER, T0)) == [("live", "orders", "main"), "Order"]
        assert said(session.receive(ack("positionsV3", "fillsV2", "notificationApiV4"), T0)) == [
            ("live", "orders", "main"),
            ("live", "fills", "main"),
            ("live", "positions", "main"),
        ]

    def test_unknown_topics_are_told(self):
        session = subscribed()
        session.receive(b'{"topic":"userInfo","data":{}}', T0)
        assert session.actions == [Unknown("userInfo")]


class TestOrders:
    def test_futures(self):
        [event] = receive(subscribed(), frames.FUTURES_ORDER)
        assert event == Order(
            "main",
            1765718100570_000_000,
            T0,
            frames.ORDER_ID,
            "abc",
            "BTC-PERP",
            "limit",
            "buy",
            "32000",
            "0.00001",
            "0",
            "open",
            contracts="1",
        )

    @pytest.mark.parametrize("listed", [False, True])
    def test_spot_as_an_object_or_a_list(self, listed):
        message = json.loads(frames.SPOT_ORDER)
        frame = json.dumps({**message, "data": [message["data"]]}).encode() if listed else frames.SPOT_ORDER
        [event] = receive(subscribed(Market.SPOT), frame)
        assert event == Order(
            "main",
            1624985375123_000_000,
            T0,
            "0b40f3c2-7a0e-4d5c-9a9a-55b9a1a2f001",
            "abc",
            "BTC-USD",
            "limit",
            "buy",
            "35000",
            "10",
            "0",
            "open",
            contracts="",
        )

    def test_spot_v2(self):
        row = {
            "symbol": "BTC-USD",
            "orderID": "o1",
            "side": "SELL",
            "type": 77,
            "price": 0,
            "status": 5,
            "timestamp": 1624985375123,
            "size": 10,
            "originalSize": 10,
            "fillSize": 2,
            "remainingSize": 5.5,
        }
        [event] = receive(subscribed(Market.SPOT), json.dumps({"topic": "notificationApiV2", "data": row}).encode())
        assert (event.kind, event.side, event.size, event.filled, event.status) == (
            "market",
            "sell",
            "10",
            "4.5",
            "partially_filled",
        )

    def test_old_futures_names(self):
        frame = changed(frames.FUTURES_ORDER, symbol="BTCPFC").replace(b"ApiV4", b"ApiV2")
        [event] = receive(subscribed(), frame)
        assert event.pair == "BTC-PERP"

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"status": 2}, "open"),
            ({"status": 2, "totalFilledSize": 1, "originalOrderSize": 3}, "partially_filled"),
            ({"status": 5, "totalFilledSize": 1, "originalOrderSize": 3}, "partially_filled"),
            ({"status": 4, "totalFilledSize": 1}, "filled"),
            ({"status": 6}, "cancelled"),
            ({"status": 7}, "cancelled"),
            ({"status": 88}, "cancelled"),
            *(({"status": code}, "open") for code in (9, 10, 65, 85, 123)),
            *(({"status": code}, "rejected") for code in (-1, 8, 12, 15, 16, 17, 41, 101, 300, 305)),
        ],
    )
    def test_status(self, changes, status):
        [event] = receive(subscribed(), changed(frames.FUTURES_ORDER, **changes))
        assert event.status == status

    def test_an_unknown_status_is_empty_and_told(self):
        session = subscribed()
        [event] = receive(session, changed(frames.FUTURES_ORDER, status=777))
        assert event.status == ""
        assert session.actions == [Warn(f"order {frames.ORDER_ID}: unknown status 777")]

    def test_a_rejected_order(self):
        frame = changed(frames.FUTURES_ORDER, status=8, side="", orderType=0, price=0, positionId=None)
        [event] = receive(subscribed(), frame)
        assert (event.status, event.side, event.kind, event.price) == ("rejected", "", "", "0")

    def test_an_execution_keeps_the_limit_price(self):
        part = {"status": 5, "price": 31990.5, "filledSize": 1, "totalFilledSize": 1, "originalOrderSize": 2}
        full = {**part, "status": 4, "price": 31980, "totalFilledSize": 2}
        rows = [changed(frames.FUTURES_ORDER, **changes) for changes in ({"originalOrderSize": 2}, part, full)]
        events = receive(subscribed(), *rows)
        assert [(e.price, e.filled, e.status) for e in events] == [
            ("32000", "0", "open"),
            ("32000", "0.00001", "partially_filled"),
            ("32000", "0.00002", "filled"),
        ]

    def test_an_amended_order_has_its_new_price_and_size(self):
        amended = changed(frames.FUTURES_ORDER, status=123, price=31000, originalOrderSize=1, currentOrderSize=5)
        full = changed(frames.FUTURES_ORDER, status=4, price=1, currentOrderSize=5, totalFilledSize=5)
        events = receive(subscribed(), frames.FUTURES_ORDER, amended, full)
        assert [(e.price, e.contracts) for e in events] == [("32000", "1"), ("31000", "5"), ("31000", "5")]

    def test_an_unknown_limit_price_is_unknown_and_a_market_orders_is_the_trades(self):
        [limit] = receive(subscribed(), changed(frames.FUTURES_ORDER, status=4, price=31999))
        [market] = receive(subscribed(), changed(frames.FUTURES_ORDER, status=4, price=31999, orderType=77))
        assert (limit.price, market.price) == ("", "31999")

    def test_the_limit_price_is_known_over_a_new_connection(self):
        memory = Memory()
        receive(subscribed(memory=memory), frames.FUTURES_ORDER)
        filled = changed(frames.FUTURES_ORDER, status=4, price=31999)
        [event] = receive(subscribed(memory=memory), filled)
        assert event.price == "32000"
        assert memory.prices == {}

    def test_an_order_for_an_amount_of_the_quote_currency_has_no_size(self):
        frame = changed(frames.SPOT_ORDER, originalOrderBaseSize=None, currentOrderBaseSize=None)
        [event] = receive(subscribed(Market.SPOT), frame)
        assert event.size == ""

    def test_the_type_that_the_documents_name(self):
        [event] = receive(subscribed(), changed(frames.FUTURES_ORDER, orderType=..., type="80"))
        assert event.kind == "algo"


class TestFills:
    def test_futures(self):
        session = subscribed()
        [event] = receive(session, frames.FILL)
        assert event == Fill(
            "main",
            1765767211936_000_000,
            T0,
            "128c163c-1267-422a-9082-029472e16a36",
            "aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc",
            "BTC-PERP",
            "buy",
            "89315.3",
            "0.00001",
            "0.00049123",
            "USDT",
            contracts="1.0",
        )
        assert session._balances.wanted

    def test_spot_and_the_documents_misspelling(self):
        [event] = receive(subscribed(Market.SPOT), frames.SPOT_FILL)
        assert event == Fill(
            "main",
            1765767211936_000_000,
            T0,
            "228c163c-1267-422a-9082-029472e16a36",
            "aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc",
            "BTC-USD",
            "sell",
            "89315.30",
            "0.0145",
            "1.10",
            "USD",
            contracts="",
        )

    def test_a_negative_fee_is_a_rebate(self):
        [event] = receive(subscribed(), changed(frames.FILL, feeAmount="-0.5"))
        assert event.fee == "-0.5"


class TestPositions:
    def test_sample(self):
        [event] = receive(subscribed(), frames.POSITION)
        assert event == Position(
            "main", None, T0, "BTC-PERP", "long", "0.00001", "89315.3", "89315.3", "0", contracts="1"
        )

    def test_closed(self):
        assert receive(subscribed(), frames.POSITION, frames.CLOSED_POSITION)[1:] == [FLAT]

    @pytest.mark.parametrize(
        ("changes", "side"),
        [
            ({"positionDirection": "SHORT", "orderMode": 66}, "short"),
            ({"positionDirection": None, "orderMode": 83}, "short"),
            ({"positionDirection": None, "orderMode": 66}, "long"),
            ({"positionDirection": None, "orderMode": None, "side": "SELL"}, "short"),
        ],
    )
    def test_side(self, changes, side):
        [event] = receive(subscribed(), changed(frames.POSITION, **changes))
        assert event.side == side

    def test_named_by_its_id_alone(self):
        frame = changed(frames.CLOSED_POSITION, marketName=None, positionId="BTC-PERP-USD|SHORT")
        assert receive(subscribed(), frame) == [FLAT]

    def test_repeats_are_dropped(self):
        session = subscribed()
        assert len(receive(session, frames.POSITION, frames.POSITION)) == 1
        assert len(receive(session, changed(frames.POSITION, markedPrice=89316))) == 1

    def test_the_full_list_says_what_is_gone(self):
        session = subscribed()
        both = json.loads(frames.POSITION)
        both["topic"] = "allPositionV3"
        both["data"].append({**both["data"][0], "marketName": "ETH-PERP-USDT", "contractSize": 0.01})
        events = receive(session, json.dumps(both).encode())
        assert [(e.pair, e.size) for e in events] == [("BTC-PERP", "0.00001"), ("ETH-PERP", "0.01")]
        del both["data"][0]
        assert receive(session, json.dumps(both).encode()) == [FLAT]
        assert receive(session, json.dumps(both).encode()) == []
        both["data"] = []
        [event] = receive(session, json.dumps(both).encode())
        assert (event.pair, event.side, event.size) == ("ETH-PERP", "", "0")

    def test_the_contract_size_of_the_market_does_too(self):
        [event] = receive(subscribed(), changed(frames.POSITION, contractSize=...))
        assert event.size == "0.00001"


class TestSync:
    def test_not_before_the_subscription_stands(self):
        assert drive(account().sync(T0)) == ([], None)

    def test_futures(self):
        session = subscribed()
        requests, _ = drive(session.sync(T0), answer([OPEN_ORDER]), answer([HELD]), answer([PAST_FILL]))
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
        requests, _ = drive(session.sync(T0), answer([]), answer([]))
        assert [request.path.partition("?")[0] for request in requests] == [
            "/spot/api/v3.2/user/open_orders",
            "/spot/api/v3.2/user/trade_history",
        ]

    def test_orders_that_are_done_are_none_of_the_open_ones(self):
        session = subscribed()
        done = {**OPEN_ORDER, "orderState": "STATUS_INACTIVE"}
        drive(session.sync(T0), answer([done]), answer([]), answer([]))
        assert session.actions[0].events == []

    def test_the_next_history_begins_where_the_last_ended(self):
        memory = Memory()
        receive(subscribed(memory=memory), frames.FILL, recv=1765767212_000_000_000)
        later = subscribed(memory=memory)
        requests, _ = drive(later.sync(T0), answer([]), answer([]), answer([]))
        assert requests[-1].path.endswith(f"?startTime={1765767211936 - 60_000}&count=500")

    def test_fills_come_oldest_first(self):
        session = subscribed()
        newer = {**PAST_FILL, "tradeId": "t2", "timestamp": 1700000000001}
        drive(session.sync(T0), answer([]), answer([]), answer([newer, PAST_FILL]))
        assert [fill.fill_id for fill in session.actions[-1].events] == ["t1", "t2"]

    def test_where_a_symbol_is_needed_each_pair_is_asked_for(self):
        session = subscribed(pairs=("BTC-PERP", "ETH-PERP"))
        refusal = answer({"status": 400, "errorCode": -2, "message": "symbol is missing"}, 400)
        requests, _ = drive(
            session.sync(T0), refusal, answer([OPEN_ORDER]), answer([]), answer([]), refusal, answer([]), answer([])
        )
        assert [request.path.rpartition("?")[2].partition("&")[0] for request in requests[1:3]] == [
            "symbol=BTC-PERP",
            "symbol=ETH-PERP",
        ]
        assert "symbol=ETH-PERP&startTime=" in requests[-1].path
        assert len(session.actions[0].events) == 1

    def test_a_limit_price_that_rest_knows_is_kept(self):
        session = subscribed()
        drive(session.sync(T0), answer([{**OPEN_ORDER, "orderID": frames.ORDER_ID}]), answer([]), answer([]))
        [event] = receive(session, changed(frames.FUTURES_ORDER, status=4, price=1))
        assert event.price == "99.5"

    def test_a_refused_call_is_a_warning(self):
        session = subscribed()
        drive(session.sync(T0), answer(json.loads(frames.AUTH_FAILED), 400))
        [action] = session.actions
        assert isinstance(action, Warn)
        assert "-7 Authenticate failed" in action.message

    def test_a_row_that_cant_be_understood_is_a_warning(self):
        session = subscribed()
        drive(session.sync(T0), answer([{"symbol": "BTC-PERP"}, OPEN_ORDER]), answer([{}]), answer([{"symbol": "X"}]))
        assert [type(action) for action in session.actions] == [Warn, Restated, Warn, Restated, Warn, Restated]
        assert len(session.actions[1].events) == 1

    def test_no_answer_is_a_warning(self):
        session = subscribed()
        drive(session.sync(T0), RestError("lmex", "/user/open_orders", 0, "no answer"))
        assert [type(action) for action in session.actions] == [Warn]

    def test_the_other_markets_orders_are_left_alone(self):
        """Spot and futures orders of an account stand in one stream, and each is restated by itself."""
        rig = Rig(Channel.ORDERS)
        spot, futures = subscribed(Market.SPOT), subscribed()
        for event in (*receive(spot, frames.SPOT_ORDER), *receive(futures, frames.FUTURES_ORDER)):
            rig.topic.accept(event)
        drive(futures.sync(T0 + 1), answer([]), answer([]), answer([]))
        state = futures.actions[0]
        rig.topic.restate(state.events, state.asked, T0 + 2, state.covers)
        assert [(e.pair, e.status) for e in rig.sink.data[2:]] == [("BTC-PERP", "")]


class TestGarbage:
    @pytest.mark.parametrize("frame", frames.NONSENSE)
    def test_nonsense_is_a_gap_of_all_channels_and_is_made_good_by_rest(self, frame):
        session = subscribed()
        with pytest.raises(FrameError):
            session.receive(frame, T0)
        assert said(session.rejected(T0)) == [("gap", channel, "main") for channel in ("orders", "fills", "positions")]
        assert session.actions == [Synchronise()]

    @pytest.mark.parametrize("frame", frames.PRIVATE.values(), ids=frames.PRIVATE)
    def test_missing_and_wrong_fields(self, frame):
        message = json.loads(frame)
        row = message["data"][0] if isinstance(message["data"], list) else message["data"]
        values = (None, 5, -1, "", "x", "nan", "sNaN", "Infinity", [], [{}], {}, True, "Ünïcode ₿", 10**30, 2**63)
        for name in row:
            for value in (..., *values, "1e999999999", 1e300, "9" * 700):
                session = subscribed(Market.SPOT if row.get("symbol") == "BTC-USD" else Market.FUTURES)
                try:
                    session.receive(changed(frame, **{name: value}), T0)
                except FrameError:
                    session.rejected(T0)

    @pytest.mark.parametrize(
        "frame",
        [
            changed(frames.FUTURES_ORDER, symbol=...),
            changed(frames.FUTURES_ORDER, status=...),
            changed(frames.FUTURES_ORDER, orderID=None),
            changed(frames.FUTURES_ORDER, side="STAY"),
            changed(frames.FUTURES_ORDER, price="much"),
            changed(frames.FUTURES_ORDER, originalOrderSize=-1, currentOrderSize=-1),
            changed(frames.FUTURES_ORDER, timestamp="now"),
            changed(frames.FUTURES_ORDER, symbol="NEW-PERP"),
            changed(frames.FILL, price=None),
            changed(frames.FILL, size="1 2"),
            changed(frames.FILL, tradeId=None, serialId=None),
            changed(frames.POSITION, totalContracts="many"),
            changed(frames.POSITION, entryPrice="much"),
            changed(frames.POSITION, marketName=..., positionId=...),
            frames.FILL.replace(b"USDT", b"\xff"),
            b'{"topic":"fillsV2","data":7}',
            b'{"topic":"fillsV2"}',
        ],
    )
    def test_what_cannot_be_is_rejected(self, frame):
        with pytest.raises(FrameError):
            subscribed().receive(frame, T0)

    def test_contracts_of_the_tests(self):
        assert contracts().coins("BTC-PERP", "1") == "0.00001"
