"""An exchange's own pings, as text messages, and the end of a connection over which nothing answers them."""

from __future__ import annotations

from bridge.exchanges.api import Output, Reconnect, Send
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["NoPings", "Pings"]

_LATE = 3 * SECOND
"""Between two ticks, which should come four times a second; beyond, it is this process that was busy."""


class Pings:
    """Sends ``text`` every ``every`` seconds.

    ``limit`` is the number of seconds within which a frame, any frame, has to follow: a proxy can keep a socket open,
    and answer protocol pings, for an exchange that is gone. ``None`` leaves silence to others.
    """

    def __init__(self, text: str, every: float, limit: float | None = None) -> None:
        self._text = text
        self._every = int(every * SECOND)
        self._limit = None if limit is None else int(limit * SECOND)
        self._pinged = 0
        self._until: int
        """Until when something has to come."""
        self._ticked = 0
        self.heard = True
        """Whether a frame has come since the last ping; the session sets it."""

    def begin(self, now: int) -> None:
        """The connection is open: the first ping is due in one period."""
        self._pinged = self._ticked = now

    def tick(self, now: int) -> list[Output]:
        """Ping if it is time, or give the connection up."""
        limit = self._limit or 0
        if not 0 <= now - self._ticked <= _LATE:
            self._until = now + limit
            self._pinged = min(self._pinged, now)  # our clock may have been set back, by hours
        self._ticked = now
        if limit and not self.heard and now > self._until:
            self.heard = True
            return [Reconnect(f"nothing came within {limit // SECOND} s of a ping")]
        if now - self._pinged < self._every:
            return []
        self._pinged, self._until, self.heard = now, now + limit, False
        return [Send(self._text)]


class NoPings(Pings):
    """For an exchange that has none of its own."""

    def __init__(self) -> None:
        super().__init__("", 0)

    def tick(self, now: int) -> list[Output]:
        """Nothing is due, ever."""
        del now
        return []
