"""What exchanges of tests have in common: one port for WebSockets and REST, served in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from typing import Any, Self

from aiohttp import web

from tests.patience import PATIENCE

__all__ = ["ThreadedExchange"]


class ThreadedExchange(ABC):
    """Serves while the block runs; at its end the connections are closed."""

    def __init__(self) -> None:
        self.port = 0
        self.wrong: list[str] = []
        """What clients did that they may not."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def in_thread(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it where the sockets are, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    @abstractmethod
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A REST call."""

    @abstractmethod
    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket, from its handshake to its end."""

    @abstractmethod
    def connected(self) -> Iterable[web.WebSocketResponse]:
        """The WebSockets that are open."""

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._route)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._up.set()
        await self._stop.wait()
        for socket in list(self.connected()):
            await socket.close()
        await runner.cleanup()

    async def _route(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.serve_socket(request)
        return await self.answer(request)
