"""The clients of a replay: their sockets, and their positions in the recorded connections."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter

from bridge.recordings.index import RecordedConnection
from bridge.recordings.recording import RecvRow

__all__ = ["Client", "Position"]


class Position(NamedTuple):
    """A client's position in its recorded connection, in seconds of the recording and in frames."""

    name: str
    at: float
    length: float
    left: float
    """Seconds until its end, at the speed of the replay."""
    sent: int
    frames: int


class Client:
    """A client's socket, and the frames for the next write."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        writer: AbstractStreamWriter,
        request: web.Request,
        recorded: RecordedConnection,
    ) -> None:
        self._recorded = recorded
        self._at = recorded.ts
        self.ws = ws
        self.remote = str(request.remote)
        self.batch = bytearray()
        self.sent = 0
        self.spoke = asyncio.Event()
        self.ending = asyncio.Event()
        self.close_code = WSCloseCode.OK
        self._transport = request.transport
        self._writer = writer
        self._waiting = 0

    def end(self, code: WSCloseCode) -> None:
        """Close the connection from this side."""
        if not self.ending.is_set():
            self.close_code = code
            self.ending.set()

    def cut(self) -> None:
        """Abort the connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def left(self) -> str:
        """Why the client received no more frames."""
        return "the replay ended" if self.ending.is_set() else "the client left"

    def position(self, speed: float) -> Position:
        recorded = self._recorded
        left = max(0.0, recorded.last - self._at) if self.sent < recorded.frames else 0.0
        length = max(0.0, recorded.last - recorded.ts)
        return Position(recorded.name, self._at - recorded.ts, length, left / speed, self.sent, recorded.frames)

    def add(self, row: RecvRow) -> None:
        self._at = row.ts
        payload = row.payload
        self.batch += _frame_head(len(payload), binary=row.binary)
        self.batch += payload
        self._waiting += 1

    async def flush(self) -> int:
        """Write whole frames straight to the connection; returns how many.

        Raises:
            ConnectionError: the client is gone.
        """
        count = self._waiting
        if not count:
            return 0
        if self.ws.closed:
            raise ConnectionResetError
        data = bytes(self.batch)
        self.batch.clear()
        self._waiting = 0
        self.sent += count
        await self._writer.write(data)
        await self._writer.drain()
        # A client that keeps up never makes the two above wait; others want their turn all the same.
        await asyncio.sleep(0)
        return count


def _frame_head(length: int, *, binary: bool) -> bytes:
    """The head of a whole, unmasked, uncompressed WebSocket frame (RFC 6455, 5.2)."""
    first = 0x82 if binary else 0x81
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
