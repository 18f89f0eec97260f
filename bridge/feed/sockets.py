"""What a WebSocket is to the feed, whichever library opens it: its face, its limits, and the words for its end."""

from __future__ import annotations

import ssl
from typing import Protocol

from bridge.exchange_errors import HandshakeError
from bridge.urls import Url

__all__ = [
    "MAX_MESSAGE",
    "MAX_UNREAD",
    "PART_COST",
    "Handler",
    "Socket",
    "closed_by_exchange",
    "describe",
    "unreachable",
]

MAX_MESSAGE = 32 * 1024 * 1024
"""Bytes, whole, over all its frames; beyond that the connection is given up. Full-book snapshots of 6 MB are normal."""
PART_COST = 64
"""What each further frame of a message counts beside its bytes: an empty one costs memory too."""
MAX_UNREAD = 1024 * 1024
"""Bytes of answers to pings that the exchange doesn't read; beyond that the connection is given up."""


class Handler(Protocol):
    """Who gets what a socket receives; none of these may raise."""

    def frame(self, data: bytes) -> None:
        """A whole message came."""

    def received(self, messages: list[bytes]) -> None:
        """Whole messages came, in this order and with one read of the socket."""

    def pong(self) -> None:
        """The answer to a ping came."""

    def lost(self, reason: str, *, code: int = 0) -> None:
        """The socket is gone; called once, nothing follows. ``code`` is that of the exchange's closing frame; 0: none came."""


class Socket(Protocol):
    """An open WebSocket."""

    async def send(self, text: str) -> None:
        """Send a text frame; a socket that is gone swallows it (`Handler.lost` tells)."""

    async def ping(self) -> None:
        """Send a ping."""

    async def close(self) -> None:
        """Close with the closing handshake, within two seconds."""

    def abort(self) -> None:
        """End it at once, without a word: nobody is there to hear one."""

    def pause_reading(self) -> None:
        """Take nothing more off the socket: the exchange is slowed down by TCP."""

    def resume_reading(self) -> None:
        """Go on reading."""


def unreachable(exchange: str, url: str, reason: str) -> HandshakeError:
    """The error for a URL that nobody answers under; it names the host, as most systems' own words don't."""
    return HandshakeError(exchange, 0, f"{Url.of(url).hosts}: {reason}")


def describe(error: BaseException) -> str:
    """An error in words; its type where it has none."""
    if isinstance(error, ssl.CertificateError):
        cause = getattr(error, "certificate_error", error)  # aiohttp wraps it in one of its own
        message = getattr(cause, "verify_message", "") or str(cause)
        return f"the server's certificate is not trusted: {message} (an authority of your own goes into ca_file)"
    return str(error) or type(error).__name__


def closed_by_exchange(code: int, reason: str | None) -> str:
    """How a closing frame is told of."""
    return f"closed by the exchange: {int(code)} {reason or ''}".strip()
