"""Maintenance that is announced over one connection, for the sessions of all."""

from __future__ import annotations

from bridge.exchanges.api import Pause, Warn
from bridge.exchanges.toolkit.maintenance import Maintenance
from tests.unit.core import SECOND, T0

END = T0 + 60 * SECOND


def note(maintenance, state, *, pauses=False, which="1", until=END):
    return maintenance.note(which, state, f"maintenance is {state}", T0, pauses=pauses, until=until)


def test_what_is_only_scheduled_is_said_once_and_pauses_nothing():
    maintenance = Maintenance()
    assert note(maintenance, "scheduled") == [Warn("maintenance is scheduled")]
    assert note(maintenance, "scheduled") == []
    assert maintenance.pause is None


def test_a_pause_lasts_until_the_end_by_our_clock():
    maintenance = Maintenance()
    maintenance.clock_offset = 5 * SECOND
    note(maintenance, "ongoing", pauses=True)
    assert maintenance.pause == Pause("maintenance is ongoing", END - 5 * SECOND)


def test_nobody_may_know_the_end():
    maintenance = Maintenance()
    note(maintenance, "ongoing", pauses=True, until=None)
    assert maintenance.pause == Pause("maintenance is ongoing", None)


def test_it_is_over_when_that_is_said_of_it_and_not_of_another():
    maintenance = Maintenance()
    note(maintenance, "ongoing", pauses=True)
    note(maintenance, "completed", which="2")
    assert maintenance.pause == Pause("maintenance is ongoing", END)
    note(maintenance, "completed")
    assert maintenance.pause == Pause("maintenance is completed", T0)
