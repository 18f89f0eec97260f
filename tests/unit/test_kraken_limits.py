"""Kraken's public side at its limits: when it pings, answers that are nearly another one, what a loss takes with it."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Reconnect, Send
from bridge.model import Channel
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, faults, refused
from tests.unit.kraken_sessions import accept, answer, connected, kraken, sent
from tests.unit.session_views import actions, controls, data, reconnects

PAIRS = sorted(frames.PAIRS)


class TestPings:
    def test_every_twenty_seconds(self):
        session = connected(channels=[Channel.TRADES])
        accept(session)
        pinged = []
        for quarter in range(4 * 45):
            now = T0 + quarter * SECOND // 4
            session.receive(frames.HEARTBEAT, now)
            session.tick(now)
            if actions(session, Send):
                pinged.append(quarter / 4)
                session.actions.clear()
        assert pinged == [20, 40]

    def test_after_one_something_has_to_come_within_ten(self):
        session = connected(channels=[Channel.TRADES])
        accept(session)
        for quarter in range(4 * 30 + 1):
            session.tick(T0 + quarter * SECOND // 4)
        assert reconnects(session) == []
        session.tick(T0 + 30 * SECOND + 1)
        assert reconnects(session) == [Reconnect("nothing came within 10 s of a ping")]


class TestAnswers:
    def test_that_to_giving_back_is_none_to_the_subscription(self):
        """Both are sent at once: if the second one is refused, the book is down."""
        session = connected(kraken("MATIC-USD", channels=[Channel.BOOK]))
        accept(session)
        session.resync("MATIC-USD", T0, "a test")
        session.tick(T0)
        given_back, again = sent(session)
        assert session.receive(answer(given_back, "MATIC/USD"), T0) == []
        refusal = {"method": "subscribe", "req_id": again["req_id"], "success": False, "error": "Throttled"}
        assert controls(session.receive(json.dumps(refusal).encode(), T0)) == [("down", "book", "MATIC-USD")]

    def test_what_fails_without_a_word_is_said(self):
        session = connected()
        assert session.receive(b'{"method":"unsubscribe","success":false,"req_id":99}', T0) == []
        assert [error[3] for error in faults(session)] == ["no reason given"]

    def test_a_pong_and_a_heartbeat_say_nothing(self):
        session = connected()
        session.actions.clear()
        for frame in (frames.PONG, frames.HEARTBEAT):
            assert session.receive(frame, T0) == []
        assert session.actions == []

    def test_trades_that_are_given_back_are_not_asked_for_with_a_snapshot(self):
        session = connected(kraken("BTC-USD", channels=[Channel.TRADES]))
        accept(session)
        session.session._topics.renew(["trade:BTC/USD"], T0)
        session.tick(T0)
        given_back, again = sent(session)
        assert given_back["params"] == {"channel": "trade", "symbol": ["BTC/USD"]}
        assert again["params"] == given_back["params"] | {"snapshot": True}


class TestLosses:
    def test_after_a_frame_that_may_be_of_anything_all_is_news(self):
        session = connected()
        accept(session)
        before = [data(session.receive(frame, T0)) for frame in (frames.TICKER, frames.TRADE)]
        session.rejected(T0)
        after = data(session.receive(frames.TICKER, T0)), session.receive(frames.changed(frames.TRADE, trade_id=1), T0)
        assert (len(after[0]), len(after[1])) == (len(before[0]), 1)
        session.tick(T0 + 20 * SECOND)
        assert [request["params"]["channel"] for request in sent(session)] == ["instrument", "instrument"]
        session.receive(frames.INSTRUMENTS, T0)
        session.tick(T0 + 40 * SECOND)
        assert sent(session) == []

    @pytest.mark.parametrize("lost", ["the end", "a row", "the last row"])
    def test_a_trade_that_is_lost_is_no_hole_before_the_next_one(self, lost):
        session = connected(channels=[Channel.TRADES])
        accept(session)
        session.receive(frames.TRADE, T0)
        message = json.loads(frames.TRADE)
        good = message["data"][0]
        bad, after = good | {"trade_id": 4665908, "price": "x"}, good | {"trade_id": 4665910}
        message["data"] = {"the end": [after], "a row": [bad, after], "the last row": [bad]}[lost]
        frame = json.dumps(message).encode()
        said = controls(session.receive(frame[:-20] if lost == "the end" else frame, T0))
        assert said == [("gap", "trades", "MATIC-USD")]
        assert controls(session.receive(frames.changed(frames.TRADE, trade_id=4665911), T0)) == []

    def test_a_bad_ticker_hides_no_trade(self):
        session = connected(channels=[Channel.TRADES, Channel.TICKER])
        accept(session)
        for frame in (frames.TRADE, frames.TICKER.replace(b"ALGO", b"MATIC")):
            session.receive(frame, T0)
        assert refused(session, frames.changed(frames.TICKER, symbol="MATIC/USD", last="x")) == [
            ("ticker", "MATIC-USD")
        ]
        frame = frames.changed(frames.TRADE, trade_id=4665909)
        assert controls(session.receive(frame, T0)) == [("gap", "trades", "MATIC-USD")]

    @pytest.mark.parametrize("channel", ["trade", "book", "ticker"])
    def test_a_message_without_rows_is_nothing(self, channel):
        """So is the snapshot of a pair without trades: the others' trades are counted on."""
        session = connected()
        accept(session)
        session.receive(frames.TRADE, T0)
        session.actions.clear()
        empty = json.dumps({"channel": channel, "type": "snapshot", "data": []}).encode()
        assert session.receive(empty, T0) == []
        assert session.actions == []
        later = session.receive(frames.changed(frames.TRADE, trade_id=4665908), T0)
        assert controls(later) == [("gap", "trades", "MATIC-USD")]

    @pytest.mark.parametrize(("channel", "stream"), [("book", "book"), ("trade", "trades")])
    def test_where_no_pair_can_be_read_it_may_be_any_that_is_served(self, channel, stream):
        session = connected(channels=[Channel.TRADES, Channel.BOOK])
        requests = {request["params"]["channel"]: request for request in sent(session)}
        refusal = answer(requests[channel], error="Currency pair not supported BTC/USD", symbol="BTC/USD")
        session.receive(refusal, T0)
        for request in requests.values():
            for symbol in request["params"].get("symbol", ()):
                if (request["params"]["channel"], symbol) != (channel, "BTC/USD"):
                    session.receive(answer(request, symbol), T0)
        frame = json.dumps({"channel": channel, "type": "update", "data": [{"bids": []}]}).encode()
        assert refused(session, frame) == [(stream, pair) for pair in PAIRS if pair != "BTC-USD"]
