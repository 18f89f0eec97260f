"""When the feed must be read more slowly, because Redis takes less than comes."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Pressure"]

_HIGH = 2 * 1024 * 1024
_SHARE = 4
"""The feed is held at this many bytes, or at this part of the buffer's budget where that is less."""
_LOW = 4
"""It is released at this part of them."""
_LONGEST = 5.0
"""Seconds for which it is held at most without a release: exchanges want their pings answered."""


class Pressure:
    """Holds the feed while too much is unacknowledged; in bytes of the buffer's budget.

    If Redis acknowledges nothing for as long as a hold may last, the feed is read again, and the buffer's own limits
    decide what becomes of it, until Redis answers. ``hold`` is called when
    the feed is to be read no more, ``release`` when it may be again.
    """

    def __init__(self, most: int, hold: Callable[[], None], release: Callable[[], None]) -> None:
        self._most = most
        self._high = min(_HIGH, most // _SHARE)
        self._low = self._high // _LOW
        self._hold = hold
        self._release = release
        self._until: float
        self.held = False
        self.limit = self._high
        """Bytes beyond which somebody has to look: at the pressure, or at the budget."""

    @property
    def engaged(self) -> bool:
        """Whether an acknowledgement changes anything: the feed is held, or has been let go on because none came."""
        return self.limit != self._high

    def exceeded(self, now: float) -> None:
        """More than ``limit`` bytes wait; ``now`` is the loop's time."""
        self.limit = self._most
        if not self.held:
            self.held = True
            self._until = now + _LONGEST
            self._hold()

    def eased(self, waiting: int) -> None:
        """Redis has answered, and so many bytes are left."""
        if not self.held:
            self.limit = self._high
        elif waiting <= self._low:
            self.release()
            self.limit = self._high

    def check(self, now: float) -> None:
        """Hold the feed no longer than an exchange's patience lasts; called now and then."""
        if self.held and now >= self._until:
            self.release()

    def release(self) -> None:
        """Let the feed be read, whatever waits: until Redis answers again, the budget decides."""
        if self.held:
            self.held = False
            self._release()
