"""One WebSocket of a simulated exchange, from handshake to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from aiohttp import WSMessage, WSMsgType, web

from bridge.simulator.dialect import Core
from bridge.simulator.gate import Refusal
from bridge.simulator.sockets import Message, Socket

__all__ = ["Listener", "refused", "serve_socket"]

_CLOSE_TIMEOUT = 5.0
_FROZEN_PATIENCE = 30.0


class Listener(Protocol):
    """What an exchange does with what its clients say. Nothing here waits: an answer is pushed to the socket."""

    def opened(self, socket: Socket) -> None:
        """The socket is open."""

    def text(self, socket: Socket, text: str) -> None:
        """The client sent a text frame."""

    def pong(self, socket: Socket) -> None:
        """The client answered a ping."""

    def closed(self, socket: Socket) -> None:
        """The socket is closed."""


def refused(refusal: Refusal, body: str = "") -> web.Response:
    """The answer of a closed gate."""
    headers = {"Retry-After": f"{refusal.retry_after:g}"} if refusal.retry_after else None
    content_type = "application/json" if body else "text/plain"
    return web.Response(status=refusal.status, text=body, headers=headers, content_type=content_type)


async def serve_socket(
    core: Core,
    request: web.Request,
    hello: Callable[[], Iterable[Message]],
    *,
    topics: Iterable[Hashable] = (),
    pairs: Iterable[str] = (),
    account: str = "",
    expires: float | None = None,
    listener: Listener | None = None,
) -> web.WebSocketResponse:
    """Serve one socket until it ends. ``hello`` gives its first messages; ``expires`` (epoch seconds) closes it then.

    What the client says goes to ``listener``; without one it is ignored.
    """
    ws = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, timeout=_CLOSE_TIMEOUT)
    try:
        await ws.prepare(request)
    except ConnectionError:
        return ws  # gone before it was answered
    transport = request.transport
    if transport is None:
        return ws

    def close(code: int) -> None:
        core.spawn(_close(ws, code), f"simulator close socket {socket.number}")

    socket = core.hub.open(transport, close, topics=topics, pairs=pairs, account=account)
    timer = None
    try:
        if (silence := core.gate.silence) is not None:
            socket.freeze(silence)
        if listener is not None:
            listener.opened(socket)
        # Nothing is awaited between the first messages and the subscription: no event falls between them.
        for message in hello():
            socket.push(message)
        socket.flush()
        if expires is not None:
            delay = max(0.0, expires - core.clock())
            timer = asyncio.get_running_loop().call_later(delay, close, 1008)
        with contextlib.suppress(ConnectionError):  # gone while it was being answered
            await _listen(ws, socket, listener)
    finally:
        if timer is not None:
            timer.cancel()
        core.hub.forget(socket)
        if listener is not None:
            listener.closed(socket)
    return ws


async def _listen(ws: web.WebSocketResponse, socket: Socket, listener: Listener | None) -> None:
    """Answer pings and hand on what the client says; a frozen socket hears nothing."""
    while True:
        message = await ws.receive()
        if message.type is WSMsgType.CLOSE:
            # A frozen peer doesn't answer a close either; the client gives up sooner than this.
            try:
                async with asyncio.timeout(_FROZEN_PATIENCE):
                    await socket.moving.wait()
            except TimeoutError:
                socket.abort()
            await ws.close()
            return
        if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return
        if not socket.frozen:
            await _hear(ws, socket, message, listener)


async def _hear(ws: web.WebSocketResponse, socket: Socket, message: WSMessage, listener: Listener | None) -> None:
    if message.type is WSMsgType.PING:
        await ws.pong(message.data)
    elif listener is not None and message.type is WSMsgType.TEXT:
        listener.text(socket, message.data)
        socket.flush()
    elif listener is not None and message.type is WSMsgType.PONG:
        listener.pong(socket)


async def _close(ws: web.WebSocketResponse, code: int) -> None:
    with contextlib.suppress(ConnectionError):
        await ws.close(code=code)
