"""What exchanges of tests have in common whose connections are on several paths."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from tests.e2e.threaded_exchange import ThreadedExchange

__all__ = ["PathExchange"]


class PathExchange(ThreadedExchange):
    """It keeps who is subscribed to what on which path, and what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, tuple[str, ...]]] = []
        """Path, operation and topics of each request over a socket."""
        self.handshakes: list[str] = []
        self.pings: list[str] = []
        """The path of each."""
        self.called: list[str] = []
        """What was called by REST."""
        self._sockets: dict[str, dict[web.WebSocketResponse, set[str]]] = {}
        """Path → sockets, with what they are subscribed to."""

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return [socket for sockets in self._sockets.values() for socket in sockets]

    def subscribed(self, path: str) -> set[str]:
        return {topic for topics in self._sockets.get(path, {}).values() for topic in topics}

    async def publish(self, path: str, topic: str, frame: bytes) -> None:
        """Send a frame to those on a path who are subscribed to its topic."""
        for socket, topics in list(self._sockets.get(path, {}).items()):
            if topic in topics:
                await socket.send_str(frame.decode())

    def tell(self, path: str, *many: bytes) -> None:
        """Send frames to everybody on a path, whatever they are subscribed to."""

        async def go() -> None:
            for frame in many:
                for socket in list(self._sockets.get(path, {})):
                    await socket.send_str(frame.decode())

        self.in_thread(go())

    def cut(self, path: str, code: int = 1000, reason: str = "") -> None:
        """End every connection of a path."""

        async def go() -> None:
            for socket in list(self._sockets.get(path, {})):
                await socket.close(code=code, message=reason.encode())

        self.in_thread(go())
