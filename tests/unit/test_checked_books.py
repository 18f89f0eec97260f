"""Books that an exchange cuts to a depth without a word, and proves by checksums of its own digits."""

from __future__ import annotations

import zlib
from collections import deque
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.book import Book, RankedBook
from bridge.exchanges.api import BookRules
from bridge.exchanges.toolkit.values.checksums import Decimals
from bridge.model import BookDelta, BookSnapshot, Channel
from bridge.sequencer import CheckedBook
from tests.unit.core import PAIR, SECOND, T0, ListSink, stream

BIDS, ASKS = [("10", "1"), ("9", "4"), ("8", "2")], [("11", "1"), ("12", "5"), ("13", "6")]
LEVELS = st.lists(st.tuples(st.integers(1, 40).map(str), st.sampled_from(["0", "1", "2.50"])), max_size=8)


def total(pair: str, book: RankedBook) -> int:
    """A checksum for tests: the sum of all sizes."""
    assert pair == PAIR
    return int(sum(Decimal(size) for side in (book.bids, book.asks) for _, size in side.top()))


class Checked:
    def __init__(self, depth: int | None = 3, checksum=total) -> None:
        self.sink = ListSink()
        self.asked: list[str] = []
        rules = BookRules(depth=depth, checksum=checksum, snapshot_first=True)
        resync, replace = (
            lambda *what, kind=kind: self.asked.append(f"{kind}: {what[1]}") for kind in ("again", "anew")
        )
        self.topic = CheckedBook(stream(Channel.BOOK), self.sink, resync, replace, rules)
        self.topic.go_live(T0)

    def snapshot(self, bids=BIDS, asks=ASKS, checksum=None, at=0) -> None:
        self.topic.accept(BookSnapshot(PAIR, None, T0 + at * SECOND, "", list(bids), list(asks), checksum))

    def delta(self, bids=(), asks=(), checksum=None, at=0) -> None:
        self.topic.accept(BookDelta(PAIR, None, T0 + at * SECOND, "", list(bids), list(asks), checksum=checksum))


class TestDepth:
    def test_what_falls_out_is_removed_for_readers(self):
        book = Checked()
        book.snapshot()
        book.delta([("9.5", "7")], [("10.5", "8"), ("10.6", "9")])
        *_, delta = book.sink.data
        assert delta.bids == [("9.5", "7"), ("8", "0")]
        assert delta.asks == [("10.5", "8"), ("10.6", "9"), ("12", "0"), ("13", "0")]

    def test_a_level_that_comes_and_falls_out_at_once_is_only_removed(self):
        book = Checked()
        book.snapshot()
        book.delta([("7.0", "7")])
        assert book.sink.data[-1].bids == [("7.0", "0")]

    def test_one_price_twice_is_what_it_was_last(self):
        book = Checked()
        book.snapshot()
        book.delta([("10", "0"), ("10.0", "3")])
        assert book.topic._copy.bids.best() == ("10.0", "3")
        assert book.sink.data[-1].bids == [("10", "0"), ("10.0", "3")]

    def test_a_snapshot_is_cut(self):
        book = Checked(depth=2)
        book.snapshot()
        [snapshot] = book.sink.data
        assert (snapshot.bids, snapshot.asks) == (BIDS[:2], ASKS[:2])

    def test_without_a_depth_nothing_is_cut(self):
        book = Checked(depth=None)
        book.snapshot()
        book.delta([("9.5", "7")])
        assert book.sink.data[-1].bids == [("9.5", "7")]

    @given(LEVELS, st.lists(st.tuples(LEVELS, LEVELS), max_size=8), st.integers(1, 4))
    def test_a_reader_s_book_is_the_copy(self, first, changes, depth):
        """By the entries alone, whatever comes; bids are below 100, asks above."""
        book = Checked(depth)
        reader = Book()
        book.snapshot(first, [(f"1{price:0>2}", size) for price, size in first])
        for bids, asks in changes:
            book.delta(bids, [(f"1{price:0>2}", size) for price, size in asks])
        for event in book.sink.data:
            (reader.replace if isinstance(event, BookSnapshot) else reader.apply)(event.bids, event.asks)
        assert reader == book.topic._copy
        assert max(len(reader.bids), len(reader.asks)) <= depth


