"""A TCP link that can be held and cut, in a thread of its own: bytes that were held arrive late, after all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, Self

from tests.unit.proxy import Proxy

__all__ = ["Link"]


class Link:
    """Leads to a local port while the block runs."""

    def __init__(self, target: int) -> None:
        self._proxy = Proxy(target)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return self._proxy.url

    @property
    def port(self) -> int:
        return self._proxy.port

    def translate(self, ports: Mapping[int, int]) -> None:
        """Replace these ports in what the servers of a Cluster say of where they are."""
        self._proxy.ports = dict(ports)

    def hold(self) -> None:
        """Let nothing through, in either direction; what comes waits."""
        self._do(lambda: (self._proxy.flow.clear(), self._proxy.up.clear()))

    def release(self) -> None:
        """Deliver what was held."""
        self._do(lambda: (self._proxy.up.set(), self._proxy.flow.set()))

    def narrow(self, rate: float | None) -> None:
        """Let so many bytes a second through from the server on each connection; ``None``: as many as there are."""
        self._do(lambda: setattr(self._proxy, "rate", rate))

    def cut(self) -> None:
        """End all connections, and take no others."""

        def cut() -> None:
            self._proxy.refuse = True
            self._proxy.cut()

        self._do(cut)

    def mend(self) -> None:
        """Take connections again."""
        self._do(lambda: setattr(self._proxy, "refuse", False))

    def _do(self, work: Any) -> None:
        async def do() -> None:
            work()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)

    async def _serve(self) -> None:
        async with self._proxy:
            self._up.set()
            await self._stop.wait()
