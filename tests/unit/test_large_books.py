"""Full books: their copy costs little, and is looked at now and then."""

from __future__ import annotations

from math import inf

import pytest

from bridge.exchanges.api import BookRules
from bridge.exchanges.coinbase import Coinbase
from bridge.model import BookDelta, BookSnapshot, Channel
from bridge.sequencer import LargeBook
from bridge.sequencer.checked import Condition
from tests.unit import coinbase_frames as frames
from tests.unit.core import PAIR, SECOND, T0, ListSink, delta, snapshot, stream


class Rig:
    """A large book, what it writes, and what it asks for."""

    def __init__(self, **limits):
        self.asked = []
        self.sink = ListSink()
        ask = lambda *what: self.asked.append(what)  # noqa: E731
        rules = BookRules(large=True, attempts=10, patience=inf)
        self.book = LargeBook(stream(Channel.BOOK, **limits), self.sink, ask, ask, rules)

    def levels(self, bids, asks=(), kind=BookDelta, recv=T0, xseq="1"):
        self.book.accept(kind(PAIR, None, recv, xseq, list(bids), list(asks)))


def test_the_snapshot_out_of_memory_is_the_book():
    rig = Rig()
    rig.levels([("10", "1"), ("9", "1")], [("11", "1"), ("100", "2")], BookSnapshot)
    rig.levels([("9", "0"), ("8.5", "3")], [("11", "0.00"), ("12", "4.50")], xseq="2")
    rig.levels([("10", "1.5")], [("11.5", "1")], xseq="3")
    rig.book.broken()
    assert rig.book.restore(T0 + SECOND)
    fresh = rig.sink.data[-1]
    assert (fresh.xseq, fresh.recv) == ("3", T0 + SECOND)
    assert fresh.bids == [("10", "1.5"), ("8.5", "3")]
    assert fresh.asks == [("11.5", "1"), ("12", "4.50"), ("100", "2")]
    assert rig.asked == []
    rig.levels([("10", "2")], xseq="4")
    assert rig.sink.said()[-2:] == ["snapshot", "delta"]


def test_a_snapshot_that_nothing_has_changed_is_given_again_as_it_was():
    rig = Rig()
    for xseq in ("1", "2"):
        rig.levels([("10", xseq)], [("11", "1")], BookSnapshot, xseq=xseq)
    assert rig.book.restore(T0 + SECOND)
    fresh = rig.sink.data[-1]
    assert (fresh.xseq, fresh.recv, fresh.bids) == ("2", T0 + SECOND, [("10", "2")])


def test_where_a_price_is_spelled_in_two_ways_the_exchange_is_asked():
    rig = Rig()
    rig.levels([("10", "1")], [("11", "1")], BookSnapshot)
    rig.levels([("10.0", "2")])
    rig.book.broken()
    rig.book.restore(T0)
    assert rig.asked == [(PAIR, "the last snapshot is old")]


@pytest.mark.parametrize("crossing", [("11", "1"), ("11.50", "0.1")])
def test_a_crossed_book_is_a_gap_at_the_next_look(crossing):
    rig = Rig()
    rig.levels([("10", "1")], [("11", "1"), ("12", "1")], BookSnapshot)
    rig.levels([crossing])
    assert rig.sink.said() == ["live", "snapshot", "delta"]
    rig.book.tick(T0 + 2 * SECOND)
    assert rig.sink.said()[-1] == "gap"
    assert rig.asked == [(PAIR, "the book is crossed")]
    rig.book.accept(delta(T0 + 2 * SECOND))
    rig.book.accept(snapshot(T0 + 3 * SECOND))
    assert rig.sink.said()[-3:] == ["gap", "lost", "snapshot"]


def test_levels_that_have_gone_cross_nothing():
    rig = Rig()
    rig.levels([("10", "1")], [("11", "1")], BookSnapshot)
    rig.levels([("12", "1")], [("11", "0"), ("13", "1")])
    rig.levels([("12", "0"), ("10.5", "1")], [("11", "1")])
    rig.book.tick(T0 + 2 * SECOND)
    assert rig.book.condition is Condition.WHOLE


def test_a_crossed_snapshot_is_left_out():
    rig = Rig()
    rig.levels([("11", "1"), ("10", "1")], [("11.0", "1"), ("12", "1")], BookSnapshot)
    assert rig.sink.said() == ["live", "gap"]
    assert len(rig.asked) == 1


def test_a_large_book_is_looked_at_rarely():
    looks = []
    rig = Rig()
    rig.book._purge = lambda: looks.append(now)
    rig.levels([(str(price), "1") for price in range(30_000, 0, -1)], [("90000", "1")], BookSnapshot)
    for quarter in range(4 * 100):
        now = quarter / 4
        rig.book.tick(T0 + int(now * SECOND))
    assert 3 <= len(looks) <= 4
    assert looks[1] - looks[0] == pytest.approx(30, abs=0.5)


def seconds_to_the_first_look(name):
    rig = Rig(subject=name)
    looks = []
    rig.book._purge = lambda: looks.append("one")
    rig.levels([(str(price), "1") for price in range(30_000, 0, -1)], [("90000", "1")], BookSnapshot)
    for seconds in range(60):
        rig.book.tick(T0 + seconds * SECOND)
        if looks:
            return seconds
    return None


def test_books_that_begin_together_are_not_looked_at_together():
    names = ("BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD", "DOT-USD", "LTC-USD")
    found = {seconds_to_the_first_look(name) for name in names}
    assert len(found) > 3
    assert not found & {0, None}


def test_an_old_snapshot_is_replaced_out_of_memory():
    rig = Rig(entries=2_000)
    rig.book.accept(snapshot(T0))
    for number in range(1024):
        rig.book.accept(delta(T0, size=str(number + 1)))
    assert rig.sink.said()[-2:] == ["delta", "snapshot"]
    assert rig.sink.data[-1].bids == [("10", "1024")]


def test_what_the_session_finds_missing_is_asked_for_once():
    """A hole in its numbers is a gap of each book; it has asked for the books by then."""
    session = frames.make({Channel.BOOK}, frames.PAIRS[:1])
    assert Coinbase.book is not None
    assert Coinbase.book.large
    session.connected(T0)
    session.actions.clear()
    pair = frames.PAIRS[0]
    sink = ListSink()
    book = LargeBook(
        stream(Channel.BOOK, pair), sink, lambda *what: session.resync(what[0], T0, what[1]), print, Coinbase.book
    )
    book.accept(BookSnapshot(pair, None, T0, "1", [("10", "1")], [("11", "1")]))
    session._awaited.clear()
    for event in session.receive(frames.frame({"channel": "heartbeats", "timestamp": "", "events": []}, 7), T0):
        book.control(event)
    session.tick(T0)
    sends = [action.text for action in session.actions]
    assert [("unsubscribe" in text, "subscribe" in text) for text in sends] == [(True, True), (False, True)]
    assert sink.said()[-1] == "gap"
