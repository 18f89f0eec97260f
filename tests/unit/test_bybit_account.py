"""Bybit's private side: the log-in, the four topics, and what REST says of the time before."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import HttpResponse, Reconnect, Reject
from bridge.exchanges.bybit.private import BybitRest, sign
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Balance, Control, ControlEvent, Fill, Order, Position
from tests.unit import bybit_frames as frames
from tests.unit.bybit_sessions import MILLISECOND, ORDER, Answers, account, asked, refusal, refuse, sent, subscribed
from tests.unit.core import SECOND, T0, faults, refused
from tests.unit.session_views import controls, data, log_in, reconnects, take, wants


class TestLogIn:
    def test_it_is_signed_for_ten_seconds_and_is_a_secret(self):
        message = log_in(account())
        expires = T0 // MILLISECOND + 10_000
        assert message == {"op": "auth", "args": [frames.KEY, expires, sign(frames.SECRET, f"GET/realtime{expires}")]}

    def test_it_goes_by_the_exchanges_clock(self):
        rest = BybitRest()
        rest.clock_offset = -3 * SECOND
        assert log_in(account(rest=rest))["args"][1] == T0 // MILLISECOND + 7_000

    def test_nothing_else_is_sent_before_it_is_accepted(self):
        session = account()
        session.tick(T0 + 5 * SECOND)
        assert [message["op"] for message in sent(session)] == ["auth"]
        session.receive(frames.LOGGED_IN, T0)
        assert asked(session) == [("subscribe", "order", "execution", "position", "wallet")]

    def test_never_the_topic_that_cancels_orders(self):
        assert not any(topic.startswith("dcp") for topic in frames.PRIVATE)

    def test_a_refusal_is_tried_once_more_with_the_clock_read_anew(self):
        memory, rest = AccountMemory(), BybitRest()
        session = account(memory, rest)
        assert refuse(session) == [Reconnect("the log-in is refused: Params Error", 0.0)]
        assert faults(session) == [("login_refused", None, "", "Params Error")]
        again = account(memory, rest)
        answers = Answers({"/v5/market/time": json.dumps({"retCode": 0, "time": T0 // MILLISECOND + 90_000}).encode()})
        answers.drive(again.open(T0))
        assert answers.called == ["/v5/market/time"]
        assert rest.clock_offset == 90 * SECOND
        assert refuse(again) == [Reconnect("the log-in is refused: Params Error", 60.0)]

    def test_that_the_clock_cannot_be_read_stops_nobody(self):
        memory = AccountMemory(refused=1)
        answers = Answers({"/v5/market/time": HttpResponse(503, b"away")})
        assert answers.drive(account(memory).open(T0)).url == "wss://x"

    def test_once_it_is_accepted_the_next_refusal_is_a_first_one(self):
        memory = AccountMemory(refused=3)
        account(memory).receive(frames.LOGGED_IN, T0)
        assert Answers().drive(account(memory).open(T0)).url == "wss://x"
        assert refuse(account(memory))[0].wait == 0

    def test_no_answer(self):
        session = account()
        session.tick(T0 + 10 * SECOND)
        assert reconnects(session) == []
        session.tick(T0 + 11 * SECOND)
        assert reconnects(session) == [Reconnect("no answer to the log-in")]

    def test_live_at_the_acknowledgement_and_then_the_state_is_fetched(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        assert not session.ready
        events = session.receive(frames.ACKNOWLEDGED, T0)
        assert controls(events) == [
            ("live", channel, "main") for channel in ("orders", "fills", "positions", "balances")
        ]
        assert session.ready
        assert wants(session) == 1

    def test_it_is_fetched_though_data_came_before_the_acknowledgement(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        for frame in frames.PRIVATE.values():
            session.receive(frame, T0)
        assert session.receive(frames.ACKNOWLEDGED, T0) == []
        assert wants(session) == 1

    def test_nothing_is_fetched_before(self):
        assert wants(account()) == 0

    @pytest.mark.parametrize("op", ["pong", "unsubscribe", "something"])
    def test_nor_for_another_answer(self, op):
        session = subscribed()
        session.receive(json.dumps({"req_id": "1", "op": op, "success": True, "conn_id": "c"}).encode(), T0)
        assert wants(session) == 0

    def test_a_topic_that_is_refused_is_down_alone(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.receive(refusal("1", "error:not allowed,topic:wallet"), T0)
        assert wants(session) == 0
        [*_, last] = sent(session)
        assert last["args"] == ["position"]


class TestOrders:
    def test_to_the_digit(self):
        order = (ORDER, "mine-1", "BTC-USDT-PERP", "limit", "sell", "72.5", "1", "0.5", "partially_filled")
        assert take(subscribed(), frames.ORDER) == [Order("main", 1672364262457000000, T0, *order)]

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("New", "open"),
            ("Untriggered", "open"),
            ("Triggered", "open"),
            ("PartiallyFilled", "partially_filled"),
            ("Filled", "filled"),
            ("Cancelled", "cancelled"),
            ("PartiallyFilledCanceled", "cancelled"),
            ("Deactivated", "cancelled"),
            ("Rejected", "rejected"),
        ],
    )
    def test_statuses(self, word, status):
        [order] = take(subscribed(), frames.changed(frames.ORDER, orderStatus=word))
        assert order.status == status

    def test_an_unknown_status_is_a_gap_and_the_state_is_fetched(self):
        session = subscribed()
        assert refused(session, frames.changed(frames.ORDER, orderStatus="Dreaming")) == [("orders", "main")]
        session.tick(T0 + 5 * SECOND)
        assert wants(session) == 1

    @pytest.mark.parametrize(
        ("row", "price", "size"),
        [
            ({"orderType": "Market"}, "", "1"),
            ({"orderType": "Market", "category": "spot", "side": "Buy"}, "", ""),
            ({"orderType": "Market", "category": "spot", "side": "Buy", "marketUnit": "baseCoin"}, "", "1"),
            ({"orderType": "Market", "category": "spot", "side": "Sell"}, "", "1"),
            ({"orderType": "Market", "category": "spot", "side": "Sell", "marketUnit": "quoteCoin"}, "", ""),
            ({"category": "spot", "side": "Buy"}, "72.5", "1"),
        ],
    )
    def test_a_market_order_has_no_price_and_may_count_in_the_quote_coin(self, row, price, size):
        [order] = take(subscribed(), frames.changed(frames.ORDER, **row))
        assert (order.price, order.size) == (price, size)

    @pytest.mark.parametrize(("category", "pair"), [("spot", "BTC-USDT"), ("linear", "BTC-USDT-PERP")])
    def test_the_category_tells_which_pair(self, category, pair):
        [order] = take(subscribed(), frames.changed(frames.ORDER, category=category))
        assert order.pair == pair

    def test_a_symbol_that_is_not_listed_is_its_own_name(self):
        [order] = take(subscribed(), frames.changed(frames.ORDER, symbol="NEWUSDT"))
        assert order.pair == "NEWUSDT"

    @pytest.mark.parametrize("category", ["inverse", "option"])
    def test_other_categories_are_not_served(self, category):
        session = subscribed()
        assert session.receive(frames.changed(frames.ORDER, category=category), T0) == []
        assert session.actions == []

    def test_one_bad_row_among_good_ones(self):
        session = subscribed()
        message = json.loads(frames.ORDER)
        good = message["data"][0]
        message["data"] = [good, good | {"side": "Both"}, good | {"orderId": "o-2"}]
        events = session.receive(json.dumps(message).encode(), T0)
        assert [getattr(event, "order_id", "gap") for event in events] == [ORDER, "gap", "o-2"]
        assert len([action for action in session.actions if isinstance(action, Reject)]) == 1


class TestFills:
    def test_to_the_digit(self):
        ids = ("0ab1bdf7-4219-438b-b30a-32ec863018f7", "9aac161b-8ed6-450d-9cab-c5cc67c21784")
        fill = ("BTC-USDT-PERP", "sell", "95900.1", "0.5", "26.3725275", "USDT")
        assert take(subscribed(), frames.EXECUTION) == [Fill("main", 1746270400353000000, T0, *ids, *fill)]

    @pytest.mark.parametrize("kind", ["Trade", "AdlTrade", "BustTrade", "BlockTrade"])
    def test_what_is_a_fill(self, kind):
        assert len(take(subscribed(), frames.changed(frames.EXECUTION, execType=kind))) == 1

    @pytest.mark.parametrize(
        "kind", ["Funding", "Settle", "Delivery", "MovePosition", "FutureSpread", "CorporateAction"]
    )
    def test_what_is_none(self, kind):
        session = subscribed()
        assert session.receive(frames.changed(frames.EXECUTION, execType=kind, side="", orderId=""), T0) == []
        assert session.actions == []

    def test_a_type_that_nobody_knows_is_a_gap(self):
        assert refused(subscribed(), frames.changed(frames.EXECUTION, execType="Gift")) == [("fills", "main")]

    def test_a_rebate(self):
        [fill] = take(subscribed(), frames.changed(frames.EXECUTION, execFee="-0.01", feeCurrency="BTC"))
        assert (fill.fee, fill.fee_currency) == ("-0.01", "BTC")

    def test_several_of_one_message(self):
        message = json.loads(frames.EXECUTION)
        message["data"] = [message["data"][0] | {"execId": str(number)} for number in range(3)]
        assert [fill.fill_id for fill in take(subscribed(), json.dumps(message).encode())] == ["0", "1", "2"]


class TestPositions:
    def test_to_the_digit(self):
        position = ("BTC-USDT-PERP", "long", "0.012", "28000.5", "28184.5", "2.208", None, "")
        assert take(subscribed(), frames.POSITION) == [Position("main", 1697682317038000000, T0, *position)]

    def test_one_that_is_as_it_was_is_no_news(self):
        """They come with every order, changed or not."""
        session = subscribed()
        later = frames.changed(frames.POSITION, updatedTime="1697682317999", seq=1)
        assert len(take(session, frames.POSITION, later, frames.changed(frames.POSITION, size="0.013"))) == 2

    @pytest.mark.parametrize("side", ["", "Buy"])
    def test_flat(self, side):
        [position] = take(subscribed(), frames.changed(frames.POSITION, side=side, size="0", entryPrice="0"))
        assert [getattr(position, name) for name in Position.WIRE] == ["BTC-USDT-PERP", "", "0", "", "", ""]

    def test_the_legs_of_a_hedged_pair(self):
        session = subscribed()
        legs = [
            frames.changed(frames.POSITION, positionIdx=1),
            frames.changed(frames.POSITION, positionIdx=2, side="", size="0"),
            frames.changed(frames.POSITION, positionIdx=2, side="Sell", size="3"),
        ]
        assert [(p.leg, p.side, p.size) for p in take(session, *legs, *legs[:1])] == [
            ("long", "long", "0.012"),
            ("short", "", "0"),
            ("short", "short", "3"),
        ]


def wallet(**coin):
    return json.dumps({"topic": "wallet", "data": [frames.wallet(**coin)]}).encode()


class TestBalances:
    def test_to_the_digit(self):
        assert take(subscribed(), frames.WALLET) == [Balance("main", None, T0, "BTC", "0.00100964", "0.00002")]

    @pytest.mark.parametrize("bound", ["totalOrderIM", "totalPositionIM", "spotBorrow"])
    @pytest.mark.parametrize(("held", "available"), [("", "0.00100964"), ("0", "0.00100964"), ("0.5", "")])
    def test_what_is_free_is_not_told_where_margin_or_a_loan_is_held(self, bound, held, available):
        [balance] = take(subscribed(), wallet(**{bound: held}))
        assert balance.available == available

    @pytest.mark.parametrize(
        ("total", "locked", "available"), [("0", "0", "0"), ("", "", "0"), ("-5", "0", "-5"), ("0.30", "0.1", "0.20")]
    )
    def test_amounts_are_exact(self, total, locked, available):
        [balance] = take(subscribed(), wallet(walletBalance=total, locked=locked))
        assert balance.available == available

    def test_a_bad_coin_harms_no_other(self):
        row = frames.wallet()
        row["coin"] = [row["coin"][0] | {"coin": name, "locked": amount} for name, amount in (("A", "x"), ("B", "0"))]
        events = subscribed().receive(json.dumps({"topic": "wallet", "data": [row]}).encode(), T0)
        assert [getattr(event, "currency", "gap") for event in events] == ["gap", "B"]


def test_there_are_no_books():
    session = subscribed()
    session.resync("BTC-USDT", T0, "why")
    assert session.actions == []


def test_control_entries_are_of_the_account():
    session = subscribed()
    events = [event for event in session.rejected(T0) if isinstance(event, Control)]
    assert {event.event for event in events} == {ControlEvent.GAP}
    assert data(events) == []
