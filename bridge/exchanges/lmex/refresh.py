"""When an account's state is to be fetched by REST."""

from __future__ import annotations

from bridge.exchanges.base import SECOND

__all__ = ["Refresh"]

_APART = 5 * SECOND
"""Least time between two fetches: a run of frames that nobody understands must not become one of REST calls."""
_LONGEST = 60 * SECOND
"""Most between two attempts, unless the exchange asks for more."""


class Refresh:
    """Remembers that the state is wanted, until it has been fetched; times in ns."""

    def __init__(self) -> None:
        self._due: int | None = None
        self._not_before = 0
        self._wait = _APART

    def want(self, now: int) -> None:
        """It is wanted soon, but not before the exchange is to be asked again."""
        soon = max(now, self._not_before)
        self._due = soon if self._due is None else min(self._due, soon)

    def due(self, now: int) -> bool:
        """Whether it is time; said once."""
        if self._due is None or now < self._due:
            return False
        self.begun(now)
        return True

    def begun(self, now: int) -> None:
        """It is being fetched."""
        self._due, self._not_before = None, now + _APART

    def failed(self, now: int, retry_after: float | None) -> None:
        """It could not be fetched: again later, and ever later."""
        self._due = self._not_before = now + max(self._wait, int((retry_after or 0.0) * SECOND))
        self._wait = min(self._wait * 2, _LONGEST)

    def done(self) -> None:
        """It has been fetched."""
        self._wait = _APART
