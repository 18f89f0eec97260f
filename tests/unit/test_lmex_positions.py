"""LMEX positions over several rows: the legs of a hedged pair, lists of all, what REST told."""

from __future__ import annotations

from bridge.exchanges.lmex.positions import Positions
from tests.unit.core import T0
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import answer, contracts, receive, subscribed

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
    return [(event.leg, event.side, event.contracts) for event in events]


def never(error, place):
    raise error


def positions():
    return Positions("main", contracts())


class TestHedged:
    def test_each_leg_stands_for_itself(self):
        known = positions()
        assert told(known.some([LONG, SHORT], T0, never)) == [("long", "long", "3"), ("short", "short", "5")]
        assert known.some([LONG, SHORT], T0 + 1, never) == []

    def test_one_leg_is_closed(self):
        known = positions()
        known.some([LONG, SHORT], T0, never)
        [event] = known.some([{**CLOSED, "positionId": "BTC-PERP-USDT|SHORT"}], T0 + 1, never)
        assert told([event]) == [("short", "", "0")]
        assert event.recv == T0 + 1
        assert known.some([LONG], T0 + 2, never) == []

    def test_both_are(self):
        known = positions()
        known.some([LONG, SHORT], T0, never)
        rows = [{**CLOSED, "positionId": f"BTC-PERP-USDT|{leg}"} for leg in ("SHORT", "LONG")]
        assert told(known.some(rows, T0, never)) == [("short", "", "0"), ("long", "", "0")]

    def test_a_closing_that_names_no_leg_is_of_both(self):
        known = positions()
        known.some([LONG, SHORT], T0, never)
        assert told(known.some([CLOSED], T0, never)) == [("long", "", "0"), ("short", "", "0")]

    def test_a_list_that_holds_one_leg(self):
        known = positions()
        known.all([LONG, SHORT], T0, never)
        listed = [LONG, {**CLOSED, "positionId": "BTC-PERP-USDT|SHORT"}]
        assert told(known.all(listed, T0, never)) == [("short", "", "0")]
        assert told(known.all([LONG], T0, never)) == []
        assert told(known.all([], T0, never)) == [("long", "", "0")]

    def test_an_unknown_leg_is_a_bad_row(self):
        bad = []
        rows = [{**LONG, "positionId": "BTC-PERP-USDT|BOTH"}, SHORT]
        found = positions().some(rows, T0, lambda error, place: bad.append(place))
        assert (told(found), bad) == ([("short", "short", "5")], [0])

    def test_the_rows_of_rest(self):
        session = subscribed()
        held = [{"symbol": "BTC-PERP", "side": "BUY", "size": 4, "positionId": "BTC-PERP-USDT|LONG"}]
        none = [{"symbol": "BTC-PERP", "side": "", "size": 0, "positionId": "BTC-PERP-USDT|SHORT"}]
        drive(session.sync(T0), answer([]), answer(held + none), answer([]))
        assert told(session.actions[1].events) == [("long", "long", "4"), ("short", "", "0")]


def test_what_rest_told_is_flat_once_a_list_leaves_it_out():
    session = subscribed()
    drive(session.sync(T0), answer([]), answer([{"symbol": "BTC-PERP", "side": "BUY", "size": 4}]), answer([]))
    assert told(receive(session, EMPTY_LIST, recv=T0 + 1)) == [(None, "", "0")]
    assert receive(session, EMPTY_LIST, recv=T0 + 2) == []


def test_what_rest_told_late_is_not_believed_over_a_newer_row():
    known = positions()
    known.some([LONG], T0 + 5, never)
    known.learn([positions().one({**LONG, "totalContracts": "9"}, T0)], T0)
    assert known.some([LONG], T0 + 6, never) == []


def test_a_row_that_cant_be_understood_makes_no_position_flat():
    known, bad = positions(), []
    other = {**LONG, "marketName": "ETH-PERP-USDT", "positionId": "ETH-PERP-USDT"}
    assert told(known.all([LONG, other], T0, never)) == [("long", "long", "3"), (None, "long", "3")]
    assert known.all([{**LONG, "positionDirection": "UP"}, other], T0, lambda *what: bad.append(what)) == []
    assert [place for _, place in bad] == [0]
    assert told(known.all([other], T0, never)) == [("long", "", "0")]
