from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Reject, Send
from bridge.exchanges.lmex import Lmex
from bridge.exchanges.lmex.messages import Market
from bridge.model import Channel, ControlEvent
from tests.unit import lmex_frames as frames
from tests.unit.core import SECOND, T0, faults, refused
from tests.unit.lmex_sessions import (
    ANEW,
    BOTH,
    DOWN,
    GAPS,
    LIVE,
    LOST,
    QUOTES,
    ack,
    books,
    books_session,
    delta,
    said,
    seconds,
    sent,
    snapshot,
)
from tests.unit.session_views import reconnects


class TestPatience:
    def test_no_snapshot_in_time(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(ack("update:BTC-PERP_0"), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        assert session.tick(seconds(9.9)) == []
        events = session.tick(seconds(10.1))
        assert said(events) == GAPS
        assert events[0].reason == "no snapshot within 10 s"
        assert sent(session) == ANEW

    def test_after_three_attempts_a_new_connection(self):
        session = books("BTC-PERP", "ETH-PERP", snapshot_timeout=5)
        session.receive(ack("update:BTC-PERP_0"), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        for number in range(1, 4):
            session.tick(seconds(number * 5.1))
            assert sent(session)[-2:] == ANEW
            assert session.replaced == []
        session.tick(seconds(4 * 5.1))
        assert session.replaced == [("BTC-PERP", "no snapshot within 5 s")]
        assert reconnects(session) == [], "the other pairs keep theirs meanwhile"

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
        assert len(session.replaced) == 1

    def test_where_that_was_in_vain_the_pair_is_down_and_the_others_go_on(self):
        session = books("BTC-PERP", "ETH-PERP", snapshot_timeout=5)
        session.receive(ack("update:BTC-PERP_0"), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        events = [event for number in range(1, 6) for event in session.tick(seconds(number * 5.1))]
        assert said(events)[-2:] == DOWN
        assert reconnects(session) == []
        session.receive(snapshot(7, "ETH-PERP"), seconds(25.6))
        session.actions.clear()
        assert session.receive(delta(50), seconds(26)) == []
        assert sent(session) == []
        session.tick(seconds(26.6))
        session.tick(seconds(26.7))
        assert sent(session) == ANEW, "a second later"
        again = [event for number in range(1, 10) for event in session.tick(seconds(26.6 + number / 2))]
        assert said(again) == []
        assert said(session.tick(seconds(31.7))) == [LOST], "it is down as it was"
        assert said(session.receive(snapshot(60), seconds(32))) == [LIVE[0], "BookSnapshot", LIVE[1], "Quote"]
        assert len(session.replaced) == 1

    def test_a_pair_whose_chain_never_holds_does_not_take_the_others_down_again_and_again(self):
        """Its snapshots come all right: they alone are no sign that a new connection has helped."""
        session = books("BTC-PERP", "ETH-PERP")
        for _ in range(2):
            session.over_another(books_session("BTC-PERP", "ETH-PERP"), T0)
            session.receive(snapshot(7, "ETH-PERP"), T0)
            for number in range(100, 140, 10):
                session.receive(snapshot(number), T0)
                events = session.receive(delta(number + 5), T0)
        assert len(session.replaced) == 1
        assert said(events) == [LOST, *DOWN]
        assert said(session.receive(delta(136), T0)) == [], "given up: nothing but a snapshot counts"
        assert session.sink.said().count("down") > 2
        session.actions.clear()
        later = seconds(300)
        session.tick(later)
        session.tick(later)
        assert sent(session)[-2:] == ANEW, "asked for again"

    def test_our_clock_may_be_set_back(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(7, "ETH-PERP"), T0)
        no = {"arg": "update:BTC-PERP_0", "error": {"code": 1000, "message": "no"}}
        session.receive(json.dumps({"severity": "ERROR", "errors": [no]}).encode(), T0)
        session.tick(seconds(-7200))
        session.receive(snapshot(8, "ETH-PERP"), seconds(-7190))
        session.actions.clear()
        session.tick(seconds(-7200 + 47))
        assert ("subscribe", "update:BTC-PERP_0") not in sent(session)
        session.tick(seconds(-7200 + 73))
        assert ("subscribe", "update:BTC-PERP_0") in sent(session)

    def test_no_answer_at_all(self):
        session = books("BTC-PERP", "ETH-PERP")
        assert session.tick(seconds(10.1)) == []
        assert {action.reason for action in reconnects(session)} == {"no answer to the subscription within 10 s"}

    @pytest.mark.parametrize("channels", [BOTH, QUOTES])
    def test_no_answer_for_one_pair_while_others_are_served(self, channels):
        session = books("BTC-PERP", "ETH-PERP", channels=channels)
        topics = [f"update:{pair}_0" if channels == BOTH else f"snapshotL1:{pair}" for pair in ("BTC-PERP", "ETH-PERP")]
        session.receive(ack(topics[1]), T0)
        events = session.tick(seconds(10.1))
        assert said(events)[: len(channels)] == DOWN[-len(channels) :]
        assert events[0].reason == "no answer to the subscription within 10 s"
        assert faults(session) == [("topic_left_out", None, topics[0], events[0].reason)]
        session.actions.clear()
        session.tick(seconds(57))
        assert topics[0] not in str(sent(session))
        session.tick(seconds(83))
        assert ("subscribe", topics[0]) in sent(session)

    def test_quotes_alone_wait_for_the_ack_only(self):
        session = books("BTC-PERP", channels=QUOTES)
        assert said(session.receive(ack("snapshotL1:BTC-PERP"), T0)) == [("live", "quotes", "BTC-PERP")]
        session.tick(seconds(59))
        assert [a for a in session.actions if a != Send("ping")] == []


class TestQuiet:
    def test_a_silent_book_is_asked_for_again_before_it_is_stale(self):
        session = books("BTC-PERP", "ETH-PERP", "SNDK-PERP")
        for pair in ("BTC-PERP", "ETH-PERP", "SNDK-PERP"):
            session.receive(snapshot(100, pair), T0)
        session.receive(delta(101, pair="ETH-PERP"), seconds(15))
        assert said(session.tick(seconds(19.9))) == []
        assert sent(session) == []
        assert said(session.tick(seconds(20.1))) == []
        assert sent(session) == [("subscribe", "update:BTC-PERP_0", "update:SNDK-PERP_0")]
        session.tick(seconds(21))
        assert sent(session) == []

    def test_the_answer_shows_that_it_was_only_quiet(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.tick(seconds(20.05))
        assert said(session.receive(snapshot(100), seconds(20.1))) == []
        assert session.book("BTC-PERP").last == seconds(20.1)
        assert said(session.receive(delta(101), seconds(20.2))) == ["BookDelta", "Quote"]
        assert said(session.tick(seconds(31))) == []

    def test_the_answer_shows_what_was_missed(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.tick(seconds(20.05))
        gap, book, *_ = session.receive(snapshot(103), seconds(20.1))
        assert (gap.event, gap.channel, gap.count) == (ControlEvent.GAP, Channel.BOOK, 3)
        assert gap.reason == "xseq 100 was last, then came a snapshot of 103"
        assert book.xseq == "103"

    def test_a_delta_between_question_and_answer_continues_the_book(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.tick(seconds(20.05))
        assert "BookDelta" in said(session.receive(delta(101), seconds(20.1)))
        assert said(session.receive(snapshot(101), seconds(20.2)))[0] == "BookSnapshot"

    def test_no_answer_is_a_book_that_is_stale_and_mended(self):
        session = books("BTC-PERP")
        session.receive(snapshot(100), T0)
        session.tick(seconds(20.05))
        sent(session)
        assert Lmex.silence[Channel.BOOK] == 30, "the connection looks after that"
        session.book("BTC-PERP").stale(seconds(30), "no event for 30 s")
        session.tick(seconds(40.1))
        session.tick(seconds(40.1))
        assert sent(session)[-2:] == ANEW, "what the connection has asked for has not come"
        assert said(session.receive(snapshot(103), seconds(41)))[:2] == [LIVE[0], "BookSnapshot"]


class TestErrors:
    def test_errors_of_topics(self):
        session = books("NOPE-PERP", "BTC-PERP")
        events = session.receive(frames.TOPIC_ERRORS, T0)
        assert said(events) == [("down", "book", "NOPE-PERP"), ("down", "quotes", "NOPE-PERP")]
        assert events[0].reason == "1000: Market pair provided is currently not supported."
        assert faults(session) == [
            ("unknown_topic", 1005, "foo:BTC-PERP", "Topic provided does not exist."),
            ("unknown_market", 1000, "update:NOPE-PERP_0", "Market pair provided is currently not supported."),
        ]
        session.receive(snapshot(), seconds(46))
        session.actions.clear()
        session.tick(seconds(47))
        assert sent(session) == []
        session.receive(snapshot(), seconds(60))
        session.tick(seconds(73))
        assert sent(session) == [("subscribe", "update:NOPE-PERP_0")]

    def test_the_older_form(self):
        session = books("BTCC-USD", market=Market.SPOT)
        events = session.receive(frames.OLD_ERROR, T0)
        assert [event.reason for event in events] == ["MARKET_PAIR_NOT_SUPPORT"] * 2
        assert faults(session) == [("unknown_market", "MARKET_PAIR_NOT_SUPPORT", "update:BTCC-USD_0", "")]

    def test_an_error_of_the_request(self):
        session = books("BTC-PERP")
        assert session.receive(frames.OP_ERROR, T0) == []
        assert faults(session) == [("bad_request", 1001, "", "Operation provided is currently not supported")]

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
        [(kind, _, _, words)] = faults(session)
        assert (kind, words) == ("reported", "no")
        assert session.actions == []

    def test_the_session_has_expired(self):
        session = books("BTC-PERP")
        session.receive(frames.EXPIRED, T0)
        assert "10002" in reconnects(session)[0].reason


class TestGarbage:
    @pytest.mark.parametrize("frame", frames.UNREADABLE)
    def test_nonsense(self, frame):
        assert refused(books("BTC-PERP"), frame) == []

    @pytest.mark.parametrize("frame", [*frames.PUBLIC.values(), *frames.CONTROL.values()])
    def test_cut_frames(self, frame):
        session = books("BTC-PERP", "ETH-PERP", "SNDK-PERP")
        for end in range(len(frame)):
            assert session.receive(frame[:end], T0) == []
            assert isinstance(session.actions[-1], Reject)

    @pytest.mark.parametrize("frame", [frames.SNAPSHOT, frames.LEVEL_ONE])
    def test_missing_and_wrong_fields(self, frame):
        message = json.loads(frame)
        values = (None, 5, -1, 2**63, "", "x", "nan", [], [{}], [["1", "x"]], [["1 2", "3"]], [["1", "-3"]], {}, True)
        for name in message["data"]:
            for value in (*values, 10**30, [["1", "1e999999999"]], [["9" * 600, "1." + "9" * 600]]):
                session = books("SNDK-PERP", "ETH-PERP")
                session.receive(json.dumps({**message, "data": {**message["data"], name: value}}).encode(), T0)

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
        ],
    )
    def test_what_is_no_number_is_a_gap_of_its_book_alone(self, frame):
        pairs = ("SNDK-PERP", "BTC-PERP", "ETH-PERP")
        session = books(*pairs)
        for pair in pairs:
            session.receive(snapshot(100, pair), T0)
        [pair] = [name for name in pairs if name.encode() in frame[:30]]
        assert refused(session, frame) == [("book", pair), ("quotes", pair)]
        assert [what for what, _ in sent(session)] == ["unsubscribe", "subscribe"]

    def test_a_frame_that_was_cut_is_a_gap_of_its_pair(self):
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(100), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        half = delta(101)
        assert refused(session, half[: len(half) // 2]) == [("book", "BTC-PERP"), ("quotes", "BTC-PERP")]
        assert sent(session) == ANEW
        assert refused(session, half[: len(half) // 2]) == []

    def test_a_book_that_is_bad_again_and_again_is_left_alone_ever_longer(self):
        """A new connection would bring the same, and cost the other pairs theirs."""
        session = books("BTC-PERP", "ETH-PERP")
        session.receive(snapshot(7, "ETH-PERP"), T0)
        now, waits, asked_again = T0, [], 0
        for _ in range(9):
            while True:
                session.receive(snapshot(100), now)
                events = said(session.receive(delta(101, bids=[["x", "1"]]), now))
                asked_again += len(sent(session)) > 0
                if ("down", "book", "BTC-PERP") in events:
                    break
            given_up = now
            while ANEW[0] not in sent(session):
                now += SECOND
                session.receive(snapshot(7, "ETH-PERP"), now)
                session.tick(now)
            waits.append((now - given_up) // SECOND)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert asked_again == 3 * 1
        assert reconnects(session) == []
        assert session.replaced == []

    def test_a_long_frame_without_a_name_may_be_of_any_pair(self):
        session = books("BTC-PERP", "ETH-PERP", channels=frozenset({Channel.BOOK}))
        session.receive(snapshot(100), T0)
        session.receive(snapshot(7, "ETH-PERP"), T0)
        for frame, count in ((b"hello", 0), (b"#" * 200, 2)):
            assert len(refused(session, frame)) == count

    def test_both_channels_are_meant(self):
        assert frozenset({Channel.BOOK, Channel.QUOTES}) == BOTH
