"""What of a connection has been read and not been understood yet: its feed is held, or has had its share of the turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bridge.feed.flow import FlowControl, Pausable

__all__ = ["FRAME_COST", "WORK_PER_TURN", "Intake"]

_FRAMES_PER_TURN = 256
"""Frames that are handed over in one turn of the loop, of those that were kept."""
WORK_PER_TURN = 512 * 1024
"""Bytes that are understood as they come in one turn, give or take as many: some thousand small frames, or some ten milliseconds."""
FRAME_COST = 256
"""Bytes that a frame counts for beside its own: an empty one is work, too."""


class Intake:
    """Pauses one connection's socket, and keeps the frames that a last read has brought (`Pausable`).

    One read can bring thousands of frames, whose entries would all have to wait for Redis; and uvloop reads on for as
    long as anything comes, in one turn. What is too much is kept as bytes, with the time when it came, and handed to
    ``understand`` a few frames per turn of the loop, once the feed is released; only then is the socket read again. So
    its memory is bounded by what one read brings, and a turn by `WORK_PER_TURN`.
    """

    def __init__(self, flow: FlowControl, understand: Callable[[bytes, int], None]) -> None:
        self._flow = flow
        self._understand = understand
        self._socket: Pausable | None = None
        self._paused = False
        self._scheduled = False
        self.frames: deque[tuple[bytes, int]] = deque()
        self.work = 0
        """Bytes of the frames that were understood as they came, since the turn began or before."""
        self._counting = False
        """Whether they are counted since this turn began, and not before."""
        flow.add(self)

    def opened(self, socket: Pausable) -> None:
        """The connection has its socket; frames may have come over it before."""
        self._socket = socket
        if self._flow.held:
            self.pause_reading()

    def exhausted(self) -> bool:
        """More than `WORK_PER_TURN` was understood as it came; whether all in this turn, so that what else comes has to wait."""
        if self._counting:
            self.pause_reading()
            return True
        # That may have been many turns: from here on it is this one.
        self._counting = True
        self.work = 0
        asyncio.get_running_loop().call_soon(self._turned)
        return False

    def close(self) -> None:
        """Read on whatever happens: the end of the connection must be seen."""
        self._flow.discard(self)
        self.frames.clear()
        self.resume_reading()

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

    def _turned(self) -> None:
        self._counting = False
        self.work = 0
        if not self._flow.held:
            self.resume_reading()

    def _go_on(self) -> None:
        self._scheduled = False
        for _ in range(_FRAMES_PER_TURN):
            if self._flow.held or not self.frames:
                break
            self._understand(*self.frames.popleft())
        if not self._flow.held:
            self.resume_reading()
