"""Orders' states that come twice, or late."""

from __future__ import annotations

import pytest
from msgspec import structs

from bridge.exchanges.toolkit.values.order_states import OrderStates
from tests.unit.core import SECOND, T0, fill, order


def at(seconds, status="open", **more):
    return structs.replace(order("o1", status, **more), ts=T0 + seconds * SECOND)


def test_the_same_again_is_no_news_though_its_time_is_another():
    states = OrderStates()
    assert states.is_news(at(0))
    assert not states.is_news(at(0))
    assert not states.is_news(at(5))
    assert states.is_news(at(5, "partially_filled", filled="1"))


def test_an_order_that_has_ended_is_not_reopened_by_an_older_state():
    states = OrderStates()
    assert states.is_news(at(5, "filled", filled="1"))
    assert not states.is_news(at(3, "partially_filled", filled="0.5"))
    assert not states.is_news(at(6, "filled", filled="1"))


@pytest.mark.parametrize("seconds", [0, 5, 9])
@pytest.mark.parametrize("again", ["open", "partially_filled", "filled", "cancelled"])
@pytest.mark.parametrize("end", ["filled", "cancelled", "rejected"])
def test_nothing_reopens_an_order_whatever_its_time(end, again, seconds):
    states = OrderStates()
    assert states.is_news(at(5, end, filled="0.5"))
    assert not states.is_news(at(seconds, again, filled="0.5"))


def test_an_earlier_state_that_is_told_again_with_a_newer_time_is_no_news():
    states = OrderStates()
    assert states.is_news(at(0, "partially_filled", filled="9"))
    assert states.is_news(at(3, "partially_filled", filled="10"))
    assert not states.is_news(at(5, "partially_filled", filled="9"))
    assert states.is_news(at(4, "cancelled", filled="10"))


def test_how_far_one_is_filled_may_be_unknown():
    states = OrderStates()
    assert states.is_news(at(0, filled=""))
    assert states.is_news(at(1, "partially_filled", filled=""))
    assert states.is_news(at(2, "filled", filled=""))


def test_the_first_state_may_be_the_last():
    assert OrderStates().is_news(at(0, "cancelled"))


def test_orders_are_apart_and_other_events_are_news():
    states = OrderStates()
    assert all(states.is_news(event) for event in (at(0), structs.replace(at(0), pair="X-Y"), order("o2")))
    assert all(states.is_news(fill("f")) for _ in range(2))


def test_the_oldest_are_forgotten():
    states = OrderStates()
    for number in range(10_001):
        states.is_news(order(str(number)))
    assert states.is_news(order("0"))
    assert not states.is_news(order("5000"))
