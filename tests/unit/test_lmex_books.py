from __future__ import annotations

import json

import pytest

from bridge.errors import FrameError
from bridge.exchanges.base import Reconnect, Send, Unknown, Warn
from bridge.exchanges.lmex.names import Market
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Quote
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, Rig
from tests.unit.lmex_sessions import BOTH, ack, book, books, data, delta, said, seconds, sent, snapshot

QUOTES = frozenset({Channel.QUOTES})
ANEW = [("unsubscribe", "update:BTC-PERP_0"), ("subscribe", "update:BTC-PERP_0")]
GAPS = [("gap", "book", "BTC-PERP"), ("gap", "quotes", "BTC-PERP")]
LIVE = [("live", "book", "BTC-PERP"), ("live", "quotes", "BTC-PERP")]


def reconnects(session):
    return [action for action in session.actions if isinstance(action, Reconnect)]


class TestSampleFrames:
    def test_snapshot_in_coins_and_best_first(self):
        [event, quote] = data(books("SNDK-PERP").receive(frames.SNAPSHOT, T0))
        assert event == BookSnapshot(
            "SNDK-PERP",
            1790134937297_000_000,
            T0,
            "8896865",
            [("1876.90", "0.44"), ("1876.89", "1.22")],
            [("1880.00", "4.5"), ("1880.19", "9")],
        )
        assert quote == Quote("SNDK-PERP", 1790134937297_000_000, T0, "1876.90", "0.44", "1880.00", "4.5")

    def test_delta(self):
        session = books("BTC-PERP")
        session.receive(book("snapshot", 86511209, [["86540.4", "1"]], [["86541", "5"]]), T0)
        [event, quote] = session.receive(frames.DELTA, T0)
        assert event == BookDelta(
            "BTC-PERP",
            1790133628076_000_000,
            T0,
            "86511210",
            [("86540.6", "0.60672"), ("86540.5", "0.044")],
            [],
            "86511209",
        )
        assert quote == Quote("BTC-PERP", 1790133628076_000_000, T0, "86540.6", "0.60672", "86541", "0.00005")

    def test_spot_delta_keeps_its_digits_and_needs_no_grouping_in_its_topic(self):
        session = books("BTC-USD", market=Market.SPOT)
        session.receive(book("snapshot", 628282, [["59000", "1"]], [["59325.5", "3"]], pair="BTC-USD"), T0)
        [event, quote] = session.receive(frames.SPOT_DELTA, T0)
        assert event == BookDelta(
            "BTC-USD",
            1565135165600_000_000,
            T0,
            "628283",
            [],
            [("59367.5", "2.15622"), ("59325.5", "0")],
            "628282",
        )
        assert (quote.ask, quote.ask_size) == ("59367.5", "2.15622")

    def test_level_one(self):
        session = books("ETH-PERP", channels=QUOTES)
        events = session.receive(frames.LEVEL_ONE, T0)
        assert said(events) == [("live", "quotes", "ETH-PERP"), "Quote"]
        assert events[1] == Quote("ETH-PERP", 1759373840687_000_000, T0, "4386.37", "0.8403", "4386.58", "0.886")

    def test_level_one_with_an_empty_side(self):
        session = books("ETH-PERP", channels=QUOTES)
        message = json.loads(frames.LEVEL_ONE)
        message["data"]["asks"] = []
        [quote] = data(session.receive(json.dumps(message).encode(), T0))
        assert (quote.bid, quote.ask, quote.ask_size) == ("4386.37", "", "")

    @pytest.mark.parametrize("frame", frames.PONGS)
    def test_pongs(self, frame):
        session = books("BTC-PERP")
        assert session.receive(frame, T0) == ()
        assert session.actions == []

    def test_numbers_of_contracts_are_exact(self):
        session = books("BTC-PERP")
        huge = "1234567890123456789012345678901234567890"
        frame = book("snapshot", 1, [["1.5", huge], ["1.4", "0.10"], ["1.3", "1e3"]], [["2", "00.500"]])
        [event, _] = data(session.receive(frame, T0))
        assert event.bids == [
            ("1.5", "12345678901234567890123456789012345.6789"),
            ("1.4", "0.000001"),
            ("1.3", "0.01"),
        ]
        assert event.asks == [("2", "0.000005")]


