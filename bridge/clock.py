"""A clock for measurements: it shows the time, but cannot be set.

A host's clock may be set while a connector runs: by NTP, by hand, or after a virtual machine was paused. This must not
affect measurements (silence, ages, deadlines, latency), so all times inside the process come from `SteadyClock.now`: the
host's time at the start, continued by the monotonic clock. The published time of receipt follows the host's clock:
`SteadyClock.shift` is added on output.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["CLOCK", "SteadyClock"]

_SET = 1_000_000
"""A difference to the host's clock (ns) above which that clock was set; smaller ones are measurement errors."""
_TRIES = 5


class SteadyClock:
    """Nanoseconds since the epoch that never jump. ``wall`` is the host's clock, ``monotonic`` the monotonic one."""

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._epoch = self._difference()[0]
        self.shift = 0
        """By how much the host's clock has been set (ns) since the start, as of the last `look`."""

    def now(self) -> int:
        """The steady time (ns since the epoch)."""
        return self._monotonic() + self._epoch

    def look(self) -> int:
        """Compare with the host's clock, and return the `shift`; call it a few times a second."""
        difference, error = self._difference()
        if abs(difference - self._epoch - self.shift) >= _SET + error:
            self.shift = difference - self._epoch
        return self.shift

    def _difference(self) -> tuple[int, int]:
        """By how much the host's clock is ahead of the monotonic clock, and the maximum error (ns).

        A process may be suspended between the two readings, so the best of several attempts is used.
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
"""The clock of this process."""
