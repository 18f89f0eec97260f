"""Rolling open, high, low, close and volume, by minutes, in ticks and steps."""

from __future__ import annotations

from collections import deque

__all__ = ["Rolling"]

_BUCKET = 60.0


class _Minute:
    __slots__ = ("close", "high", "lots", "low", "number", "open")

    def __init__(self, number: int, ticks: int) -> None:
        self.number = number
        self.open = self.high = self.low = self.close = ticks
        self.lots = 0


class Rolling:
    """A window of ``seconds``. Trades come with their own time, so the window knows no clock.

    High, low and volume are carried forward, and recomputed only when a minute leaves the window.
    """

    def __init__(self, seconds: float = 86_400.0) -> None:
        self._keep = max(1, int(seconds / _BUCKET))
        self._minutes: deque[_Minute] = deque()
        self.high = 0
        self.low = 0
        self.lots = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was traded in the window."""
        return not self._minutes

    @property
    def open(self) -> int:
        """Price of the first trade in the window, in ticks."""
        return self._minutes[0].open

    @property
    def close(self) -> int:
        """Price of the newest trade, in ticks."""
        return self._minutes[-1].close

    def add(self, ticks: int, lots: int, now: float) -> None:
        """Count one trade at ``now`` (seconds)."""
        number = int(now // _BUCKET)
        if not self._minutes:
            self.high = self.low = ticks
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(_Minute(number, ticks))
            self._expire(number)
        minute = self._minutes[-1]
        minute.high = max(minute.high, ticks)
        minute.low = min(minute.low, ticks)
        minute.close = ticks
        minute.lots += lots
        self.high = max(self.high, ticks)
        self.low = min(self.low, ticks)
        self.lots += lots

    def _expire(self, number: int) -> None:
        if self._minutes[0].number > number - self._keep:
            return
        while self._minutes[0].number <= number - self._keep:
            self._minutes.popleft()
        self.high = max(minute.high for minute in self._minutes)
        self.low = min(minute.low for minute in self._minutes)
        self.lots = sum(minute.lots for minute in self._minutes)
