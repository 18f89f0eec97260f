"""What is done about a book that is no good, and when: the subscription, a connection, then ever more rarely."""

from __future__ import annotations

import pytest

from bridge.sequencer.mending import Mending, Remedy, Step
from tests.unit.core import SECOND, T0

AGAIN, ANOTHER = Remedy.SUBSCRIPTION, Remedy.CONNECTION


def steps(mending, *moments):
    """Each trouble's remedy, and the seconds until it is due."""
    found = []
    for moment in moments:
        step = mending.trouble(T0 + moment * SECOND)
        found.append((step.remedy, (step.due - T0) / SECOND - moment))
    return found


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_a_storm_of_troubles(attempts):
    waits = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    expected = [(AGAIN, 0)] * attempts + [(ANOTHER, 0)] + [(AGAIN, wait) for wait in waits]
    assert steps(Mending(attempts), *range(len(expected))) == expected


@pytest.mark.parametrize(
    ("pause", "remedy"),
    [(60, ANOTHER), (61, AGAIN)],
    ids=["just not calm", "calm"],
)
def test_after_a_minute_of_calm_earlier_troubles_are_forgotten(pause, remedy):
    mending = Mending(2)
    assert steps(mending, 0, 1) == [(AGAIN, 0), (AGAIN, 0)]
    assert steps(mending, 1 + pause) == [(remedy, 0)]


def test_time_that_was_waited_is_not_calm():
    """A remedy that is due only in a minute can't have been of any use before."""
    mending = Mending(0)
    moments = range(10)
    assert steps(mending, *moments)[-1] == (AGAIN, 60)
    assert steps(mending, 9 + 120) == [(AGAIN, 60)]
    assert steps(mending, 9 + 120 + 121) == [(ANOTHER, 0)]


def test_a_step_is_plain():
    assert Mending(1).trouble(T0) == Step(AGAIN, T0)
