"""Maintenance that is announced over one connection, for the sessions of all."""

from __future__ import annotations

from bridge.exchanges.api import Pause, Warn
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from tests.unit.core import SECOND, T0

END = T0 + 60 * SECOND


def note(maintenance, state, *, pauses=False, title="upgrade", until=END):
    return maintenance.note(title, state, T0, begins="noon", pauses=pauses, until=until)


def words(state, end=f" to {END // 10**6}"):
    return f"maintenance is '{state}', from 'noon'{end} (ms since 1970): 'upgrade'"


def test_what_is_only_scheduled_is_said_once_and_pauses_nothing():
    maintenance = Maintenance()
    assert note(maintenance, "scheduled") == [Warn(words("scheduled"))]
    assert note(maintenance, "scheduled") == []
    assert maintenance.pause is None


def test_a_pause_lasts_until_the_end_by_our_clock():
    maintenance = Maintenance()
    maintenance.clock_offset = 5 * SECOND
    note(maintenance, "ongoing", pauses=True)
    assert maintenance.pause == Pause(words("ongoing"), END - 5 * SECOND)


def test_nobody_may_know_the_end():
    maintenance = Maintenance()
    note(maintenance, "ongoing", pauses=True, until=None)
    assert maintenance.pause == Pause(words("ongoing", ""), None)


def test_it_is_over_when_that_is_said_of_it_and_not_of_another():
    maintenance = Maintenance()
    note(maintenance, "ongoing", pauses=True)
    note(maintenance, "completed", title="another")
    assert maintenance.pause == Pause(words("ongoing"), END)
    note(maintenance, "completed")
    assert maintenance.pause == Pause(words("completed"), T0)
