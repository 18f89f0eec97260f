from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Send, Unknown
from bridge.exchanges.lmex.messages import Market
from bridge.model import BookDelta, BookSnapshot, Channel, Quote
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, refused
from tests.unit.lmex_sessions import (
    ANEW,
    GAPS,
    LIVE,
    LOST,
    QUOTES,
    ack,
    book,
    books,
    books_session,
    delta,
    said,
    seconds,
    sent,
    snapshot,
)
from tests.unit.session_views import data


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

    def test_level_one_after_a_bad_frame_is_news(self):
        session = books("ETH-PERP", channels=QUOTES)
        session.receive(frames.LEVEL_ONE, T0)
        assert session.receive(frames.LEVEL_ONE, T0) == []
        assert refused(session, frames.LEVEL_ONE.replace(b"8403", b"lots")) == [("quotes", "ETH-PERP")]
        assert said(session.receive(frames.LEVEL_ONE, T0)) == ["Quote"]

    def test_level_one_with_an_empty_side(self):
        session = books("ETH-PERP", channels=QUOTES)
        message = json.loads(frames.LEVEL_ONE)
        message["data"]["asks"] = []
        [quote] = data(session.receive(json.dumps(message).encode(), T0))
        assert (quote.bid, quote.ask, quote.ask_size) == ("4386.37", "", "")

    @pytest.mark.parametrize("frame", frames.PONGS)
    def test_pongs(self, frame):
        session = books("BTC-PERP")
        assert session.receive(frame, T0) == []
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
        session.session.connected(T0)
        assert sent(session) == [("subscribe", "update:BTC-PERP_0", "update:ETH-PERP_0")]

    def test_quotes_alone(self):
        session = books("BTC-PERP", channels=QUOTES)
        session.session.connected(T0)
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
        assert said(events) == GAPS
        assert events[0].reason == "xseq 100 was last, 102 continues 101"
        assert sent(session) == ANEW
        assert said(session.receive(delta(8, pair="ETH-PERP"), T0)) == ["BookDelta", "Quote"]
        assert said(session.receive(delta(103), T0)) == []
        assert said(session.receive(snapshot(110), T0)) == [LOST, "BookSnapshot", "Quote"]
        assert said(session.receive(delta(111), T0)) == ["BookDelta", "Quote"]
        assert session.actions == []

    def test_what_reaches_the_stream_is_a_gap_what_was_lost_and_a_snapshot(self):
        session = books("BTC-PERP", channels=frozenset({Channel.BOOK}))
        for frame in (snapshot(100), delta(101), delta(103), delta(104), snapshot(110), delta(111)):
            session.receive(frame, T0)
        assert session.sink.said() == ["live", "snapshot", "delta", "gap", "lost", "snapshot", "delta"]
        assert session.sink.lost == 2
        assert session.book("BTC-PERP").received == len(session.sink.data) + session.sink.lost
        assert sent(session) == ANEW, "once"

    def test_a_delta_before_its_snapshot(self):
        session = books("BTC-PERP")
        events = session.receive(delta(101), T0)
        assert said(events) == [*LIVE, *GAPS]
        assert events[2].reason == "a delta came before its snapshot"
        assert sent(session) == ANEW
        assert said(session.receive(delta(102), T0)) == [], "once is enough"
        assert sent(session) == []

    @pytest.mark.parametrize("ask", ["10.0", "9.5"])
    def test_a_crossed_book(self, ask):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        events = session.receive(delta(101, [], [[ask, "1"]]), T0)
        assert said(events) == GAPS
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
        assert said(session.receive(delta(5), T0)) == GAPS

    def test_a_repeated_snapshot_goes_out_and_the_chain_continues(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.receive(delta(101), T0)
        assert said(session.receive(snapshot(101), T0)) == ["BookSnapshot", "Quote"]
        assert said(session.receive(delta(102), T0)) == ["BookDelta", "Quote"]
        assert session.actions == []

    def test_a_repeated_snapshot_that_says_nothing_new_is_a_repeat(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        assert session.receive(snapshot(100), T0) == []
        assert session.book("BTC-PERP").repeated == 1
        assert said(session.receive(delta(101), T0)) == ["BookDelta", "Quote"]

    def test_zero_removes_in_every_spelling(self):
        session = books("BTC-USD", market=Market.SPOT)
        session.receive(book("snapshot", 1, [["10", "1"], ["9", "1"], ["8", "1"]], [["11", "1"]], pair="BTC-USD"), T0)
        [_, quote] = session.receive(delta(2, [["10.0", "0.0"], ["9", "0"]], pair="BTC-USD"), T0)
        assert (quote.bid, quote.bid_size) == ("8", "1")

    def test_resync(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(100), T0)
        session.session.resync("BTC-PERP", T0, "old")
        session.tick(T0)
        assert sent(session) == ANEW
        session.session.resync("ETH-PERP", T0, "its first snapshot is under way already")
        session.session.resync("XRP-PERP", T0, "not of this connection")
        session.tick(T0)
        assert sent(session) == []

    def test_one_that_says_something_odd_is_not_quiet(self):
        session = books_session("BTC-PERP")
        session.receive(snapshot(), T0)
        session.receive(book("odd", 101), seconds(15))
        for second in (20.5, 35):
            session.tick(seconds(second))
            assert sent(session) == []
        session.tick(seconds(35) + 1)
        assert sent(session) == [("subscribe", "update:BTC-PERP_0")]

    @pytest.mark.parametrize("why", ["asked", "nonsense"])
    def test_many_pairs_are_mended_with_two_messages(self, why):
        pairs = [f"C{number}-USD" for number in range(50)]
        session = books(*pairs, market=Market.SPOT)
        for pair in pairs:
            session.receive(snapshot(100, pair), T0)
        if why == "asked":
            for pair in pairs:
                session.session.resync(pair, T0, "events of this book were dropped")
            session.tick(T0)
        else:
            assert refused(session, b"x" * 200) == sorted((c, pair) for pair in pairs for c in ("book", "quotes"))
            assert {session.book(pair).whole for pair in pairs} == {False}
        topics = sorted(f"update:{pair}_0" for pair in pairs)
        assert sent(session) == [("unsubscribe", *topics), ("subscribe", *topics)]
