"""How long entries took: a histogram of fixed bins, cheap enough to take every single one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

__all__ = ["Latency"]

_BIN = 10_000
_FINE = 2_000
_COARSE = 1_000_000
_BINS = _FINE + 2_000


class Latency:
    """Counts durations in bins of 10 µs up to 20 ms, then of 1 ms up to 2 s; more is counted as 2 s."""

    def __init__(self) -> None:
        self._bins = [0] * (_BINS + 1)
        self.count = 0

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        self.add_since(nanoseconds, (0,))

    def add_since(self, now: int, times: Sequence[int]) -> None:
        """Count the duration from each of these times until ``now``, in nanoseconds."""
        bins = self._bins
        for time in times:
            index = (now - time) // _BIN
            if not 0 <= index < _FINE:
                index = 0 if index < 0 else min(_FINE + (now - time) // _COARSE, _BINS)
            bins[index] += 1
        self.count += len(times)

    def percentile(self, share: float) -> float | None:
        """The duration, in milliseconds, that ``share`` (0 to 1) of all don't exceed; ``None`` without any."""
        if not self.count:
            return None
        below = accumulate(self._bins)
        index = next(index for index, count in enumerate(below) if count >= share * self.count)
        return (index + 1) * _BIN / 1e6 if index < _FINE else float(index - _FINE + 1)

    def reset(self) -> None:
        """Start anew."""
        self._bins = [0] * (_BINS + 1)
        self.count = 0
