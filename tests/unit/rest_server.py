"""A small REST server of the tests' own."""

from __future__ import annotations

import json
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiohttp import web

__all__ = ["RestServer"]


class RestServer:
    """Answers each call with the next of ``answers``, or with what ``body`` has for its path; notes when it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []
        """When (monotonic clock, s) and for which path and query."""
        self.answers: deque[tuple[int, dict[str, str], Any]] = deque()
        """Status, headers and body of the next answers."""
        self.body: dict[str, Any] = {}
        """Path and query → what is answered where nothing else is to be."""
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def paths(self) -> list[str]:
        return [path for _, path in self.asked]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path
        self.asked.append((time.monotonic(), path))
        status, headers, body = self.answers.popleft() if self.answers else (200, {}, self.body.get(path, {}))
        return web.Response(status=status, headers=headers, text=json.dumps(body))
