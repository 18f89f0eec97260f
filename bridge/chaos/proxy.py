"""A TCP proxy that can be cut and held, between a client and a server on this machine."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Ends", "Proxy"]

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards to a local port; can cut, refuse, swallow the server's replies, and hold them back."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.refuse = False
        self.swallow = False
        """Replies vanish; the commands have their effect."""
        self.deaf = False
        """Commands vanish too, as on a connection that is half open."""
        self.unheard = 0
        """Bytes that vanished so."""
        self.flow = asyncio.Event()
        self.flow.set()
        """Cleared: replies are held back."""
        self.up = asyncio.Event()
        self.up.set()
        """Cleared: commands are held back, and arrive when it is set again."""
        self.rate: float | None = None
        """Bytes a second from the server, on each connection."""
        self.ports: dict[int, int] = {}
        """Ports that are replaced in the replies, where a server says where it is or another one is."""
        self.as_text = False
        """Whether they are strings there, as Sentinels say them, and not integers, as the nodes of a Cluster do."""
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.flow.set()
        self.up.set()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, hard."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self.refuse:
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(up_writer)
            try:
                await self._carry((reader, writer), (up_reader, up_writer))
            finally:
                self._writers.discard(up_writer)
                up_writer.transport.abort()
        except (OSError, EOFError, RuntimeError, asyncio.CancelledError):  # uvloop: a closed transport
            return
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(self, client: Ends, server: Ends) -> None:
        await asyncio.gather(self._up(client[0], server[1]), self._down(server[0], client[1]))

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.up.wait()
            if self.deaf:
                self.unheard += len(data)
            else:
                writer.write(data)
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # On a narrow line a piece is what comes through in a tenth of a second.
        while data := await reader.read(max(1, int(self.rate / 10)) if self.rate else 65536):
            await self.flow.wait()
            if self.rate:
                await asyncio.sleep(len(data) / self.rate)
            if not self.swallow:
                writer.write(self._translated(data))
        raise ConnectionResetError

    def _translated(self, data: bytes) -> bytes:
        for port, instead in self.ports.items():
            if self.as_text:
                data = data.replace(_bulk(port), _bulk(instead))
            else:
                data = data.replace(b":%d\r\n" % port, b":%d\r\n" % instead)  # an integer, or the end of a MOVED
        return data


def _bulk(port: int) -> bytes:
    """A port as a bulk string, which begins with its length."""
    text = b"%d" % port
    return b"$%d\r\n%b\r\n" % (len(text), text)
