"""Back-pressure: sockets are read no faster than what came over them can be published."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["FlowControl", "Pausable"]

_REMEMBERED = 4_096
"""Pauses that are told apart when a silence is judged."""


class Pausable(Protocol):
    """A socket whose reading can be paused; what comes meanwhile waits in the system's buffers and with the peer."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again."""


class FlowControl:
    """Pauses all sockets of a connector's feed while anybody holds it.

    Time that a socket is not read is no silence of the exchange's: `paused_since` says how much to take off.
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._sockets: set[Pausable] = set()
        self._holders: set[object] = set()
        self._since = 0
        self._pauses: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        """Beginning and end of each (ns since the epoch), oldest first."""
        self._paused = 0
        self.pauses = 0
        """How often reading was paused."""

    @property
    def held(self) -> bool:
        return bool(self._holders)

    @property
    def seconds(self) -> float:
        """For how long reading was paused, all in all."""
        return (self._paused + (self._now() - self._since if self.held else 0)) / 1e9

    def hold(self, holder: object) -> None:
        """Read no more, until ``holder`` and all others have released the feed."""
        if not self._holders:
            self._since = self._now()
            self.pauses += 1
            for socket in self._sockets:
                socket.pause_reading()
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        """``holder`` has no objection to reading any more."""
        if holder not in self._holders:
            return
        self._holders.discard(holder)
        if not self._holders:
            now = max(self._now(), self._since)
            self._pauses.append((self._since, now))
            self._paused += now - self._since
            for socket in self._sockets:
                socket.resume_reading()

    def add(self, socket: Pausable) -> None:
        """Take care of a socket that has been opened."""
        self._sockets.add(socket)
        if self._holders:
            socket.pause_reading()

    def discard(self, socket: Pausable) -> None:
        """The socket is closed, or about to be: what it still says is of interest again."""
        if socket in self._sockets:
            self._sockets.discard(socket)
            if self._holders:
                socket.resume_reading()

    def paused_since(self, start: int) -> int:
        """Nanoseconds within which nothing was read since ``start`` (ns since the epoch)."""
        total = max(self._now() - max(self._since, start), 0) if self.held else 0
        for began, ended in reversed(self._pauses):
            if ended <= start:
                break
            total += ended - max(began, start)
        return total
