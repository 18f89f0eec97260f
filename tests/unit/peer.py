"""A peer that plays the server at the other end of a publisher's raw connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

from bridge.publish.connection import RedisConnection
from tests.patience import PATIENCE

SMALL = 32_768
"""Bytes that the peer's system takes in before anybody reads them."""


class Peer:
    """Plays the server at the other end of a connection, which is its `line`."""

    line: RedisConnection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __aenter__(self):
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self._server = await asyncio.start_server(lambda *ends: arrived.put_nowait(ends), sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        self.line = self.take_over(writer)
        self.reader, self.writer = await arrived.get()
        return self

    def take_over(self, writer: asyncio.StreamWriter) -> RedisConnection:
        return RedisConnection(writer, PATIENCE, resp3=False)

    async def __aexit__(self, *_):
        self._server.close()
        self.writer.transport.abort()
        with contextlib.suppress(AttributeError):  # a test has forgotten it
            self.line.abort("the test is over")

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        """End the connection as a crashed machine's successor does."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
