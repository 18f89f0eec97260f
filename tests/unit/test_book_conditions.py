"""How a held book's condition changes, as a table; and what its readers, its quotes and the exchange are told of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import structlog
from msgspec import structs
from structlog.testing import LogCapture

from bridge.connector.books import Books
from bridge.connector.recorder import Recorder
from bridge.exchanges.api import NOT_UNDERSTOOD, BestPrices, BookRules, Profile, Subscription
from bridge.model import BookDelta, Channel, Control, ControlEvent, Event, Quote
from bridge.sequencer.checked import CheckedBook, Condition
from tests.unit.core import PAIR, SECOND, T0, ListSink, delta, snapshot, stream

AWAY, STARTING, AWAITED, PUT_OFF, WHOLE = Condition
CROSSED = BookDelta(PAIR, None, T0, "", [("11", "1")], [])


class Rig:
    """A held book, what it writes, and what it asks for."""

    def __init__(self, **rules):
        self.asked = []
        self.quotes: list[Event] = []
        self.trades: list[Event] = []
        self.sink = ListSink()
        self.paused = 0
        """Nanoseconds in which nothing was read."""
        self.book = CheckedBook(
            stream(Channel.BOOK, entries=2_000),
            self.sink,
            lambda *_: self.asked.append("subscription"),
            lambda *_: self.asked.append("connection"),
            BookRules(**rules),
            quotes=self.quotes.append,
            trades=self.trades.append,
            paused=lambda _: self.paused,
        )

    def into(self, condition, at=T0):
        """Bring the book there, as of ``at``."""
        if condition is AWAY:
            return self
        self.book.go_live(at)
        if condition is STARTING:
            return self
        self.book.accept(snapshot(at))
        for _ in range({WHOLE: 0, AWAITED: 1, PUT_OFF: 5}[condition]):
            self.book.accept(snapshot(at))
            self.book.accept(structs.replace(CROSSED, recv=at))
        assert self.book.condition is condition
        self.sink.entries.clear()
        self.asked.clear()
        self.quotes.clear()
        return self


STEPS = {
    "snapshot": lambda book, at: book.accept(snapshot(at)),
    "delta": lambda book, at: book.accept(delta(at)),
    "crossed": lambda book, at: book.accept(structs.replace(CROSSED, recv=at)),
    "gap": lambda book, at: book.gap(at, "why"),
    "live": lambda book, at: book.go_live(at),
    "stale": lambda book, at: book.stale(at, "silent"),
    "down": lambda book, at: book.down(at, "cut"),
    "late": lambda book, at: book.tick(at + 31 * SECOND),
    "tick": lambda book, at: book.tick(at),
    "restore": lambda book, at: book.restore(at),
}
TABLE = [
    (AWAY, "live", STARTING, "live", ""),
    (AWAY, "snapshot", WHOLE, "live snapshot", ""),
    (AWAY, "delta", STARTING, "live", ""),
    (AWAY, "late", AWAY, "", ""),
    (AWAY, "restore", AWAY, "", ""),
    (STARTING, "snapshot", WHOLE, "live snapshot", ""),
    (STARTING, "delta", STARTING, "live", ""),
    (STARTING, "gap", STARTING, "live gap", ""),
    (STARTING, "tick", STARTING, "live", ""),
    (STARTING, "late", AWAITED, "live gap", "subscription"),
    (STARTING, "down", AWAY, "live down", ""),
    (STARTING, "stale", AWAITED, "live stale", ""),
    (AWAITED, "snapshot", WHOLE, "lost snapshot", ""),
    (AWAITED, "delta", AWAITED, "", ""),
    (AWAITED, "gap", AWAITED, "", ""),
    (AWAITED, "late", AWAITED, "", "subscription"),
    (AWAITED, "down", AWAY, "lost down", ""),
    (AWAITED, "live", AWAITED, "", ""),
    (AWAITED, "restore", AWAITED, "", ""),
    (PUT_OFF, "snapshot", WHOLE, "live snapshot", ""),
    (PUT_OFF, "delta", PUT_OFF, "", ""),
    (PUT_OFF, "gap", PUT_OFF, "", ""),
    (PUT_OFF, "tick", PUT_OFF, "", ""),
    (PUT_OFF, "late", AWAITED, "", "subscription"),
    (PUT_OFF, "stale", PUT_OFF, "", ""),
    (PUT_OFF, "down", AWAY, "", ""),
    (WHOLE, "snapshot", WHOLE, "snapshot", ""),
    (WHOLE, "delta", WHOLE, "delta", ""),
    (WHOLE, "crossed", AWAITED, "gap", "subscription"),
    (WHOLE, "gap", AWAITED, "gap", "subscription"),
    (WHOLE, "late", WHOLE, "", ""),
    (WHOLE, "stale", AWAITED, "stale", ""),
    (WHOLE, "down", AWAY, "down", ""),
    (WHOLE, "restore", WHOLE, "snapshot", ""),
]


@pytest.mark.parametrize(("before", "step", "after", "said", "asked"), TABLE)
def test_conditions(before, step, after, said, asked):
    rig = Rig().into(before)
    STEPS[step](rig.book, T0 + SECOND // 2)
    assert rig.book.condition is after
    assert rig.sink.said() == said.split()
    assert rig.asked == asked.split()
    assert rig.book.whole == (after is WHOLE)
    assert rig.book.live == (
        after is not AWAY and "stale" not in said and not (after is AWAITED and before is PUT_OFF)
    ) or (after is PUT_OFF)


@pytest.mark.parametrize("why", ["a hole", NOT_UNDERSTOOD])
def test_troubles_are_answered_ever_later_and_another_connection_only_where_it_may_help(why):
    rig = Rig().into(WHOLE)
    for _ in range(6):
        rig.book.accept(snapshot(T0))
        rig.book.gap(T0, why)
    assert rig.asked == ["subscription"] * 3 + ["connection"] * (why != NOT_UNDERSTOOD)
    assert rig.sink.said().count("down") == (3 if why == NOT_UNDERSTOOD else 2)


def test_a_book_that_was_good_for_a_while_is_mended_at_once_again():
    rig = Rig().into(PUT_OFF)
    for seconds, asked in ((1, []), (10, []), (20, ["subscription"])):
        rig.book.accept(snapshot(T0 + seconds * SECOND))
        rig.book.gap(T0 + seconds * SECOND + 9 * SECOND + (seconds == 20) * SECOND, "a hole")
        assert rig.asked == asked
    assert rig.book.live


def test_while_it_is_put_off_the_quotes_are_down_and_only_a_snapshot_counts():
    rig = Rig().into(PUT_OFF)
    rig.book.tick(T0 + 2 * SECOND)
    rig.book.accept(delta(T0 + 2 * SECOND))
    assert (rig.book.live, rig.sink.said(), rig.quotes) == (False, [], [])
    rig.book.tick(T0 + 40 * SECOND)
    assert rig.sink.said() == ["lost"]
    assert [event.event for event in rig.quotes if isinstance(event, Control)] == [ControlEvent.DOWN]
    rig.book.accept(snapshot(T0 + 41 * SECOND))
    assert rig.sink.said() == ["lost", "live", "snapshot"]
    assert rig.quotes[-1] == Quote(PAIR, None, T0 + 41 * SECOND, "10", "1", "11", "1")


def test_a_gap_of_the_book_is_one_of_its_quotes():
    rig = Rig().into(WHOLE)
    rig.book.accept(CROSSED)
    rig.book.accept(delta(T0))
    assert rig.quotes == [Control(PAIR, None, T0, Channel.QUOTES, ControlEvent.GAP, "the book is crossed")]


def test_quotes_are_said_when_they_are_news():
    rig = Rig().into(AWAY)
    for event in (snapshot(T0), delta(T0 + 1, size="1"), delta(T0 + 2, size="2"), delta(T0 + 3, size="0")):
        rig.book.accept(event)
    said = [(quote.recv - T0, quote.bid, quote.bid_size, quote.ask) for quote in rig.quotes if isinstance(quote, Quote)]
    assert said == [(0, "10", "1", "11"), (2, "10", "2", "11"), (3, "", "", "11")]


def test_best_prices_that_are_told_beside_the_book_are_not_published():
    rig = Rig(best=2.0).into(WHOLE)
    rig.book.accept(BestPrices(PAIR, None, T0, "10", "11.5"))
    for seconds, condition in ((0, WHOLE), (3, WHOLE), (4, WHOLE), (5, AWAITED)):  # from 0 to 3 nobody has looked
        rig.book.tick(T0 + seconds * SECOND)
        assert rig.book.condition is condition
    assert rig.sink.said() == ["gap"]
    assert rig.book.reason == "the book's best prices 10 11 are not 10 11.5, which the exchange tells"


def test_a_difference_that_passes_shows_nothing():
    rig = Rig(best=2.0).into(WHOLE)
    seen = []
    for second, ask in enumerate(("11.5", "11", "11.5", "11.5", "11.5")):
        rig.book.accept(BestPrices(PAIR, None, T0 + second * SECOND, "10", ask))
        rig.book.tick(T0 + second * SECOND)
        seen.append(rig.book.condition)
    assert seen == [WHOLE] * 4 + [AWAITED]


@pytest.mark.parametrize(
    ("bids", "asks", "wrong"),
    [
        ([("10", "1")], [("11", "1")], 0),
        ([("10.0", "1.0")], [("11", "1")], 0),
        ([("10", "2")], [("11", "1")], 1),
        ([("10", "1"), ("9", "1")], [("12", "1")], 3),
        ([], [("11", "1")], 1),
    ],
)
def test_a_fresh_book_shows_what_was_wrong_with_the_copy(bids, asks, wrong):
    rig = Rig(best=2.0, in_transit=2.0).into(WHOLE)
    rig.book.accept(structs.replace(snapshot(T0 + 60 * SECOND), bids=bids, asks=asks))
    assert rig.sink.said() == ["gap"] * (wrong > 0) + ["snapshot"]
    if wrong:
        assert rig.book.reason == f"{wrong} levels were not as the exchange's fresh book has them"
    assert [(event.event, event.channel, event.subject) for event in rig.trades] == [
        (ControlEvent.GAP, Channel.TRADES, PAIR)
    ] * (wrong > 0)


def test_an_old_snapshot_is_replaced_out_of_memory_behind_the_delta():
    rig = Rig().into(WHOLE)
    for number in range(1024):
        rig.book.accept(delta(T0 + number, size=str(number + 1)))
    assert rig.sink.said() == ["delta"] * 1024 + ["snapshot"]
    assert rig.sink.data[-1].bids == [("10", "1024")]
    assert rig.asked == []


def test_time_in_which_nothing_is_read_shows_nothing_wrong():
    """What would make the book agree again may have been sent, and wait to be read."""
    rig = Rig(best=2.0).into(WHOLE)
    rig.book.accept(BestPrices(PAIR, None, T0, "10.5", "11"))
    rig.paused = 3 * SECOND
    for quarter in range(20):
        rig.book.tick(T0 + quarter * SECOND // 4)
    assert rig.book.condition is WHOLE
    rig.book.tick(T0 + 5 * SECOND)
    assert rig.book.condition is AWAITED
    assert rig.sink.said() == ["gap"]


def test_nor_is_a_snapshot_late_for_it():
    rig = Rig(patience=2.0).into(STARTING)
    rig.paused = 3 * SECOND
    rig.book.tick(T0 + 5 * SECOND)
    assert rig.asked == []
    rig.book.tick(T0 + 5 * SECOND + 1)
    assert rig.asked == ["subscription"]


def test_a_recording_has_its_books_mended_too():
    class Fake:
        book = BookRules()
        profile = Profile((PAIR,), frozenset({Channel.BOOK}))

        def subscriptions(self):
            return [Subscription(Channel.BOOK, PAIR)]

    plan = SimpleNamespace(subscriptions=(Subscription(Channel.BOOK, PAIR),))
    asked = []
    logs = LogCapture()
    recorder = Recorder(Fake(), structlog.wrap_logger(None, processors=[logs]))
    recorder.supervisors = [SimpleNamespace(plan=plan, resync=lambda *what: asked.append(what))]
    for event in (snapshot(T0, "1"), delta(T0, "2", "1"), delta(T0, "4", "3")):
        recorder.event(event)
    reason = "xseq 2 was last, 4 continues 3"
    assert asked == [(PAIR, reason)]
    [line] = logs.entries
    assert line == {"event": "book_resync", "log_level": "info", "pair": PAIR, "reason": reason}


@pytest.mark.parametrize("channels", [(Channel.BOOK,), (Channel.BOOK, Channel.TRADES)])
def test_trades_have_a_gap_only_if_they_come_over_the_connection_of_the_book(channels):
    exchange = SimpleNamespace(book=BookRules(in_transit=2.0), profile=Profile((PAIR,), frozenset(Channel)))
    plan = SimpleNamespace(subscriptions=tuple(Subscription(channel, PAIR) for channel in channels))
    told: list[Event] = []
    books = Books(exchange, lambda: [SimpleNamespace(plan=plan)], told.append, structlog.get_logger())
    book = books.topic(stream(Channel.BOOK), ListSink())
    book.accept(snapshot(T0))
    book.accept(structs.replace(snapshot(T0 + 60 * SECOND), asks=[("12", "1")]))
    assert [event.channel for event in told] == list(channels[1:])
