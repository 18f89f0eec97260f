"""An exchange as CCXT sees it, over real sockets: REST and WebSockets on one port, each host the first part of the path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMsgType, web

from tests.e2e.threaded_exchange import ThreadedExchange

__all__ = ["Fake"]

Answer = Any


class Fake(ThreadedExchange):
    """An exchange that says what its subclass answers, and whatever a test pushes."""

    def __init__(self) -> None:
        super().__init__()
        self.rest: dict[str, Answer | Callable[[web.Request], Answer]] = {}
        """Host and path → the answer as JSON, or what makes it."""
        self.asked: list[str] = []
        """Host, path and query of all REST calls."""
        self.said: list[tuple[str, Any]] = []
        """Path and message of all that clients have sent."""
        self.sockets: list[tuple[str, web.WebSocketResponse]] = []
        self.status: dict[str, int] = {}
        """Host and path → an HTTP status to answer with."""

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return [socket for _, socket in self.sockets]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        self.asked.append(request.path_qs.lstrip("/"))
        if status := self.status.get(path):
            return web.json_response({"error": "not now"}, status=status, headers={"Retry-After": "1"})
        if path not in self.rest:
            return web.json_response({"error": f"nothing at {path}"}, status=404)
        found = self.rest[path]
        return web.json_response(found(request) if callable(found) else found)

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        path = request.path_qs.lstrip("/")
        self.sockets.append((path, socket))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                text = message.data
                said = json.loads(text) if text[:1] in "{[" else text
                self.said.append((path, said))
                await self.hear(socket, said)
        self.sockets.remove((path, socket))
        return socket

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        """Answer a message."""

    async def tell(self, socket: web.WebSocketResponse, message: Any) -> None:
        """Send a message as this exchange sends them."""
        await socket.send_str(message if isinstance(message, str) else json.dumps(message))

    def push(self, *messages: Any, raw: str | None = None, to: str = "") -> None:
        """Send these to all clients whose address contains ``to``."""

        async def work() -> None:
            for path, socket in list(self.sockets):
                if to in path:
                    for message in messages:
                        await self.tell(socket, message)
                    if raw is not None:
                        await socket.send_str(raw)

        self.in_thread(work())

    def cut(self) -> None:
        """End all connections, without a goodbye."""

        async def work() -> None:
            for _, socket in list(self.sockets):
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.abort()
            while self.sockets:
                await asyncio.sleep(0.01)

        self.in_thread(work())
