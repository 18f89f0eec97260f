"""The two ways in which a client gets arrays: messages of a WebSocket, and server-sent events."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from bridge.process.lifecycle import end_tasks
from bridge.redis.errors import FAILURES
from consumers.items import split_id
from consumers.web.client import Client, ForbiddenError, RequestError
from consumers.web.guard import HEADERS, Guard, problem
from consumers.web.hub import Hub
from consumers.web.subscription import CONFLATED, Wish
from consumers.web.tokens import Access, Tokens

__all__ = ["Sockets"]

_log = logging.getLogger(__name__)

_LONGEST_MESSAGE = 64 * 1024
_SEND_BUFFER = 128 * 1024
"""Bytes that the system keeps for a client that does not read; Linux doubles the number."""
_STUCK = 60.0
"""Seconds after which a client that takes nothing is disconnected."""
_IDENTIFIES = 10.0
"""Seconds for a client to send its token."""
_GONE = (ClientConnectionResetError, ConnectionError)
_PARAMETERS = frozenset({"stream", "after", "types", "depth", "conflate", "token"})


class Sockets:
    """The handlers of ``/ws`` and ``/events``; at most ``most_clients`` at once, with ``most_streams`` each."""

    def __init__(self, hub: Hub, guard: Guard, tokens: Tokens, *, most_clients: int, most_streams: int) -> None:
        self.sent = 0
        """Bytes sent so far."""
        self.stuck = 0
        """Clients that were disconnected because they took nothing."""
        self._hub = hub
        self._guard = guard
        self._tokens = tokens
        self._most_clients = most_clients
        self._most_streams = most_streams

    @property
    def _is_full(self) -> bool:
        return len(self._hub.clients) >= self._most_clients

    def _refuse(self) -> web.Response:
        words = f"there are {self._most_clients} clients already (--clients); try again later"
        return problem(503, words, **{"Retry-After": "10"})

    @contextmanager
    def _client(self, access: Access | None, push: Callable[[bytes], bool] | None = None) -> Iterator[Client]:
        client = Client(self._hub, self._tokens, access, most_streams=self._most_streams, push=push)
        try:
            yield client
        finally:
            client.close()

    # --- WebSocket ----------------------------------------------------------------------------------------------------

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """``GET /ws``."""
        access = self._guard.optional_access(request)
        if self._is_full:
            return self._refuse()
        ws = web.WebSocketResponse(max_msg_size=_LONGEST_MESSAGE, compress=False, timeout=2.0)
        if not ws.can_prepare(request).ok:
            return problem(426, "this is a WebSocket; /events has the same as server-sent events", Upgrade="websocket")
        with self._client(access, partial(self._push, ws, request)) as client:
            await ws.prepare(request)
            _limit_buffers(request.transport)
            tasks = [
                asyncio.create_task(self._send_messages(ws, client, request), name="send to a client"),
                asyncio.create_task(_receive(ws, client), name="receive from a client"),
                asyncio.create_task(_await_token(client), name="await a token"),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                code = _code_of(done)
            finally:
                await end_tasks(tasks)
            with suppress(*_GONE):
                await ws.close(code=code)
        return ws

    def _push(self, ws: web.WebSocketResponse, request: web.Request, frame: bytes) -> bool:
        """Write a frame that many clients get, if this client has taken all that was written before."""
        transport = request.transport
        if transport is None or transport.is_closing() or ws.closed or transport.get_write_buffer_size():
            return False
        transport.write(frame)
        self.sent += len(frame)
        return True

    async def _send_messages(self, ws: web.WebSocketResponse, client: Client, request: web.Request) -> int | None:
        """Send arrays as the client takes them; returns the code to close with."""
        try:
            while not client.ended:
                data = await client.next_array()
                async with asyncio.timeout(_STUCK):
                    if data:
                        await ws.send_str(data.decode())
                        self.sent += len(data)
                    elif not client.ended:
                        await ws.ping()
        except TimeoutError:
            self._abort(request)
        except _GONE:
            return None
        return WSCloseCode.GOING_AWAY

    def _abort(self, request: web.Request) -> None:
        """End a connection that takes nothing: what waits for it would never be sent."""
        self.stuck += 1
        if request.transport is not None:
            request.transport.abort()

    # --- server-sent events -------------------------------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.StreamResponse:
        """``GET /events``."""
        access = self._guard.access(request)
        if self._is_full:
            return self._refuse()
        with self._client(access) as client:
            try:
                await self._subscribe(request, client)
            except RequestError as error:
                return problem(403 if isinstance(error, ForbiddenError) else 400, str(error))
            response = web.StreamResponse(
                headers={
                    **HEADERS,
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",
                }
            )
            await response.prepare(request)
            _limit_buffers(request.transport)
            try:
                await self._send_events(response, client, request)
            except FAILURES as error:
                _log.warning("a client is disconnected: %s", error)
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _subscribe(self, request: web.Request, client: Client) -> None:
        """Subscribe to the streams of the request.

        Raises:
            RequestError: a parameter is wrong.
        """
        unknown = sorted(set(request.query) - _PARAMETERS)
        if unknown:
            raise RequestError(f"no parameter {unknown[0]!r}; there are {', '.join(sorted(_PARAMETERS))}")
        keys = request.query.getall("stream", [])
        if not keys:
            raise RequestError("give the keys of streams: /events?stream=KEY&stream=KEY2")
        positions = _positions(request, len(keys))
        types = request.query.get("types")
        depth = _whole_number(request, "depth")
        conflate = _truth(request, "conflate")
        for key, position in zip(keys, positions, strict=True):
            stream = self._hub.keys.parse(key)
            channel = stream.channel if stream else None
            of_books = channel is not None and channel.startswith("book")
            after = position or request.query.get("after", "now")
            if (after == "snapshot" and channel not in CONFLATED) or (depth and of_books):
                after = "now"
            wish = Wish(after, frozenset(types.split(",")) if types else None)
            wanted = conflate if not conflate or channel in CONFLATED else None
            await client.subscribe(key, wish, wanted, depth if of_books else None)

    async def _send_events(self, response: web.StreamResponse, client: Client, request: web.Request) -> None:
        with suppress(*_GONE):
            while not client.ended:
                data = await client.next_array()
                event = b"id: %s\ndata: %s\n\n" % (",".join(client.positions).encode(), data) if data else b":\n\n"
                try:
                    async with asyncio.timeout(_STUCK):
                        await response.write(event)
                except TimeoutError:
                    self._abort(request)
                    return
                self.sent += len(event)
            await response.write_eof()


def _code_of(done: Iterable[asyncio.Task[int | None]]) -> int:
    """The code to close a connection with, after one of its tasks has ended."""
    for task in done:
        if error := task.exception():
            _log.warning("a client is disconnected: %s", error)
            return WSCloseCode.INTERNAL_ERROR
    return next((code for task in done if (code := task.result()) is not None), WSCloseCode.OK)


async def _receive(ws: web.WebSocketResponse, client: Client) -> int | None:
    """Take what the client sends until it closes; returns the code to close with."""
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await client.handle(message.data)
        elif message.type is WSMsgType.BINARY:
            await client.handle("")
        if client.hopeless:
            return WSCloseCode.POLICY_VIOLATION
    return None


async def _await_token(client: Client) -> int:
    """Wait for the token of a client that must send one; returns the code to close with."""
    if client.access is None:
        await asyncio.sleep(_IDENTIFIES)
    if client.access is None:
        return WSCloseCode.POLICY_VIOLATION
    await asyncio.Event().wait()
    return WSCloseCode.OK


def _limit_buffers(transport: Any) -> None:
    """Keep little for a client that does not read, and notice one that is gone without a word."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_STUCK * 1000))


def _positions(request: web.Request, count: int) -> list[str]:
    """The positions of the streams in Last-Event-ID; empty without the header, or for a stream that had not begun.

    Raises:
        RequestError: it does not fit the parameters.
    """
    header = request.headers.get("Last-Event-ID", "")
    if not header:
        return [""] * count
    positions = header.split(",")
    try:
        for position in filter(None, positions):
            split_id(position)
    except ValueError:
        positions = []
    if len(positions) != count:
        raise RequestError(
            f"Last-Event-ID should have {count} entry IDs, one per stream, in the order of the parameters"
        )
    return positions


def _whole_number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise RequestError(f"{name} is a whole number, not {text[:40]!r}")
    return int(text)


def _truth(request: web.Request, name: str) -> bool | None:
    text = request.query.get(name)
    if text not in (None, "true", "false"):
        raise RequestError(f"{name} is true or false, not {text[:40]!r}")
    return None if text is None else text == "true"
