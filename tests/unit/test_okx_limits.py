"""OKX's public side at its limits: texts that are no JSON, refusals that are nearly something else, what a loss takes with it."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Pause, Reconnect, Replace, Send, Unknown, Warn
from tests.unit import okx_frames as frames
from tests.unit.core import T0, refused
from tests.unit.okx_sessions import BOOK, DERIVATIVES, TWO, error, fresh, public, sent, subscribed
from tests.unit.session_views import actions, controls, reconnects, take

BOTH = "Subscribe failed: channel:books,instId:BTC-USDT and channel:books,instId:ETH-USDT"


class TestTexts:
    def test_a_pong_is_not_answered(self):
        session = public()
        assert session.receive(b"pong", T0) == []
        assert actions(session, Send) == []

    def test_other_texts_of_four_characters_are_no_messages(self):
        with pytest.raises(FrameError):
            public().receive(b"null", T0)


class TestNotices:
    @pytest.mark.parametrize("code", ["64007", "64009", ""])
    def test_only_an_upgrade_needs_another_connection(self, code):
        session = public()
        session.receive(json.dumps({"event": "notice", "code": code, "msg": "soon"}).encode(), T0)
        assert actions(session, Replace) == []
        assert actions(session, Warn) == [Warn(f"{code}: soon" if code else "soon")]

    def test_one_without_words(self):
        session = public()
        session.receive(b'{"event":"notice"}', T0)
        assert actions(session, Warn) == [Warn("no reason given")]

    def test_how_many_connections_there_are_is_no_news(self):
        for session in (public(), subscribed()):
            session.actions.clear()
            assert session.receive(frames.COUNT, T0) == []
            assert session.actions == []


def test_a_message_of_nothing_is_unknown():
    session = public()
    assert session.receive(b"{}", T0) == []
    assert session.actions == [Unknown("message without arg")]


class TestRefusals:
    def test_one_that_names_two_topics_is_of_its_request(self):
        session = fresh(BOOK, symbols=TWO, status="")
        [request] = sent(session)
        assert session.receive(error("60018", BOTH, request["id"]), T0) == []
        assert [len(request["args"]) for request in sent(session)] == [1, 1]

    def test_whatever_its_code_the_topic_that_it_names_is_refused(self):
        session = fresh(BOOK, symbols=TWO, status="")
        words = "Instrument channel:books,instId:ETH-USDT doesn't exist"
        assert controls(session.receive(error("51001", words), T0)) == [("down", "book", "ETH-USDT")]

    def test_who_is_not_logged_in_needs_another_connection_whichever_topic_is_named(self):
        session = fresh(BOOK, symbols=TWO, status="")
        assert session.receive(error("60011", "Please log in: channel:books,instId:ETH-USDT"), T0) == []
        [reconnect] = reconnects(session)
        assert isinstance(reconnect, Reconnect)


class TestBooks:
    def test_an_update_may_continue_the_number_zero(self):
        [delta] = take(public(), frames.changed(frames.UPDATE, prevSeqId=0))
        assert delta.prev == "0"

    @pytest.mark.parametrize("action", ["resnapshot", "upsert"])
    def test_of_an_unknown_kind_it_is_refused(self, action):
        frame = frames.UPDATE.replace(b'"update"', json.dumps(action).encode())
        assert refused(public(), frame) == [("book", "BTC-USDT")]


def test_an_index_price_that_can_not_be_read_is_unknown():
    session = public(DERIVATIVES)
    [mark] = take(session, frames.INDEX, frames.MARK)
    assert mark.index == "42309.9"
    assert refused(session, frames.changed(frames.INDEX, idxPx="dear")) == []
    [mark] = take(session, frames.MARK)
    assert mark.index == ""


class TestMaintenance:
    @pytest.mark.parametrize("row", [{"state": "pre_open"}, {"serviceType": "5"}, {"end": ""}])
    def test_what_stops_trading_for_all(self, row):
        session = public()
        session.receive(frames.changed(frames.STATUS, **row), T0)
        session.tick(T0)
        [pause] = actions(session, Pause)
        assert pause.until == (None if "end" in row else 1672823520000000000)

    @pytest.mark.parametrize("ours", ["1", "2"])
    def test_the_demos_is_none_of_the_live_systems_and_the_other_way_round(self, ours):
        for env in "12":
            session = public(status=ours)
            session.receive(frames.changed(frames.STATUS, env=env), T0)
            assert len(actions(session, Warn)) == (env == ours)
