"""What the toolkit makes of fields, sizes and statistics, and what it knows of an account: as tables."""

from __future__ import annotations

import json

import msgspec
import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import channels_of, coins_of
from bridge.exchanges.toolkit.values.contracts import Contracts, ContractSizes
from bridge.exchanges.toolkit.values.fields import (
    NESTED,
    UNREADABLE_ROW,
    decode_rows,
    difference,
    first,
    nested_rows,
    opposite,
    text,
)
from bridge.exchanges.toolkit.values.tickers import SparseTickers
from bridge.model import PUBLIC_CHANNELS, Channel
from tests.unit.core import T0, order

# --- fields --------------------------------------------------------------------------------------------------------

TEXTS = {
    '"a \\u00e9"': "a é",
    '""': "",
    "null": "",
    "true": "true",
    "1.50": "1.50",
    "-0": "-0",
    "1e3": "1000",
    "-1.5E-2": "-0.015",
    "1e100": "1e100",
    '{"a":1}': f'{NESTED}{{"a":1}}',
    "[1]": f"{NESTED}[1]",
}


@pytest.mark.parametrize("raw", TEXTS)
def test_a_field_is_the_text_that_stands_there(raw):
    assert text(msgspec.Raw(raw.encode())) == TEXTS[raw]


def test_a_row_that_is_none_is_shown_from_its_beginning():
    shown = "x" * 199
    assert decode_rows(json.dumps([{"a": 1}, 7, shown * 2, {"b": None}]).encode()) == [
        {"a": "1"},
        {UNREADABLE_ROW: "7"},
        {UNREADABLE_ROW: f'"{shown}'},
        {"b": ""},
    ]
    assert decode_rows(b'{"a":1}') == [{"a": "1"}]


def test_rows_of_a_list_in_a_row_stand_in_its_place():
    rows = json.dumps([{"id": "7", "in": [{"a": 1}, 5]}, {"id": "8"}, {"id": "9", "in": "none"}]).encode()
    assert nested_rows(rows, "in", "id", "no") == [
        {"a": "1", "id": "7"},
        {UNREADABLE_ROW: "5", "id": "7"},
        {"id": "8"},
        {"id": "9", "in": "none"},
    ]
    assert nested_rows(rows, "in")[0] == {"a": "1"}


@pytest.mark.parametrize(("number", "other"), [("1.50", "-1.50"), ("-2", "2"), ("0", "0"), ("-0.0", "0.0"), ("", "")])
def test_a_number_with_the_other_sign(number, other):
    assert opposite(number) == other


@pytest.mark.parametrize("number", ["x", "NaN", "--1"])
def test_what_is_no_number_has_no_other_sign(number):
    with pytest.raises(ValueError, match="not a number"):
        opposite(number)


def test_a_size_that_is_not_exact_is_told_in_contracts_alone():
    sizes = Contracts({"A-B-PERP": "0.01"}, lambda pair: pair.count("-") > 1)
    assert sizes.exact("A-B-PERP", "7") == ("0.07", "7")
    assert sizes.exact("A-C-PERP", "7") == ("", "7")
    assert sizes.exact("A-B", "7") == ("7", "")
    assert sizes.exact("A-B-PERP", "") == ("", "")
    assert (sizes.coins_and_contracts("A-B-PERP", "7"), sizes.coins_and_contracts("A-B", "7")) == (
        ("0.07", "7"),
        ("7", None),
    )
    assert sizes.levels("A-B-PERP", [("10", "7")]) == [("10", "0.07")]
    assert sizes.levels("A-B", [("10", "7")]) == [("10", "7")]
    with pytest.raises(ValueError, match="not a number"):
        sizes.exact("A-C-PERP", "x")
    with pytest.raises(ValueError, match="not known"):
        sizes.levels("A-C-PERP", [("10", "7")])


@pytest.mark.parametrize(
    ("pair", "missing"),
    [("A-B", {"funding", "mark", "interest", "liquidations"}), ("A-B-261225", {"funding"}), ("A-B-PERP", set())],
)
def test_a_pair_has_the_channels_of_its_kind(pair, missing):
    assert set(PUBLIC_CHANNELS) - set(channels_of(pair, PUBLIC_CHANNELS)) == missing
    assert coins_of(pair) == "A-B"


@pytest.mark.parametrize(
    ("names", "found"),
    [(("a",), "1"), (("b", "a"), "1"), (("no", "c", "a"), "3"), (("b",), ""), (("no",), ""), ((), "")],
)
def test_the_first_field_that_says_something(names, found):
    assert first({"a": "1", "b": "", "c": "3"}, *names) == found


@pytest.mark.parametrize(
    ("whole", "part", "rest"),
    [
        ("3", "1", "2"),
        ("1.50", "0.5", "1"),
        ("1", "3", "-2"),
        ("1e2", "1", "99"),
        (f"1{'0' * 40}", "0.01", f"{'9' * 40}.99"),
    ],
)
def test_a_difference_is_exact(whole, part, rest):
    assert difference(whole, part) == rest


@pytest.mark.parametrize("odd", ["x", "", "NaN", "Infinity", "1_0", " 1", "9" * 129])
def test_of_what_is_no_number_there_is_no_difference(odd):
    for whole, part in ((odd, "1"), ("1", odd)):
        with pytest.raises(ValueError, match=r"is not a number|can't be told"):
            difference(whole, part)


# --- contracts -----------------------------------------------------------------------------------------------------


