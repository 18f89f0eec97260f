"""What goes when too much waits: what can be summed up first, private events last, each loss declared once in its place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.book import Book
from bridge.entries import decode
from bridge.keys import StreamKey
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from bridge.publish.pending import CONTROL, DATA, LOST, OVERHEAD, SNAPSHOT, Pending
from bridge.publish.shedding import _drop, collapse, drop_first, drop_oldest, shed
from bridge.publish.wire import render
from tests.unit.core import SECOND, T0, balance, quote, stream, trade

CHANNELS = (Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.BALANCES)


def streams():
    return [stream(channel) for channel in CHANNELS]


def event(where, entry):
    parts = entry.body.split("\r\n")[1::2]
    return decode(StreamKey("limitlex", where.subject, where.channel), parts)


def put(where, number, kind=DATA):
    """One entry, received ``number`` seconds after T0."""
    at = T0 + number * SECOND
    if kind == CONTROL:
        made = Control(where.subject, None, at, where.channel, ControlEvent.DOWN, "why")
        where.controls += 1
    elif where.channel is Channel.TRADES:
        made = trade(number, str(number))
    elif where.channel is Channel.BALANCES:
        made = balance("EUR", str(number), at)
    elif where.channel is Channel.QUOTES:
        made = quote(str(number), "9", at)
    else:
        made = (BookSnapshot if kind == SNAPSHOT else BookDelta)("BTC-EUR", None, at, "", [(str(number), "1")], [])
    entry = Pending(at, render(made), kind)
    where.waiting.append(entry)
    where.bytes += entry.weight
    return entry


def said(where):
    """What waits, in short: a number of data, or the word of a control entry and its count."""
    found = []
    for entry in where.waiting:
        got = event(where, entry)
        if entry.kind >= CONTROL:
            found.append(f"{got.event} {got.count or ''}".strip())
        else:
            found.append((entry.recv - T0) // SECOND)
    return found


def sums(where):
    """The stream's counts, and what they have to be."""
    entries = list(where.waiting)
    return (where.bytes, where.controls, where.declared), (
        sum(entry.weight for entry in entries),
        sum(entry.kind >= CONTROL for entry in entries),
        sum(entry.count for entry in entries if entry.kind == LOST),
    )


def test_a_pending_entry_weighs_its_text_and_a_fixed_part():
    assert Pending(T0, "x" * 165, DATA).weight == 165 + OVERHEAD


def test_what_can_be_summed_up_goes_first():
    trades, book, quotes, balances = every = streams()
    for number in range(3):
        for where in every:
            put(where, number, SNAPSHOT if where is book and not number else DATA)
    assert shed(every, 1, "full") == {quotes: 2}
    assert said(quotes) == ["lost 2", 2]
    assert shed(every, 1, "full") == {book: 3}
    assert said(book) == ["lost 3"]
    assert shed(every, 1, "full") == {trades: 1}
    assert shed(every, trades.waiting[1].weight + 1, "full") == {trades: 2}
    assert shed(every, 1, "full") == {balances: 1}
    assert said(balances) == ["lost 1", 1, 2]
    for where in every:
        assert sums(where)[0] == sums(where)[1]


def test_the_largest_book_goes_first_and_no_more_than_needed():
    small, large = stream(Channel.BOOK), stream(Channel.BOOK, "ETH-EUR")
    put(small, 0, SNAPSHOT)
    for number in range(2):
        put(large, number, DATA)
    need = large.bytes // 4
    assert shed([small, large], need, "full") == {large: 2}


def test_a_quote_that_is_alone_stays():
    quotes = stream(Channel.QUOTES)
    put(quotes, 0)
    put(quotes, 1, CONTROL)
    assert not collapse(quotes, "old")
    put(quotes, 2)
    assert collapse(quotes, "old") == {quotes: 1}
    assert said(quotes) == ["lost 1", "down", 2]
    assert sums(quotes)[0] == sums(quotes)[1]


def test_the_oldest_over_all_streams_goes():
    first, second = stream(Channel.TRADES), stream(Channel.TRADES, "ETH-EUR")
    put(first, 5)
    put(second, 1)
    put(second, 2)
    assert drop_oldest([first, second], 1, "full") == {second: 1}
    assert drop_oldest([first, second], 10_000, "full") == {second: 1, first: 1}
    assert (said(first), said(second)) == (["lost 1"], ["lost 2"])


def test_neighbouring_losses_are_one_entry_and_others_are_not():
    trades = stream(Channel.TRADES)
    put(trades, 0)
    put(trades, 1, CONTROL)
    put(trades, 2)
    trades.waiting.append(trades.lost_entry(T0 + 3 * SECOND, 7, "before"))
    put(trades, 4)
    assert drop_oldest([trades], trades.waiting[0].weight + 1, "full") == {trades: 2}
    assert said(trades) == ["lost 1", "down", "lost 8", 4]
    assert drop_oldest([trades], 1, "full") == {trades: 1}
    assert said(trades) == ["lost 1", "down", "lost 9"]
    assert sums(trades)[0] == sums(trades)[1]


