"""Events per second, over the last few seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Rate"]

_WINDOW = 3.0
_HISTORY = 60


class Rate:
    """Counts events by second. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_HISTORY + 1)

    def add(self, count: int) -> None:
        """Count ``count`` events now."""
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + count)
        else:
            self._seconds.append((second, count))

    def per_second(self) -> float:
        """The mean over the last three whole seconds, or fewer at the start."""
        now = self._clock()
        span = min(_WINDOW, max(1.0, int(now) - int(self._began)))
        return sum(count for second, count in self._seconds if int(now) - span <= second < int(now)) / span

    def history(self, seconds: int) -> list[int]:
        """The events of each of the last whole seconds, oldest first."""
        counts = dict(self._seconds)
        now = int(self._clock())
        return [counts.get(second, 0) for second in range(now - min(seconds, _HISTORY), now)]