class TestChecksum:
    def test_every_message_is_held_against_it(self):
        book = Checked()
        book.snapshot(checksum=19)
        book.delta([("10", "3")], checksum=21)
        book.delta([("10", "4")])
        assert book.sink.said() == ["live", "snapshot", "delta", "delta"]
        book.delta([("10", "5")], checksum=7)
        book.delta([("10", "6")], checksum=24)
        assert book.asked == ["again: the checksum is 23, the exchange's is 7"]
        book.snapshot(checksum=19)
        assert book.sink.said()[4:] == ["gap", "lost", "snapshot"]
        assert book.sink.lost == 2

    def test_it_is_of_what_is_left_after_the_cut(self):
        book = Checked()
        book.snapshot(checksum=19)
        book.delta([("9.5", "7")], checksum=19 + 7 - 2)
        assert book.sink.said() == ["live", "snapshot", "delta"]

    def test_a_snapshot_may_be_wrong(self):
        book = Checked()
        book.snapshot(checksum=1)
        assert book.sink.said() == ["live", "gap"]
        assert book.asked == ["again: the checksum is 19, the exchange's is 1"]

    def test_as_long_as_it_is_not_known_how_nothing_is_wrong(self):
        book = Checked(checksum=lambda *_: None)
        book.snapshot(checksum=1)
        assert book.sink.said() == ["live", "snapshot"]

    def test_a_sum_that_is_wrong_again_and_again_costs_no_connection(self):
        """One pair whose digits we don't understand harms no other."""
        book = Checked()
        for second in range(5):
            book.snapshot(checksum=1, at=second)
        assert {asked[:5] for asked in book.asked} == {"again"}
        assert book.sink.controls[-1] == "down"
        book.topic.tick(T0 + 60 * SECOND)
        book.snapshot(checksum=19, at=61)
        assert book.sink.said()[-3:] == ["down", "live", "snapshot"]


def test_a_book_without_numbers_is_timed_by_every_message():
    book = Checked()
    book.topic.lags, book.topic.lags_from = deque(), T0
    book.topic.accept(BookSnapshot(PAIR, T0, T0 + 5, "", list(BIDS), list(ASKS)))
    for number in (6, 7):
        book.topic.accept(BookDelta(PAIR, T0 + number, T0 + 2 * number, "", [("10", "3")], []))
    assert list(book.topic.lags) == [6, 7]


class TestDecimals:
    @pytest.mark.parametrize(
        ("number", "decimals", "bare"),
        [
            ("0.5666", 4, "5666"),
            ("45285.2", 1, "452852"),
            ("0.001", 8, "100000"),
            ("40", 2, "4000"),
            ("0.00000123", 8, "123"),
            ("0.123456789", 4, "123456789"),
            ("0.0", 3, ""),
        ],
    )
    def test_padded_and_never_cut(self, number, decimals, bare):

        known = Decimals()
        known.learn(PAIR, decimals, 0)
        assert known.crc32(PAIR, [(number, "1")]) == zlib.crc32(f"{bare}1".encode())

    def test_what_is_left_out_is_as_before(self):
        known = Decimals()
        assert PAIR not in known
        known.learn(PAIR, 3, 2)
        known.learn(PAIR, None, 1)
        known.learn(PAIR, "4", -1)
        assert PAIR in known
        other = Decimals()
        other.learn(PAIR, 3, 1)
        assert known.crc32(PAIR, [("1", "1")]) == other.crc32(PAIR, [("1", "1")])


@given(LEVELS, st.integers(0, 5))
def test_a_ranked_side_is_a_side(levels, count):
    plain, ranked = Book(), RankedBook()
    for side in ("bids", "asks"):
        for price, size in levels:
            getattr(plain, side).set(price, size)
            getattr(ranked, side).set(price, size)
        mine, other = getattr(plain, side), getattr(ranked, side)
        assert mine == other
        assert (mine.best(), mine.best_price()) == (other.best(), other.best_price())
        assert mine.top() == other.top()
        assert mine.top(count) == other.top(count)
    with pytest.raises(ValueError, match="negative"):
        ranked.bids.set("1", "-1")