class TestSubscribing:
    def test_books(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.connected(T0)
        assert sent(session) == [("subscribe", "update:BTC-PERP_0", "update:ETH-PERP_0")]

    def test_quotes_alone(self):
        session = books("BTC-PERP", channels=QUOTES)
        session.connected(T0)
        assert sent(session) == [("subscribe", "snapshotL1:BTC-PERP")]

    def test_the_ack_is_live_in_any_order(self):
        session = books("BTC-PERP", "ETH-PERP", channels=frozenset({Channel.BOOK}))
        events = session.receive(ack("update:ETH-PERP_0", "update:BTC-PERP_0"), T0)
        assert said(events) == [("live", "book", "ETH-PERP"), ("live", "book", "BTC-PERP")]

    def test_data_before_the_ack_is_live_too_but_once(self):
        session = books("BTC-PERP")
        assert said(session.receive(snapshot(), T0)) == [*LIVE, "BookSnapshot", "Quote"]
        assert session.receive(ack("update:BTC-PERP_0"), T0) == []

    def test_routed_by_symbol(self):
        session = books("BTC-PERP")
        events = session.receive(book("snapshot", 1, [["1", "1"]], pair="BTC-PERP", topic="update:BTC-PERP-USDT_0"), T0)
        assert said(events) == [*LIVE, "BookSnapshot", "Quote"]

    def test_other_pairs_are_passed_over(self):
        session = books("BTC-PERP")
        assert session.receive(snapshot(pair="ETH-PERP"), T0) == []
        assert session.receive(ack("update:ETH-PERP_0"), T0) == []

    def test_no_quotes_unless_wanted(self):
        session = books("BTC-PERP", channels=frozenset({Channel.BOOK}))
        assert said(session.receive(snapshot(), T0)) == [("live", "book", "BTC-PERP"), "BookSnapshot"]

    def test_a_quote_only_when_it_says_something_new(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        assert said(session.receive(delta(101, [["9.0", "1"]]), T0)) == ["BookDelta"]
        assert said(session.receive(delta(102, [["10.0", "0"]]), T0)) == ["BookDelta", "Quote"]

    def test_unknown_topics_are_told(self):
        session = books("BTC-PERP")
        session.receive(b'{"topic":"fundingRate:BTC-PERP","data":{}}', T0)
        session.receive(b'{"event":"maintenance"}', T0)
        session.receive(b"{}", T0)
        assert session.actions == [Unknown("fundingRate"), Unknown("maintenance"), Unknown("message without topic")]

    def test_a_text_ping_every_15_seconds(self):
        session = books("BTC-PERP")
        session.receive(snapshot(), T0)
        sends = []
        for tick in range(4 * 61):
            session.tick(seconds(tick / 4))
            sends += [tick / 4 for action in session.actions if action == Send("ping")]
            session.actions.clear()
        assert sends == [15, 30, 45, 60]


class TestChain:
    def test_a_hole(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(100), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        events = session.receive(delta(102), T0)
        assert said(events) == [*GAPS, "BookDelta"]
        assert events[0].reason == "seqNum 100 was last, 102 continues 101"
        assert sent(session) == ANEW
        assert said(session.receive(delta(8, pair="ETH-PERP"), T0)) == ["BookDelta", "Quote"]
        assert said(session.receive(delta(103), T0)) == ["BookDelta"]
        assert said(session.receive(snapshot(110), T0)) == ["BookSnapshot", "Quote"]
        assert said(session.receive(delta(111), T0)) == ["BookDelta", "Quote"]
        assert session.actions == []

    def test_what_reaches_the_stream_is_a_gap_what_was_lost_and_a_snapshot(self):
        session = books("BTC-PERP", channels=frozenset({Channel.BOOK}))
        rig = Rig(Channel.BOOK)
        for frame in (snapshot(100), delta(101), delta(103), delta(104), snapshot(110), delta(111)):
            for event in session.receive(frame, T0):
                rig.topic.control(event) if isinstance(event, Control) else rig.topic.accept(event)
        assert rig.sink.said() == ["live", "snapshot", "delta", "gap", "lost", "snapshot", "delta"]
        assert rig.sink.lost == 2
        assert rig.topic.received == len(rig.sink.data) + rig.sink.lost
        assert rig.resynced == []

    def test_a_delta_before_its_snapshot(self):
        session = books("BTC-PERP")
        events = session.receive(delta(101), T0)
        assert said(events) == [*LIVE, *GAPS, "BookDelta"]
        assert sent(session) == ANEW
        assert said(session.receive(delta(102), T0)) == ["BookDelta"], "once is enough"
        assert sent(session) == []

    @pytest.mark.parametrize("ask", ["10.0", "9.5"])
    def test_a_crossed_book(self, ask):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        events = session.receive(delta(101, [], [[ask, "1"]]), T0)
        assert said(events) == [*GAPS, "BookDelta"]
        assert events[0].reason == "the book is crossed"
        assert sent(session) == ANEW

    def test_a_crossed_snapshot_does_not_reach_the_stream(self):
        session = books("BTC-PERP")
        events = session.receive(book("snapshot", 1, [["12", "1"]], [["11", "1"]]), T0)
        assert said(events) == [*LIVE, *GAPS]
        assert sent(session) == ANEW

    def test_repeats_are_dropped(self):
        session = books("BTC-PERP")
        for frame in (snapshot(100), delta(101), delta(102)):
            session.receive(frame, T0)
        assert session.receive(delta(102), T0) == []
        assert session.receive(delta(101), T0) == []
        assert said(session.receive(delta(103), T0)) == ["BookDelta"]
        assert session.actions == []

    def test_a_count_that_begins_anew_is_a_gap(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100_000), T0)
        assert said(session.receive(delta(5), T0)) == [*GAPS, "BookDelta"]

    def test_a_repeated_snapshot_goes_out_and_the_chain_continues(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.receive(delta(101), T0)
        assert said(session.receive(snapshot(101), T0)) == ["BookSnapshot", "Quote"]
        assert said(session.receive(delta(102), T0)) == ["BookDelta", "Quote"]
        assert session.actions == []

    def test_zero_removes_in_every_spelling(self):
        session = books("BTC-USD", market=Market.SPOT)
        session.receive(book("snapshot", 1, [["10", "1"], ["9", "1"], ["8", "1"]], [["11", "1"]], pair="BTC-USD"), T0)
        [_, quote] = session.receive(delta(2, [["10.0", "0.0"], ["9", "0"]], pair="BTC-USD"), T0)
        assert (quote.bid, quote.bid_size) == ("8", "1")

    def test_resync(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(100), T0)
        session.resync("BTC-PERP", T0, "old")
        assert sent(session) == ANEW
        session.resync("BTC-PERP", T0, "old")
        session.resync("ETH-PERP", T0, "its first snapshot is under way already")
        session.resync("XRP-PERP", T0, "not of this connection")
        assert sent(session) == []


class TestPatience:
    def test_no_snapshot_in_time(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(7, "ETH-PERP"), T0)
        assert session.tick(seconds(9.9)) == []
        events = session.tick(seconds(10.1))
        assert said(events) == GAPS
        assert events[0].reason == "no snapshot within 10 s"
        assert sent(session) == ANEW

    def test_after_three_attempts_a_new_connection(self):
        session = books("BTC-PERP", "ETH-PERP", snapshot_timeout=5)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        for number in range(1, 4):
            session.tick(seconds(number * 5.1))
            assert sent(session)[-2:] == ANEW
            assert reconnects(session) == []
        session.tick(seconds(4 * 5.1))
        [action] = reconnects(session)
        assert action.reason == "BTC-PERP: no snapshot within 5 s, 4 times within a minute"

    def test_failures_are_forgotten_after_a_calm_minute(self):
        session = books("BTC-PERP")
        now, number = 0, 100
        for _ in range(10):
            session.receive(snapshot(number), seconds(now))
            session.receive(delta(number + 5), seconds(now))
            session.receive(snapshot(number + 6), seconds(now))
            now, number = now + 61, number + 10
            session.tick(seconds(now))
        assert reconnects(session) == []

    def test_gaps_that_dont_end_bring_a_new_connection(self):
        session = books("BTC-PERP")
        for number in range(100, 140, 10):
            session.receive(snapshot(number), T0)
            session.receive(delta(number + 5), T0)
        assert len(reconnects(session)) == 1

    def test_where_that_was_in_vain_the_pair_is_down_and_the_others_go_on(self):
        troubled = {"BTC-PERP"}
        session = books("BTC-PERP", "ETH-PERP", snapshot_timeout=5, troubled=troubled)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        events = [event for number in range(1, 5) for event in session.tick(seconds(number * 5.1))]
        assert said(events)[-2:] == [("down", "book", "BTC-PERP"), ("down", "quotes", "BTC-PERP")]
        assert reconnects(session) == []
        session.actions.clear()
        session.tick(seconds(79))
        assert session.receive(delta(50), seconds(79)) == []
        session.actions.clear()
        session.tick(seconds(80.5))
        assert ("subscribe", "update:BTC-PERP_0") in sent(session)
        again = [event for number in range(1, 10) for event in session.tick(seconds(80.5 + number / 2))]
        assert said(again) == []
        assert said(session.tick(seconds(85.6)))[0] == ("down", "book", "BTC-PERP")
        assert said(session.receive(snapshot(60), seconds(95))) == [*LIVE, "BookSnapshot", "Quote"]
        assert troubled == set()

    def test_no_answer_at_all(self):
        session = books("BTC-PERP", "ETH-PERP")
        assert session.tick(seconds(10.1)) == ()
        [action] = reconnects(session)
        assert action.reason == "no answer to the subscription within 10 s"

    def test_quotes_alone_wait_for_the_ack_only(self):
        session = books("BTC-PERP", channels=QUOTES)
        assert said(session.receive(ack("snapshotL1:BTC-PERP"), T0)) == [("live", "quotes", "BTC-PERP")]
        session.tick(seconds(59))
        assert [a for a in session.actions if a != Send("ping")] == []

    def test_quotes_that_are_left_out_of_the_ack(self):
        session = books("BTC-PERP", channels=QUOTES)
        session.receive(frames.EMPTY_ACK, T0)
        [event] = session.tick(seconds(10.1))
        assert (event.event, event.reason) == (ControlEvent.GAP, "no answer to the subscription within 10 s")
        assert sent(session) == [("unsubscribe", "snapshotL1:BTC-PERP"), ("subscribe", "snapshotL1:BTC-PERP")]


class TestErrors:
    def test_errors_of_topics(self):
        session = books("NOPE-PERP", "BTC-PERP")
        events = session.receive(frames.TOPIC_ERRORS, T0)
        assert said(events) == [("down", "book", "NOPE-PERP"), ("down", "quotes", "NOPE-PERP")]
        assert events[0].reason == "1000: Market pair provided is currently not supported."
        assert session.actions == [
            Warn("foo:BTC-PERP: 1005: Topic provided does not exist."),
            Warn("update:NOPE-PERP_0: 1000: Market pair provided is currently not supported."),
        ]
        session.receive(snapshot(), T0)
        session.actions.clear()
        session.tick(seconds(59))
        assert sent(session) == []
        session.tick(seconds(60))
        assert sent(session) == [("unsubscribe", "update:NOPE-PERP_0"), ("subscribe", "update:NOPE-PERP_0")]

    def test_the_older_form(self):
        session = books("BTCC-USD", market=Market.SPOT)
        events = session.receive(frames.OLD_ERROR, T0)
        assert [event.reason for event in events] == ["MARKET_PAIR_NOT_SUPPORT"] * 2
        assert session.actions == [Warn("update:BTCC-USD_0: MARKET_PAIR_NOT_SUPPORT")]

    def test_an_error_of_the_request(self):
        session = books("BTC-PERP")
        assert session.receive(frames.OP_ERROR, T0) == []
        assert session.actions == [Warn("request: 1001: Operation provided is currently not supported")]

    @pytest.mark.parametrize(("code", "wait"), [(1007, 0.0), (1008, 60.0)])
    def test_errors_that_end_the_connection(self, code, wait):
        session = books("BTC-PERP")
        session.receive(json.dumps({"severity": "ERROR", "errors": [{"error": {"code": code}}]}).encode(), T0)
        [action] = reconnects(session)
        assert action.wait == wait

    @pytest.mark.parametrize(
        "frame",
        [b'{"code":7,"message":"no"}', b'{"success":false,"message":"no"}', b'{"status":503,"message":"no"}'],
    )
    def test_other_forms_are_read_too(self, frame):
        session = books("BTC-PERP")
        assert session.receive(frame, T0) == []
        [action] = session.actions
        assert isinstance(action, Warn)
        assert "no" in action.message

    def test_the_session_has_expired(self):
        session = books("BTC-PERP")
        session.receive(frames.EXPIRED, T0)
        assert "10002" in reconnects(session)[0].reason


class TestGarbage:
    @pytest.mark.parametrize("frame", frames.NONSENSE)
    def test_nonsense(self, frame):
        session = books("BTC-PERP")
        with pytest.raises(FrameError):
            session.receive(frame, T0)
        assert session.rejected(T0) == []

    @pytest.mark.parametrize("frame", [*frames.PUBLIC.values(), *frames.CONTROL.values()])
    def test_cut_frames(self, frame):
        session = books("BTC-PERP", "ETH-PERP", "SNDK-PERP")
        for end in range(len(frame)):
            with pytest.raises(FrameError):
                session.receive(frame[:end], T0)

    @pytest.mark.parametrize("frame", [frames.SNAPSHOT, frames.LEVEL_ONE])
    def test_missing_and_wrong_fields(self, frame):
        message = json.loads(frame)
        values = (None, 5, -1, 2**63, "", "x", "nan", [], [{}], [["1", "x"]], [["1 2", "3"]], [["1", "-3"]], {}, True)
        for name in message["data"]:
            for value in (*values, 10**30, [["1", "1e999999999"]], [["9" * 600, "1." + "9" * 600]]):
                session = books("SNDK-PERP", "ETH-PERP")
                try:
                    session.receive(json.dumps({**message, "data": {**message["data"], name: value}}).encode(), T0)
                except FrameError:
                    session.rejected(T0)

    @pytest.mark.parametrize(
        "frame",
        [
            frames.SNAPSHOT.replace(b'"44"', b'"lots"'),
            frames.SNAPSHOT.replace(b'"44"', b'"-44"'),
            frames.SNAPSHOT.replace(b'"1880.19"', b'"1_880"'),
            frames.SNAPSHOT.replace(b'"snapshot"', b'"picture"'),
            frames.SNAPSHOT.replace(b'"seqNum":8896865,', b""),
            frames.SNAPSHOT.replace(b"1790134937297", b"-1"),
            frames.SNAPSHOT.replace(b"1790134937297", b"1790134937297000000"),
            frames.DELTA.replace(b'"prevSeqNum":86511209,', b""),
            frames.DELTA.replace(b"BTC-PERP", b"NEW-PERP"),
        ],
    )
    def test_what_is_no_number_is_rejected(self, frame):
        session = books("SNDK-PERP", "BTC-PERP", "NEW-PERP")
        with pytest.raises(FrameError):
            session.receive(frame, T0)

    def test_a_frame_that_was_cut_is_a_gap_of_its_pair(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(100), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        half = delta(101)
        with pytest.raises(FrameError):
            session.receive(half[: len(half) // 2], T0)
        assert said(session.rejected(T0)) == GAPS
        assert sent(session) == ANEW
        assert session.rejected(T0) == []

    def test_a_long_frame_without_a_name_may_be_of_any_pair(self):
        session = books("BTC-PERP", "ETH-PERP", channels=frozenset({Channel.BOOK}))
        session.receive(snapshot(100), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        for frame, count in ((b"hello", 0), (b"#" * 200, 2)):
            with pytest.raises(FrameError):
                session.receive(frame, T0)
            assert len(session.rejected(T0)) == count

    def test_both_channels_are_meant(self):
        assert frozenset({Channel.BOOK, Channel.QUOTES}) == BOTH
