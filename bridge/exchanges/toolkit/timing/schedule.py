"""When each of several things is to be fetched: at intervals, and soon after something has happened to it."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["Schedule"]


class Schedule:
    """The times of what is fetched together; times in ns.

    Args:
        intervals: thing → seconds after which it is fetched again, whatever happens.
        gather: seconds after something has happened, during which more may happen.
        apart: least seconds between two fetches of any of them.
    """

    def __init__(self, intervals: Mapping[str, float], *, gather: float, apart: float) -> None:
        self._intervals = {name: int(seconds * SECOND) for name, seconds in intervals.items()}
        self._gather = int(gather * SECOND)
        self._apart = int(apart * SECOND)
        self._at: dict[str, int] = {}
        self._not_before = 0

    def want(self, name: str, now: int, after: float | None = None) -> None:
        """Something has happened to it: it is due soon, or ``after`` so many seconds."""
        at = now + (self._gather if after is None else int(after * SECOND))
        self._at[name] = min(at, self._at.get(name, at))

    def due(self, now: int) -> list[str]:
        """What is to be fetched now, in the order of the intervals; each is due again after its own."""
        for name, interval in self._intervals.items():
            self._at.setdefault(name, now + interval)
        if now < self._not_before:
            return []
        found = [name for name in self._intervals if self._at[name] <= now]
        if found:
            self._not_before = now + self._apart
        self._at.update({name: now + self._intervals[name] for name in found})
        return found
