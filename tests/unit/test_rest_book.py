"""A book whose snapshot comes by REST: what of its deltas follows it, and when it is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchanges.api import BookRules
from bridge.model import BookDelta, BookSnapshot, Channel, Control, Quote
from bridge.sequencer import CheckedBook, LargeBook, RestBook, book_type, rest_book
from bridge.sequencer.checked import Condition
from tests.unit.core import PAIR, SECOND, T0, ListSink, stream


class Spliced:
    """A book, with what it published and when it asked."""

    def __init__(self, *, quotes=False, **rules):
        self.sink = ListSink()
        self.asked = []
        self.reasons = []
        self.replaced = []
        self.quotes = []
        self.now = 0.0
        self.book = RestBook(
            stream(Channel.BOOK),
            self.sink,
            self._ask,
            lambda *what: self.replaced.append(what),
            BookRules(snapshot="rest", quotes=quotes, **rules),
            quotes=self.quotes.append if quotes else None,
        )

    def _ask(self, _subject, reason):
        self.asked.append(self.now)
        self.reasons.append(reason)

    @property
    def recv(self):
        return T0 + int(self.now * SECOND)

    def delta(self, prev, xseq, bids=(("10", "2"),)):
        self.book.accept(BookDelta(PAIR, None, self.recv, str(xseq), list(bids), [], str(prev)))

    def snapshot(self, xseq, bid="10", ask="11"):
        self.book.accept(BookSnapshot(PAIR, None, self.recv, str(xseq), [(bid, "1")], [(ask, "1")]))

    def comes(self, words):
        """``S5`` a snapshot; ``D5`` a delta after 4, ``D3-5`` after 2; ``P2:5`` a delta that says it comes after 2."""
        for word in words.split():
            numbers = [int(number) for number in word[1:].replace(":", "-").split("-")]
            if word[0] == "S":
                self.snapshot(numbers[0])
            else:
                self.delta(numbers[0] - (word[0] == "D"), numbers[-1])

    def until(self, seconds):
        while self.now < seconds:
            self.now += 0.25
            self.book.tick(self.recv)

    @property
    def said(self):
        """Data with their numbers, a delta's with the one before; events of controls."""
        words = []
        for event in self.sink.events:
            if isinstance(event, Control):
                words.append(str(event.event))
            elif isinstance(event, BookDelta):
                words.append(f"{event.prev}>{event.xseq}")
            else:
                words.append(f"S{event.xseq}")
        return " ".join(words)

    @property
    def balanced(self):
        """Whether each event is published, declared lost, or about to be."""
        return self.book.received == len(self.sink.data) + self.sink.lost + self.book.undeclared


