"""WebSockets over either library, behind one small face: frames come by callback, as bytes.

``websockets`` is the default. ``picows`` (the ``fast`` extra) hands frames over from C, without a task switch each.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Protocol, cast

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event

from bridge.errors import HandshakeError, UnreachableError
from bridge.exchanges.waiting import seconds_to_wait

__all__ = ["MAX_MESSAGE", "MAX_UNREAD", "PART_COST", "Handler", "Socket", "connect", "has_picows"]

MAX_MESSAGE = 32 * 1024 * 1024
"""Bytes, whole, over all its frames; beyond that the connection is given up. Full-book snapshots of 6 MB are normal."""
PART_COST = 64
"""What each further frame of a message counts beside its bytes: an empty one costs memory too."""
MAX_UNREAD = 1024 * 1024
"""Bytes of answers to pings that the exchange doesn't read; beyond that the connection is given up."""
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_CLOSE_TIMEOUT = 2.0


class Handler(Protocol):
    """Who gets what a socket receives; none of these may raise."""

    def frame(self, data: bytes) -> None:
        """A whole message came."""

    def pong(self) -> None:
        """The answer to a ping came."""

    def lost(self, reason: str) -> None:
        """The socket is gone; called once, nothing follows."""


class Socket(Protocol):
    """An open WebSocket."""

    async def send(self, text: str) -> None:
        """Send a text frame; a socket that is gone swallows it (`Handler.lost` tells)."""

    async def ping(self) -> None:
        """Send a ping."""

    async def close(self) -> None:
        """Close with the closing handshake, within two seconds."""

    def pause_reading(self) -> None:
        """Take nothing more off the socket: the exchange is slowed down by TCP."""

    def resume_reading(self) -> None:
        """Go on reading."""


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
) -> Socket:
    """Open a WebSocket; ``library`` is ``auto``, ``websockets`` or ``picows``.

    Raises:
        HandshakeError: nobody answers, or the answer isn't a WebSocket.
    """
    if library == "picows" or (library == "auto" and has_picows()):
        from bridge.feed.fast import connect_picows  # noqa: PLC0415 - an optional extra

        return await connect_picows(exchange, url, headers, handler, tls=tls, open_timeout=open_timeout)
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
            create_connection=partial(_Direct, handler=handler),  # type: ignore[arg-type]
        )
    except websockets.InvalidStatus as error:
        response = error.response
        raise refused(
            exchange, response.status_code, bytes(response.body or b""), response.headers.raw_items()
        ) from None
    except (OSError, TimeoutError, websockets.WebSocketException, ValueError) as error:
        raise UnreachableError(exchange, 0, describe(error)) from None
    return _WebsocketsSocket(peer, handler)


def refused(exchange: str, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> HandshakeError:
    """The error for an HTTP answer other than 101; a header may stand there twice."""
    found = {name.lower(): value for name, value in headers}
    text = " ".join(body[:200].decode(errors="replace").split()) or "no reason given"
    wait = seconds_to_wait(found.get("retry-after", ""), found.get("date", ""))
    return HandshakeError.of(exchange, status, text, wait)


def describe(error: BaseException) -> str:
    """An error in words; its type where it has none."""
    if isinstance(error, ssl.CertificateError):
        cause = getattr(error, "certificate_error", error)  # aiohttp wraps it in one of its own
        message = getattr(cause, "verify_message", "") or str(cause)
        return f"the server's certificate is not trusted: {message} (an authority of your own goes into ca_file)"
    return str(error) or type(error).__name__


class _Connect(websockets.connect):
    """Follows no redirect: an exchange must not send its client, with the client's headers, elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Direct(ClientConnection):
    """Hands messages over as they are parsed: ``recv`` would queue each one and wake a task for it, a third more work."""

    def __init__(self, protocol: ClientProtocol, *, handler: Handler, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._handler = handler
        self._parts: list[bytes | bytearray | memoryview] = []
        self._size = 0
        self._given_up = ""

    def process_event(self, event: Event) -> None:
        if self._given_up:
            return
        if self.response is None or not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            if isinstance(event, Frame) and event.opcode is Opcode.PING:
                self._check_unread()
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

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.protocol.handshake_exc is not None:
            return  # it never was open: `connect` says so
        close = self.protocol.close_rcvd
        if self._given_up:
            reason = self._given_up
        elif close:
            reason = f"closed by the exchange: {close.code} {close.reason}".strip()
        elif exc is None or isinstance(exc, OSError):
            reason = "connection broken"
        else:
            reason = f"{type(exc).__name__}: {exc}"
        self._handler.lost(reason)


class _WebsocketsSocket:
    def __init__(self, peer: ClientConnection, handler: Handler) -> None:
        self._peer = peer
        self._handler = handler

    async def send(self, text: str) -> None:
        try:
            await self._peer.send(text)
        except websockets.ConnectionClosed:
            return  # the reader has been told, or is about to be

    async def ping(self) -> None:
        try:
            pong = await self._peer.ping()
        except websockets.ConnectionClosed:
            return
        cast("asyncio.Future[Any]", pong).add_done_callback(self._ponged)

    async def close(self) -> None:
        await self._peer.close()

    def pause_reading(self) -> None:
        self._peer.transport.pause_reading()

    def resume_reading(self) -> None:
        self._peer.transport.resume_reading()

    def _ponged(self, pong: asyncio.Future[Any]) -> None:
        if not pong.cancelled() and not pong.exception():
            self._handler.pong()
