"""Lets the gateway's page see the demo's connectors and simulators, and kill them: the demo restarts what dies."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bridge.demo.processes import ChildProcess, Processes
from bridge.demo.venue import Venue

__all__ = ["Levers"]


class Levers:
    """An HTTP server on loopback while the block runs. ``url`` is its base, with the secret that its callers know."""

    def __init__(self, processes: Processes, venues: Iterable[Venue]) -> None:
        self.url = ""
        self._processes = processes
        self._names = [(venue.exchange, name) for venue in venues for name in (venue.simulator, venue.connector)]
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        secret = secrets.token_urlsafe(24)
        app = web.Application()
        app.router.add_get(f"/{secret}/processes", self._list)
        app.router.add_post(f"/{secret}/kill", self._kill)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/{secret}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _list(self, _: web.Request) -> web.Response:
        rows = [_row(exchange, self._processes[name]) for exchange, name in self._names]
        return web.json_response({"processes": rows})

    async def _kill(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            body = None
        wanted = body.get("name") if isinstance(body, dict) else None
        names = [name for _, name in self._names]
        if wanted not in names:
            return web.json_response({"error": f"name is one of {', '.join(names)}"}, status=400)
        child = self._processes[wanted]
        if not child.kill():
            return web.json_response({"error": f"{wanted} does not run at the moment"}, status=400)
        return web.json_response({"name": wanted, "pid": str(child.pid)})


def _row(exchange: str, child: ChildProcess) -> dict[str, Any]:
    return {
        "exchange": exchange,
        "name": child.name,
        "pid": str(child.pid),
        "running": child.running,
        "starts": str(child.starts),
        "ended": child.ended,
    }
