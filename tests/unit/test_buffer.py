from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.book import Book
from bridge.entries import decode
from bridge.keys import StreamKey
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from bridge.publish.buffer import CONTROL, DATA, SNAPSHOT, Pending, lost_marker, shed
from bridge.publish.wire import render
from tests.unit.core import SECOND, T0, balance, stream, trade

TRADES, BOOK, BALANCES = stream(Channel.TRADES), stream(Channel.BOOK), stream(Channel.BALANCES)


def fields(entry):
    parts = entry.body.split("\r\n")[1::2]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def event(entry):
    parts = entry.body.split("\r\n")[1::2]
    return decode(StreamKey("limitlex", entry.stream.subject, entry.stream.channel), parts)


def pending(channel, number, kind=DATA):
    at = T0 + number * SECOND
    if channel is Channel.TRADES:
        made = trade(number, str(number))
    elif channel is Channel.BALANCES:
        made = balance("EUR", str(number), at)
    elif kind == SNAPSHOT:
        made = BookSnapshot("BTC-EUR", None, at, "", [(str(number), "1")], [])
    else:
        made = BookDelta("BTC-EUR", None, at, "", [(str(number), "1")], [])
    where = {Channel.TRADES: TRADES, Channel.BALANCES: BALANCES, Channel.BOOK: BOOK}[channel]
    return Pending(where, at, render(made), kind)


def control(where, number, kind=ControlEvent.DOWN):
    at = T0 + number * SECOND
    return Pending(where, at, render(Control(where.subject, None, at, where.channel, kind, "why")), CONTROL)


def weight(entries):
    return sum(entry.weight for entry in entries)


def test_the_oldest_market_data_goes_first():
    entries = [pending(Channel.BALANCES, 0), *(pending(Channel.TRADES, n) for n in range(1, 5))]
    kept, dropped = shed(entries, entries[1].weight + 1, 0, "full")
    assert dropped == {TRADES: 2}
    assert [fields(e).get("id") or fields(e).get("count") or fields(e)["available"] for e in kept] == [
        "0",
        "2",
        "3",
        "4",
    ]
    assert fields(kept[1]) == {
        "type": "control",
        "ts": "",
        "recv": str(T0 + SECOND),
        "event": "lost",
        "reason": "full",
        "count": "2",
    }


def test_private_entries_go_only_when_that_was_not_enough():
    entries = [pending(Channel.BALANCES, 0), pending(Channel.TRADES, 1), pending(Channel.BALANCES, 2)]
    _, dropped = shed(entries, entries[1].weight + 1, 0, "full")
    assert dropped == {TRADES: 1, BALANCES: 1}


def test_all_that_is_too_old_goes():
    entries = [pending(Channel.BALANCES, 0), pending(Channel.TRADES, 1), control(TRADES, 1), pending(Channel.TRADES, 2)]
    kept, dropped = shed(entries, 0, T0 + 2 * SECOND, "old")
    assert dropped == {BALANCES: 1, TRADES: 1}
    assert [fields(e).get("event", "data") for e in kept] == ["lost", "lost", "down", "data"]


def test_a_book_goes_up_to_its_next_snapshot():
    entries = [
        pending(Channel.BOOK, 0),
        pending(Channel.BOOK, 1),
        control(BOOK, 2),
        pending(Channel.BOOK, 3),
        pending(Channel.BOOK, 4, SNAPSHOT),
        pending(Channel.BOOK, 5),
    ]
    kept, dropped = shed(entries, 1, 0, "full")
    assert dropped == {BOOK: 3}
    said = [fields(e).get("event") or fields(e)["type"] for e in kept]
    assert said == ["lost", "down", "lost", "snapshot", "delta"]
    assert [fields(e)["count"] for e in kept if fields(e).get("event") == "lost"] == ["2", "1"]


def test_earlier_losses_are_added_up():
    entries = [lost_marker(TRADES, T0, 7, "before"), pending(Channel.TRADES, 1), pending(Channel.TRADES, 2)]
    kept, _ = shed(entries, 1, 0, "full")
    assert [(fields(e).get("count"), e.lost) for e in kept] == [("8", 8), (None, 0)]


def test_nothing_to_drop_is_nothing_done():
    entries = [control(TRADES, 0), pending(Channel.TRADES, 5)]
    assert shed(entries, 0, T0, "old") == (entries, {})


ENTRY = st.sampled_from(
    [
        (Channel.TRADES, DATA),
        (Channel.BALANCES, DATA),
        (Channel.BOOK, DATA),
        (Channel.BOOK, DATA),
        (Channel.BOOK, SNAPSHOT),
        (Channel.TRADES, CONTROL),
        (Channel.BOOK, CONTROL),
    ]
)


@given(st.lists(ENTRY, max_size=40), st.lists(st.tuples(st.integers(0, 3000), st.integers(-1, 40)), max_size=4))
def test_shedding(kinds, rounds):
    """Order is kept, counts are exact, private entries outlive public ones, and books can be trusted."""
    entries = []
    for number, (channel, kind) in enumerate(kinds):
        where = {Channel.TRADES: TRADES, Channel.BALANCES: BALANCES, Channel.BOOK: BOOK}[channel]
        entries.append(control(where, number) if kind == CONTROL else pending(channel, number, kind))
    whole = list(entries)
    for need, oldest in rounds:
        before = weight(e for e in entries if e.kind != CONTROL)
        private = sum(e.stream is BALANCES and e.kind != CONTROL for e in entries)
        result, dropped = shed(entries, need, T0 + oldest * SECOND, "why")
        after = weight(e for e in result if e.kind != CONTROL)
        assert before - after >= min(need, before)
        if BALANCES in dropped and oldest < 0:
            assert not any(e.stream.public and e.kind != CONTROL for e in result), "market data goes first"
            assert private
        assert not any(e.recv < T0 + oldest * SECOND for e in result if e.kind != CONTROL)
        entries = result
    for where in (TRADES, BOOK, BALANCES):
        was = [e for e in whole if e.stream is where]
        now = [e for e in entries if e.stream is where]
        kept = [id(e) for e in now if not e.lost]
        assert kept == [id(e) for e in was if id(e) in set(kept)], "order"
        data = sum(e.kind != CONTROL for e in was)
        assert data == sum(e.kind != CONTROL for e in now) + sum(e.lost for e in now)
        assert sum(e.kind == CONTROL for e in was) == sum(e.kind == CONTROL and not e.lost for e in now)
        for one, next_one in pairwise(now):
            assert not (one.lost and next_one.lost), "neighbours are one entry"
        for e in now:
            assert not e.lost or event(e).count == e.lost
    readable(whole, entries)


def readable(whole, entries):
    """A reader's book is never one that the untouched stream would not have shown."""
    states = []
    for run in (whole, entries):
        book, valid, seen = Book(), False, {}
        for entry in (e for e in run if e.stream is BOOK):
            if entry.kind == CONTROL:
                valid = False
                continue
            got = event(entry)
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
        assert levels is None or all(isinstance(size, Decimal) for size in levels.values())
