"""A book of which the connector keeps a copy: what it lets through, what it says, what it asks for; as a table."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import BookRules
from bridge.latency import NEVER
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from bridge.sequencer import CheckedBook
from tests.unit.core import PAIR, SECOND, T0, ListSink, stream

BIDS, ASKS = [("10", "1"), ("9", "4")], [("11", "1")]


class Held:
    """A live book with its sink, and what it asked for."""

    def __init__(self, *, attempts=3, patience=30.0, entries=1_000_000, live=True, **more):
        self.sink = ListSink()
        self.asked = []
        rules = BookRules(attempts=attempts, patience=patience, **more)
        resync, replace = (lambda *what, kind=kind: self.asked.append((kind, *what)) for kind in ("resync", "replace"))
        self.topic = CheckedBook(stream(Channel.BOOK, entries=entries), self.sink, resync, replace, rules)
        if live:
            self.topic.go_live(T0)

    def snapshot(self, xseq, bids=BIDS, asks=ASKS, *, at=0, ts=None):
        self.topic.accept(BookSnapshot(PAIR, ts, T0 + int(at * SECOND), str(xseq), list(bids), list(asks)))

    def delta(self, xseq, bids=(("10", "2"),), asks=(), *, at=0, ts=None, prev=None):
        prev = str(xseq - 1 if prev is None else prev)
        self.topic.accept(BookDelta(PAIR, ts, T0 + int(at * SECOND), str(xseq), list(bids), list(asks), prev))

    def tick(self, at):
        self.topic.tick(T0 + int(at * SECOND))

    @property
    def said(self):
        """Types of data with their numbers, events of controls."""
        return [
            str(event.event) if isinstance(event, Control) else f"{'SD'[isinstance(event, BookDelta)]}{event.xseq}"
            for event in self.sink.events
        ]

    @property
    def remedies(self):
        return [kind for kind, *_ in self.asked]


TABLE = {
    "the chain": ("S5 D6 D7", "live S5 D6 D7", 0),
    "a hole": ("S5 D7 D8", "live S5 gap", 1),
    "a hole, then a snapshot": ("S5 D7 D8 S9 D10", "live S5 gap lost S9 D10", 1),
    "a delta before any snapshot": ("D5 D6 S7 D8", "live lost S7 D8", 0),
    "a repeated delta": ("S5 D6 D6 D5 D7", "live S5 D6 D7", 0),
    "a repeated snapshot": ("S5 S5 D6 S6", "live S5 D6 S6", 0),
    "a snapshot in the middle": ("S5 D6 S9 D10", "live S5 D6 S9 D10", 0),
    "a snapshot that goes back": ("S500 D501 S1 D2", "live S500 D501 S1 D2", 0),
    "a count that begins again without a snapshot": ("S5000 D5001 D2", "live S5000 D5001 gap", 1),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_may_stand(case):
    comes, said, asked = TABLE[case]
    held = Held()
    for word in comes.split():
        (held.snapshot if word[0] == "S" else held.delta)(int(word[1:]))
    assert held.said == said.split()
    assert held.remedies == ["resync"] * asked
    published = len([word for word in held.said if word[0] in "SD"])
    assert held.topic.received == published + held.sink.lost + held.topic.undeclared


def test_the_gap_says_what_was_missing():
    held = Held()
    held.snapshot(5)
    held.delta(7)
    assert held.asked == [("resync", PAIR, "xseq 5 was last, 7 continues 6")]
    [gap] = [event for event in held.sink.events if isinstance(event, Control) and event.event is ControlEvent.GAP]
    assert gap.reason == "xseq 5 was last, 7 continues 6"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_chain_goes_on_at_whatever_number_continues_it(restarts):
    held = Held(restarts=restarts)
    held.snapshot(15)
    held.delta(15, bids=(), prev=15)
    held.delta(3, prev=15)
    held.delta(40, prev=3)
    assert held.said == ["live", "S15", "D15", "D3", "D40"]


def test_where_numbers_may_begin_again_a_smaller_one_that_does_not_continue_the_book_is_a_hole():
    held = Held(restarts=True)
    held.snapshot(15)
    held.delta(5, prev=3)
    held.snapshot(6)
    assert held.said == ["live", "S15", "gap", "lost", "S6"]


def test_a_book_may_be_crossed_before_it_opens():
    opening = {PAIR}
    held = Held(may_cross=opening.__contains__)
    held.snapshot(5, bids=[("11", "1")])
    held.delta(6, bids=(("12", "1"),))
    assert held.said == ["live", "S5", "D6"]
    opening.clear()
    held.delta(7)
    assert held.said[-1] == "gap"


def test_the_same_number_over_another_book_is_no_repeat():
    """A service that is restarted twice begins with the same number twice."""
    held = Held()
    held.snapshot(1)
    held.snapshot(1, bids=[("10.0", "1.0"), ("9", "4")])  # the same book, in other digits
    held.snapshot(1, bids=[("8", "1")])
    assert held.said == ["live", "S1", "S1"]
    assert held.sink.data[-1].bids == [("8", "1")]


def test_a_repeat_shows_that_the_book_is_there_still():
    held = Held()
    held.snapshot(1)
    held.snapshot(1, at=3)
    assert (held.topic.last, held.topic.repeated) == (T0 + 3 * SECOND, 1)


@pytest.mark.parametrize(("bids", "asks"), [((("11", "1"),), ()), ((), (("10", "1"),)), ((("12", "1"),), ())])
def test_a_book_that_crosses_is_a_gap(bids, asks):
    held = Held()
    held.snapshot(5)
    held.delta(6, bids, asks)
    held.delta(7)
    held.snapshot(8)
    assert held.said == ["live", "S5", "gap", "lost", "S8"]
    assert held.asked == [("resync", PAIR, "the book is crossed")]
    assert held.sink.lost == 2


def test_a_snapshot_that_is_crossed_is_of_no_use():
    held = Held()
    held.snapshot(5, bids=[("11", "1")])
    held.delta(6)
    assert held.said == ["live", "gap"]
    assert held.asked == [("resync", PAIR, "the snapshot is crossed")]


def test_a_level_that_is_unknown_may_be_deleted():
    held = Held()
    held.snapshot(5)
    held.delta(6, bids=[("3", "0")], asks=[("99", "0")])
    assert held.said == ["live", "S5", "D6"]


class TestMending:
    def test_no_snapshot_in_time(self):
        held = Held(patience=30)
        held.tick(30)
        assert held.remedies == []
        held.tick(30.5)
        held.tick(31)
        assert held.remedies == ["resync"]
        assert held.said == ["live", "gap"]
        held.tick(61)
        assert held.remedies == ["resync", "resync"]

    def test_it_asks_for_a_connection_and_then_ever_more_rarely(self):
        held = Held(attempts=2)
        for number in range(4):
            held.snapshot(10 * number, at=number)
            held.delta(10 * number + 5, at=number)
        assert held.remedies == ["resync", "resync", "replace"]
        held.tick(3.9)
        assert held.remedies == ["resync", "resync", "replace"]
        held.tick(4)
        assert held.remedies == ["resync", "resync", "replace", "resync"]

    def test_a_snapshot_in_time_takes_the_step_back(self):
        held = Held(attempts=0)
        for number in (1, 2):
            held.snapshot(10 * number, at=number)
            held.delta(10 * number + 5, at=number)
        held.snapshot(30, at=2.5)
        held.tick(4)
        assert held.remedies == ["replace"]

    def test_events_while_it_is_mended_are_no_further_trouble(self):
        held = Held()
        held.snapshot(5)
        held.delta(7)
        held.topic.gap(T0, "a frame could not be understood")
        held.delta(9)
        assert held.remedies == ["resync"]
        assert held.said == ["live", "S5", "gap"]

    def test_a_gap_that_the_session_tells_is_mended(self):
        held = Held()
        held.snapshot(5)
        held.topic.control(Control(PAIR, None, T0, Channel.BOOK, ControlEvent.GAP, "a bad frame"))
        assert held.asked == [("resync", PAIR, "a bad frame")]

    @pytest.mark.parametrize("end", ["down", "stop"])
    def test_nothing_is_asked_while_it_is_not_live(self, end):
        held = Held()
        held.snapshot(5)
        end = getattr(held.topic, end)
        end(T0) if end.__name__ == "stop" else end(T0, "why")
        held.tick(1000)
        assert held.remedies == []

    def test_after_a_break_the_next_connection_begins_with_a_snapshot(self):
        held = Held()
        held.snapshot(5)
        held.topic.down(T0, "cut")
        held.delta(6)
        assert held.said == ["live", "S5", "down", "live"]
        held.snapshot(7)
        held.delta(8)
        assert held.said == ["live", "S5", "down", "live", "lost", "S7", "D8"]
        assert held.remedies == []


class TestFreshSnapshots:
    def test_after_an_outage_of_redis_out_of_the_copy(self):
        held = Held()
        held.snapshot(5)
        held.topic.broken()
        held.delta(6, bids=[("10", "0")])
        assert held.topic.restore(T0 + SECOND)
        held.delta(7)
        assert held.said == ["live", "S5", "lost", "S6", "D7"]
        assert held.sink.data[-2].bids == [("9", "4")]
        assert held.sink.data[-2].recv == T0 + SECOND

    @pytest.mark.parametrize("trouble", ["no snapshot yet", "broken", "down"])
    def test_not_out_of_a_copy_that_is_no_good(self, trouble):
        held = Held()
        if trouble != "no snapshot yet":
            held.snapshot(5)
        if trouble == "broken":
            held.delta(9)
        if trouble == "down":
            held.topic.down(T0, "cut")
        said = list(held.said)
        held.topic.restore(T0)
        assert held.said == said

    def test_before_retention_would_have_to_wait_for_it(self):
        """Half of the stream's entries are deltas since the last snapshot: another one follows the newest delta."""
        held = Held(entries=2_000)
        held.snapshot(0)
        for number in range(1, 1_026):
            held.delta(number, bids=[("10", str(number))])
        assert held.said[-3:] == ["D1024", "S1024", "D1025"]
        assert held.said.count("S1024") == 1
        assert held.sink.data[-2].bids == [("10", "1024"), ("9", "4")]
        assert held.remedies == []

    def test_not_while_the_last_one_is_young(self):
        held = Held()
        held.snapshot(0)
        for number in range(1, 1_100):
            held.delta(number)
        assert [word for word in held.said if word[0] == "S"] == ["S0"]

    def test_somebody_who_changes_the_stream_doesnt_change_the_copy(self):
        held = Held()
        held.snapshot(5)
        held.topic.disturbed(T0, "somebody else", 2)
        held.delta(6)
        assert held.topic.whole
        assert held.topic.restore(T0)
        assert held.said == ["live", "S5", "gap", "lost", "S6"]
        assert held.remedies == []


