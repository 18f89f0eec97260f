from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import FrameError, RestError
from bridge.exchanges.api import Credentials, Fetch, HttpResponse, Profile, Reject, Replace, Restated, Said, Unknown
from bridge.exchanges.limitlex import AccountSession, Limitlex, LimitlexOptions
from bridge.exchanges.limitlex.rest import LimitlexRest
from bridge.model import Balance, Channel, Control, ControlEvent, Fill, Order
from tests.unit import limitlex_frames as frames
from tests.unit.core import SECOND, T0, Apart, refused
from tests.unit.limitlex_keys import SECRET, drive, jwt

ACCOUNT = Credentials("main", "the-key-id", SECRET, subaccounts=True)
ORDER_ID = "0959f899-f4b4-422b-88c0-ec3fa38f8079"


def make(*, subaccounts=True):
    rest = LimitlexRest({"BTC-EUR": frames.PAIR_ID})
    account = Credentials("main", "the-key-id", SECRET, subaccounts)
    return Apart(AccountSession("wss://x/", lambda: [frames.PAIR_ID, "second:pair"], account, rest))


def data(session, frame, recv=T0):
    return [event for event in session.receive(frame, recv) if not isinstance(event, Control)]


def order(**changes):
    return json.dumps({**json.loads(frames.OPEN_ORDER), **changes}).encode()


class TestSampleFrames:
    def test_open_order(self):
        [event] = data(make(), frames.OPEN_ORDER)
        assert event == Order(
            "main", 1598530122 * SECOND, T0, ORDER_ID, "", "", "limit", "buy", "7997.00", "0.00010000", "0", "open"
        )

    def test_trade(self):
        [event] = data(make(), frames.OWN_TRADE)
        assert event == Fill("main", 1598530122 * SECOND, T0, "", "", "", "buy", "7997.00", "0.00010000", "", "")

    def test_trade_of_a_subaccount(self):
        [event] = data(make(), frames.SUB_TRADE)
        assert event.subject == f"main/{frames.SUB}"

    @pytest.mark.parametrize("ident", ["a}b", "a:b", "a b", "{", "x" * 65])
    def test_a_subaccount_that_would_break_a_key(self, ident):
        session = make()
        session.receive(frames.SUB_TRADE, T0)
        gaps = refused(session, frames.SUB_TRADE.replace(frames.SUB.encode(), ident.encode()))
        assert gaps == [("fills", "main"), ("fills", f"main/{frames.SUB}")]
        assert "can't be part of a key" in str(session.actions[-1].error)

    def test_wallets(self):
        [event] = data(make(), frames.WALLETS)
        assert event == Balance("main", None, T0, "ab65...", "1006.80071837", "0.00000000")

    def test_a_known_currency_has_its_code(self):
        [event] = data(make(), frames.WALLETS.replace(b"ab65...", frames.BTC.encode()))
        assert event.currency == "BTC"

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({}, "open"),
            ({"amountCompleted": "0.00000000"}, "open"),
            ({"amountCompleted": "0.00005000"}, "partially_filled"),
            ({"amountCompleted": "0.00010000", "completed": True}, "filled"),
            ({"deleted": True}, "cancelled"),
            ({"amountCompleted": "0.00005000", "deleted": True}, "cancelled"),
        ],
    )
    def test_status(self, changes, status):
        [event] = data(make(), order(**changes))
        assert event.status == status

    def test_a_market_order_has_no_price(self):
        [event] = data(make(), order(price=None, orderTradeType="Market"))
        assert (event.price, event.kind) == ("", "market")


