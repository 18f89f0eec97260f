from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Profile, Reconnect, Reject, Send, Unknown
from bridge.exchanges.coinbase import Coinbase
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Quote, Ticker, Trade
from tests.unit.coinbase_frames import (
    ALL,
    HEARTBEAT,
    L2,
    MESSAGES,
    PAIRS,
    SUBSCRIPTIONS,
    TICKER,
    TRADES,
    book,
    frame,
    make,
)
from tests.unit.core import SECOND, T0, faults
from tests.unit.limitlex_frames import NONSENSE


class TestFrames:
    def test_trade(self):
        """The exchange tells the maker's side."""
        [event] = make().receive(frame(TRADES), T0)
        at = 1786309548 * SECOND + 167634000
        assert event == Trade("BTC-USD", at, T0, "1068572091", "buy", "65083.67", "0.01034361")

    def test_trades_come_newest_first_and_go_oldest_first(self):
        [row] = TRADES["events"][0]["trades"]
        rows = [{**row, "trade_id": ident} for ident in ("3", "2", "1")]
        events = make().receive(frame(TRADES, events=[{"type": "snapshot", "trades": rows}]), T0)
        assert [(e.id, e.replay) for e in events] == [("1", True), ("2", True), ("3", True)]

    def test_book_update(self):
        [event] = make().receive(frame(L2), T0)
        at = 1786309548 * SECOND + 264069000
        assert event == BookDelta("BTC-USD", at, T0, "0", [], [("65106.54", "0.15361938")])

    def test_book_snapshot(self):
        levels = (("bid", "9", "1"), ("offer", "12", "2"), ("bid", "10.0", "3"), ("offer", "11", "4"))
        [event] = make().receive(frame(book(levels=levels), 0), T0)
        assert event == BookSnapshot(
            "BTC-USD", event.ts, T0, "0", [("10.0", "3"), ("9", "1")], [("11", "4"), ("12", "2")]
        )

    def test_ticker(self):
        quote, ticker = make().receive(frame(TICKER), T0)
        at = 1786309548 * SECOND + 298032046
        assert quote == Quote("ETH-USD", at, T0, "1919.44", "0.02858092", "1919.49", "0.07814824")
        assert ticker == Ticker(
            *("ETH-USD", at, T0, "86400", "", "1925", "1911.04", "1919.41", "", "0.02501394006035", "19975.95927439")
        )

    def test_subscriptions_make_streams_live_once(self):
        session = make()
        events = session.receive(frame(SUBSCRIPTIONS, 0), T0)
        assert {(e.channel, e.subject) for e in events} == {
            (Channel.BOOK, "BTC-USD"),
            (Channel.BOOK, "ETH-USD"),
            (Channel.TRADES, "BTC-USD"),
        }
        assert {e.event for e in events} == {ControlEvent.LIVE}
        assert not session.receive(frame(SUBSCRIPTIONS, 1), T0)

    @pytest.mark.parametrize("message", [TRADES, L2, TICKER], ids=lambda message: message["channel"])
    def test_pairs_not_asked_for_are_passed_over(self, message):
        assert list(make(pairs=("SOL-USD",)).receive(frame(message), T0)) == []

    def test_heartbeats_and_channels_not_asked_for_are_counted_only(self):
        session = make({Channel.TRADES})
        assert not session.receive(frame(HEARTBEAT, 0), T0)
        assert not session.receive(frame(L2, 1), T0)
        assert not session.receive(frame(TICKER, 2), T0)
        assert not session.receive(frame({"channel": "candles", "events": []}, 3), T0)
        assert len(session.receive(frame(TRADES, 4), T0)) == 1
        assert session.actions == [Unknown("candles")]

    def test_a_zero_time_is_no_time(self):
        message = book()
        for text in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"):
            message["events"][0]["updates"][-1]["event_time"] = text
            [event] = make().receive(frame(message, 0), T0)
            assert event.ts is None

    @pytest.mark.parametrize(
        ("text", "ns"),
        [("05:48Z", 0), ("05:48.5Z", 500_000_000), ("05:48.000000001Z", 1), ("05:48.1234567891Z", 123456789)],
    )
    def test_times(self, text, ns):
        message = book()
        message["events"][0]["updates"][-1]["event_time"] = f"2026-08-09T21:{text}"
        [event] = make().receive(frame(message, 0), T0)
        assert event.ts == 1786309548 * SECOND + ns

    @pytest.mark.parametrize(
        "text",
        [
            *("2026-08-09T21:05:48", "2026-08-09T21:05:48.1", "2026-08-09T21:05:48.Z", "2026-08-09T21:05:48,1Z"),
            *(
                "2026-08-09T21:05:48.+1Z",
                "2026-08-09T21:05:48.1_0Z",
                "2026-08-09T21:05:48. 1Z",
                "2026-08-09T21:05:48.1+02:00Z",
            ),
            *(
                "1969-07-20T20:17:40Z",
                "1999-12-31T23:59:59.9Z",
                "9999-12-31T23:59:59Z",
                "0001-01-02T00:00:00Z",
                "",
                "Z",
            ),
        ],
    )
    def test_what_is_no_time_is_refused(self, text):
        message = book()
        message["events"][0]["updates"][-1]["event_time"] = text
        session = make()
        assert all(isinstance(event, Control) for event in session.receive(frame(message, 0), T0))
        assert any(isinstance(action, Reject) for action in session.actions)


