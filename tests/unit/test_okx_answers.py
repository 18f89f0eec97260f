"""What OKX answers to requests on its public side: acknowledgements, refusals, notices, pings."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import Reconnect, Reject, Replace, Said, Send, Unknown, Warn
from tests.unit import okx_frames as frames
from tests.unit.core import SECOND, T0, faults, refused
from tests.unit.okx_sessions import BOOK, DERIVATIVES, MARKET, SPOT, TRADES, TWO, ack, error, fresh, gone, public, sent
from tests.unit.session_views import actions, controls, reconnects, take


class TestAnswers:
    def test_each_argument_is_answered_for_itself_in_any_order(self):
        session = fresh(BOOK, symbols=TWO)
        [request] = sent(session)
        assert [arg.get("instId", "") for arg in request["args"]] == ["", "BTC-USDT", "ETH-USDT"]
        _, first, second = request["args"]
        assert controls(session.receive(ack(second), T0)) == [("live", "book", "ETH-USDT")]
        assert not session.ready
        assert controls(session.receive(ack(first), T0)) == [("live", "book", "BTC-USDT")]
        assert not session.ready
        session.receive(ack({"channel": "status"}), T0)
        assert session.ready

    def test_live_at_the_first_data(self):
        session = fresh(BOOK, symbols=SPOT)
        assert controls(session.receive(frames.SNAPSHOT, T0)) == [("live", "book", "BTC-USDT")]

    def test_what_is_acknowledged_twice_is_live_once(self):
        session = public(BOOK, symbols=SPOT)
        assert session.receive(frames.ACKNOWLEDGED, T0) == []

    def test_a_refusal_is_booked_on_the_topic_that_it_names(self):
        session = fresh(BOOK, symbols=TWO)
        sent(session)
        events = session.receive(gone("books", "ETH-USDT"), T0)
        assert controls(events) == [("down", "book", "ETH-USDT")]
        assert events[0].reason.startswith("60018: Subscribe failed")
        [(kind, code, topic, _)] = faults(session)
        assert (kind, code, topic) == ("unknown_market", "60018", "books.ETH-USDT")
        assert session.unserved == {"ETH-USDT"}
        assert controls(session.receive(frames.ACKNOWLEDGED, T0)) == [("live", "book", "BTC-USDT")]
        assert sent(session) == []

    @pytest.mark.parametrize("words", ["Subscribe failed.", 'Invalid request: {"op": "subscribe"}', ""])
    def test_one_that_names_only_its_request_has_each_asked_for_alone(self, words):
        session = fresh(BOOK, symbols=TWO, status="")
        [request] = sent(session)
        assert session.receive(error("60012", words, request["id"]), T0) == []
        first, second = sent(session)
        assert [len(request["args"]) for request in (first, second)] == [1, 1]
        events = session.receive(error("60012", words, second["id"]), T0)
        assert controls(events) == [("down", "book", "ETH-USDT")]

    def test_it_is_asked_for_again(self):
        session = fresh(BOOK, symbols=TWO, status="")
        sent(session)
        session.receive(gone("books", "ETH-USDT"), T0)
        session.receive(frames.ACKNOWLEDGED, T0)
        session.tick(T0 + 75 * SECOND)
        [again] = sent(session)
        assert controls(session.receive(ack(again["args"][0]), T0)) == [("live", "book", "ETH-USDT")]
        assert session.unserved == set()

    def test_no_request_has_more_than_fifty_topics(self):
        session = fresh(MARKET, symbols={f"C{number}-USDT": f"C{number}-USDT" for number in range(40)})
        requests = sent(session)
        assert [len(request["args"]) for request in requests] == [50, 50, 50, 11]
        assert all(request["id"].isalnum() and len(request["id"]) <= 32 for request in requests)

    def test_no_answer_at_all(self):
        session = fresh()
        session.tick(T0 + 11 * SECOND)
        assert reconnects(session) == [Reconnect("no answer to the subscription within 10 s")]

    def test_an_upgrade_that_is_announced(self):
        session = public()
        session.receive(frames.UPGRADE, T0)
        [replace] = actions(session, Replace)
        assert "service upgrade" in replace.reason

    def test_another_notice_is_told(self):
        session = public()
        session.receive(frames.UPGRADE.replace(b"64008", b"64009"), T0)
        assert actions(session, Replace) == []
        assert len(actions(session, Warn)) == 1

    @pytest.mark.parametrize("code", ["60014", "60023", "50011", "50061"])
    def test_after_too_many_requests_another_connection_takes_over(self, code):
        session = public()
        session.receive(error(code, "Requests too frequent"), T0)
        assert faults(session) == [("too_many_requests", code, "", "Requests too frequent")]
        assert len(actions(session, Replace)) == 1

    def test_and_before_there_are_too_many(self):
        """A refused topic is asked for once a minute; a book that breaks takes two requests."""
        session = public(BOOK, symbols=SPOT)
        now = T0
        for _ in range(219):
            now += 2 * SECOND
            session.resync("BTC-USDT", now, "a hole")
            session.tick(now)
            session.receive(frames.ACKNOWLEDGED, now)
        assert actions(session, Replace) == []
        session.resync("BTC-USDT", now, "a hole")
        session.tick(now + SECOND)
        [replace] = actions(session, Replace)
        assert "440 requests" in replace.reason

    def test_who_is_not_logged_in_needs_another_connection(self):
        session = public()
        session.receive(error("60011", "Please log in"), T0)
        assert reconnects(session) == [Reconnect("60011: Please log in")]

    @pytest.mark.parametrize("code", ["60008", "60028", "64000", "64001", "64002", "64004", "60031", "60033", "63999"])
    def test_other_errors_are_said(self, code):
        session = public()
        session.receive(error(code, "wrong"), T0)
        assert faults(session) == [("reported", code, "", "wrong")]
        assert session.actions == []

    def test_pings_are_bare_text(self):
        session = public(TRADES)
        pinged = []
        for quarter in range(4 * 45):
            session.receive(b"pong", T0 + quarter * SECOND // 4)
            session.tick(T0 + quarter * SECOND // 4)
            if Send("ping") in session.actions:
                pinged.append(quarter / 4)
                session.actions.clear()
        assert pinged == [20, 40]

    def test_where_nothing_answers_them_the_connection_is_given_up(self):
        session = public(TRADES)
        for quarter in range(4 * 31):
            session.tick(T0 + quarter * SECOND // 4)
        assert reconnects(session) == [Reconnect("nothing came within 10 s of a ping")]

    def test_theirs_are_answered(self):
        session = public()
        assert session.receive(b"ping", T0) == []
        assert session.actions == [Send("pong")]

    @pytest.mark.parametrize(
        ("frame", "kind"),
        [
            (b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[]}', "candle1m"),
            (b'{"event":"hello"}', "hello"),
            (ack({"channel": "books", "instId": "X-Y"}), "subscribe"),
        ],
    )
    def test_what_is_unknown_is_counted(self, frame, kind):
        session = public()
        assert list(session.receive(frame, T0)) == []
        assert session.actions == [Unknown(kind)]

    def test_a_frame_that_is_none_shows_its_topic(self):
        session = public()
        assert refused(session, frames.SNAPSHOT[:-3]) == [("book", "BTC-USDT")]

    def test_nothing_bad_is_said_of_what_is_good(self):
        session = public(MARKET | DERIVATIVES)
        take(session, *frames.PUBLIC.values(), frames.COUNT)
        assert not [action for action in session.actions if isinstance(action, (Reject, Said, Unknown))]
