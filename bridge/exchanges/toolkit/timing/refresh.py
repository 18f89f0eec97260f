"""When an account's state is to be fetched by REST."""

from __future__ import annotations

from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["APART", "LONGEST", "Refresh"]

APART = 5 * SECOND
"""Least time between two fetches: a run of frames that nobody understands must not become one of REST calls."""
LONGEST = 60 * SECOND
"""Most between two attempts, unless the exchange asks for more."""


class Refresh:
    """Remembers that the state is wanted, until it has been fetched; times in ns.

    The time between two fetches doubles with each that a bad frame or a failure calls for, up to ``longest``, and is as
    at first once nothing has called for one for twice as long. Where ``longest`` is `APART`, it is always the same.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._due: int | None = None
        self._not_before = 0
        self._apart = APART
        self._called_for = False
        """Whether the present fetch is one that was wanted."""

    @property
    def wanted(self) -> bool:
        """Whether it is to be fetched, now or later."""
        return self._due is not None

    def want(self, now: int) -> None:
        """It is wanted soon, but not before the exchange is to be asked again."""
        if self._due is None:
            if now - self._not_before > 2 * self._apart:
                self._apart = APART
            self._due = max(now, self._not_before)

    def due(self, now: int) -> bool:
        """Whether it is time; said once."""
        if self._due is None or now < self._due:
            return False
        self.begun(now)
        self._called_for = True
        return True

    def begun(self, now: int) -> None:
        """It is being fetched, whoever has called for it."""
        self._due, self._not_before = None, max(self._not_before, now + APART)

    def failed(self, now: int, retry_after: float | None) -> None:
        """It could not be fetched: again later, and ever later."""
        self._put_off(now, retry_after or 0.0)
        self._due = self._not_before

    def done(self, now: int) -> None:
        """It has been fetched."""
        if self._called_for:
            self._put_off(now, 0.0)

    def _put_off(self, now: int, least: float) -> None:
        self._called_for = False
        self._not_before = now + max(self._apart, int(least * SECOND))
        self._apart = min(self._apart * 2, self._longest)
