"""The clock that the bridge measures by, beside a host's clock that is set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.clock import SteadyClock

T0 = 1_700_000_000 * 10**9
SECOND = 10**9
HOUR = 3600 * SECOND


class Host:
    """A machine whose clock can be set; ``late`` is how long a reading of it takes, one after the other."""

    def __init__(self) -> None:
        self.passed = 5 * HOUR
        self.ahead = T0
        self.late: list[int] = []

    def monotonic(self) -> int:
        return self.passed

    def wall(self) -> int:
        self.passed += self.late.pop(0) if self.late else 0
        return self.passed + self.ahead

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, self.monotonic)


def test_it_begins_with_the_hosts_time_and_goes_on_evenly():
    host = Host()
    clock = host.clock()
    begun = clock.now()
    assert begun == T0 + 5 * HOUR
    for ahead in (T0 + 30 * HOUR, T0 - 2 * HOUR, T0):
        host.ahead = ahead
        host.passed += SECOND
        clock.look()
    assert clock.now() == begun + 3 * SECOND


def test_it_knows_by_how_much_the_hosts_clock_was_set():
    host = Host()
    clock = host.clock()
    assert clock.look() == clock.shift == 0
    for shift in (30 * HOUR, -2 * HOUR, SECOND // 100, 0):
        host.ahead = T0 + shift
        assert clock.look() == clock.shift == shift
        assert clock.now() + clock.shift == host.wall()


@given(st.lists(st.integers(-20_000, 20_000), max_size=50))
def test_what_the_measurement_is_off_by_is_no_shift(errors):
    host = Host()
    clock = host.clock()
    for error in errors:
        host.ahead = T0 + error
        assert clock.look() == 0


def test_many_small_steps_are_one_large_one():
    host = Host()
    clock = host.clock()
    for _ in range(100):
        host.ahead += SECOND // 2_000
        clock.look()
    assert abs(clock.shift - SECOND // 20) < 1_000_000


def test_a_process_that_had_to_wait_has_not_seen_the_clock_set():
    host = Host()
    host.late = [SECOND // 5, 0]
    clock = host.clock()
    assert clock.now() == host.wall()
    host.late = [SECOND] * 100
    assert clock.look() == 0
