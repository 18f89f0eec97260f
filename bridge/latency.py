"""How long things took: histograms that cost next to nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

__all__ = ["EDGES", "NEVER", "Histogram", "Latency"]

_BIN = 10_000
_FINE = 2_000
_COARSE = 1_000_000
_BINS = _FINE + 2_000

_MANY = 100
"""Durations that came to an end at once, from twice as many on of which about this many are looked at: those of a batch lie close together."""

NEVER = 1 << 63
"""A time (ns) later than that of any event."""

EDGES = tuple(round(10_000 * 1.1**step) for step in range(194))
"""Upper edges of the bins of a `Histogram` (ns), from 10 µs to 16 minutes, each a tenth above the last."""
_FEW = 200
"""Up to this many durations, it is cheaper to look up the bin of each."""
_SAMPLE = 1_000
"""The approximate size of the sample that is taken from thousands of durations."""


class Latency:
    """Counts durations in bins of 10 µs up to 20 ms, then of 1 ms up to 2 s; more is counted as 2 s."""

    def __init__(self) -> None:
        self._bins = [0] * (_BINS + 1)
        self.count = 0

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        self.add_since(nanoseconds, (0,))

    def add_since(self, now: int, times: Sequence[int]) -> None:
        """Count the duration from each of these times until ``now``, in nanoseconds; of hundreds, an even sample stands for all."""
        step = len(times) // _MANY
        if step < 2:
            self._count(now, times, 1)
            return
        whole = len(times) - len(times) % step
        self._count(now, times[:whole:step], step)
        self._count(now, times[whole:], 1)

    def _count(self, now: int, times: Sequence[int], weight: int) -> None:
        bins = self._bins
        for time in times:
            index = (now - time) // _BIN
            if not 0 <= index < _FINE:
                index = 0 if index < 0 else min(_FINE + (now - time) // _COARSE, _BINS)
            bins[index] += weight
        self.count += len(times) * weight

    def percentile(self, share: float) -> float | None:
        """The duration in milliseconds that a fraction ``share`` (0 to 1) does not exceed; ``None`` without any."""
        if not self.count:
            return None
        below = accumulate(self._bins)
        index = next(index for index, count in enumerate(below) if count >= share * self.count)
        return (index + 1) * _BIN / 1e6 if index < _FINE else float(index - _FINE + 1)

    def cumulative(self, edges: Sequence[int]) -> list[int]:
        """How many do not exceed each of these durations (ns), to within a bin, for the buckets of Prometheus."""
        upto = [0, *accumulate(self._bins)]
        return [upto[edge // _BIN if edge <= _FINE * _BIN else min(_FINE + edge // _COARSE, _BINS)] for edge in edges]

    @property
    def total(self) -> int:
        """The sum of all durations (ns), each taken as the middle of its bin."""
        fine = sum((index * _BIN + _BIN // 2) * count for index, count in enumerate(self._bins[:_FINE]) if count)
        coarse = enumerate(self._bins[_FINE:])
        return fine + sum((index * _COARSE + _COARSE // 2) * count for index, count in coarse if count)

    def reset(self) -> None:
        """Reset all counts."""
        self._bins = [0] * (_BINS + 1)
        self.count = 0


class Histogram:
    """Counts durations in bins that widen by a tenth each, from 10 µs to 16 minutes; shorter ones are in the first.

    It is made for batches. From thousands of durations, an even sample is counted in bins; count, sum and maximum
    include all of them.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        """How many were not above each of `EDGES`, and above the edge before; the last one: above all of them."""
        self.count = 0
        self.total = 0
        """The sum of all, in nanoseconds."""
        self.most: int | None = None
        """The longest, in nanoseconds."""

    def add(self, durations: Sequence[int], shift: int = 0) -> None:
        """Count durations (ns), each with ``shift`` added."""
        if not durations:
            return
        rest, step = durations, 1
        if len(durations) > _FEW:
            step = max(len(durations) // _SAMPLE, 1)
            whole = len(durations) - len(durations) % step
            self._add_sorted(sorted(durations[:whole:step]), shift, step)
            rest = durations[whole:]
        for duration in rest:
            self.counts[bisect_left(EDGES, duration + shift)] += 1
        self.count += len(durations)
        self.total += sum(durations) + shift * len(durations)
        longest = max(durations) + shift
        self.most = longest if self.most is None else max(self.most, longest)

    def _add_sorted(self, ordered: list[int], shift: int, weight: int) -> None:
        below = 0
        for index, edge in enumerate(EDGES):
            upto = bisect_right(ordered, edge - shift, below)
            self.counts[index] += (upto - below) * weight
            below = upto
            if below == len(ordered):
                return
        self.counts[-1] += (len(ordered) - below) * weight

    def merge(self, other: Histogram) -> None:
        """Add the counts of ``other``."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.count += other.count
        self.total += other.total
        if other.most is not None:
            self.most = other.most if self.most is None else max(self.most, other.most)

    def percentile(self, share: float) -> int | None:
        """The duration (ns, at most a tenth too long) that a fraction ``share`` does not exceed; ``None`` without any."""
        if self.most is None:
            return None
        wanted = share * self.count
        index = next(index for index, upto in enumerate(accumulate(self.counts)) if upto >= wanted)
        return min(EDGES[index], self.most) if index < len(EDGES) else self.most

    def cumulative(self, edges: Sequence[int]) -> list[int]:
        """How many do not exceed each of these durations (ns), to within a bin, for the buckets of Prometheus."""
        upto = [0, *accumulate(self.counts)]
        return [upto[bisect_right(EDGES, edge)] for edge in edges]