class TestControl:
    def test_each_subject_goes_live_with_its_first_message(self):
        session = make()
        first = session.receive(frames.OWN_TRADE, T0)
        again = session.receive(frames.OWN_TRADE, T0)
        sub = session.receive(frames.SUB_TRADE, T0)
        assert [(e.subject, e.channel) for e in first[:3]] == [
            ("main", Channel.BALANCES),
            ("main", Channel.FILLS),
            ("main", Channel.ORDERS),
        ]
        assert len(again) == 1
        assert {e.subject for e in sub} == {f"main/{frames.SUB}"}
        assert len(sub) == 4

    def test_public_messages_only_show_that_it_lives(self):
        session = make()
        events = [event for frame in frames.PUBLIC.values() for event in session.receive(frame, T0)]
        assert {e.event for e in events} == {ControlEvent.LIVE}
        assert session.actions == []

    def test_a_rejected_frame_is_a_gap_of_every_subject(self):
        session = make()
        session.receive(frames.SUB_TRADE, T0)
        events = session.rejected(T0)
        assert {(e.subject, e.channel) for e in events} == {
            (subject, channel)
            for subject in ("main", f"main/{frames.SUB}")
            for channel in (Channel.ORDERS, Channel.FILLS, Channel.BALANCES)
        }
        assert [type(action) for action in session.actions] == [Replace]

    @pytest.mark.parametrize("frame", frames.NONSENSE)
    def test_nonsense_is_rejected(self, frame):
        with pytest.raises(FrameError):
            make().receive(frame, T0)

    @pytest.mark.parametrize("frame", frames.PRIVATE.values(), ids=frames.PRIVATE)
    def test_missing_and_wrong_fields(self, frame):
        fields = json.loads(frame)
        for name in fields:
            for value in (None, 5, -1, "", "x", "nan", "sNaN", [], [{}], {}, True, "Ünïcode ₿", 10**30):
                session = make()
                try:
                    session.receive(json.dumps({**fields, name: value}).encode(), T0)
                except FrameError:
                    session.rejected(T0)

    @pytest.mark.parametrize(
        "frame",
        [
            frames.OWN_TRADE.replace(b'"7997.00"', b'"lots"'),
            frames.OWN_TRADE.replace(b"1598530122", b"-1"),
            frames.OPEN_ORDER.replace(b'"0.00010000"', b'"1 2"'),
            frames.OPEN_ORDER.replace(b'"Buy"', b'"Stay"'),
            frames.WALLETS.replace(b"1006.80071837", b"rich"),
            frames.WALLETS.replace(b"ab65...", b"\xff"),
            frames.WALLETS.replace(b"ab65...", b"a b"),
            frames.OPEN_ORDER.replace(b'"0.00010000"', b'""'),
            frames.OPEN_ORDER.replace(b'"0.00010000"', b"null"),
        ],
    )
    def test_what_is_no_number_is_a_gap_of_its_stream_alone(self, frame):
        channel = {"tra": "fills", "ope": "orders", "wal": "balances"}[frame[6:9].decode()]
        session = make()
        assert refused(session, frame) == [(channel, "main")]
        session.tick(T0)
        assert [type(action) for action in session.actions] == [Reject, Fetch]

    @pytest.mark.parametrize("code", ["A\nB", "x" * 129])
    def test_a_currency_whose_code_is_none(self, code):
        rest = LimitlexRest({})
        listed = [{"id": "ab65...", "code": code}, {"id": "u1", "code": "BTC"}, {"id": "u2", "code": "EUR"}]
        pairs = [{"id": "u1:u2"}]
        drive(rest.resolve(["BTC-EUR"]), answer({"result": listed}), answer({"result": pairs}))
        session = Apart(AccountSession("wss://x/", list, ACCOUNT, rest))
        assert refused(session, frames.WALLETS) == [("balances", "main")]

    def test_unknown_types_are_told(self):
        session = make()
        session.receive(b'{"t":"margin_call"}', T0)
        assert session.actions == [Unknown("margin_call")]

    def test_resync_replaces_the_connection(self):
        session = make()
        session.resync("main", T0, "because")
        assert session.actions == [Replace("because")]


def answer(value, status=200, headers=None):
    return HttpResponse(status, json.dumps(value).encode(), headers or {})


