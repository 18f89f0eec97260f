"""Fills that come by another way than their orders: which are lacking, and for how long they are asked for."""

from __future__ import annotations

import pytest
from msgspec import structs

from bridge.exchanges.toolkit.accounts.fill_sums import FillSums
from tests.unit.core import SECOND, T0, fill, order


def filled(ident, size):
    return order(ident, "partially_filled", filled=size)


def part(ident, order_id, size):
    return structs.replace(fill(ident), order_id=order_id, size=size)


@pytest.fixture
def sums():
    found = FillSums()
    found.fills([])
    return found


def test_what_was_filled_before_the_first_look_is_not_lacking():
    found = FillSums()
    found.orders([filled("o", "0.5")])
    assert found.lacking() == []
    found.fills([part("f1", "o", "0.1")])
    assert found.lacking() == []
    found.orders([filled("o", "0.7")])
    assert found.lacking() == ["o"]
    found.fills([part("f1", "o", "0.1"), part("f2", "o", "0.20")])
    assert found.lacking() == []


def test_a_fill_of_the_answer_before_counts_once(sums):
    sums.orders([filled("o", "0.2")])
    for _ in range(2):
        sums.fills([part("f", "o", "0.1")])
        assert sums.lacking() == ["o"]
    sums.fills([part("f", "o", "0.1"), part("g", "o", "0.1")])
    assert sums.lacking() == []


def test_a_fill_may_come_before_its_order(sums):
    sums.fills([part("f", "o", "0.1")])
    sums.orders([filled("o", "0.1")])
    assert sums.lacking() == []


def test_it_is_asked_for_again_three_times(sums):
    assert sums.wait(T0) is None
    sums.orders([filled("o", "0.1")])
    assert [sums.wait(T0 + seconds * SECOND) for seconds in (0, 1, 3, 8)] == [1.0, 2.0, 5.0, 0.0]
    sums.settle()
    assert sums.wait(T0 + 9 * SECOND) is None
    sums.orders([filled("o", "0.2")])
    assert sums.wait(T0 + 20 * SECOND) == 1.0


def test_one_whose_sizes_cant_be_compared_is_left_out(sums):
    sums.orders([filled("o", "0.1")])
    sums.forget("o")
    assert sums.lacking() == []


def test_without_a_size_in_coins_nothing_is_expected(sums):
    sums.orders([filled("o", "")])
    sums.fills([part("f", "o", "")])
    assert sums.lacking() == []


def test_it_remembers_so_many_orders(sums):
    sums.orders([filled(f"o{n}", "1") for n in range(10_001)])
    assert len(sums.lacking()) == 10_000
    assert "o0" not in sums.lacking()
