"""WebSockets over either library, behind one small face: frames come by callback, as bytes.

``websockets`` is the default. ``picows`` (the ``fast`` extra) hands frames over from C, without a task switch each.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from bridge.exchange_errors import ErrorKind, HandshakeError
from bridge.feed.refusal import HeadReader, not_a_websocket
from bridge.feed.sockets import (
    MAX_MESSAGE,
    MAX_UNREAD,
    PART_COST,
    Handler,
    Socket,
    closed_by_exchange,
    describe,
    unreachable,
)
from bridge.feed.tunnel import TunnelError, open_tunnel
from bridge.proxies import Proxy
from bridge.urls import Url, host_and_port

__all__ = ["connect", "has_picows"]

_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_CLOSE_TIMEOUT = 2.0
_WHOLE = (0x81, 0x82)
"""First byte of a frame that is a whole message, of text or binary, without reserved bits."""
_SHORTEST_HEAD = 2
"""Bytes of a frame's header, where the second one is the size; more follow where that is one of these:"""
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_UNMASKED = bytes([_EIGHT_BYTES])
"""A larger second byte says that the frame is masked."""


def has_picows() -> bool:
    """Whether the ``fast`` extra is installed."""
    try:
        import picows  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        return False
    return True


async def connect(
    exchange: str,
    url: str,
    headers: Mapping[str, str],
    handler: Handler,
    *,
    tls: ssl.SSLContext | None,
    open_timeout: float,
    library: str,
    proxy: Proxy | None = None,
) -> Socket:
    """Open a WebSocket, through ``proxy`` if there is one; ``library`` is ``auto``, ``websockets`` or ``picows``.

    Raises:
        HandshakeError: nobody answers, the answer isn't a WebSocket, or the proxy doesn't lead there.
    """
    sock = await _tunnel(exchange, url, proxy, tls, open_timeout) if proxy else None
    if library == "picows" or (library == "auto" and has_picows()):
        from bridge.feed.fast import connect_picows  # noqa: PLC0415 - an optional extra

        return await connect_picows(exchange, url, headers, handler, tls=tls, open_timeout=open_timeout, sock=sock)
    answer = HeadReader()
    try:
        peer = await _Connect(
            url,
            ssl=tls if url.startswith("wss:") else None,
            additional_headers=headers,
            compression=None,
            open_timeout=open_timeout,
            ping_interval=None,  # the watchdog pings
            close_timeout=_CLOSE_TIMEOUT,
            max_size=MAX_MESSAGE,
            create_connection=partial(_Direct, handler=handler, answer=answer),  # type: ignore[arg-type]
            proxy=None,  # a proxy's tunnel is made here, for both libraries
            sock=sock,
        )
    except (OSError, TimeoutError, websockets.WebSocketException, ValueError) as error:
        if answer.refused:
            raise answer.refusal(exchange) from None
        if answer.complete:
            raise not_a_websocket(exchange, str(error)) from None
        raise unreachable(exchange, url, answer.broken_off() or describe(error)) from None
    return _WebsocketsSocket(cast("_Direct", peer), handler)


async def _tunnel(
    exchange: str, url: str, proxy: Proxy, tls: ssl.SSLContext | None, open_timeout: float
) -> socket.socket:
    parts = Url.of(url)
    host, port = host_and_port(parts.hosts, 443 if parts.scheme == "wss" else 80)
    try:
        return await open_tunnel(proxy, host, port, within=open_timeout, tls=tls)
    except TunnelError as error:
        raise HandshakeError(exchange, 0, str(error), kind=ErrorKind.PROXY_FAILED) from None