class TestOpen:
    def test_a_new_token_for_each_connection(self):
        session = make()
        token = jwt({"sub": "me", "exp": 1_700_000_600})
        requests, target = drive(session.open(T0), answer({"result": {"token": token}}))
        assert [(r.method, r.path) for r in requests] == [("POST", "/private/websocket_token")]
        assert target.url == f"wss://x/?p={frames.PAIR_ID},second:pair&t={token}&subaccounts=true"
        assert session.expires == 1_700_000_600 * SECOND

    def test_the_token_is_not_shown(self):
        session = make(subaccounts=False)
        token = jwt({})
        _, target = drive(session.open(T0), answer({"result": token}))
        assert token not in target.shown
        assert target.shown == f"wss://x/?p={frames.PAIR_ID},second:pair&t=***"
        assert session.expires is None

    def test_the_plan_has_one_connection_for_the_account(self):
        options = LimitlexOptions(pair_ids={"BTC-EUR": frames.PAIR_ID})
        exchange = Limitlex(Profile(("BTC-EUR",), frozenset(), account=ACCOUNT, options=options))
        [plan] = exchange.plan()
        assert plan.name == "account:main"
        assert {(s.channel, s.subject) for s in plan.subscriptions} == {
            (channel, "main") for channel in (Channel.ORDERS, Channel.FILLS, Channel.BALANCES)
        }
        assert SECRET not in repr(exchange.profile)
        assert "BEGIN" not in repr(exchange.profile)


class TestSync:
    def test_it_is_fetched_after_each_connect(self):
        session = make()
        assert session.connected(T0) == []
        assert [type(action) for action in session.actions] == [Fetch]

    def test_open_orders_and_balances(self):
        session = make()
        orders = {"order_id": "o1", "order_direction": "buy", "price": "10.50", "amount_initial": "2"}
        balance = {"currency_id": frames.EUR, "amount_available": "7.10"}
        requests, _ = drive(
            session.fetch(T0), answer({"result": {"data": [orders]}}), answer({"result": {"data": [balance]}})
        )
        assert [r.path for r in requests] == ["/private/open_orders", "/private/balance"]
        assert session.actions == [
            Restated(
                Channel.ORDERS,
                "main",
                [Order("main", None, T0, "o1", "", "", "limit", "buy", "10.50", "2", "0", "open")],
                T0,
            ),
            Restated(Channel.BALANCES, "main", [Balance("main", None, T0, "EUR", "7.10", "")], T0),
        ]

    def test_a_failing_call_is_told(self):
        session = make()
        drive(session.fetch(T0), RestError("limitlex", "/private/open_orders", 0, "no answer"))
        [action] = session.actions
        assert isinstance(action, Said)
        assert (action.error.message, action.consequence) == ("no answer", "open orders and balances are not refreshed")

    def test_a_failing_second_call_keeps_the_first(self):
        session = make()
        drive(session.fetch(T0), answer({"result": []}), answer({"error": {"message": "busy"}}, 503))
        assert [type(action) for action in session.actions] == [Restated, Said]

    def test_what_a_row_has_damaged_comes_before_what_is_known(self):
        session = make()
        rows = [{"order_id": "o1", "price": "1", "amount_initial": "1"}, {"order_id": "o2", "price": "much"}]
        drive(session.fetch(T0), answer({"result": rows}), answer({"result": []}))
        reject, gap, state, fetch, balances = session.outputs
        assert "much" in str(reject.error)
        assert (gap.event, gap.channel, gap.subject) == (ControlEvent.GAP, Channel.ORDERS, "main")
        assert [event.order_id for event in state.events] == ["o1"]
        known = [Order("main", None, T0, ident, *[""] * 5, "1", "0", "open") for ident in ("o2", "o3")]
        assert [state.covers(event) for event in known] == [False, True]
        assert isinstance(fetch, Fetch)
        assert balances == Restated(Channel.BALANCES, "main", [], T0)
