"""A Kraken account: its token, its sparse orders, and what is numbered."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, HttpResponse, Profile, Reconnect, Reject, Said, Send
from bridge.exchanges.kraken import Kraken
from bridge.exchanges.kraken.private import currency, sign
from bridge.model import Channel, Fill, Order
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, faults, refused
from tests.unit.kraken_sessions import ACCOUNT, NOW, ORDER, Rest, account, fetched, gaps, synced
from tests.unit.session_views import data, states

WHOLE = "orders, positions, fills and balances"
"""What is fetched where more than the balances is in doubt."""


class TestLogIn:
    def test_the_documents_signature(self):
        body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
        assert sign(frames.SECRET, "/0/private/AddOrder", "1616492376594", body) == (
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
        )

    def test_each_connection_has_a_token_that_nobody_sees(self):
        session = account(begun=False)
        sends = [action for action in session.actions if isinstance(action, Send)]
        assert all(send.secret for send in sends)
        assert [json.loads(send.text)["params"] for send in sends] == [
            {
                "channel": "executions",
                "token": frames.TOKEN,
                "snap_orders": True,
                "snap_trades": True,
                "order_status": True,
            },
            {"channel": "balances", "token": frames.TOKEN},
        ]

    @pytest.mark.parametrize("result", [{}, [], {"token": ""}, {"expires": 900}])
    def test_an_answer_without_a_token(self, result):
        with pytest.raises(RestError):
            account(Rest(GetWebSocketsToken=result))

    @pytest.mark.parametrize(
        ("words", "kind", "wait"),
        [
            ("EAPI:Invalid key", "rest_login_refused", 60),
            ("EAPI:Invalid signature", "rest_login_refused", 60),
            ("EGeneral:Permission denied", "rest_login_refused", 60),
            ("EGeneral:Temporary lockout", "rest_login_refused", 900),
            ("EAPI:Rate limit exceeded", "rest_rate_limited", 15),
            ("EGeneral:Too many requests", "rest_rate_limited", 15),
            ("EService:Unavailable", "rest_failed", 5),
            ("EService:Market in cancel_only mode", "rest_failed", 5),
            ("EGeneral:Internal error", "rest_failed", None),
        ],
    )
    def test_what_rest_refuses(self, words, kind, wait):
        with pytest.raises(RestError) as found:
            account(Rest(GetWebSocketsToken=words))
        assert (found.value.kind, found.value.retry_after) == (kind, wait)
        assert words in found.value.message
        assert frames.SECRET not in str(found.value)

    def test_until_when_it_is_throttled(self):
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        flow = exchange.plan()[-1].session().open(NOW)
        next(flow)
        headers = {"date": "Sat, 28 Nov 2026 20:00:00 GMT"}
        with pytest.raises(RestError) as found:
            flow.send(HttpResponse(200, frames.rest({}, "EService: Throttled: 1795896042"), headers))
        assert (found.value.kind, found.value.retry_after) == ("rest_rate_limited", 42)

    @pytest.mark.parametrize("words", ["EAPI:Invalid token", "ESession:Invalid session"])
    def test_a_token_that_is_refused_is_replaced_over_another_connection(self, words):
        session = account(begun=False)
        refusal = {"method": "subscribe", "success": False, "error": words, "req_id": 1}
        session.receive(json.dumps(refusal).encode(), NOW)
        said, again = (action for action in session.actions if isinstance(action, Said | Reconnect))
        assert (said.error.kind, again.wait) == ("session_expired", 0)

    @pytest.mark.parametrize("words", ["EAPI:Invalid key", "EGeneral:Permission denied"])
    def test_a_key_that_is_refused_is_left_alone_for_long(self, words):
        session = account(begun=False)
        refusal = {"method": "subscribe", "success": False, "error": words, "req_id": 2}
        session.receive(json.dumps(refusal).encode(), NOW)
        said, again = (action for action in session.actions if isinstance(action, Said | Reconnect))
        assert (said.error.kind, again.wait) == ("login_refused", 60)
        assert words in again.reason

    def test_what_else_is_refused_is_asked_for_later(self):
        session = account(begun=False)
        refusal = {"method": "subscribe", "success": False, "error": "EService:Unavailable", "req_id": 2}
        [down] = session.receive(json.dumps(refusal).encode(), NOW)
        assert (down.event, down.channel) == ("down", Channel.BALANCES)
        assert faults(session)[0][3] == "EService:Unavailable"

    def test_it_is_ready_once_rest_has_been_asked(self):
        session = account()
        session.tick(NOW)
        assert not session.ready
        Rest().drive(session.fetch(NOW))
        session.tick(NOW + 1)
        assert session.ready

    def test_rest_is_asked_for_everything_when_orders_are_served(self):
        """The channel of balances says nothing of them."""
        session = account(begun=False)
        session.receive(frames.EXECUTIONS, NOW)
        assert fetched(session) == [WHOLE]
        session.receive(frames.BALANCES, NOW)
        assert fetched(session) == [WHOLE]

    def test_a_missing_permission_takes_it_down(self):
        session = synced(Rest(BalanceEx="EGeneral:Permission denied"))
        [again] = [action for action in session.actions if isinstance(action, Reconnect)]
        assert "the key lacks the permission 'Query funds'" in again.reason
        assert (again.wait, session.ready) == (60, False)


class TestOrders:
    def test_what_an_event_leaves_out_is_as_it_was(self):
        session = account()
        orders = []
        for frame in (frames.PENDING, frames.NEW, frames.TRADED, frames.FILLED):
            orders += [event for event in session.receive(frame, NOW) if isinstance(event, Order)]
        assert [(order.status, order.filled) for order in orders] == [
            ("open", "0"),
            ("open", "0"),
            ("partially_filled", "0.005"),
            ("filled", "0.005"),
        ]
        whole = ("BTC-USD", "limit", "sell", "26500.0", "0.005")
        assert {(o.pair, o.kind, o.side, o.price, o.size) for o in orders} == {whole}

    @pytest.mark.parametrize(
        ("status", "kind", "filled", "ours"),
        [
            ("pending_new", "pending_new", None, "open"),
            ("new", "new", 0.0, "open"),
            ("new", "amended", 0.001, "partially_filled"),
            ("new", "restated", 0.0, "open"),
            ("new", "iceberg_refill", 0.002, "partially_filled"),
            ("partially_filled", "trade", 0.001, "partially_filled"),
            ("filled", "filled", 0.005, "filled"),
            ("canceled", "canceled", 0.001, "cancelled"),
            ("expired", "expired", 0.0, "cancelled"),
            (None, "new", 0.0, "open"),
        ],
    )
    def test_statuses(self, status, kind, filled, ours):
        session = account()
        row = {"order_status": status, "exec_type": kind, "cum_qty": filled}
        frame = frames.changed(frames.TRADED if kind == "trade" else frames.PENDING, **row)
        [order] = [event for event in session.receive(frame, NOW) if isinstance(event, Order)]
        assert order.status == ours

    @pytest.mark.parametrize(
        ("reason", "said"), [("Insufficient margin", ["Insufficient margin"]), ("User requested", []), (None, [])]
    )
    def test_why_an_order_has_ended_is_logged(self, reason, said):
        session = account()
        session.receive(frames.PENDING, NOW)
        session.receive(
            frames.changed(frames.FILLED, order_status="canceled", exec_type="canceled", reason=reason), NOW
        )
        assert [error[3] for error in faults(session)] == said

    @pytest.mark.parametrize(
        ("row", "client"),
        [
            ({"cl_ord_id": "mine"}, "mine"),
            ({"order_userref": 17}, "17"),
            ({"cl_ord_id": "a", "order_userref": 7}, "a"),
            ({}, ""),
        ],
    )
    def test_ids_of_clients(self, row, client):
        [order] = data(account().receive(frames.changed(frames.PENDING, **row), NOW))
        assert order.client_id == client

    def test_a_market_order_has_no_price(self):
        row = {"limit_price": 0.0, "order_type": "market", "order_qty": None, "cash_order_qty": 100}
        [order] = data(account().receive(frames.changed(frames.PENDING, **row), NOW))
        assert (order.kind, order.price, order.size) == ("market", "", "")

    @pytest.mark.parametrize(
        ("limit", "told", "price"), [(26500.0, "static", "26500.0"), (-25.0, "quote", ""), (1.5, "pct", "")]
    )
    def test_a_limit_that_is_a_distance_is_no_price(self, limit, told, price):
        row = {"order_type": "trailing-stop-limit", "limit_price": limit, "limit_price_type": told}
        [order] = data(account().receive(frames.changed(frames.PENDING, **row), NOW))
        assert (order.kind, order.price) == ("trailing-stop-limit", price)

    def test_an_order_that_is_not_known_is_asked_for(self):
        rest = Rest(OpenOrders={"open": {}})
        session = synced(rest)
        rest.results["QueryOrders"] = {ORDER: frames.ORDER_ROW | {"status": "canceled", "closetm": 1695378785.5}}
        assert data(session.receive(frames.NEW, NOW)) == []
        session.actions.clear()
        session.tick(NOW + 10 * SECOND)
        rest.drive(session.fetch(NOW + 10 * SECOND))
        assert ORDER in [form["txid"] for form in rest.forms if "txid" in form][-1].split(",")
        [order] = states(session)[Channel.ORDERS].events
        assert (order.order_id, order.status, order.ts) == (ORDER, "cancelled", 1695378785_500000000)

    def test_a_bad_row_spares_the_others_and_is_learnt_from_only_once(self):
        session = account()
        session.receive(frames.PENDING, NOW)
        message = json.loads(frames.FILLED)
        message["data"].append({"order_id": "o-2", "order_status": "SIDEWAYS"})
        events = session.receive(json.dumps(message).encode(), NOW)
        assert [(order.order_id, order.pair, order.status) for order in data(events)] == [(ORDER, "BTC-USD", "filled")]
        assert len(gaps(events)) == 2
        assert [action for action in session.actions if isinstance(action, Reject)]

    def test_what_was_in_a_bad_row_is_fetched_by_rest(self):
        session = synced(Rest())
        message = json.loads(frames.PENDING) | {"sequence": 2}
        message["data"].append({"order_id": "o-2", "order_status": "SIDEWAYS"})
        session.receive(frames.dumps(message), NOW)
        session.tick(NOW + 10 * SECOND)
        assert WHOLE in fetched(session)

    def test_one_that_rest_does_not_know_either_is_asked_for_once(self):
        rest = Rest()
        session = synced(rest)
        session.receive(frames.NEW.replace(b'"sequence":9', b'"sequence":2'), NOW)
        for later, asked in ((10, True), (30, False)):
            rest.forms.clear()
            rest.drive(session.fetch(NOW + later * SECOND))
            assert any(ORDER in form.get("txid", "").split(",") for form in rest.forms) is asked

    def test_a_bad_frame_is_fetched_by_rest(self):
        session = synced(Rest())
        assert refused(session, b'{"channel":"executions","type":"update","data":[{"order_id"') == [
            ("fills", "main"),
            ("orders", "main"),
        ]
        session.actions.clear()
        session.tick(NOW + 10 * SECOND)
        assert [action for action in session.actions if isinstance(action, Fetch)]


class TestFills:
    def test_a_fill(self):
        session = account()
        fills = [event for event in session.receive(frames.TRADED, NOW) if isinstance(event, Fill)]
        words = ("TGBB7L-HT5LX-J3BZ4A", ORDER, "BTC-USD", "sell", "26599.9", "0.005", "0.3458", "USD")
        assert fills == [Fill("main", 1695378785709993000, NOW, *words, fees="0.3458:USD")]

    def test_several_fees(self):
        fees = [{"asset": "USD", "qty": 0.1}, {"asset": "KFEE", "qty": 12}]
        [found, _] = data(account().receive(frames.changed(frames.TRADED, fees=fees), NOW))
        assert (found.fee, found.fee_currency, found.fees) == ("0.1", "USD", "0.1:USD 12:KFEE")

    def test_those_of_a_snapshot_go_back_as_far_as_the_history(self):
        session = account(begun=False)
        since = NOW // SECOND - 24 * 3600 - 60
        [row] = json.loads(frames.TRADED)["data"]
        rows = [
            row | {"exec_id": str(at), "timestamp": f"{datetime.fromtimestamp(at, UTC):%FT%TZ}"}
            for at in (since - 1, since)
        ]
        session.receive(frames.dumps(json.loads(frames.EXECUTIONS) | {"data": rows}), NOW)
        assert [found.fill_id for found in states(session)[Channel.FILLS].events] == [str(since)]

    def test_those_of_a_snapshot_are_history_and_their_orders_are_not_news(self):
        """The ones of before the last day were in the stream once, or never will be."""
        session = account(begun=False)
        rows = [json.loads(frames.TRADED)["data"][0] | {"exec_id": "old", "timestamp": "2023-08-01T10:33:05.709993Z"}]
        rows += json.loads(frames.TRADED)["data"] + json.loads(frames.EXECUTIONS)["data"]
        events = data(session.receive(frames.dumps(json.loads(frames.EXECUTIONS) | {"data": rows}), NOW))
        assert [order.order_id for order in events] == ["OK4GJX-KSTLS-7DZZO4"]
        assert [found.fill_id for found in states(session)[Channel.FILLS].events] == ["TGBB7L-HT5LX-J3BZ4A"]


class TestNumbers:
    def test_a_hole_is_a_gap_and_the_channel_is_asked_for_again(self):
        session = synced(Rest())
        session.receive(frames.PENDING.replace(b'"sequence":8', b'"sequence":2'), NOW)
        events = session.receive(frames.TRADED, NOW + SECOND)
        reason = "message 10 does not follow the one before it"
        assert gaps(events) == [(Channel.ORDERS, reason), (Channel.FILLS, reason)]
        session.actions.clear()
        session.tick(NOW + 12 * SECOND)
        sends = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
        asked = [(m["method"], m["params"]["channel"]) for m in sends if m["method"] != "ping"]
        assert asked == [("unsubscribe", "executions"), ("subscribe", "executions")]
        assert WHOLE in fetched(session)
        assert gaps(session.receive(frames.EXECUTIONS, NOW + 13 * SECOND)) == []
        assert gaps(session.receive(frames.NEW.replace(b'"sequence":9', b'"sequence":2'), NOW + 13 * SECOND)) == []

    def test_a_message_that_comes_again_is_dropped(self):
        session = account()
        traded = frames.TRADED
        for frame in (frames.PENDING, frames.NEW, traded, frames.FILLED):
            session.receive(frame, NOW)
        for frame in (traded, frames.FILLED):
            assert session.receive(frame, NOW) == []
        later = frames.changed(frames.PENDING, order_id="o-2").replace(b'"sequence":8', b'"sequence":12')
        [order] = session.receive(later, NOW)
        assert (order.order_id, order.status) == ("o-2", "open")

    def test_a_count_that_begins_anew_without_its_snapshot_is_asked_for_again(self):
        session = account()
        session.receive(frames.PENDING, NOW)
        assert session.receive(frames.NEW.replace(b'"sequence":9', b'"sequence":2'), NOW) == []
        session.actions.clear()
        session.tick(NOW + 12 * SECOND)
        sends = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
        asked = [(m["method"], m["params"]["channel"]) for m in sends if m["method"] != "ping"]
        assert asked == [("unsubscribe", "executions"), ("subscribe", "executions")]
        [order] = session.receive(frames.NEW.replace(b'"sequence":9', b'"sequence":3'), NOW + 12 * SECOND)
        assert order.status == "open"

    def test_each_channel_counts_for_itself(self):
        session = account()
        assert gaps(session.receive(frames.BALANCE, NOW)) == []
        assert gaps(session.receive(frames.PENDING.replace(b'"sequence":8', b'"sequence":2'), NOW)) == []
        [gap] = gaps(session.receive(frames.BALANCE.replace(b'"sequence":2', b'"sequence":4'), NOW))
        assert gap[0] is Channel.BALANCES

    def test_without_numbers_nothing_is_missing(self):
        session = account()
        bare = json.loads(frames.PENDING)
        del bare["sequence"]
        assert gaps(session.receive(json.dumps(bare).encode(), NOW)) == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("XXBT", "BTC"),
        ("ZUSD", "USD"),
        ("XRP", "XRP"),
        ("XXRP", "XRP"),
        ("XTZ", "XTZ"),
        ("XBT.M", "BTC.M"),
        ("ZEC", "ZEC"),
        ("XXDG", "DOGE"),
    ],
)
def test_codes_of_currencies(code, name):
    """By a table: some begin with an X or a Z by nature."""
    assert currency(code) == name
