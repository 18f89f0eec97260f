"""LMEX's errors in all their forms, and which connections and subscriptions they end."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import ErrorKind
from bridge.exchanges.api import Reconnect, Said
from bridge.exchanges.lmex.messages import Market
from tests.unit import lmex_frames as frames
from tests.unit.core import T0
from tests.unit.lmex_sessions import ack, books, said, seconds, sent, snapshot, subscribed, trades
from tests.unit.session_views import reconnects

TEN_K = {"code": 10002, "message": "User session is expired"}
EXPIRED = (
    json.loads(frames.EXPIRED),
    json.loads(frames.AUTH_FAILED),
    {"event": "login", "success": False},
    {"event": "authKeyExpires", "success": False, "message": "User session is expired"},
    TEN_K,
    {**TEN_K, "code": "10002", "event": "error"},
    {"errorCode": "10002", "message": "User session is expired"},
    {"success": False, **TEN_K},
    {"severity": "ERROR", "errors": [{"error": TEN_K}]},
    {"severity": "ERROR", "errors": [{"arg": "notificationApiV4", "error": TEN_K}]},
    {"severity": "ERROR", "errors": [{"arg": "notificationApiV4", "error": {**TEN_K, "code": "10002"}}]},
    {"severity": "ERROR", "error": [{"arg": "notificationApiV4", "errorCode": 10002}]},
)


def errors_of(session):
    return [action.error for action in session.actions if isinstance(action, Said)]


@pytest.mark.parametrize("message", EXPIRED, ids=str)
def test_any_sign_of_an_expired_session_is_a_new_log_in(message):
    session = subscribed()
    session.receive(json.dumps(message).encode(), T0)
    assert len(reconnects(session)) == 1
    assert [error.kind for error in errors_of(session)] == [ErrorKind.SESSION_EXPIRED]


@pytest.mark.parametrize("code", [0, "0", "", None])
def test_a_code_that_is_none_is_no_error(code):
    session = trades("BTC-USD", market=Market.SPOT)
    message = {"event": "subscribe", "channel": ["tradeHistoryApi:BTC-USD"], "code": code}
    assert said(session.receive(json.dumps(message).encode(), T0)) == [("live", "trades", "BTC-USD")]


class TestASubscriptionThatEnds:
    """A topic that stood, and is refused later."""

    def refusal(self, topic, code=1005):
        row = {"arg": topic, "error": {"code": code, "message": "no"}}
        return json.dumps({"severity": "ERROR", "errors": [row]}).encode()

    def test_of_trades_is_down_and_asked_for_again(self):
        session = trades("BTC-USD", "ETH-USD", market=Market.SPOT)
        session.receive(ack("tradeHistoryApi:BTC-USD", "tradeHistoryApi:ETH-USD"), T0)
        events = session.receive(self.refusal("tradeHistoryApi:ETH-USD"), T0)
        assert said(events) == [("down", "trades", "ETH-USD")]
        session.actions.clear()
        session.tick(seconds(73))
        assert sent(session) == [("subscribe", "tradeHistoryApi:ETH-USD")]

    def test_of_an_account_is_a_new_connection(self):
        session = subscribed()
        session.receive(self.refusal("fillsV2"), T0)
        [action] = reconnects(session)
        assert action == Reconnect("a subscription has ended: lmex: fillsV2: 1005: no")

    def test_of_a_topic_that_nobody_asked_for_is_only_said(self):
        for session in (subscribed(), trades("BTC-USD", market=Market.SPOT)):
            assert session.receive(self.refusal("foo"), T0) == []
            assert reconnects(session) == []
            assert len(errors_of(session)) == 1

    def test_a_grouping_that_is_ignored_ends_nothing(self):
        session = books("BTC-PERP")
        session.receive(snapshot(), T0)
        assert session.receive(self.refusal("update:BTC-PERP_0", 1009), T0) == []
        assert len(errors_of(session)) == 1
