from __future__ import annotations

import pytest

from bridge.publish.pressure import Pressure

BUDGET = 1000
HIGH, LOW = 250, 62


@pytest.fixture
def told():
    return []


@pytest.fixture
def pressure(told):
    return Pressure(BUDGET, lambda: told.append("hold"), lambda: told.append("release"))


def test_the_feed_is_held_once_and_released_well_below(pressure, told):
    assert pressure.limit == HIGH
    pressure.exceeded(0.0)
    pressure.exceeded(0.1)
    assert (told, pressure.limit) == (["hold"], BUDGET)
    pressure.eased(LOW + 1)
    assert told == ["hold"]
    pressure.eased(LOW)
    assert (told, pressure.limit, pressure.held) == (["hold", "release"], HIGH, False)


def test_a_hold_ends_before_the_exchange_loses_patience(pressure, told):
    pressure.exceeded(10.0)
    pressure.check(14.9)
    assert told == ["hold"]
    pressure.check(15.0)
    assert (told, pressure.limit) == (["hold", "release"], BUDGET)


def test_a_redis_that_acknowledges_nothing_leaves_it_to_the_budget(pressure, told):
    pressure.exceeded(0.0)
    pressure.check(5.0)
    assert pressure.limit == BUDGET
    pressure.eased(HIGH * 2)
    assert pressure.limit == HIGH, "it answers again: the next event is looked at"
    pressure.exceeded(9.0)
    assert told == ["hold", "release", "hold"]


def test_a_lost_connection_releases(pressure, told):
    pressure.release()
    assert told == []
    pressure.exceeded(0.0)
    pressure.release()
    pressure.release()
    assert (told, pressure.limit) == (["hold", "release"], BUDGET)


def test_a_large_budget_is_not_filled_by_a_healthy_redis():
    assert Pressure(1 << 40, lambda: None, lambda: None).limit == 2 * 1024 * 1024
