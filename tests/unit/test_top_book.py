"""The ten best levels of a book as a stream of their own: at each moment what a reader of the whole book has, too."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.book import Book
from bridge.exchanges.api import BookRules
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from bridge.sequencer import CheckedBook, RestBook, TopBook, book_type
from tests.unit.core import PAIR, SECOND, T0, ListSink, stream


class Reader:
    """What a reader makes of a stream's entries: the book, ``None`` while it is invalid."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.said: list[str] = []

    def put(self, stream, event):
        if isinstance(event, Control):
            self.book = None
            self.said.append(str(event.event))
        elif isinstance(event, BookSnapshot):
            self.book = Book()
            self.book.replace(event.bids, event.asks)
        elif self.book:
            self.book.apply(event.bids, event.asks)

    def declare_lost(self, stream, recv, count, reason):
        self.book = None

    def levels(self, count=None):
        return self.book and [
            [(Decimal(price), Decimal(size)) for price, size in side.top(count)]
            for side in (self.book.bids, self.book.asks)
        ]


class Pair:
    """A book and its best levels, each with a reader."""

    def __init__(self, rules=None, *, kept=12, **limits):
        self.whole, self.best = Reader(), Reader()
        self.sink = ListSink()
        self.resynced: list[str] = []
        self.book: CheckedBook = book_type(rules or BookRules())(
            stream(Channel.BOOK, **limits), self.whole, self._asked, self._asked, rules or BookRules()
        )
        self.top = TopBook(stream(Channel.BOOK10, **limits), self, self._asked, self.book.best, kept=kept)
        self.book.top = self.top

    def _asked(self, subject, reason):
        self.resynced.append(reason)

    def put(self, stream, event):
        self.best.put(stream, event)
        self.sink.put(stream, event)

    def declare_lost(self, stream, recv, count, reason):
        pytest.fail("nothing of it is lost")

    @property
    def data(self):
        return self.sink.data


def snapshot(bids, asks, recv=T0, xseq="", **more):
    return BookSnapshot(PAIR, more.get("ts"), recv, xseq, bids, asks)


def delta(bids=(), asks=(), recv=T0, xseq="", prev=""):
    return BookDelta(PAIR, None, recv, xseq, list(bids), list(asks), prev)


def ladder(count, size="1"):
    return [(str(1000 - n), size) for n in range(count)], [(str(1001 + n), size) for n in range(count)]


def begun(levels=20, rules=None, **more):
    pair = Pair(rules, **more)
    pair.book.accept(snapshot(*ladder(levels)))
    return pair


PRICES = {"bids": st.integers(1, 40).map(str), "asks": st.integers(41, 80).map(str)}
SIZES = st.sampled_from(["0", "0", "0.0", "1", "2", "0.5"])
LEVELS = {side: st.lists(st.tuples(price, SIZES), max_size=12) for side, price in PRICES.items()}
WHOLE = {
    side: st.dictionaries(price, st.sampled_from(["1", "2"]), max_size=40).map(
        lambda levels, sign=(-1 if side == "bids" else 1): sorted(
            levels.items(), key=lambda level: sign * int(level[0])
        )
    )
    for side, price in PRICES.items()
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("snapshot"), WHOLE["bids"], WHOLE["asks"]),
        *[st.tuples(st.just("delta"), LEVELS["bids"], LEVELS["asks"])] * 6,
        st.sampled_from(
            [(word, [], []) for word in ("gap", "down", "stale", "live", "broken", "restore", "disturbed")]
        ),
    ),
    max_size=40,
)


@pytest.mark.parametrize("large", [False, True])
@given(steps=STEPS, kept=st.integers(10, 14))
def test_it_is_the_best_of_what_a_reader_of_the_whole_book_has(large, steps, kept):
    """After each event, valid at the same time as the book; and nothing is written where nothing has changed."""
    pair = Pair(BookRules(large=large), kept=kept)
    book, top = pair.book, pair.top
    for number, (what, bids, asks) in enumerate(steps):
        now = T0 + number * SECOND
        before, entries = pair.best.levels(), len(pair.data)
        if what == "snapshot":
            book.accept(snapshot(bids, asks, now))
        elif what == "delta":
            book.accept(delta(bids, asks, now))
        elif what == "live":
            book.go_live(now)
        elif what == "broken":
            top.broken()
            pair.best.book = None  # it has lost entries
            assert top.restore(now) is (top.live and pair.whole.book is not None)
        elif what == "restore":
            book.restore(now)
        elif what == "disturbed":
            top.disturbed(now, "somebody else", None)
            top.restore(now)
        else:
            getattr(book, what)(now, what)
        assert pair.best.levels() == pair.whole.levels(10), what
        assert not (what == "delta" and before == pair.best.levels() and len(pair.data) > entries)
        assert all(len(side) <= 20 for event in pair.data[entries:] for side in (event.bids, event.asks))


def test_a_snapshot_then_what_changes_of_the_ten():
    pair = Pair()
    bids, asks = ladder(20)
    pair.book.accept(snapshot(bids, asks, T0, "7", ts=5))
    pair.book.accept(delta([("1000.5", "2")], [("1005", "0")], T0 + 1, "8"))
    first, second = pair.data
    assert first == BookSnapshot(PAIR, 5, T0, "7", bids[:10], asks[:10])
    changed = BookDelta(PAIR, None, T0 + 1, "8", [("1000.5", "2"), ("991", "0")], [("1011", "1"), ("1005", "0")])
    assert second == changed
    assert pair.sink.said() == ["live", "snapshot", "delta"]


