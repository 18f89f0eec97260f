"""Back-pressure: sockets are read no faster than what came over them can be published."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from bridge.clock import CLOCK

__all__ = ["FlowControl", "Pausable"]

_REMEMBERED = 4_096
"""Pauses that are told apart when a silence is judged."""


class Pausable(Protocol):
    """A connection whose reading can be paused; what comes meanwhile waits in the system's buffers and with the peer."""

    def pause_reading(self) -> None:
        """Read no more; it may be paused already."""

    def resume_reading(self) -> None:
        """Read again."""


class FlowControl:
    """Pauses all connections of a connector's feed while anybody holds it.

    Time in which nothing is read is no silence of the exchange's: `paused_since` says how much to take off.
    """

    def __init__(self, now: Callable[[], int] = CLOCK.now) -> None:
        self._now = now
        self._connections: set[Pausable] = set()
        self._holders: set[object] = set()
        self._since = 0
        self._pauses: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        """Beginning and end of each (ns since the epoch), oldest first."""
        self._paused = 0
        self.pauses = 0
        """How often reading was paused."""
        self.held = False

    @property
    def seconds(self) -> float:
        """For how long reading was paused, all in all."""
        return (self._paused + (self._now() - self._since if self.held else 0)) / 1e9

    def hold(self, holder: object) -> None:
        """Read no more, until ``holder`` and all others have released the feed."""
        if not self._holders:
            self._since = self._now()
            self.pauses += 1
            self.held = True
            for connection in self._connections:
                connection.pause_reading()
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        """``holder`` has no objection to reading any more."""
        if holder not in self._holders:
            return
        self._holders.discard(holder)
        if not self._holders:
            self.held = False
            now = max(self._now(), self._since)
            self._pauses.append((self._since, now))
            self._paused += now - self._since
            for connection in self._connections:
                connection.resume_reading()

    def add(self, connection: Pausable) -> None:
        """Take care of a connection that has been opened."""
        self._connections.add(connection)
        if self._holders:
            connection.pause_reading()

    def discard(self, connection: Pausable) -> None:
        """The connection is closed, or about to be: its end must be seen."""
        if connection in self._connections:
            self._connections.discard(connection)
            if self._holders:
                connection.resume_reading()

    def paused_since(self, start: int) -> int:
        """Nanoseconds within which nothing was read since ``start`` (ns since the epoch)."""
        total = max(self._now() - max(self._since, start), 0) if self.held else 0
        for began, ended in reversed(self._pauses):
            if ended <= start:
                break
            total += ended - max(began, start)
        return total
