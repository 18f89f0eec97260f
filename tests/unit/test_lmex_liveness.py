"""LMEX connections that are open, and over which nothing comes any more."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import Reconnect, Send
from bridge.exchanges.lmex.messages import Market
from tests.unit import lmex_frames as frames
from tests.unit.core import T0
from tests.unit.lmex_sessions import ack, books, seconds, snapshot, trades

GIVEN_UP = Reconnect("nothing came within 10 s of a ping")


def ticked(session, begin, end):
    """What the session asks for between two times (seconds), with a tick four times a second."""
    found = []
    for quarter in range(int(begin * 4) + 1, int(end * 4) + 1):
        session.tick(seconds(quarter / 4))
        found += [(quarter / 4, action) for action in session.actions]
        session.actions.clear()
    return found


@pytest.fixture
def session():
    session = trades("BTC-USD", market=Market.SPOT)
    session.receive(ack("tradeHistoryApi:BTC-USD"), T0)
    return session


class TestPings:
    def test_one_that_is_not_answered_is_the_end(self, session):
        assert ticked(session, 0, 25) == [(15, Send("ping"))]
        assert ticked(session, 25, 25.5) == [(25.25, GIVEN_UP)]

    def test_of_a_book_too(self):
        session = books("BTC-PERP")
        session.receive(snapshot(), T0)
        assert (25.25, GIVEN_UP) in ticked(session, 0, 26)

    @pytest.mark.parametrize("frame", [*frames.PONGS, frames.SPOT_TRADES])
    def test_whatever_comes_answers_them(self, session, frame):
        for ping in (15, 30, 45):
            assert ticked(session, ping - 15, ping) == [(ping, Send("ping"))]
            session.receive(frame, seconds(ping))

    def test_what_came_before_does_not(self, session):
        session.receive(b"pong", seconds(14))
        assert (25.25, GIVEN_UP) in ticked(session, 0, 26)

    def test_nobody_is_judged_when_this_process_was_busy(self, session):
        assert ticked(session, 0, 16) == [(15, Send("ping"))]
        session.tick(seconds(60))  # frames of 44 seconds wait in the socket
        assert GIVEN_UP not in session.actions
        assert (70.25, GIVEN_UP) in ticked(session, 60, 71)

    def test_they_go_on_where_the_clock_is_set_back(self, session):
        session.receive(b"pong", seconds(1))
        ticked(session, 0, 14)
        assert ticked(session, -3600, -3580) == [(-3600 + 0.25 + 15, Send("ping"))]
