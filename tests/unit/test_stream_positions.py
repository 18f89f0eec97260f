from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from bridge.keys import StreamKey
from bridge.model import Channel
from consumers.items import Entry, Hole, Item, Raw
from consumers.positions import Cursor
from consumers.stream_positions import Entries, StreamPosition, take, take_raw

KEY = "md:{limitlex:BTC-EUR}:trades"
STREAM = StreamKey("limitlex", "BTC-EUR", Channel.TRADES)
TRADE = [b"type", b"trade", b"ts", b"1", b"recv", b"2", b"id", b"", b"side", b"buy", b"price", b"1.5", b"size", b"2"]
FLATS = [
    TRADE,
    [*TRADE[:-1], b"\xff\r\n"],
    [*TRADE, b"contracts", b"7"],
    [*TRADE, b"newer", b"7"],
    [*TRADE[2:], *TRADE[:2]],
    [*TRADE[:5], b"never", *TRADE[6:]],
    [b"type", b"control", b"ts", b"", b"recv", b"2", b"event", b"gap", b"reason", b"", b"count", b""],
    [b"type", b"control", b"ts", b"", b"recv", b"2", b"event", b"newer", b"reason", b"", b"count", b""],
    [b"type", b"newer"],
    [b"price", b"1"],
]


def position_at(next_seq: int | None) -> StreamPosition:
    return StreamPosition(KEY, STREAM, Cursor("0-0", next_seq))


def taken(entries: list[Entries], position: StreamPosition, *, raw: bool = False) -> list[Item]:
    items: deque[Item] = deque()
    for some in entries:
        (take_raw if raw else take)(position, some, items)
    return list(items)


def state(position: StreamPosition) -> list[object]:
    return [position.id, position.next_seq, position.read, position.missing]


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from(FLATS), st.sampled_from([1, 1, 1, 1, 1, 3, -2])), max_size=6
    ),
    st.sampled_from([None, 1, 5]),
    st.booleans(),
)
def test_many_at_once_give_the_items_of_each(runs, start, raw):
    seq, entries = 0, []
    for length, flat, step in runs:
        seq = max(0, seq + step - 1)
        for _ in range(length):
            seq += 1
            entries.append((b"5-%d" % seq, flat))
    together, singly = position_at(start), position_at(start)
    found = taken([entries], together, raw=raw)
    assert found == taken([[entry] for entry in entries], singly, raw=raw)
    assert state(together) == state(singly)


def test_a_hole_is_reported_where_it_is():
    entries = [(b"5-%d" % seq, TRADE) for seq in [*range(1, 7), *range(9, 15)]]
    items = taken([entries], position_at(1))
    assert [type(item) for item in items] == [Entry] * 6 + [Hole] + [Entry] * 6
    assert items[6] == Hole(KEY, STREAM, "5-9", 7, 9)


def test_raw_entries_are_text():
    (item,) = taken([[(b"5-1", [b"price", b"\xff"])]], position_at(None), raw=True)
    assert item == Raw(KEY, STREAM, "5-1", 1, ["price", "\\xff"])