class TestLags:
    """What an exchange tells of the time before a snapshot came is history: it says nothing of how late events are."""

    def timed(self):
        held = Held()
        held.topic.lags = type(held.topic.lags)(maxlen=100)
        held.topic.lags_from = T0 - 1_000 * SECOND
        return held

    def test_an_old_snapshot_and_the_burst_after_it(self):
        held = self.timed()
        held.snapshot(5, at=10, ts=T0 + 7 * SECOND)
        held.delta(6, at=10.1, ts=T0 + 8 * SECOND)
        held.delta(7, at=10.2, ts=T0 + int(10.1 * SECOND))
        assert list(held.topic.lags) == [SECOND // 10]
        assert held.topic.lags_from != NEVER

    def test_so_after_a_resubscription(self):
        held = self.timed()
        held.snapshot(5, ts=T0)
        held.delta(6, at=1, ts=T0 + SECOND)
        held.snapshot(9, at=20, ts=T0 + 17 * SECOND)
        held.delta(10, at=20, ts=T0 + 18 * SECOND)
        held.delta(11, at=21, ts=T0 + 21 * SECOND)
        assert list(held.topic.lags) == [0, 0, 0]

    def test_a_book_of_nothing_but_snapshots_is_timed(self):
        held = self.timed()
        held.snapshot(5, at=10, ts=T0 + 7 * SECOND)
        held.snapshot(6, bids=[("9", "1")], at=11, ts=T0 + int(10.8 * SECOND))
        assert list(held.topic.lags) == [SECOND // 5]
