from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Fetch, Reconnect, Said, Send, Unknown
from bridge.exchanges.lmex.messages import Market
from bridge.exchanges.lmex.rest import sign
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Channel, Control, ControlEvent
from tests.unit import lmex_frames as frames
from tests.unit.core import SECOND, T0, faults
from tests.unit.lmex_sessions import account, ack, asked, fetches, said, seconds, sent, subscribed

NONCE = int(frames.NONCE) * 1_000_000


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

    @pytest.mark.parametrize(("code", "ends"), [(429, False), (1001, False), (-7, True), (10002, True)])
    def test_which_errors_end_it_later(self, code, ends):
        session = subscribed()
        session.receive(json.dumps({"status": 400, "errorCode": code, "message": "no"}).encode(), T0)
        assert [type(action) for action in session.actions] == [Said, *[Reconnect] * ends]

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
        assert [(kind, topic) for kind, _, topic, _ in faults(session)] == [
            ("login_refused", "authKeyExpires"),
            ("login_refused", "login"),
        ]
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
        assert session.actions == [Reconnect("no answer to the log-in")]

    def test_the_form_that_did_is_the_first_the_next_time(self):
        memory = AccountMemory()
        first = account(memory=memory)
        first.receive(frames.LOGIN_FAILED, T0)
        first.receive(frames.LOGGED_IN, T0)
        second = account(memory=memory)
        assert [op for op, *_ in sent(second)] == ["login"]

    @pytest.mark.parametrize("login", ["login", "authKeyExpires"])
    def test_one_way_only(self, login):
        session = account(ways=(login,))
        assert [op for op, *_ in sent(session)] == [login]
        session.receive(frames.LOGIN_FAILED, T0)
        assert [type(action) for action in session.actions] == [Said, Reconnect]

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
        session = account(lifetime=7200.0)
        assert session.expires is None
        session.receive(frames.LOGGED_IN, T0)
        assert session.expires == T0 + 7200 * SECOND

    def test_an_expired_session_is_replaced(self):
        session = subscribed()
        session.receive(frames.EXPIRED, T0)
        assert [type(action) for action in session.actions] == [Said, Reconnect]

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
        assert said(events) == [("live", channel, "main") for channel in ("positions", "orders", "fills")]
        assert session.ready
        assert [type(output) for output in session.outputs[-4:]] == [Control, Control, Control, Fetch]

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
        live, down = session.receive(frames.EMPTY_ACK, T0)
        assert (live.event, live.channel) == (ControlEvent.LIVE, Channel.FILLS)
        assert (down.event, down.channel) == (ControlEvent.DOWN, Channel.ORDERS)
        assert down.reason == "the exchange accepts none of the channel's topics"
        assert session.ready
        session.tick(seconds(14))
        assert not [action for action in session.actions if isinstance(action, Reconnect)]

    def without_orders(self):
        session = account(Market.SPOT)
        session.receive(frames.LOGGED_IN, T0)
        session.receive(ack("fillsV2"), T0)
        session.receive(frames.EMPTY_ACK, T0)
        session.actions.clear()
        return session

    def test_a_refused_channel_is_asked_for_again_after_a_minute_and_live_by_itself(self):
        session = self.without_orders()
        session.tick(seconds(47))
        assert sent(session) == []
        session.receive(b"pong", seconds(60))
        session.tick(seconds(73))
        assert sent(session) == [("subscribe", "notificationApiV3")], "not the fills, which are served"
        session.actions.clear()
        assert said(session.receive(ack("notificationApiV3"), seconds(74))) == [("live", "orders", "main")]
        assert fetches(session) == 1, "what it has missed meanwhile is asked for"
        for minute in range(2, 5):
            session.tick(seconds(60 * minute + 15))
        assert sent(session) == []

    def test_one_that_is_refused_again_is_asked_for_again_and_costs_the_others_nothing(self):
        session = self.without_orders()
        for minutes in range(1, 4):
            now = seconds(73 * minutes)
            session.tick(now)
            assert sent(session) == [("subscribe", "notificationApiV3")]
            session.receive(frames.EMPTY_ACK, now)
            assert sent(session) == [("subscribe", "notificationApiV2")]
            assert said(session.receive(frames.EMPTY_ACK, now)) == [], "it has been said"
            assert session.actions == []
        assert not [action for action in session.actions if isinstance(action, Reconnect)]

    def test_no_answer_about_one_that_was_refused_is_no_reason_for_a_new_connection(self):
        session = self.without_orders()
        session.tick(seconds(73))
        events = []
        for second in range(74, 90):
            events += session.receive(b"pong", seconds(second))
            events += session.tick(seconds(second))
        assert said(events) == [("down", "orders", "main")]
        assert not [action for action in session.actions if isinstance(action, Reconnect)]
        assert session.ready

    def test_our_clock_may_be_set_back(self):
        session = self.without_orders()
        session.tick(seconds(-7200))
        session.tick(seconds(-7200 + 73))
        assert ("subscribe", "notificationApiV3") in sent(session)

    def test_an_error_of_a_topic_falls_back_too(self):
        session = account(Market.SPOT)
        session.receive(frames.LOGGED_IN, T0)
        row = {"arg": "fillsV2", "error": {"code": 1005, "message": "no"}}
        session.receive(json.dumps({"severity": "ERROR", "errors": [row]}).encode(), T0)
        assert asked(session) == ["fills"]

    def test_no_answer(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        session.actions.clear()
        session.tick(seconds(5.1))
        assert session.actions == [Reconnect("no answer to the subscription within 5 s")]

    def test_data_before_the_ack_is_live(self):
        session = account()
        session.receive(frames.LOGGED_IN, T0)
        assert said(session.receive(frames.FUTURES_ORDER, T0)) == [("live", "orders", "main"), "Order"]
        assert said(session.receive(ack("positionsV3", "fillsV2", "notificationApiV4"), T0)) == [
            ("live", "orders", "main"),
            ("live", "positions", "main"),
            ("live", "fills", "main"),
        ]

    def test_unknown_topics_are_told(self):
        session = subscribed()
        session.receive(b'{"topic":"userInfo","data":{}}', T0)
        assert session.actions == [Unknown("userInfo")]