@pytest.mark.parametrize(("more", "gone"), [(-1, 1), (0, 1), (1, 2)])
def test_just_enough_goes(more, gone):
    trades = stream(Channel.TRADES)
    for number in range(4):
        put(trades, number)
    dropped = _drop(trades, 4, "full", trades.waiting[0].weight + more)
    assert dropped == {trades: gone}
    assert trades.waiting[0].recv == T0, "it stands where the first one was, and says when that came"


def test_a_loss_that_has_been_sent_is_another_entry():
    trades = stream(Channel.TRADES)
    put(trades, 0)
    for number, seq in ((1, 7), (2, 0)):
        trades.waiting.append(trades.lost_entry(T0 + number * SECOND, 5, "before"))
        trades.waiting[-1].seq = seq
    put(trades, 3)
    assert drop_oldest([trades], 1, "full") == {trades: 1}
    assert said(trades) == ["lost 1", "lost 5", "lost 5", 3]
    assert drop_oldest([trades], 1, "full") == {trades: 1}
    assert said(trades) == ["lost 1", "lost 5", "lost 6"]
    assert sums(trades)[0] == sums(trades)[1]


def test_what_has_been_sent_stays():
    """It may be in Redis already, under its ID."""
    trades = stream(Channel.TRADES)
    put(trades, 0).seq = 7
    put(trades, 1)
    assert drop_oldest([trades], 10_000, "full") == {trades: 1}
    assert said(trades) == [0, "lost 1"]
    assert not drop_oldest([trades], 10_000, "full")


def test_of_an_entry_that_redis_never_takes_goes_what_continues_it():
    book, trades = stream(Channel.BOOK), stream(Channel.TRADES)
    for number, kind in enumerate((DATA, DATA, CONTROL, DATA, SNAPSHOT, DATA)):
        put(book, number, kind)
    book.waiting[0].seq = 7
    assert drop_first(book, "refused by Redis") == {book: 3}
    assert said(book) == ["lost 2", "down", "lost 1", 4, 5]
    for number in range(2):
        put(trades, number)
    assert drop_first(trades, "refused by Redis") == {trades: 1}
    assert said(trades) == ["lost 1", 1]
    assert not drop_first(trades, "refused by Redis"), "a control entry is never given up"
    assert not drop_first(stream(Channel.TRADES), "refused by Redis")


KINDS = st.lists(
    st.tuples(st.sampled_from(range(len(CHANNELS))), st.sampled_from([DATA, DATA, DATA, SNAPSHOT, CONTROL])),
    max_size=60,
)


@given(KINDS, st.lists(st.integers(1, 4000), max_size=5))
def test_shedding(kinds, needs):
    """Order is kept, counts are exact, private events outlive trades, trades what is summed up, and books can be trusted."""
    every = trades, book, quotes, balances = streams()
    for number, (index, kind) in enumerate(kinds):
        put(every[index], number, DATA if kind == SNAPSHOT and every[index] is not book else kind)
    whole = {where: list(where.waiting) for where in every}
    for need in needs:
        before = sum(where.bytes for where in every)
        dropped = shed(every, need, "why")
        left = {where: [entry for entry in where.waiting if entry.kind < CONTROL] for where in every}
        markers = sum(e.weight for where in every for e in where.waiting if e.kind == LOST)
        assert before - sum(where.bytes for where in every) >= min(need, before - markers) or not any(
            (left[trades], left[book], left[balances], left[quotes][1:])
        ), "enough is freed, or nothing is left"
        if trades in dropped:
            assert not left[book]
            assert len(left[quotes]) <= 1
        if balances in dropped:
            assert not left[trades]
        for where in every:
            assert sums(where)[0] == sums(where)[1]
    for where in every:
        was, now = whole[where], list(where.waiting)
        kept = [id(e) for e in now if e.kind != LOST]
        assert kept == [id(e) for e in was if id(e) in set(kept)], "order"
        data = sum(e.kind < CONTROL for e in was)
        assert data == sum(e.kind < CONTROL for e in now) + sum(e.count for e in now if e.kind == LOST)
        assert sum(e.kind == CONTROL for e in was) == sum(e.kind == CONTROL for e in now)
        for one, next_one in pairwise(now):
            assert not (one.kind == LOST and next_one.kind == LOST), "neighbours are one entry"
        for e in now:
            assert e.kind != LOST or event(where, e).count == e.count
    readable(book, whole[book], list(book.waiting))


def readable(where, whole, entries):
    """A reader's book is never one that the untouched stream would not have shown."""
    states = []
    for run in (whole, entries):
        book, valid, seen = Book(), False, {}
        for entry in run:
            if entry.kind >= CONTROL:
                valid = False
                continue
            got = event(where, entry)
            if entry.kind == SNAPSHOT:
                book.replace(got.bids, got.asks)
                valid = True
            elif valid:
                book.apply(got.bids, got.asks)
            seen[entry.recv] = book.bids.numbers() if valid else None
        states.append(seen)
    true, read = states
    for at, levels in read.items():
        assert levels is None or true[at] is None or levels == true[at]