def test_another_snapshot_says_what_is_otherwise_than_before():
    pair = begun(20)
    bids, asks = ladder(20)
    pair.book.accept(snapshot([("1000.5", "2"), *bids], asks, T0 + 1, "8"))
    assert pair.data[1:] == [BookDelta(PAIR, None, T0 + 1, "8", [("1000.5", "2"), ("991", "0")], [])]


def test_what_happens_beyond_the_ten_makes_no_entry():
    pair = begun(40)
    pair.book.accept(delta([("985", "0"), ("500", "3")], [("1030", "9")]))
    pair.book.accept(snapshot(*ladder(30)))
    assert pair.sink.said() == ["live", "snapshot"]


def test_the_copy_is_looked_at_again_when_too_many_levels_are_gone():
    pair = begun(60, kept=12)
    bids, _ = ladder(60)
    for price, _ in bids[:45]:
        pair.book.accept(delta([(price, "0")]))
        assert pair.best.levels() == pair.whole.levels(10)
    assert len(pair.best.levels()[0]) == 10


def test_levels_that_come_are_kept_within_bounds():
    pair = begun(10, kept=12)
    for number in range(200):
        pair.book.accept(delta([(f"1000.{number + 1:03}", "1")]))
    assert len(pair.top._bids._ranks) <= 24
    assert pair.best.levels() == pair.whole.levels(10)


class TestControls:
    def test_a_gap_of_the_book_is_one_of_the_ten_and_the_next_snapshot_begins_again(self):
        pair = Pair()
        pair.book.accept(snapshot(*ladder(12), T0, "5"))
        pair.book.accept(delta([("1000", "2")], (), T0, "9", "8"))
        pair.book.accept(delta([("1000", "3")], (), T0, "10", "9"))
        pair.book.accept(snapshot(*ladder(12), T0, "11"))
        assert pair.sink.said() == ["live", "snapshot", "gap", "snapshot"]
        assert pair.sink.events[2].reason == "xseq 5 was last, 9 continues 8"

    def test_down_and_live(self):
        pair = begun()
        pair.book.down(T0, "cut")
        pair.book.down(T0, "cut")
        pair.book.not_served(T0, "no such pair")
        pair.book.go_live(T0)
        assert pair.sink.said() == ["live", "snapshot", "down", "down", "live"]
        assert [event.reason for event in pair.sink.events[2:4]] == ["cut", "no such pair"]
        assert pair.best.levels() is None
        assert not pair.top.restore(T0)

    def test_a_book_that_is_given_up_again_and_again_is_down_and_live_again_with_its_snapshot(self):
        pair = begun()
        while pair.book.said != ControlEvent.DOWN:
            assert len(pair.resynced) < 20
            pair.book.accept(snapshot(*ladder(20)))
            pair.book.accept(delta([("2000", "1")]))
        assert pair.top.said == ControlEvent.DOWN
        pair.book.accept(snapshot(*ladder(20)))
        assert pair.sink.said()[-2:] == ["live", "snapshot"]

    def test_trouble_of_one_stream_in_redis_is_none_of_the_other(self):
        pair = begun()
        pair.book.disturbed(T0, "somebody else wrote to this stream", None)
        pair.book.broken()
        pair.book.accept(delta([("1000", "5")]))
        assert pair.sink.said() == ["live", "snapshot", "delta"]
        assert pair.whole.book is None
        pair.book.restore(T0)
        pair.top.disturbed(T0, "somebody else wrote to this stream", 3)
        assert pair.whole.book is not None
        assert pair.top.restore(T0)
        assert pair.sink.said()[-2:] == ["gap", "snapshot"]

    def test_where_the_snapshot_comes_by_rest(self):
        pair = Pair(BookRules(snapshot="rest"))
        assert isinstance(pair.book, RestBook)
        pair.book.accept(delta([("1000", "4")], (), T0, "11", "10"))
        pair.book.accept(delta([("1000", "5")], (), T0, "12", "11"))
        assert pair.sink.said() == ["live"]
        pair.book.accept(snapshot(*ladder(12), T0, "10"))
        assert pair.sink.said() == ["live", "snapshot", "delta", "delta"]
        assert pair.best.levels() == pair.whole.levels(10)


def test_a_price_in_two_spellings_is_a_gap_until_another_snapshot():
    """Of a large book, whose copy is text: which of the two levels counts is not known."""
    pair = Pair(BookRules(large=True))
    pair.book.accept(snapshot([("10", "1"), ("10.0", "2")], [("11", "1")]))
    pair.book.accept(delta([("9", "1")]))
    assert pair.sink.said() == ["live", "gap"]
    assert pair.resynced == ["a price of the book is spelled in two ways"]
    pair.book.accept(snapshot([("10", "1")], [("11", "1")]))
    assert pair.sink.said() == ["live", "gap", "snapshot"]


def test_there_is_a_snapshot_before_the_last_one_is_so_old_that_retention_would_wait_for_it():
    pair = begun(entries=2_000)
    for number in range(1, 1_100):
        pair.book.accept(delta([("1000", str(number))]))
    assert pair.sink.said().count("snapshot") == 2
    assert pair.best.levels() == pair.whole.levels(10)
