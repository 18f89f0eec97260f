"""A tap on the live sockets, for making recordings."""

from __future__ import annotations

from typing import Protocol

__all__ = ["FeedTap"]


class FeedTap(Protocol):
    """Who listens in.

    ``conn`` names the connection; addresses and frames come without secrets; ``ts`` is in seconds since the epoch.
    """

    def connected(self, conn: str, addr: str, ts: float) -> None:
        """A socket is open."""

    def sent(self, conn: str, data: str, ts: float) -> None:
        """A text frame went out."""

    def received(self, conn: str, data: bytes, ts: float) -> None:
        """A frame came in."""

    def closed(self, conn: str, reason: str, ts: float) -> None:
        """A socket is gone."""

    def http(self, conn: str, url: str, data: str, ts: float) -> None:
        """A public REST call was answered."""
