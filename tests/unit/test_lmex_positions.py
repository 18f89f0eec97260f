"""LMEX positions over several rows: the legs of a hedged pair, lists of all, what REST told."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Reject
from bridge.model import Control, Position
from tests.unit.core import T0
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import answer, receive, subscribed

LONG = {
    "marketName": "BTC-PERP-USDT",
    "positionId": "BTC-PERP-USDT|LONG",
    "positionDirection": "LONG",
    "totalContracts": "3",
}
SHORT = {**LONG, "positionId": "BTC-PERP-USDT|SHORT", "positionDirection": "SHORT", "totalContracts": "5"}
CLOSED = {"marketName": "BTC-PERP-USDT", "totalContracts": "0", "contractSize": "0"}
EMPTY_LIST = b'{"topic":"allPositionV3","data":[]}'


def told(events):
    return [(event.leg, event.side, event.contracts) for event in events if isinstance(event, Position)]


class Positions:
    """The positions of a session, told by rows of one of them, or of all."""

    def __init__(self):
        self.session = subscribed()

    def some(self, rows, recv=T0):
        return told(self._frame("positionsV3", rows, recv))

    def all(self, rows, recv=T0):
        return told(self._frame("allPositionV4", rows, recv))

    def _frame(self, topic, rows, recv):
        return self.session.receive(json.dumps({"topic": topic, "data": rows}).encode(), recv)


class TestHedged:
    def test_each_leg_stands_for_itself(self):
        known = Positions()
        assert known.some([LONG, SHORT]) == [("long", "long", "3"), ("short", "short", "5")]
        assert known.some([LONG, SHORT], T0 + 1) == []

    def test_one_leg_is_closed(self):
        known = Positions()
        known.some([LONG, SHORT])
        assert known.some([{**CLOSED, "positionId": "BTC-PERP-USDT|SHORT"}], T0 + 1) == [("short", "", "0")]
        assert known.some([LONG], T0 + 2) == []

    def test_both_are(self):
        known = Positions()
        known.some([LONG, SHORT])
        rows = [{**CLOSED, "positionId": f"BTC-PERP-USDT|{leg}"} for leg in ("SHORT", "LONG")]
        assert known.some(rows) == [("short", "", "0"), ("long", "", "0")]

    def test_a_closing_that_names_no_leg_is_of_both(self):
        known = Positions()
        known.some([LONG, SHORT])
        assert known.some([CLOSED]) == [("long", "", "0"), ("short", "", "0")]

    def test_a_list_that_holds_one_leg(self):
        known = Positions()
        known.all([LONG, SHORT])
        listed = [LONG, {**CLOSED, "positionId": "BTC-PERP-USDT|SHORT"}]
        assert known.all(listed) == [("short", "", "0")]
        assert known.all([LONG]) == []
        assert known.all([]) == [("long", "", "0")]

    def test_an_unknown_leg_is_a_bad_row(self):
        known = Positions()
        assert known.some([{**LONG, "positionId": "BTC-PERP-USDT|BOTH"}, SHORT]) == [("short", "short", "5")]
        assert [type(output) for output in known.session.outputs[-3:]] == [Reject, Control, Position]

    def test_the_rows_of_rest(self):
        session = subscribed()
        held = [{"symbol": "BTC-PERP", "side": "BUY", "size": 4, "positionId": "BTC-PERP-USDT|LONG"}]
        none = [{"symbol": "BTC-PERP", "side": "", "size": 0, "positionId": "BTC-PERP-USDT|SHORT"}]
        drive(session.fetch(T0), answer([]), answer(held + none), answer([]))
        assert told(session.actions[1].events) == [("long", "long", "4"), ("short", "", "0")]


def test_what_rest_told_is_flat_once_a_list_leaves_it_out():
    session = subscribed()
    drive(session.fetch(T0), answer([]), answer([{"symbol": "BTC-PERP", "side": "BUY", "size": 4}]), answer([]))
    assert told(receive(session, EMPTY_LIST, recv=T0 + 1)) == [(None, "", "0")]
    assert receive(session, EMPTY_LIST, recv=T0 + 2) == []


def test_what_rest_told_late_is_not_believed_over_a_newer_row():
    known = Positions()
    flow = known.session.fetch(T0)
    next(flow)
    assert flow.send(answer([])).path.endswith("/user/positions")
    known.some([LONG], T0 + 5)
    flow.send(answer([{**LONG, "totalContracts": "9"}]))
    with pytest.raises(StopIteration):
        flow.send(answer([]))
    assert known.some([LONG], T0 + 6) == []


def test_a_row_that_cant_be_understood_makes_no_position_flat():
    known = Positions()
    other = {**LONG, "marketName": "ETH-PERP-USDT", "positionId": "ETH-PERP-USDT"}
    assert known.all([LONG, other]) == [("long", "long", "3"), (None, "long", "3")]
    assert known.all([{**LONG, "positionDirection": "UP"}, other]) == []
    assert [type(output) for output in known.session.outputs[-2:]] == [Reject, Control]
    assert known.all([other]) == [("long", "", "0")]
