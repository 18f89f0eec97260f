from __future__ import annotations

from collections import deque

import pytest
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


@pytest.mark.parametrize(
    "unlike", [[*TRADE[:-4], *TRADE[-2:], *TRADE[-4:-2]], [*TRADE, *TRADE[:-1], b"9"]], ids=["another order", "twice"]
)
def test_fields_of_one_entry_may_be_unlike_those_of_the_others(unlike):
    entries = [(b"5-%d" % seq, unlike if seq == 3 else TRADE) for seq in range(1, 7)]
    together = taken([entries], position_at(1))
    assert together == taken([[entry] for entry in entries], position_at(1))
    assert [item.event.price for item in together] == ["1.5"] * 6


def test_a_hole_is_reported_where_it_is():
    entries = [(b"5-%d" % seq, TRADE) for seq in [*range(1, 7), *range(9, 15)]]
    items = taken([entries], position_at(1))
    assert [type(item) for item in items] == [Entry] * 6 + [Hole] + [Entry] * 6
    assert items[6] == Hole(KEY, STREAM, "5-9", 7, 9)


def test_other_servers_may_write_ids_in_another_way():
    entries = [(b"05-%02d" % seq, TRADE) for seq in range(1, 7)]
    items = taken([entries], position_at(1))
    assert [(item.id, item.seq) for item in items] == [(f"05-{seq:02d}", seq) for seq in range(1, 7)]


def test_raw_entries_are_text():
    (item,) = taken([[(b"5-1", [b"price", b"\xff"])]], position_at(None), raw=True)
    assert item == Raw(KEY, STREAM, "5-1", 1, ["price", "\\xff"])
