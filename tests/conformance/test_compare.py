"""What counts as a difference, and how it reads."""

from __future__ import annotations

import pytest

from conformance.cases import Expected
from conformance.compare import compare

TRADE = {"entry": "1-1", "type": "trade", "price": "7994.50", "size": "1"}
BOOK = {"valid": True, "id": "1-1", "xseq": "", "bids": [["10", "1"], ["9", "2"]], "asks": []}


def differences(answer, **expected) -> list[str]:
    return compare(Expected(**expected), answer).differences


def test_only_what_is_named_is_compared() -> None:
    answer = {"items": [{**TRADE, "venue": "x"}], "state": "live", "book": {**BOOK, "depth": 3}, "more": 1}
    assert compare(Expected(items=[TRADE], state="live", book=BOOK), answer) == ([], [], 3)
    assert compare(Expected(state="live"), answer) == ([], [], 1)
    assert compare(Expected(book={"valid": True}), answer) == ([], [], 1)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], ['items: expected {"entry": "1-1", "type": "trade", "price": "7994.50", "size": "1"}']),
        ([{**TRADE, "price": "7994.5"}], ['items: entry 1-1: price: expected "7994.50", got "7994.5"']),
        ([{**TRADE, "price": 7994.5}], ['items: entry 1-1: price: expected "7994.50", got 7994.5']),
        (
            [{"entry": "1-1", "type": "trade", "price": "7994.50"}],
            ['items: entry 1-1: size: expected "1", but it is missing'],
        ),
        ([TRADE, TRADE], ["items: got      {"]),
        ([{"hole": 1, "before": "1-1"}, TRADE], ['items: got      {"hole": 1, "before": "1-1"}']),
        ([{**TRADE, "hole": 1}], ["items: expected {", "items: got      {"]),
        (["soon"], ['items: expected a list of objects, got ["soon"]']),
        (None, ["items: expected a list of objects, got null"]),
    ],
)
def test_items(items, said) -> None:
    found = differences({"items": items}, items=[TRADE])
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_counts_of_holes_and_their_order() -> None:
    hole = {"hole": 2, "before": "5-5"}
    assert differences({"items": [{"hole": 1, "before": "5-5"}]}, items=[hole]) == [
        "items: hole 5-5: hole: expected 2, got 1"
    ]
    assert differences({"items": [{"hole": True, "before": "5-5"}]}, items=[{**hole, "hole": 1}]) != []
    assert differences({"items": [TRADE, hole]}, items=[hole, TRADE]) != []


@pytest.mark.parametrize(
    ("book", "said"),
    [
        ({"valid": False, "why": "gap"}, ["book: valid: expected true, got false (gap)"]),
        ({**BOOK, "id": "1-2"}, ['book: id: expected "1-1", got "1-2"']),
        ({**BOOK, "bids": [["10", "1"]]}, ['book: bids: expected ["9", "2"]']),
        (
            {**BOOK, "bids": [["9", "2"], ["10", "1"]]},
            ['book: bids: expected ["9", "2"]', 'book: bids: got      ["9", "2"]'],
        ),
        (
            {**BOOK, "bids": [["10.0", "1"], ["9", "2"]]},
            ['book: bids: expected ["10", "1"]', 'book: bids: got      ["10.0", "1"]'],
        ),
        ({**BOOK, "asks": None}, ["book: asks: expected [], got null"]),
        ({**BOOK, "valid": 1}, ["book: valid: expected true, got 1"]),
        ([], ["book: expected an object, got []"]),
    ],
)
def test_books(book, said) -> None:
    assert sorted(differences({"book": book}, book=BOOK)) == sorted(said)


def test_why_a_book_is_invalid() -> None:
    answer = {"book": {"valid": False, "why": "hole"}}
    assert differences(answer, book={"valid": False}) == []
    assert differences(answer, book={"valid": False, "why": "gap"}) == ['book: why: expected "gap", got "hole"']


def test_wallets() -> None:
    order = {"price": "1", "status": "open"}
    answer = {"wallet": {"orders": {"B A": {**order, "side": "buy"}}, "fills": 2, "balances": {}}}
    assert differences(answer, wallet={"orders": {"B A": order}, "fills": 2}) == []
    assert differences(answer, wallet={"orders": {}}) == [
        'wallet: orders: B A: should not be there: {"price": "1", "status": "open", "side": "buy"}'
    ]
    assert differences(answer, wallet={"orders": {"B A": {"price": "2"}, "B C": {}}}) == [
        'wallet: orders: B A: price: expected "2", got "1"',
        "wallet: orders: B C: missing",
    ]
    assert differences(answer, wallet={"fills": 3}) == ["wallet: fills: expected 3, got 2"]
    assert differences(answer, wallet={"positions": {}}) == ["wallet: positions: expected an object, got null"]


def test_parts_that_are_missing() -> None:
    assert compare(Expected(items=[], state=""), {}).differences == [
        "items: missing in the answer",
        "state: missing in the answer",
    ]
    assert compare(Expected(book=BOOK, wallet={}), {"wallet": None}) == ([], ["book", "wallet"], 0)
    assert compare(Expected(state=""), "no").differences == ['expected an object, got "no"']
