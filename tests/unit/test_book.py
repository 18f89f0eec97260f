from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.book import Book, Side

PRICE = st.integers(1, 40).map(lambda n: f"{n // 2}.{5 * (n % 2)}")
SIZE = st.sampled_from(["0", "0.00", "1", "2.50", "0.00000001"])
STEP = st.one_of(
    st.tuples(st.just("set"), PRICE, SIZE),
    st.tuples(st.just("replace"), st.lists(st.tuples(PRICE, SIZE), max_size=8)),
    st.tuples(st.just("best")),
)


@pytest.mark.parametrize("bids", [False, True])
@given(st.lists(STEP, max_size=80))
def test_a_side_is_a_dictionary_of_prices(bids, steps):
    side, model = Side(bids=bids), {}
    for step in steps:
        if step[0] == "set":
            side.set(step[1], step[2])
            model[Decimal(step[1])] = step[1:]
        elif step[0] == "replace":
            side.replace(step[1])
            model = {}
            for price, size in step[1]:
                if Decimal(size):
                    model[Decimal(price)] = (price, size)
        model = {price: level for price, level in model.items() if Decimal(level[1])}
        ordered = [level for _, level in sorted(model.items(), reverse=bids)]
        assert side.top() == ordered
        assert side.top(3) == ordered[:3]
        assert side.best() == (ordered[0] if ordered else None)
        assert len(side) == len(model)
    assert side.numbers() == {price: Decimal(size) for price, (_, size) in model.items()}


def test_the_heap_stays_small():
    side = Side(bids=False)
    for number in range(20_000):
        side.set(str(number % 997 + number // 997), "1")
        side.set(str(number % 997 + number // 997), "0")
    assert len(side._heap) < 200


@pytest.mark.parametrize(("gone", "heap"), [(163, 264), (164, 101)])
def test_a_heap_may_have_64_more_prices_that_have_gone_than_levels(gone, heap):
    side = Side(bids=False)
    for price in range(1, 101 + gone):
        side.set(str(price), "1")
    for price in range(1, 1 + gone):
        side.set(str(price), "0")
    side.set("1000", "1")
    assert len(side._heap) == heap
    assert side.best() == (str(1 + gone), "1")


@pytest.mark.parametrize("bids", [False, True])
def test_the_heap_is_made_anew_when_most_of_its_levels_have_gone(bids):
    side = Side(bids=bids)
    prices, left = range(1_000, 2_000), range(1_000, 2_000, 100)
    for price in prices:
        side.set(str(price), "1")
    for price in set(prices) - set(left):
        side.set(str(price), "0")
    assert len(side._heap) == 1_000
    better = 3_000 if bids else 500
    side.set(str(better), "1")
    assert len(side._heap) == len(left) + 1
    for price in (better, *(reversed(left) if bids else left)):
        assert side.best() == (str(price), "1")
        side.set(str(price), "0")
    assert side.best() is None


@pytest.mark.parametrize(
    ("price", "size"), [("x", "1"), ("1", "x"), ("nan", "1"), ("1", "Infinity"), ("1", "-1"), ("", "1"), ("1", "")]
)
def test_what_is_no_level_is_refused(price, size):
    side = Side(bids=False)
    side.set("1", "5")
    with pytest.raises(ValueError, match=r"number|negative"):
        side.set(price, size)
    assert side.top() == [("1", "5")]


def test_a_price_is_a_number():
    side = Side(bids=False)
    side.set("7994.50", "1")
    side.set("7994.5", "2")
    assert side.top() == [("7994.5", "2")]
    assert side.size("7994.500") == 2
    assert side.size("1") == 0


def test_books():
    one, other = Book(), Book()
    one.replace([("9", "1"), ("10", "1")], [("11", "1")])
    other.apply([("10.0", "1.0"), ("9", "1")], [("11", "1"), ("12", "0")])
    assert one == other
    assert not one.crossed()
    other.apply([("11", "1")], [])
    assert other.crossed()
    assert one != other
    assert not Book().crossed()
    with pytest.raises(ValueError, match="number"):
        one.apply([("8", "1"), ("x", "1")], [])
    assert one.bids.best() == ("10", "1")


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [
        (["10", "9"], ["11", "12"], False),
        (["10", "11"], ["12", "11.0"], True),
        (["9", "12"], ["13", "11"], True),
        (["9.99999999999999999999999999999"], ["10"], False),
        (["10"], [], False),
        ([], ["10"], False),
    ],
)
def test_a_book_is_crossed_where_the_best_bid_is_at_or_above_the_best_ask(bids, asks, crossed):
    book = Book()
    book.apply([(price, "1") for price in bids], [(price, "1") for price in asks])
    assert book.crossed() is crossed


CHANGES = {
    "a level grows": ("1.50", "0.25", "1.75"),
    "a level shrinks": ("1.50", "-0.5", "1.00"),
    "a level goes": ("1.50", "-1.50", "0.00"),
    "a level comes": ("0", "2.0", "2.0"),
    "a level comes with nothing": ("0", "0", "0"),
    "every digit counts": (f"1{'0' * 30}", "0.00000001", f"1{'0' * 30}.00000001"),
    "an exponent is written out": ("1", "1e-7", "1.0000001"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_gives_the_size_that_a_level_has_then(case):
    before, change, size = CHANGES[case]
    bid, ask = ("10", change), ("11.0", change)
    book = Book()
    book.replace([("10.0", before), ("9", "7")], [("11", before), ("12", "8")])
    assert book.add([bid, ("9", "1")], [ask, ("12", "1")]) == (
        [("10", size), ("9", "8")],
        [("11.0", size), ("12", "9")],
    )
    there = Decimal(size) > 0
    assert book.bids.top() == [("10", size)] * there + [("9", "8")]
    assert book.asks.top() == [("11.0", size)] * there + [("12", "9")]


@pytest.mark.parametrize("change", ["-1.00000001", "x", "", "nan", "-Infinity"])
def test_a_change_that_leaves_no_size_changes_nothing(change):
    side = Side(bids=False)
    side.set("11", "1")
    with pytest.raises(ValueError, match=r"number|negative"):
        side.add("11.0", change)
    assert side.top() == [("11", "1")]


def test_books_are_equal_by_their_numbers_on_both_sides():
    levels = [("10", "1")], [("11", "1")]
    book = Book()
    book.replace(*levels)
    for bids, asks, equal in (
        ([("10.0", "1.00")], [("11", "1")], True),
        ([("10", "2")], [("11", "1")], False),
        ([("10", "1")], [("11", "2")], False),
        ([("10", "1"), ("9", "1")], [("11", "1")], False),
        ([("10", "1")], [], False),
    ):
        other = Book()
        other.replace(bids, asks)
        assert (book == other) is equal
    assert book != levels
    assert book.bids != levels[0]


def test_every_digit_of_a_price_counts():
    """Decimal's arithmetic rounds to 28 digits; nothing here may."""
    low, high = "0.12345678901234567890123456789012", "0.12345678901234567890123456789013"
    book = Book()
    book.replace([(low, "1"), (high, "2")], [(high, "3"), (low, "4")])
    assert (book.bids.best(), book.asks.best()) == ((high, "2"), (low, "4"))
    for number in range(300):
        book.apply([(f"{low}{number}", "1")], [(f"0.0{number}", "1"), (f"0.0{number}", "0")])
    assert book.bids.best() == (high, "2")
    book.apply([(high, "0")], [])
    assert book.bids.best() == (f"{low}99", "1")
