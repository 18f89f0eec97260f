"""What a request has to pass before a page answers it: it comes whole, in time, and for a host that this process is.

A page of some web site in the user's browser can reach servers on the user's network under a name of its own, whose
address it changes (DNS rebinding). So a ``Host`` has to be an address, a name that nobody can register, or one that is
configured.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

__all__ = ["KEEP_ALIVE", "WHOLE_WITHIN", "Entrance", "Hosts", "hide_server", "host_name", "is_address"]

KEEP_ALIVE = 75.0
"""Seconds until a connection is closed that sends no further request: longer than proxies keep them."""
_NAME = "tickbridge"
"""What the ``Server`` header says: no version."""
WHOLE_WITHIN = 10.0
"""Seconds in which the head of a request must have come."""
_LARGEST_HEAD = 65_536
_LONGEST_QUOTED = 100
_PRIVATE = ("localhost", "local", "internal", "svc", "home.arpa", "test")
"""Last parts of names that are no public ones; ``svc`` and ``svc.cluster.local`` are those of Kubernetes."""


def host_name(host: str) -> str:
    """The name or address in a ``Host`` header, in lower case, without port and brackets; empty if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Hosts:
    """The hosts that requests may be for: ``names``, where ``*.example.com`` is every name below, and ``*`` any.

    Besides: addresses (health probes and scrapes go to them), names without a dot (services of Compose), names that are
    never public, this machine's name, and ``bound``, where the server listens.
    """

    def __init__(self, names: Collection[str] = (), bound: str = "") -> None:
        given = {name.casefold().strip("[]").rstrip(".") for name in (*names, bound, socket.gethostname())}
        self._any = "*" in given
        self._names = given
        self._below = tuple(name[1:] for name in given if name.startswith("*."))

    def known(self, host: str) -> bool:
        """Whether a request with this ``Host`` header is for this process."""
        name = host_name(host)
        return self._any or bool(
            name
            and (
                is_address(name)
                or "." not in name
                or name in self._names
                or name.endswith((*self._below, *(f".{last}" for last in _PRIVATE)))
            )
        )

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer 421 to a request for another host."""
        host = request.headers.get("Host", "")
        if not self.known(host):
            shown = ascii(host[:_LONGEST_QUOTED])
            words = f"this is not the host {shown}; if it is reached under that name, add it to http.hosts"
            if not host:
                words = "the request has no Host header; give it one, or answer for any host: http.hosts: ['*']"
            body = json.dumps({"error": words}, indent=2) + "\n"
            return web.Response(text=body, status=421, content_type="application/json")
        return await handler(request)


class Entrance:
    """Where connections come in: each is given to the server once the head of its first request has come.

    Without that, whoever sends half a request holds a connection open. ``within``: seconds until it is closed.
    Later requests of a connection are limited by the server's ``keepalive_timeout``.
    """

    def __init__(self, server: web.Server, within: float = WHOLE_WITHIN) -> None:
        self._server = server
        self.within = within
        self.waiting: set[_FirstHead] = set()

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _FirstHead(self)

    def handler(self) -> RequestHandler:
        """The server's protocol."""
        handler = self._server()
        handler.__class__ = _Handler
        return handler

    def close(self) -> None:
        """Close the connections that have sent no request."""
        for head in list(self.waiting):
            head.end()


class _FirstHead(asyncio.Protocol):
    """Keeps what has come until a whole head is there."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream, it is always this one
        self._entrance.waiting.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._entrance.within, self._expire)

    def data_received(self, data: bytes) -> None:
        self._data += data
        # What does not begin like a method is not HTTP: the server says so.
        if b"\r\n\r\n" in self._data or b"\n\n" in self._data or not self._data[:1].isalpha():
            self._hand_over()
        elif len(self._data) > _LARGEST_HEAD:
            self.end(b"431 Request Header Fields Too Large")

    def connection_lost(self, _: Exception | None) -> None:
        self._forget()

    def end(self, status: bytes = b"") -> None:
        """Close the connection, with an answer if there is anything to answer."""
        transport = self._forget()
        if transport is not None:
            if status:
                transport.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
            transport.close()

    def _expire(self) -> None:
        self.end(b"408 Request Timeout" if self._data else b"")

    def _hand_over(self) -> None:
        transport = self._forget()
        if transport is not None:
            handler = self._entrance.handler()
            transport.set_protocol(handler)
            handler.connection_made(transport)
            handler.data_received(bytes(self._data))

    def _forget(self) -> asyncio.Transport | None:
        self._entrance.waiting.discard(self)
        if self._timer:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        return transport


class _Handler(RequestHandler):
    """Answers broken requests without telling aiohttp's version."""

    __slots__ = ()

    def handle_error(self, *args: Any, **more: Any) -> web.StreamResponse:
        response = super().handle_error(*args, **more)
        response.headers["Server"] = _NAME
        return response


async def hide_server(_: web.Request, response: web.StreamResponse) -> None:
    """Do not reveal the server's versions."""
    response.headers.pop("Server", None)
