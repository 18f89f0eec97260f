from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.printable import LONGEST_CODE, code, cut, printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode, 株 and a \\ stay", "plain text, ünïcode, 株 and a \\ stay"),
        ("\x1b]0;OWNED\x07\x1b[2J", "\\x1b]0;OWNED\\x07\\x1b[2J"),
        ("\u009b31m red \x85", "\\x9b31m red \\x85"),
        ("a\nb\r\tc\x7f\x00", "a\\nb\\r\\tc\\x7f\\x00"),
        ("\u202eevil\u2066\u200b\u2028\ufeff", "\\u202eevil\\u2066\\u200b\\u2028\\ufeff"),
        ("half \ud83d of a pair", "half \\ud83d of a pair"),
        ("tag \U000e0041", "tag \\U000e0041"),
    ],
)
def test_what_acts_or_hides_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


def test_texts_of_lines_keep_their_lines():
    assert printable("a\n\tb\r\x1b[2J\u2028", lines=True) == "a\n\tb\\r\\x1b[2J\\u2028"


@given(ANY_TEXT, st.integers(40, 200))
def test_any_text_becomes_short_and_visible(text, limit):
    shown = printable(text * 20, limit)
    assert shown.isprintable()
    assert len(shown.encode()) <= limit


@given(ANY_TEXT, st.integers(40, 200))
def test_a_cut_keeps_the_beginning(text, limit):
    text *= 20
    shown = cut(text, limit)
    assert len(shown.encode("utf-8", "surrogatepass")) <= limit
    kept, mark, _ = shown.rpartition("… (")
    assert shown == text or (mark and text.startswith(kept))


def test_what_is_left_out_is_counted():
    for text in ("x" * 1000, "株" * 1000):
        kept, _, mark = printable(text, 100).partition("…")
        assert mark == f" ({1000 - len(kept)} more)"


def test_a_code_is_short_and_of_few_characters():
    assert code(1005) == "1005"
    assert code("order_book of main/sub-1") == "order_book of main/sub-1"
    assert code('a\x1b[2J"\u202eü') == "a??2J???"
    assert code("x" * 1000) == "x" * (LONGEST_CODE - 3) + "..."
