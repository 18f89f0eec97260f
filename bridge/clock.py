"""The clock that the bridge measures by: it shows the time, and nobody can set it.

A host's clock may be set while a connector runs: by NTP, by hand, after a virtual machine was paused. What is measured
(silence, ages, deadlines, latency) must not notice, so inside the process all times are of `SteadyClock.now`: the
host's time when the process began, carried on by the monotonic clock. What others read as the time of receipt is by the
host's clock, whatever that shows: `SteadyClock.shift` is added on the way out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["CLOCK", "SteadyClock"]

_SET = 1_000_000
"""A difference to the host's clock (ns) from which on that has been set; less is the measurement's."""
_TRIES = 5


class SteadyClock:
    """Nanoseconds since the epoch that never jump. ``wall`` is the host's clock, ``monotonic`` the one that isn't set."""

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._epoch = self._difference()[0]
        self.shift = 0
        """By how much the host's clock has been set (ns) since the process began, as of the last `look`."""

    def now(self) -> int:
        """The time, going on evenly (ns since the epoch)."""
        return self._monotonic() + self._epoch

    def look(self) -> int:
        """Compare with the host's clock, and return the `shift`; to be called a few times a second."""
        difference, error = self._difference()
        if abs(difference - self._epoch - self.shift) >= _SET + error:
            self.shift = difference - self._epoch
        return self.shift

    def _difference(self) -> tuple[int, int]:
        """By how much the host's clock is ahead of the monotonic one, and by how much that may be wrong (ns).

        A process that has to wait between the two readings sees them far apart: the best of a few tries counts.
        """
        best = (0, 1 << 63)
        for _ in range(_TRIES):
            before = self._monotonic()
            shown = self._wall()
            after = self._monotonic()
            error = (after - before) // 2
            if error < best[1]:
                best = (shown - before - error, error)
            if error < _SET // 10:
                break
        return best


CLOCK = SteadyClock()
"""The process' own."""