TABLE = {
    "a snapshot that ends with a held delta": ("D3 D4 D5 S4", "live S4 4>5"),
    "one that ends just before the first": ("D3 D4 S2 D5", "live S2 2>3 3>4 4>5"),
    "one that is newer than all": ("D3 D4 S9 D8 D9 D10", "live S9 9>10"),
    "one without any delta": ("S9 D10", "live S9 9>10"),
    "one far ahead of the stream": ("D3 S99999 D4 D5 D6-99999 D100000", "live S99999 99999>100000"),
    "one in the middle of a held delta": ("D3-5 D6 S4", "live S4 4>5 5>6"),
    "one in the middle of a delta that is still to come": ("D3 S5 D4-7 D8", "live S5 5>7 7>8"),
    "a delta that begins before, but not the first one": ("D3 S3 D4 D3-5", "live S3 3>4 gap"),
    "one that is older than the first delta": ("D3 D4 S1", "live"),
    "then a newer one": ("D3 D4 S1 S3", "live S3 3>4"),
    "a repeated delta": ("D3 D4 D3 D4 S2 D4 D5", "live S2 2>3 3>4 4>5"),
    "a hole among those that are held": ("D3 D5 S3", "live"),
    "a hole, and a snapshot from behind it": ("D3 D5 S4", "live lost S4 4>5"),
    "a hole later": ("D3 S2 D5 D6", "live S2 2>3 gap"),
    "a hole later, and a snapshot of it": ("D3 S2 D5 D6 S5", "live S2 2>3 gap S5 5>6"),
    "a hole later, and a snapshot from before it": ("D3 S2 D5 D6 S3 S4", "live S2 2>3 gap S4 4>5 5>6"),
    "asked for twice": ("D3 S2 S3 D4", "live S2 2>3 3>4"),
    "numbers of other lengths": ("S1000 D999-1002 D3-4 D1003", "live S1000 1000>1002 1002>1003"),
    "a delta of long ago": ("S100000 D3 D100001", "live S100000 100000>100001"),
    "a predecessor's own number, that the snapshot has": ("P149:160 P160:171 S149", "live S149 149>160 160>171"),
    "a predecessor's own number, passed": ("P149:160 P160:171 S155", "live S155 155>160 160>171"),
    "a predecessor's own number, and all of the delta": ("P149:160 P160:171 S160", "live S160 160>171"),
    "a predecessor's own number, not reached": ("P149:160 P160:171 S148", "live"),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_follows_a_snapshot(case):
    comes, said = TABLE[case]
    book = Spliced()
    book.comes(comes)
    assert book.said == said
    assert book.balanced


def test_repeats_are_counted_wherever_they_come():
    book = Spliced()
    counts = []
    for word in ("D3", "D4", "D3", "D4", "S3", "D4", "D2", "D5", "S5"):
        book.comes(word)
        counts.append(book.book.repeated)
    assert counts == [0, 0, 1, 2, 3, 4, 5, 5, 6]


def test_the_levels_of_a_delta_in_two_parts_are_as_it_says():
    book = Spliced(quotes=True)
    book.delta(2, 5, [("10", "7")])
    book.snapshot(4)
    assert [quote.bid_size for quote in book.quotes if isinstance(quote, Quote)] == ["1", "7"]


def test_it_is_asked_for_with_the_first_delta():
    book = Spliced()
    book.book.go_live(book.recv)
    book.until(2)
    assert book.asked == []
    book.delta(2, 3)
    book.until(2.5)
    assert book.asked == [2.25]


def test_a_quiet_book_is_asked_for_after_a_while():
    book = Spliced()
    book.book.go_live(book.recv)
    book.until(5.5)
    assert book.asked == [5.0]
    book.snapshot(7)
    book.comes("D8")
    assert book.said == "live S7 7>8"


def test_it_is_asked_for_ever_later():
    book = Spliced(patience=1000)
    book.comes("D3")
    book.until(200)
    assert book.asked == [0.25, 1.25, 3.25, 7.25, 15.25, 31.25, 63.25, 123.25, 183.25]
    book.comes("S3 D5")
    assert book.asked[9:] == [200.0], "at once, if it breaks"
    book.until(202)
    assert book.asked[9:] == [200.0, 201.0], "and then as at first"


@pytest.mark.parametrize(
    ("number", "bid", "reason"),
    [(1, "10", "the snapshot of 1 is older than the deltas from 2 on"), (2, "11", "the snapshot is crossed")],
    ids=["too old", "crossed"],
)
def test_one_that_is_of_no_use_is_asked_for_again(number, bid, reason):
    book = Spliced()
    book.comes("D3")
    book.until(0.5)
    book.snapshot(number, bid=bid)
    book.until(3)
    assert book.asked == [0.25, 2.5], "twice as late as without an answer"
    assert book.reasons == ["the book begins", reason]
    assert book.book.repeated == 1
    book.comes("S2")
    assert book.said == "live S2 2>3"


def test_one_that_is_of_no_use_may_be_the_first_thing_that_comes():
    book = Spliced()
    book.snapshot(2, bid="12", ask="11")
    book.comes("D3")
    book.until(2)
    book.comes("S2")
    assert book.said == "live S2 2>3"


def test_without_one_it_is_down_until_there_is_one():
    book = Spliced(patience=10, quotes=True)
    book.comes("D3")
    book.until(11)
    book.comes("D4")
    assert book.said == "live down"
    assert book.sink.events[-1].reason == "no snapshot within 10 s"
    assert [control.event for control in book.quotes] == ["down"]
    book.until(30)
    book.comes("S3 D5")
    assert book.said == "live down live S3 3>4 4>5"
    assert book.balanced


def test_one_that_is_crossed_is_of_no_use():
    book = Spliced(patience=1)
    book.comes("D3")
    book.until(2)
    book.snapshot(2, bid="12", ask="11")
    assert book.said == "live down"
    book.comes("S2")
    assert book.said == "live down live S2 2>3"


def test_time_does_not_go_back():
    book = Spliced()
    book.comes("D3")
    book.now = 1.0
    book.comes("D4")
    book.now = 2.0
    book.comes("S2")
    book.now = 3.0
    book.comes("D5")
    received = [event.recv for event in book.sink.data]
    assert received == [T0 + at * SECOND for at in (2, 2, 2, 3)]


def test_what_is_lost_with_a_connection_does_not_follow_the_next_snapshot():
    book = Spliced()
    book.comes("D3 D4")
    book.book.down(book.recv, "cut")
    book.comes("D9 S8")
    assert book.said == "live lost down live S8 8>9"
    assert book.balanced


def test_over_another_connection_it_is_asked_for_at_once():
    book = Spliced()
    book.comes("D3")
    book.until(20)
    asked = len(book.asked)
    book.book.reopened(book.recv)
    book.until(20.25)
    assert book.asked[asked:] == [20.25]
    book.comes("D3 D4 S2")
    assert book.said == "live S2 2>3 3>4"


def test_another_connection_would_not_help():
    book = Spliced()
    book.comes("D3 S3")
    for number in range(10, 30, 2):
        book.comes(f"D{number} S{number}")
    assert book.replaced == []
    assert len(book.asked) >= 3
    book.comes("D40")
    assert book.said.startswith("live S3 gap S10 gap S12 gap S14 down live S16 down")
    assert book.book.condition is Condition.PUT_OFF, "it breaks again and again"
    asked = len(book.asked)
    book.until(120)
    assert len(book.asked) > asked
    book.comes("S40 D41")
    assert book.said.endswith("down live S40 40>41")


def test_of_too_many_the_oldest_go(monkeypatch):
    monkeypatch.setattr(rest_book, "_MOST_HELD", 3)
    book = Spliced()
    book.comes("D3 D4 D5 D6 D7")
    assert book.book.undeclared == 2
    book.comes("S3")
    assert book.said == "live"
    book.comes("S5")
    assert book.said == "live lost S5 5>6 6>7"
    assert book.balanced


def test_the_end_of_the_connector_leaves_nothing_undeclared():
    book = Spliced()
    book.comes("D3 D4")
    book.book.stop(book.recv)
    assert book.said == "live lost stop"
    assert book.balanced


def test_rules_say_which_kind_of_book_it_is():
    kinds = [book_type(rules) for rules in (BookRules(), BookRules(large=True), BookRules(snapshot="rest"))]
    assert kinds == [CheckedBook, LargeBook, RestBook]


def truth(number, changes):
    """The levels once so many changes have been made."""
    return {price: size for price, size in dict(changes[:number]).items() if size != "0"}


@given(st.data())
def test_a_reader_has_the_exchanges_book_wherever_it_has_one(data):
    """Whatever is lost or repeated of the deltas, and whichever moment the snapshots are of."""
    book = Spliced(patience=5)
    step = st.tuples(st.sampled_from("ddddrlsst"), st.integers(1, 4), st.integers(0, 12))
    changes, deltas, previous = [], [], 0
    for what, count, back in data.draw(st.lists(step, max_size=40)):
        book.now += 0.25
        if what in "dl":
            prices = data.draw(st.lists(st.tuples(st.sampled_from("12345"), st.sampled_from("0789")), min_size=count))
            changes += prices
            deltas.append((previous, len(changes), prices))
            previous = len(changes)
        if what == "d" or (what == "r" and deltas):
            book.delta(*deltas[-1 if what == "d" else max(-back - 1, -len(deltas))])
        elif what == "s":
            at = max(len(changes) - back, 0)
            levels = list(truth(at, changes).items())
            book.book.accept(BookSnapshot(PAIR, None, book.recv, str(at), levels, []))
        elif what == "t":
            book.until(book.now + count)
    levels, at = None, 0
    for event in book.sink.events:
        if isinstance(event, BookSnapshot):
            levels, at = dict(event.bids), int(event.xseq)
        elif isinstance(event, BookDelta):
            assert levels is not None, "a delta that continues nothing"
            assert int(event.prev) == at
            levels |= dict(event.bids)
            at = int(event.xseq)
        elif event.event in {"gap", "down", "stale"}:
            levels = None
        if levels is not None:
            assert {price: size for price, size in levels.items() if size != "0"} == truth(at, changes)
    assert book.balanced
    received = [event.recv for event in book.sink.events]
    assert received == sorted(received)
