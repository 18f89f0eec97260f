"""An LMEX that plays given frames byte for byte, over real sockets: WebSocket and REST, in a thread of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from aiohttp import WSMsgType, web

from tests.e2e.threaded_exchange import ThreadedExchange
from tests.unit import lmex_frames as frames

KEY = "lmex-key-of-the-test"
Script = Callable[[str, list[str]], Iterable[bytes]]
"""``(operation, topics)`` → the frames to answer with."""

Answer = Callable[[dict[str, str]], bytes]
"""The query → JSON text."""


class LmexExchange(ThreadedExchange):
    """``scripts``: path → what is sent for each request there; ``answers``: REST path → JSON text or bytes."""

    def __init__(self, scripts: dict[str, Script], answers: dict[str, bytes | Answer]) -> None:
        super().__init__()
        self.scripts = scripts
        self.answers = answers
        self.refuse = 0
        """HTTP status with which handshakes are refused; 0: none is."""
        self.silent = False
        """Whether connections are accepted, and nothing is ever said."""
        self.handshakes: list[str] = []
        self.requests: list[tuple[str, str, list[str]]] = []
        """``(path, operation, arguments)`` of every WebSocket request."""
        self.pings = 0
        self.called: list[str] = []
        self._sockets: dict[str, set[web.WebSocketResponse]] = {}

    def send(self, path: str, *many: bytes) -> None:
        """Send frames to every connection of a path."""

        async def go() -> None:
            for socket in self._sockets.get(path, ()):
                for frame in many:
                    await socket.send_str(frame.decode())

        self.in_thread(go())

    def cut(self, path: str) -> None:
        """End every connection of a path."""

        async def go() -> None:
            for socket in list(self._sockets.get(path, ())):
                await socket.close()

        self.in_thread(go())

    def open_sockets(self, path: str) -> int:
        return len(self._sockets.get(path, ()))

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return chain.from_iterable(self._sockets.values())

    async def answer(self, request: web.Request) -> web.Response:
        self.called.append(request.path_qs)
        if "/user/" in request.path:
            path = "/" + request.path.split("/", 2)[2]
            nonce = request.headers.get("request-nonce", "")
            right = request.headers.get("request-api") == KEY and signed(path, nonce) == request.headers["request-sign"]
            if not right:
                self.wrong.append(request.path)
                return web.Response(status=400, body=frames.AUTH_FAILED)
        body = self.answers.get(request.path)
        if callable(body):
            body = body(dict(request.query))
        return web.Response(status=404 if body is None else 200, body=body or b"{}", content_type="application/json")

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(request.path)
        if self.refuse:
            return web.Response(status=self.refuse, text="abnormal usage")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sockets = self._sockets.setdefault(request.path, set())
        sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not self.silent:
                    for frame in self._reply(request.path, message.data):
                        await socket.send_str(frame.decode())
        finally:
            sockets.discard(socket)
        return socket

    def _reply(self, path: str, text: str) -> Iterable[bytes]:
        if text == "ping":
            self.pings += 1
            return [b"pong"]
        message: dict[str, Any] = json.loads(text)
        op, args = message["op"], message["args"]
        self.requests.append((path, op, args))
        if op in ("authKeyExpires", "login"):
            key, nonce, signature = args
            if key == KEY and signature == signed(path, nonce):
                return [frames.LOGGED_IN]
            self.wrong.append(path)
            return [frames.LOGIN_FAILED]
        return self.scripts[path](op, args)


def signed(path: str, nonce: str) -> str:
    return hmac.new(frames.SECRET.encode(), f"{path}{nonce}".encode(), hashlib.sha384).hexdigest()