class TestSequence:
    def test_a_hole_is_a_gap_of_everything_and_asks_for_books(self):
        session = make()
        session.receive(frame(book(), 0), T0)
        session.receive(frame(book(pair="ETH-USD"), 1), T0)
        events = session.receive(frame(TRADES, 5), T0)
        gaps, [event] = events[:-1], events[-1:]
        assert {(e.channel, e.subject, e.count) for e in gaps} == {(c, p, 3) for c in ALL for p in PAIRS}
        assert isinstance(event, Trade)
        sent = [json.loads(action.text) for action in session.actions]
        assert [(m["type"], m["channel"], m["product_ids"]) for m in sent] == [
            (kind, "level2", list(PAIRS)) for kind in ("unsubscribe", "subscribe")
        ]

    def test_messages_that_came_before_are_dropped(self):
        session = make()
        for number in (0, 1, 1, 0, 2):
            session.receive(frame(HEARTBEAT, number), T0)
        assert not session.receive(frame(TRADES, 1), T0)
        assert len(session.receive(frame(TRADES, 3), T0)) == 1
        assert session.actions == []

    def test_a_rejected_message_is_declared_by_the_next_one(self):
        session = make()
        session.receive(frame(HEARTBEAT, 0), T0)
        for odd in (b"no message at all", b'{"channel":"l2_data","sequence_num":"', b'{"sequence_num":2}'):
            with pytest.raises(FrameError):
                session.receive(odd, T0)
        events = session.receive(frame(HEARTBEAT, 3), T0)
        assert {e.count for e in events} == {2}
        assert len(events) == 8

    def test_a_count_that_starts_anew_ends_the_connection(self):
        """Else everything would be taken for a repeat, for ever and in silence."""
        session = make({Channel.TRADES})
        for number in range(100):
            session.receive(frame(HEARTBEAT, number), T0)
        for number in range(30):
            session.receive(frame(TRADES, number), T0)
        assert [type(action) for action in session.actions] == [Reconnect]

    def test_a_count_that_a_corrupt_message_set_far_ahead_ends_the_connection(self):
        session = make({Channel.TRADES})
        session.receive(frame(HEARTBEAT, 0), T0)
        assert session.receive(frame(HEARTBEAT, 10**18), T0)
        session.receive(frame(TRADES, 2), T0)
        assert [type(action) for action in session.actions] == [Reconnect]

    def test_twenty_repeats_in_a_row_are_passed_over_and_one_more_is_not(self):
        session = make({Channel.TRADES})
        for number in range(30):
            session.receive(frame(HEARTBEAT, number), T0)
        for number in [5] * 20 + [30] + [5] * 20:
            session.receive(frame(HEARTBEAT, number), T0)
        assert session.actions == []
        for _ in range(22):
            session.receive(frame(HEARTBEAT, 5), T0)
        gone = Reconnect("sequence_num went back from 30 to 5")
        assert session.actions == [gone, gone], "the count of repeats begins again"

    @pytest.mark.parametrize(("number", "ends"), [(1, False), (0, True)])
    def test_a_repeat_from_ten_thousand_messages_back_is_the_oldest_that_is_passed_over(self, number, ends):
        session = make({Channel.TRADES})
        session.receive(frame(HEARTBEAT, 10_000), T0)
        assert not session.receive(frame(HEARTBEAT, number), T0)
        assert session.actions == [Reconnect("sequence_num went back from 10000 to 0")] * ends

    def test_errors_of_the_exchange_are_told(self):
        session = make()
        session.receive(b'{"type":"error","message":"channel is not supported"}', T0)
        session.receive(frame({"type": "error", "message": "again"}, 0), T0)
        session.receive(b'{"type":"error","message":"authentication failure"}', T0)
        assert faults(session) == [
            ("reported", None, "", "channel is not supported"),
            ("reported", None, "", "again"),
            ("login_refused", None, "", "authentication failure"),
        ]
        assert not session.receive(frame(HEARTBEAT, 1), T0)


