"""What of a connection has been read and not been understood yet, because its feed is held."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bridge.feed.flow import FlowControl, Pausable

__all__ = ["Intake"]

_FRAMES_PER_TURN = 256


class Intake:
    """Pauses one connection's socket, and keeps the frames that a last read has brought (`Pausable`).

    One read can bring thousands of frames, whose entries would all have to wait for Redis. They are kept as bytes, with
    the time when they came, and handed to ``understand`` a few per turn of the loop once the feed is released; only then
    is the socket read again. So its memory is bounded by what one read brings.
    """

    def __init__(self, flow: FlowControl, understand: Callable[[bytes, int], None]) -> None:
        self._flow = flow
        self._understand = understand
        self._socket: Pausable | None = None
        self._paused = False
        self._scheduled = False
        self.frames: deque[tuple[bytes, int]] = deque()
        flow.add(self)

    def opened(self, socket: Pausable) -> None:
        """The connection has its socket; frames may have come over it before."""
        self._socket = socket
        if self._flow.held:
            self.pause_reading()

    def close(self) -> None:
        """Read on whatever happens: the end of the connection must be seen."""
        self._flow.discard(self)
        self.frames.clear()

    def flush(self) -> None:
        """Hand over all that is left: nothing more will come."""
        while self.frames:
            self._understand(*self.frames.popleft())

    def pause_reading(self) -> None:
        """Take nothing more off the socket."""
        if self._socket and not self._paused:
            self._paused = True
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Go on, with what has been read already first."""
        if self.frames:
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._go_on)
        elif self._socket and self._paused:
            self._paused = False
            self._socket.resume_reading()

    def _go_on(self) -> None:
        self._scheduled = False
        for _ in range(_FRAMES_PER_TURN):
            if self._flow.held or not self.frames:
                break
            self._understand(*self.frames.popleft())
        if not self._flow.held:
            self.resume_reading()
