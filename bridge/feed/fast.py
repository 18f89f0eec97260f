"""WebSockets over ``picows``: the ``fast`` extra."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import picows
from websockets.frames import CloseCode

from bridge.feed.refusal import BROKEN_OFF, HeadReader, not_a_websocket
from bridge.feed.sockets import MAX_MESSAGE, MAX_UNREAD, PART_COST, Handler, closed_by_exchange, describe, unreachable

__all__ = ["connect_picows"]

_CLOSE_TIMEOUT = 2.0
_MESSAGE = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY)


_LOOP_ITSELF: dict[str, Any] = (
    {"use_aiofastnet": False} if "use_aiofastnet" in inspect.signature(picows.ws_connect).parameters else {}
)
"""The event loop's own transports. Those of ``aiofastnet`` (1.2) miss a reset under uvloop that comes right behind data:
only the next ping, up to ten seconds later, would find the connection gone."""


class _Listener(picows.WSListener):
    """Turns frames into the handler's calls; joins fragmented messages."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._whole: list[bytes] = []
        """Messages of one frame each that have come with this read."""
        self._parts: list[bytes] = []
        self._size = 0
        self._reason = "connection broken"
        self.told = False
        """Whether the handler knows that it is over, or waits for it no more."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if self.told:
            return
        kind = frame.msg_type
        if (
            kind in _MESSAGE
            and frame.fin
            and frame.payload_size <= MAX_MESSAGE
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            self._whole.append(frame.get_payload_as_bytes())
            if frame.last_in_buffer:
                self._hand_over()
            return
        self._hand_over()
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            # No extension was agreed on, compression neither.
            self._give_up(transport, picows.WSCloseCode.PROTOCOL_ERROR, "a frame with reserved bits")
        elif kind in _MESSAGE:
            if frame.payload_size > MAX_MESSAGE:  # the library lets one pass that was read in one go
                self._give_up(transport, picows.WSCloseCode.MESSAGE_TOO_BIG, "a message of too many bytes")
            else:
                self._parts = [frame.get_payload_as_bytes()]
                self._size = len(self._parts[0])
        elif kind == picows.WSMsgType.CONTINUATION:
            self._continue(transport, frame)
        elif kind == picows.WSMsgType.PING:
            self._answer(transport, frame)
        elif kind == picows.WSMsgType.PONG:
            self._handler.pong()
        elif kind == picows.WSMsgType.CLOSE:
            code = frame.get_close_code()
            number: Any = getattr(code, "value", code) or CloseCode.NO_STATUS_RCVD
            # Nothing follows: it is over, whenever the other side ends the socket.
            self._tell(closed_by_exchange(number, frame.get_close_reason()), int(number))
            transport.send_close(code)
            transport.disconnect()

    def _hand_over(self) -> None:
        """What this read has brought so far; it is of this read, as the library marks the last frame of each."""
        if self._whole:
            messages, self._whole = self._whole, []
            self._handler.received(messages)

    def _continue(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        # A part costs memory even where it is empty; the library limits single frames only.
        self._size += len(frame.get_payload_as_memoryview()) + PART_COST
        if self._size > MAX_MESSAGE:
            self._parts.clear()
            self._give_up(transport, picows.WSCloseCode.MESSAGE_TOO_BIG, "a message of too many bytes")
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            parts, self._parts = self._parts, []
            self._handler.frame(b"".join(parts))

    def _answer(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        # The library's own answers know no limit.
        if transport.underlying_transport.get_write_buffer_size() > MAX_UNREAD:
            self._give_up(transport, picows.WSCloseCode.POLICY_VIOLATION, "pings whose answers are not read")
        else:
            transport.send_pong(frame.get_payload_as_bytes())

    def _give_up(self, transport: picows.WSTransport, code: picows.WSCloseCode, reason: str) -> None:
        self._reason = f"given up: {reason}"
        transport.send_close(code)
        transport.disconnect(False)  # noqa: FBT003 - its only parameter: at once, without waiting for who doesn't read

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        del transport
        if not self.told:
            self._hand_over()
            self._tell(self._reason)

    def _tell(self, reason: str, code: int = 0) -> None:
        self.told = True
        self._handler.lost(reason, code=code)


class _PicowsSocket:
    def __init__(self, transport: picows.WSTransport, listener: _Listener) -> None:
        self._transport = transport
        self._listener = listener

    async def send(self, text: str) -> None:
        if not self._over:
            self._transport.send(picows.WSMsgType.TEXT, text.encode())

    async def ping(self) -> None:
        if not self._over:
            self._transport.send_ping(b"tickbridge")

    def pause_reading(self) -> None:
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.underlying_transport.resume_reading()

    async def close(self) -> None:
        if self._transport.is_disconnected:
            return
        if self._over:  # within TLS, the other side would be waited for
            self._transport.disconnect(False)  # noqa: FBT003 - its only parameter
            return
        self._transport.send_close(picows.WSCloseCode.OK)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._transport.wait_disconnected()
        except TimeoutError:
            self._transport.disconnect(False)  # noqa: FBT003 - its only parameter

    def abort(self) -> None:
        if not self._transport.is_disconnected:
            self._transport.disconnect(False)  # noqa: FBT003 - its only parameter

    @property
    def _over(self) -> bool:
        return self._listener.told or self._transport.is_disconnected


def _close_unwanted(opening: asyncio.Task[Any]) -> None:
    """What nobody waits for any more has opened, or failed."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].disconnect(False)  # noqa: FBT003 - its only parameter


async def connect_picows(
    exchange: str,
    url: str,
    headers: Mapping[str, str],
    handler: Handler,
    *,
    tls: ssl.SSLContext | None,
    open_timeout: float,
    sock: socket.socket | None = None,
) -> _PicowsSocket:
    """Open a WebSocket, over ``sock`` if it is connected already; errors as in `bridge.feed.transport.connect`."""
    own = _Listener(handler)
    opening = asyncio.create_task(
        picows.ws_connect(
            lambda _request, _response: own,
            url,
            ssl_context=tls if url.startswith("wss:") else None,
            websocket_handshake_timeout=open_timeout,
            enable_auto_ping=False,
            enable_auto_pong=False,
            max_frame_size=MAX_MESSAGE,
            extra_headers=list(headers.items()),
            max_redirects=0,  # an exchange must not send its client, with the client's headers, elsewhere
            socket_factory=(lambda _: sock) if sock else None,
            **_LOOP_ITSELF,
        ),
        name="picows-opening",
    )
    try:
        transport, listener = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # Cancelled itself, the library would leave the socket open, and a later answer would open the connection.
        own.told = True
        opening.add_done_callback(_close_unwanted)
        raise
    except picows.WSHandshakeError as error:
        answer = HeadReader()
        answer.feed((error.raw_header or b"") + b"\r\n\r\n" + (error.raw_body or b""))
        raise (answer.refusal(exchange) if answer.refused else not_a_websocket(exchange, str(error))) from None
    except (OSError, TimeoutError, picows.WSError, ValueError) as error:
        raise unreachable(exchange, url, describe(error)) from None
    if listener is not own:
        # The library takes a connection that ends before the answer for one that is open.
        raise unreachable(exchange, url, BROKEN_OFF)
    return _PicowsSocket(transport, own)