class TestSnapshots:
    def connected(self):
        session = make()
        session.connected(T0)
        session.actions.clear()
        return session

    def test_what_is_sent_on_connecting(self):
        session = make()
        session.connected(T0)
        sent = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
        assert [(m["type"], m["channel"], m.get("product_ids")) for m in sent] == [
            ("subscribe", "level2", list(PAIRS)),
            ("subscribe", "ticker", list(PAIRS)),
            ("subscribe", "market_trades", list(PAIRS)),
            ("subscribe", "heartbeats", None),
        ]

    def test_only_one_resync_at_a_time(self):
        session = self.connected()
        session.receive(frame(book(), 0), T0)
        session.resync("BTC-USD", T0, "x")
        session.resync("BTC-USD", T0, "y")
        session.tick(T0 + 1)
        session.resync("BTC-USD", T0 + 2, "y")
        session.tick(T0 + 3)
        assert len(session.actions) == 2
        session.receive(frame(book(), 1), T0)
        session.resync("BTC-USD", T0 + 4, "z")
        session.tick(T0 + 5)
        assert len(session.actions) == 4

    def test_resyncs_of_several_pairs_are_asked_for_in_one_message(self):
        session = self.connected()
        for number, pair in enumerate(PAIRS):
            session.receive(frame(book(pair=pair), number), T0)
        for pair in (*PAIRS, "NO-PAIR"):
            session.resync(pair, T0, "x")
        session.tick(T0 + 1)
        sent = [json.loads(action.text) for action in session.actions]
        assert [(m["type"], m["product_ids"]) for m in sent] == [
            ("unsubscribe", list(PAIRS)),
            ("subscribe", list(PAIRS)),
        ]


class TestOddFrames:
    @pytest.mark.parametrize("odd", NONSENSE)
    def test_nonsense_is_rejected_or_unknown(self, odd):
        session = make()
        with pytest.raises(FrameError):
            session.receive(odd, T0)

    @pytest.mark.parametrize("channel", MESSAGES)
    def test_any_value_anywhere(self, channel):
        def places(value, path=()):
            yield path
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, inner in items:
                yield from places(inner, (*path, key))

        for path in list(places(MESSAGES[channel]))[1:]:
            for value in (None, -1, 1.5, "", "x", "nan", [], {}, [None], "Ünïcode ₿", 10**30, "9999-99-99T99:99:99Z"):
                message = json.loads(json.dumps(MESSAGES[channel]))
                at = message
                for key in path[:-1]:
                    at = at[key]
                at[path[-1]] = value
                session = make()
                try:
                    session.receive(json.dumps(message).encode(), T0)
                except FrameError:
                    session.rejected(T0)
                session.tick(T0 + SECOND)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, odd):
        session = make()
        try:
            session.receive(odd, T0)
        except FrameError:
            session.rejected(T0)


def test_the_plan_is_one_connection():
    [plan] = Coinbase(Profile(PAIRS, ALL)).plan()
    assert len(plan.subscriptions) == 8
    with pytest.raises(StopIteration) as done:
        next(plan.session().open(T0))
    assert done.value.value.url == "wss://advanced-trade-ws.coinbase.com"
    assert Coinbase(Profile(PAIRS, frozenset())).plan() == []
