"""What passes for a number, an id, a word or a time: the same on every Python."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchanges.toolkit.values.fields import EXACT, decode_rows, plain
from bridge.exchanges.toolkit.values.numbers import (
    check_amounts,
    check_ids,
    check_levels,
    check_numbers,
    check_values,
    check_words,
    epoch_ns,
    id_or_empty,
    shortened,
)
from bridge.exchanges.toolkit.values.salvage import peek, readable

GOOD = ("0", "1", "7997.40", ".5", "5.", "0.0", "1E-9", "1e+12", "5.e3", "9" * 128, "0." + "1" * 126)
BAD = (
    "1e",
    "7997.40e",
    "0e",
    ".5e",
    "1.e",
    "1e100",
    "e5",
    ".",
    "1.2.3",
    "1_0",
    " 1",
    "1 ",
    "1\n",
    "+1",
    "--1",
    "NaN",
    "sNaN",
)
WORSE = (
    "9" * 129,
    "0." + "1" * 127,
    "1" * 70_000,
    "0" * 64 + "." + "0" * 300,
    "1e1000000000",
    "1E-999",
    "Infinity",
    "inf",
    "0x1",
    "1,5",
    "\u0661",
    "\u00b2",
    "1:2",
    "1 2",
    "1e-",
    "1e5.5",
)
SECOND = 10**9


@pytest.mark.parametrize("text", GOOD, ids=range(len(GOOD)))
def test_numbers(text):
    check_numbers(text, text)
    check_amounts(text, "")
    check_values(text, "-" + text, "")
    check_levels([(text, text)] * 3)
    assert Decimal(text).is_finite()


@pytest.mark.parametrize("text", [*BAD, *WORSE], ids=range(len(BAD) + len(WORSE)))
def test_what_is_no_number(text):
    for check in (check_numbers, check_amounts, check_values):
        with pytest.raises(ValueError, match="is not a number"):
            check("1", text)
    with pytest.raises(ValueError, match="is not a number"):
        check_values("-" + text)
    for level in ((text, "1"), ("1", text)):
        with pytest.raises(ValueError, match="is not a number"):
            check_levels([("1", "2"), level, ("3", "4")])


def test_signs():
    check_values("-1")
    for check in (check_numbers, check_amounts):
        with pytest.raises(ValueError, match="at least zero"):
            check("-1")
    with pytest.raises(ValueError, match="at least zero"):
        check_numbers("")


def test_a_bad_level_is_found_wherever_it_is():
    levels = [(f"{number}.5", "1") for number in range(10_000)]
    check_levels(levels)
    check_levels([])
    for place in (0, 4_095, 4_096, 9_999):
        with pytest.raises(ValueError, match="'x' is not"):
            check_levels([*levels[:place], ("1", "x"), *levels[place + 1 :]])


@given(
    st.text(alphabet="0123456789.eE+-: ", max_size=12) | st.from_regex(r"[0-9]{50,70}\.?[0-9]{50,70}", fullmatch=True)
)
def test_levels_and_numbers_are_checked_alike(text):
    def passes(check):
        try:
            check()
        except ValueError:
            return False
        return True

    alone = passes(lambda: check_numbers(text))
    assert passes(lambda: check_levels([("1", "2"), (text, "0"), ("3", "4")])) is alone
    assert passes(lambda: check_levels([("1", "2"), ("1", text), ("3", "4")])) is alone
    assert passes(lambda: check_amounts(text)) is (alone or not text)
    assert passes(lambda: check_values(f"-{text}")) is alone


@given(st.text(alphabet="0123456789.eE+-: ", max_size=12))
def test_what_passes_is_a_number_of_decimals_too(text):
    for check in (check_numbers, lambda text: check_levels([(text, "1")])):
        try:
            check(text)
        except ValueError:
            continue
        try:
            assert Decimal(text) >= 0
        except InvalidOperation:
            pytest.fail(f"{text!r} passed")


@pytest.mark.parametrize("text", ["1", "c9a173ab-0fc8-4bdc-b940-1c7d7fe9fb89", "a+b/c==", "x" * 128])
def test_ids(text):
    check_ids(text)
    assert id_or_empty(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "{}", "[1]", "true", "x" * 129, "9" * 70_000, "\x1b[31m", "ä", "a\n", '"']
)
def test_what_is_no_id(text):
    with pytest.raises(ValueError, match="is not an id"):
        check_ids(text)
    assert id_or_empty(text) == ""


def test_words():
    check_words("", "BTC", "\u5e01\u5b89", "my order 7", "x" * 128)
    for text in ("x" * 129, "\x1b[31m", "a\tb", "\u202e", "\0{}"):
        with pytest.raises(ValueError, match="printable"):
            check_words(text)


def test_times():
    assert epoch_ns(1_598_530_122, SECOND) == 1_598_530_122 * SECOND
    assert epoch_ns(9_223_372_036, SECOND) < 2**63
    for count in (0, -1, 1_598_530, 9_223_372_037, 1_598_530_122_000, 10**30, 10**5_000):
        with pytest.raises(ValueError, match="is not a time"):
            epoch_ns(count, SECOND)


def test_what_is_quoted_is_short():
    for check, text in ((check_numbers, "x" * 70_000), (check_ids, "x" * 70_000), (check_words, "\x1b" * 70_000)):
        with pytest.raises(ValueError, match="x") as caught:
            check(text)
        assert len(str(caught.value)) < 250
    assert shortened("\x1b" * 3).isprintable()


def test_json_numbers_keep_their_digits():
    body = b'[{"a":1234567.123456789012,"b":0.00000001,"c":1E-9,"d":1.50,"e":' + b"9" * 400 + b',"f":null,"g":"x"}]'
    assert decode_rows(body) == [
        {
            "a": "1234567.123456789012",
            "b": "0.00000001",
            "c": "0.000000001",
            "d": "1.50",
            "e": "9" * 400,
            "f": "",
            "g": "x",
        }
    ]


def test_sums_and_products_are_exact():
    assert plain(EXACT.add(Decimal("1e-99"), Decimal("1e99"))) == f"1{'0' * 99}.{'0' * 98}1"
    assert f"{EXACT.multiply(Decimal('3' * 3_000), Decimal(3)):f}" == "9" * 3_000


def test_a_frame_that_is_json_but_for_its_numbers():
    assert readable(b'{"a":NaN,"b":[-Infinity, Infinity],"c":"NaN"}') == b'{"a":{},"b":[{}, {}],"c":"NaN"}'
    plain_frame = b'{"a":1}'
    assert readable(plain_frame) is plain_frame


def test_a_field_of_a_frame_that_is_cut():
    assert peek(b'{"t" : "order_book","price":"79', "t") == "order_book"
    assert peek(b'{"x":"' + b"#" * 5_000 + b'","t":"late"}', "t") == ""
    assert peek(b'{"t":7', "t") == ""