def is_perpetual(pair):
    return pair.endswith("-PERP")


@pytest.mark.parametrize(
    ("pair", "size", "each", "coins", "contracts"),
    [
        ("A-PERP", "3", "", "0.003", "3"),
        ("A-PERP", "0", "", "0", "0"),
        ("A-PERP", "3", "0.1", "0.3", "3"),
        ("A-PERP", "3", "10", "30", "3"),
        ("B-PERP", "1.50", "2", "3", "1.50"),
        ("A-USD", "1.50", "", "1.50", ""),
        ("A-USD", "1.50", "2", "1.50", ""),
    ],
)
def test_contracts_are_worth_coins(pair, size, each, coins, contracts):
    known = Contracts({"A-PERP": "0.001", "A-USD": "7"}, is_perpetual)
    assert known.coins(pair, size, each) == coins
    assert known.contracts(pair, size) == contracts


@pytest.mark.parametrize(
    ("pair", "size", "each", "why"),
    [
        ("B-PERP", "1", "", "the contract size of B-PERP is not known"),
        ("B-PERP", "1", "0", "the contract size of B-PERP is not known"),
        ("A-PERP", "-1", "", "not a number of at least zero"),
        ("A-PERP", "1", "x", "not a number of at least zero"),
        ("A-USD", "x", "", "not a number of at least zero"),
    ],
)
def test_what_they_are_worth_may_be_unknown(pair, size, each, why):
    with pytest.raises(ValueError, match=why):
        Contracts({"A-PERP": "0.001"}, is_perpetual).coins(pair, size, each)


@pytest.mark.parametrize("size", ["0", "0.00", "x", "", "-1", "nan"])
def test_no_contract_size_is_learned_from_what_is_none(size):
    known = Contracts({"A-PERP": "0.001"}, is_perpetual)
    for pair in ("A-PERP", "B-PERP"):
        known.learn(pair, size)
    assert ("A-PERP" in known, "B-PERP" in known) == (True, False)
    assert known.coins("A-PERP", "1") == "0.001"
    known.learn("A-PERP", "5")
    assert known.coins("A-PERP", "1") == "5"


SIZES = TypeAdapter(ContractSizes)


def test_contract_sizes_may_be_written_as_numbers():
    sizes = {"A": 0.00001, "B": 1, "C": "0.10", "D": 10.0}
    assert SIZES.validate_python(sizes) == {"A": "0.00001", "B": "1", "C": "0.10", "D": "10.0"}


@pytest.mark.parametrize("sizes", [{"A": 0}, {"A": "0.0"}, {"A": 1, "B": "x"}, {"A": -1}, [1], "1"], ids=repr)
def test_no_contract_is_worth_nothing(sizes):
    with pytest.raises(ValidationError):
        SIZES.validate_python(sizes)


# --- statistics ----------------------------------------------------------------------------------------------------


def test_statistics_are_merged_and_said_when_they_are_news():
    tickers = SparseTickers({Channel.TICKER: ["high", "low", "last"], Channel.MARK: ["mark"]})
    assert not tickers.change("a", {"high": "9"}), "of what?"
    tickers.whole("a", {"last": "5", "high": "9"})
    assert tickers.news("a", Channel.TICKER) == ("9", "", "5")
    assert tickers.news("a", Channel.TICKER) is None
    assert tickers.change("a", {"low": "4"})
    assert tickers.news("a", Channel.TICKER) == ("9", "4", "5")
    assert tickers.change("a", {"low": "4"})
    assert tickers.news("a", Channel.TICKER) is None
    tickers.whole("a", {"last": "5", "high": "9"})
    assert tickers.news("a", Channel.TICKER) == ("9", "", "5"), "what a snapshot leaves out is unknown"
    tickers.whole("b", {"last": "5", "high": "9"})
    assert tickers.news("b", Channel.TICKER) == ("9", "", "5"), "each topic by itself"
    assert tickers.news("b", Channel.MARK) is None, "nothing of it was ever known"
    tickers.change("b", {"mark": "7"})
    assert (tickers.news("b", Channel.TICKER), tickers.news("b", Channel.MARK)) == (None, ("7",))


def test_after_a_loss_only_a_snapshot_is_of_use_and_it_is_news():
    tickers = SparseTickers({Channel.TICKER: ["last"]})
    for topic in ("a", "b"):
        tickers.whole(topic, {"last": "5"})
        tickers.news(topic, Channel.TICKER)
    tickers.forget("a")
    tickers.forget("c")
    assert not tickers.change("a", {"last": "6"})
    assert tickers.change("b", {"last": "5"})
    tickers.whole("a", {"last": "5"})
    assert (tickers.news("a", Channel.TICKER), tickers.news("b", Channel.TICKER)) == (("5",), None)


# --- what is known of an account -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ([], ["new", "now"]),
        (["old"], ["old", "new", "now"]),
        (["older", "else"], ["older", "new", "now"]),
        ([""], ["older", "old", "new", "now"]),
        (["old", ""], ["older", "old", "new", "now"]),
    ],
)
def test_orders_that_are_open_no_more_are_forgotten(listed, left):
    memory = AccountMemory()
    moments = {"older": T0 - 2, "old": T0 - 1, "now": T0, "new": T0 + 1}
    memory.learn([order(ident, recv=recv) for ident, recv in moments.items()])
    memory.forget_orders(listed, T0)
    assert {ident for _, ident in memory.open_orders} == set(left)
