"""What keys do to the view of ``tickbridge top``."""

from __future__ import annotations

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from bridge.overview.look import Overview
from bridge.overview.rows import StreamRow, Tail
from bridge.top.state import SORTS, Page, ViewState

KEYS = Keys()


def overview(count: int = 30, **states: str) -> Overview:
    found = Overview(None, KEYS, lambda: 10_000 * 10**9)
    for number in range(count):
        pair = f"C{number:02}-EUR"
        key = KEYS.stream("limitlex", pair, Channel.TRADES)
        stream = KEYS.parse(key)
        assert stream
        found.streams[key] = StreamRow(key, stream, states.get(pair[:3], "live"), f"one{number % 2}", {})
        found.tails[key] = Tail(f"{number}-{number}", 1_000 * (count - number), number, float(number % 7))
    return found


def view(found: Overview, room: int = 10) -> ViewState:
    state = ViewState()
    state.measure(room, 0)
    state.refresh(found)
    state.measure(room, 0)
    return state


def pairs(state: ViewState) -> list[str]:
    return [row.stream.subject[:3] for row in state.visible]


def press(state: ViewState, found: Overview, *keys: str) -> None:
    for key in keys:
        state.press(key)
        state.refresh(found)


def test_the_selected_row_stays_in_sight():
    found = overview()
    state = view(found)
    assert (state.place, pairs(state)) == (0, [f"C{number:02}" for number in range(10)])
    for keys, place, first in (
        (["down"] * 9, 9, 0), (["j"], 10, 1), (["page-down"], 20, 11), (["G"], 29, 20), (["down"], 29, 20),
        (["k"], 28, 20), (["page-up", "b"], 8, 8), (["home"], 0, 0), (["up"], 0, 0), ([" "], 10, 1), (["end", "g"], 0, 0),
    ):  # fmt: skip
        press(state, found, *keys)
        assert (state.place, state.offset) == (place, first), keys


def test_a_row_stays_selected_when_the_order_changes():
    found = overview()
    state = view(found)
    press(state, found, "down", "down", "r")
    assert (state.place, pairs(state)[-1]) == (27, "C02")
    press(state, found, "r", "/", *"c2", "enter")
    assert state.selected.endswith("C22-EUR}:trades")  # the one in its place: it was filtered out
    assert len(state.rows) == 10


@pytest.mark.parametrize(
    ("order", "first"),
    [("name", "C00"), ("state", "C05"), ("seq", "C29"), ("age", "C29"), ("rate", "C06"), ("connector", "C00")],
)
def test_orders(order, first):
    found = overview(C05="down")
    state = view(found)
    press(state, found, *[">"] * SORTS.index(order))
    assert state.sort == order
    assert state.rows[0].stream.subject.startswith(first)
    press(state, found, *["<"] * SORTS.index(order))
    assert state.sort == "name"
    press(state, found, "<")
    assert state.sort == SORTS[-1]


def test_filters_apply_while_they_are_typed_and_escape_takes_them_back():
    found = overview(C05="down", C06="dead")
    state = view(found)
    press(state, found, "/", *"q1", "backspace", "backspace", *"c1", " ", *"trades")
    assert (state.typing, state.filter, len(state.rows)) == (True, "c1 trades", 10)
    press(state, found, "enter", "/", *"xyz")
    assert state.rows == []
    press(state, found, "escape")
    assert (state.typing, state.filter, len(state.rows)) == (False, "c1 trades", 10)
    press(state, found, "escape")
    assert (state.filter, len(state.rows)) == ("", 30)
    press(state, found, "n")
    assert [row.stream.subject[:3] for row in state.rows] == ["C05", "C06"]
    press(state, found, "n", "/", *"dead", "enter")
    assert [row.stream.subject[:3] for row in state.rows] == ["C06"]


def test_pages():
    found = overview()
    state = view(found)
    press(state, found, "down", "enter")
    assert state.page is Page.PAIR
    assert state.opened
    assert state.opened.stream.subject == "C01-EUR"
    press(state, found, "escape")
    assert (state.page, state.opened, state.place) == (Page.STREAMS, None, 1)
    for key, page in (
        ("l", Page.LOG),
        ("c", Page.CONNECTORS),
        ("c", Page.STREAMS),
        ("l", Page.LOG),
        ("backspace", Page.STREAMS),
    ):
        press(state, found, key)
        assert state.page is page
    press(state, found, "?", "j")
    assert state.helping
    press(state, found, "escape")
    assert (state.helping, state.place, state.ended) == (False, 1, False)
    press(state, found, "q")
    assert state.ended


def test_an_account_opens_its_own_page():
    found = overview(0)
    key = KEYS.stream("limitlex", "main", Channel.ORDERS)
    stream = KEYS.parse(key)
    assert stream
    found.streams[key] = StreamRow(key, stream, "live", "one", {})
    state = view(found)
    press(state, found, "enter")
    assert state.page is Page.ACCOUNT


def test_pages_without_a_selected_row_scroll():
    found = overview()
    state = view(found)
    press(state, found, "l")
    state.measure(10, 25)
    for key, offset in (("down", 1), ("page-down", 11), ("end", 15), ("down", 15), ("up", 14), ("home", 0), ("up", 0)):
        press(state, found, key)
        assert state.offset == offset, key


def test_without_any_stream_no_key_fails():
    found = overview(0)
    state = view(found)
    press(
        state, found, *("down", "G", "enter", "r", ">", "n", "/", "x", "enter", "l", "c", "escape", "page-up", "F", "")
    )
    assert (state.rows, state.place) == ([], 0)