class _Connect(websockets.connect):
    """Follows no redirect: an exchange must not send its client, with the client's headers, elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Direct(ClientConnection):
    """Hands messages over as they are parsed: ``recv`` would queue each one and wake a task for it, a third more work."""

    def __init__(self, protocol: ClientProtocol, *, handler: Handler, answer: HeadReader, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._handler = handler
        self._answer = answer
        self._parts: list[bytes | bytearray | memoryview] = []
        self._size = 0
        self._begun = b""
        """A frame's header, as far as it has come."""
        self._owed = 0
        """Bytes to come of a frame that the library has begun to read."""
        self._given_up = ""
        self._told = False
        """Whether the handler knows that it is over."""

    @property
    def over(self) -> bool:
        """Whether nothing more is sent or taken, though the socket may still be open."""
        return self._told or bool(self._given_up)

    def data_received(self, data: bytes) -> None:
        if self.response is None and not self._answer.complete:
            head = self._answer.feed(data)
            if self._answer.refused or self._answer.endless:
                # The library would read the whole answer first, and forget its status if that is too long.
                self.transport.abort()
                return
            self._leave_to_library(data[:head])
            data = data[head:]
        if self._begun:
            data, self._begun = self._begun + data, b""
        if data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Hand over the messages of one whole frame each; the library reads all other frames.

        It reads any frame correctly, in some five times the time. What it gets here are whole frames, one after the other, so
        it is always clear where the next one begins.
        """
        at, end = min(self._owed, len(data)), len(data)
        if at:
            self._owed -= at
            self._leave_to_library(data[:at])
        messages: list[bytes] = []
        reads = self._reads_on
        while reads and end - at >= _SHORTEST_HEAD:
            kind, size = data[at], data[at + 1]
            start = at + _SHORTEST_HEAD
            if size >= _TWO_BYTES:
                if size > _EIGHT_BYTES:  # masked: the library gives the connection up
                    break
                start += 2 if size == _TWO_BYTES else 8
                if start > end:
                    break
                size = int.from_bytes(data[at + _SHORTEST_HEAD : start])
            stop = start + size
            if stop <= end and kind in _WHOLE and size <= MAX_MESSAGE and not self._parts:
                messages.append(data[start:stop])
            else:
                if messages:
                    self._handler.received(messages)
                    messages = []
                self._leave_to_library(data[at:stop])
                self._owed = max(stop - end, 0)
                reads = self._reads_on
            at = stop
        if messages:
            self._handler.received(messages)
        if at < end:
            if reads and data[at + 1 : at + 2] <= _UNMASKED:
                self._begun = data[at:]
            else:
                self._leave_to_library(data[at:])

    @property
    def _reads_on(self) -> bool:
        """Whether further messages are to be handed over."""
        return self.protocol.state is State.OPEN and not self.over

    def _leave_to_library(self, data: bytes) -> None:
        super().data_received(data)
        protocol = self.protocol
        if protocol.parser_exc is not None and protocol.handshake_exc is None and not self.over:
            # The library has said goodbye, and would wait for the other side to end the socket.
            self._given_up = f"given up: {describe(protocol.parser_exc)}"
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        if self.over:
            return
        if self.response is None or not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            if isinstance(event, Frame) and event.opcode is Opcode.PING:
                self._check_unread()
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self._closed()
        elif event.fin and event.opcode is not Opcode.CONT:
            self._handler.frame(bytes(event.data))
        else:  # in pieces; the library sees to it that they come in order
            self._continue(event)

    def _continue(self, event: Frame) -> None:
        # The library limits the bytes of the parts only.
        self._size += len(event.data) + PART_COST
        if self._size > MAX_MESSAGE:
            self._parts.clear()
            self._give_up(CloseCode.MESSAGE_TOO_BIG, "a message of too many bytes")
            return
        self._parts.append(event.data)
        if event.fin:
            parts, self._parts, self._size = self._parts, [], 0
            self._handler.frame(b"".join(parts))

    def _check_unread(self) -> None:
        if self.transport.get_write_buffer_size() > MAX_UNREAD:
            self._give_up(CloseCode.POLICY_VIOLATION, "pings whose answers are not read")

    def _give_up(self, code: CloseCode, reason: str) -> None:
        self._given_up = f"given up: {reason}"
        self.protocol.fail(code, reason)
        self.send_data()
        self.transport.abort()

    def _closed(self) -> None:
        """Nothing follows a closing frame: the connection is over, whenever the other side ends the socket."""
        self._told = True
        close = self.protocol.close_rcvd
        assert close is not None
        self._handler.lost(closed_by_exchange(close.code, close.reason), code=int(close.code))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.protocol.handshake_exc is not None:
            return  # it never was open: `connect` says so
        if self._told:
            return
        if self._given_up:
            reason = self._given_up
        elif exc is None or isinstance(exc, OSError):
            reason = "connection broken"
        else:
            reason = f"{type(exc).__name__}: {exc}"
        self._handler.lost(reason)


class _WebsocketsSocket:
    def __init__(self, peer: _Direct, handler: Handler) -> None:
        self._peer = peer
        self._handler = handler

    async def send(self, text: str) -> None:
        if self._peer.over:
            return  # the library would wait for the other side to end the socket
        try:
            await self._peer.send(text)
        except websockets.ConnectionClosed:
            return  # the reader has been told, or is about to be

    async def ping(self) -> None:
        if self._peer.over:
            return
        try:
            pong = await self._peer.ping()
        except websockets.ConnectionClosed:
            return
        cast("asyncio.Future[Any]", pong).add_done_callback(self._ponged)

    async def close(self) -> None:
        if self._peer.over:
            self._peer.transport.abort()
        else:
            await self._peer.close()

    def abort(self) -> None:
        self._peer.transport.abort()

    def pause_reading(self) -> None:
        self._peer.transport.pause_reading()

    def resume_reading(self) -> None:
        self._peer.transport.resume_reading()

    def _ponged(self, pong: asyncio.Future[Any]) -> None:
        if not pong.cancelled() and not pong.exception():
            self._handler.pong()
