"""Proxies in front of a real server: with faults, and with answers of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import hiredis

from bridge.chaos.proxy import Ends, Proxy

__all__ = ["Distant", "Particular", "Proxy"]


class Distant(Proxy):
    """A proxy in front of a server that is far away: all bytes take ``delay`` seconds, in each direction."""

    def __init__(self, target: int, delay: float) -> None:
        super().__init__(target)
        self._delay = delay

    async def _carry(self, client: Ends, server: Ends) -> None:
        await asyncio.gather(self._send(client[0], server[1]), self._send(server[0], client[1]))

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(self._delay, writer.write, data)
        raise ConnectionResetError


class Particular(Proxy):
    """Something in front of Redis that answers some commands itself: ``answer(words)`` gives its reply, or nothing.

    A command reaches the server when all before it are answered.
    """

    def __init__(self, target: int, answer: Callable[[list[bytes]], bytes]) -> None:
        super().__init__(target)
        self._answer = answer

    async def _carry(self, client: Ends, server: Ends) -> None:
        while True:
            raw, words = await _next_command(client[0])
            own = self._answer(words)
            if not own:
                server[1].write(raw)
                own = await _next_reply(server[0])
            client[1].write(own)


async def _next_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """A command as it is on the wire, and its words."""
    parts, words = [await reader.readuntil(b"\n")], []
    for _ in range(int(parts[0][1:])):
        size = await reader.readuntil(b"\n")
        body = await reader.readexactly(int(size[1:]) + 2)
        parts += [size, body]
        words.append(body[:-2])
    return b"".join(parts), words


async def _next_reply(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the one reply that is due."""
    raw, parser = b"", hiredis.Reader()
    while parser.gets() is False:
        if not (data := await reader.read(65536)):
            raise EOFError
        raw += data
        parser.feed(data)
    return raw
