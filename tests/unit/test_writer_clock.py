"""When a writer's entries were received, whatever the clocks of the two hosts show."""

from __future__ import annotations

import pytest

from bridge.connector.writer_clock import WriterClock

S = 1_000_000_000
NOW = 1_796_000_000 * S
AGO = 3 * S


def heartbeat(*, behind: int = 0, ahead: int = 0, ids_ahead: int = 0, instance: str = "a") -> dict[str, str]:
    """Seen at `NOW`, of a process whose steady clock is ``behind``, on a host whose clock was set ``ahead``."""
    steady = NOW - behind
    shown = {"at": steady + ahead, "steady": steady, "ids_ahead": ids_ahead}
    return {"instance": instance, **{name: str(value) for name, value in shown.items()}}


def found(clock: WriterClock, *, behind: int = 0, ahead: int = 0, ids_ahead: int = 0, clamped: int = 0) -> int:
    """What the clock makes of an entry that was received `AGO`; how far that is from the truth (ns)."""
    steady = NOW - AGO - behind
    return clock.received(steady + ahead, (steady + ids_ahead + clamped) // 1_000_000, NOW) - (NOW - AGO)


@pytest.mark.parametrize("behind", [0, 7200 * S, -30 * S])
@pytest.mark.parametrize("ahead", [0, 2 * S, -7200 * S])
@pytest.mark.parametrize("ids_ahead", [0, -30 * S])
def test_to_the_nanosecond_while_no_clock_is_set(behind: int, ahead: int, ids_ahead: int) -> None:
    clock = WriterClock()
    clock.seen(heartbeat(behind=behind, ahead=ahead, ids_ahead=ids_ahead), NOW)
    assert found(clock, behind=behind, ahead=ahead, ids_ahead=ids_ahead) == 0
    assert clock.id_time(NOW - AGO) == NOW - AGO - behind + ids_ahead


@pytest.mark.parametrize("ahead", [2 * S, -7200 * S])
def test_to_the_millisecond_where_a_clock_was_set_since(ahead: int) -> None:
    clock = WriterClock()
    clock.seen(heartbeat(behind=30 * S), NOW)
    assert -1_000_000 < found(clock, behind=30 * S, ahead=ahead) <= 0


def test_ids_of_a_process_whose_clock_is_behind_stand_still() -> None:
    clock = WriterClock()
    clock.seen(heartbeat(behind=7200 * S), NOW)
    assert found(clock, behind=7200 * S, clamped=7200 * S) == 0


def test_a_heartbeat_that_is_seen_late_does_not_count() -> None:
    clock = WriterClock()
    for late in (3 * S, 0, 5 * S):
        clock.seen(heartbeat(behind=30 * S + late), NOW)
    assert found(clock, behind=30 * S) == 0


def test_another_process_has_another_clock() -> None:
    clock = WriterClock()
    clock.seen(heartbeat(), NOW)
    clock.seen(heartbeat(behind=30 * S, instance="b"), NOW)
    assert found(clock, behind=30 * S) == 0


@pytest.mark.parametrize("odd", [{}, {"at": ""}, {"at": "x", "steady": "1"}, {"at": "9" * 500}, {"at": "\u0661"}])
def test_without_a_time_clocks_are_alike(odd: dict[str, str]) -> None:
    clock = WriterClock()
    clock.seen({"instance": "a", **odd}, NOW)
    assert found(clock) == 0
    assert found(clock, ahead=-7200 * S) <= 0


def test_an_earlier_version_shows_one_clock() -> None:
    clock = WriterClock()
    clock.seen({"instance": "a", "at": str(NOW - 30 * S)}, NOW)
    assert found(clock, behind=30 * S) == 0


def test_nothing_was_received_later_than_now() -> None:
    assert WriterClock().received(NOW + 5, NOW // 1_000_000, NOW) == NOW
