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


@pytest.mark.parametrize("sign", [1, -1])
@given(st.lists(STEP, max_size=80))
def test_a_side_is_a_dictionary_of_prices(sign, steps):
    side, model = Side(sign), {}
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
        ordered = [level for _, level in sorted(model.items(), reverse=sign < 0)]
        assert side.top() == ordered
        assert side.top(3) == ordered[:3]
        assert side.best() == (ordered[0] if ordered else None)
        assert len(side) == len(model)
    assert side.numbers() == {price: Decimal(size) for price, (_, size) in model.items()}


def test_the_heap_stays_small():
    side = Side(1)
    for number in range(20_000):
        side.set(str(number % 997 + number // 997), "1")
        side.set(str(number % 997 + number // 997), "0")
    assert len(side._heap) < 200


@pytest.mark.parametrize(
    ("price", "size"), [("x", "1"), ("1", "x"), ("nan", "1"), ("1", "Infinity"), ("1", "-1"), ("", "1"), ("1", "")]
)
def test_what_is_no_level_is_refused(price, size):
    side = Side(1)
    side.set("1", "5")
    with pytest.raises(ValueError, match=r"number|negative"):
        side.set(price, size)
    assert side.top() == [("1", "5")]


def test_a_price_is_a_number():
    side = Side(1)
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
