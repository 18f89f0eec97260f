"""When several things are due: at their intervals, soon after something has happened, never too often."""

from __future__ import annotations

from bridge.exchanges.toolkit.timing.schedule import Schedule
from tests.unit.core import SECOND, T0


def schedule():
    found = Schedule({"fills": 45.0, "balances": 20.0}, gather=0.3, apart=1.5)
    assert found.due(T0) == []
    return found


def dues(schedule, seconds, step=0.25):
    """What is due when, of this many seconds."""
    times = [n * step for n in range(1, int(seconds / step) + 1)]
    return [(at, due) for at in times if (due := schedule.due(T0 + int(at * SECOND)))]


def test_each_at_its_interval():
    assert dues(schedule(), 91) == [
        (20.0, ["balances"]),
        (40.0, ["balances"]),
        (45.0, ["fills"]),
        (60.0, ["balances"]),
        (80.0, ["balances"]),
        (90.0, ["fills"]),
    ]


def test_what_is_wanted_is_due_soon_and_its_interval_counts_from_then():
    wanted = schedule()
    wanted.want("balances", T0)
    wanted.want("balances", T0 + SECOND // 10)
    assert dues(wanted, 21) == [(0.5, ["balances"]), (20.5, ["balances"])]


def test_two_fetches_are_apart():
    wanted = schedule()
    wanted.want("balances", T0)
    assert wanted.due(T0 + SECOND) == ["balances"]
    wanted.want("fills", T0 + SECOND)
    assert wanted.due(T0 + 2 * SECOND) == []
    assert wanted.due(T0 + 5 * SECOND // 2) == ["fills"]


def test_later_on_request_but_no_later_than_the_interval():
    wanted = schedule()
    wanted.want("fills", T0, 5.0)
    wanted.want("balances", T0, 60.0)
    assert dues(wanted, 21) == [(5.0, ["fills"]), (20.0, ["balances"])]
