"""The HTTP server of a process: ``/metrics``, ``/livez``, ``/readyz``, ``/status``, and the lag of its event loop.

Connectors and consumers share it. It reads everything at the time of a request; what takes long is done in a thread.
"""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bridge.process.exposition import PREFIX, Exposition, Source
from bridge.process.output import dropped_lines
from bridge.process.requests import KEEP_ALIVE, WHOLE_WITHIN, Entrance, Hosts, hide_server

__all__ = ["HttpServer", "ProcessMetrics", "Pulse", "overall"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The exposition format that every version of Prometheus reads."""
_ENDING = 1.0
"""Seconds that running requests get when the server ends."""


def overall(missing: Sequence[str], degraded: Sequence[str]) -> str:
    """``down``: something prevents it from being ready; ``degraded``: something else does not work; ``live``: neither."""
    return "down" if missing else "degraded" if degraded else "live"


class Pulse:
    """Measures the lag of the event loop: a task wakes every ``interval`` seconds and sees how late it is.

    A delay above ``limit`` means that the loop is stuck. `lag` covers the last ``window`` seconds, so that no stall is
    missed between two scrapes.
    """

    def __init__(
        self,
        *,
        interval: float = 0.25,
        limit: float = 5.0,
        window: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval
        self._limit = limit
        self._window = window
        self._clock = clock
        self._due = clock() + interval
        self._last = 0.0
        self._worst = [0.0, 0.0]
        self._turned = clock()

    async def run(self) -> None:
        """Measure, endlessly."""
        while True:
            self._due = self._clock() + self._interval
            await asyncio.sleep(self._interval)
            self.beat()

    def beat(self) -> None:
        """Record how late the loop is."""
        now = self._clock()
        self._last = max(0.0, now - self._due)
        if now - self._turned > self._window:
            self._worst = [0.0, self._worst[0]]
            self._turned = now
        self._worst[0] = max(self._worst[0], self._last)

    @property
    def lag(self) -> float:
        """The longest delay of the last 15 to 30 s, in seconds, including the present one."""
        return max(*self._worst, self._overdue)

    @property
    def stuck(self) -> str:
        """Why the loop counts as stuck; empty if it does not."""
        late = max(self._overdue, self._last)
        return f"the event loop was blocked for {late:.1f} s" if late > self._limit else ""

    @property
    def _overdue(self) -> float:
        return max(0.0, self._clock() - self._due)


class ProcessMetrics:
    """The metrics of every process: lag of the event loop, build, and dropped lines of output.

    ``room`` follows the prefix of all metrics: ``consumer_``, or nothing.
    """

    def __init__(self, version: str, pulse: Pulse, room: str = "") -> None:
        self._prefix = f"{PREFIX}{room}"
        self._version = version
        self._pulse = pulse

    async def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """Two gauges and a counter."""
        return partial(self._families, self._pulse.lag, dropped_lines())

    def _families(self, late: float, dropped: Mapping[str, int]) -> Iterable[Metric]:
        words = "Longest delay of the event loop in the last 15 to 30 s."
        yield GaugeMetricFamily(f"{self._prefix}event_loop_lag_seconds", words, late)
        build = GaugeMetricFamily(
            f"{self._prefix}build_info", "Always 1; the labels give the versions.", labels=["version", "python"]
        )
        build.add_metric([self._version, platform.python_version()], 1)
        yield build
        words = "Printed and logged lines that were dropped because nothing read them."
        lines = CounterMetricFamily(f"{self._prefix}output_dropped_lines", words, labels=["stream"])
        for stream, count in {"stdout": 0, "stderr": 0, **dropped}.items():
            lines.add_metric([stream], count)
        yield lines


class HttpServer:
    """The server. ``missing`` lists what prevents the process from being ready, ``degraded`` what else does not work.

    ``status`` copies what the status page says, and returns what makes the page of it, in a thread; numbers and times in
    it should be text. ``hosts`` are the names that requests may have as their ``Host`` (``None``: ``middlewares`` check
    that). ``middlewares`` see every request first. With ``old_names``, metrics have their old names, too.
    The head of a first request has to come ``whole_within`` so many seconds.
    """

    def __init__(
        self,
        pulse: Pulse,
        sources: Sequence[Source],
        *,
        missing: Callable[[], list[str]],
        status: Callable[[], Awaitable[Callable[[], object]]],
        degraded: Callable[[], list[str]] = list,
        routes: Sequence[web.RouteDef] = (),
        middlewares: Sequence[Middleware] = (),
        hosts: Hosts | None = None,
        old_names: bool = True,
        whole_within: float = WHOLE_WITHIN,
    ) -> None:
        self._pulse = pulse
        self._whole_within = whole_within
        self._missing = missing
        self._status = status
        self._degraded = degraded
        self._exposition = Exposition(sources, old_names=old_names)
        checks = [hosts.middleware] if hosts else []
        self._app = web.Application(middlewares=[*checks, *middlewares, _plain_errors])
        self._app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/metrics", self._metrics),
                web.get("/readyz", self._readyz),
                web.get("/status", self._whole),
                *routes,
            ]
        )
        self._app.on_response_prepare.append(hide_server)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_ENDING, keepalive_timeout=KEEP_ALIVE)
        self._entrance: Entrance | None = None
        self._listener: asyncio.Server | None = None
        self._pulse_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the URL, with the actual port for port 0.

        Raises:
            OSError: the address is not available.
        """
        await self._runner.setup()
        assert self._runner.server is not None
        self._entrance = Entrance(self._runner.server, self._whole_within)
        self._listener = await asyncio.get_running_loop().create_server(self._entrance, host, port, backlog=128)
        self._pulse_task = asyncio.create_task(self._pulse.run(), name="pulse")
        taken = self._listener.sockets[0].getsockname()[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{taken}"

    async def aclose(self) -> None:
        """Stop listening."""
        if self._pulse_task:
            self._pulse_task.cancel()
        if self._listener:
            self._listener.close()
        if self._entrance:
            self._entrance.close()
        await self._runner.cleanup()
        await self._exposition.aclose()

    async def _livez(self, _: web.Request) -> web.Response:
        stuck = self._pulse.stuck
        return _json({"alive": not stuck, "reason": stuck, "lag_seconds": f"{self._pulse.lag:.6f}"}, ok=not stuck)

    async def _readyz(self, _: web.Request) -> web.Response:
        missing, degraded = self._missing(), self._degraded()
        state = overall(missing, degraded)
        body = {"state": state, "ready": not missing, "missing": missing, "degraded": degraded}
        return _json(body, ok=not missing)

    async def _whole(self, _: web.Request) -> web.Response:
        make = await self._status()
        text = await self._exposition.aside(lambda: _dumps(make()))
        return web.Response(text=text, content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        page = await self._exposition.page()
        headers = {"Content-Type": _TEXT, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):  # Prometheus: a tenth to be sent, and by the loop
            return web.Response(body=page.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=page.plain, headers=headers)


def _json(body: object, *, ok: bool = True) -> web.Response:
    return web.json_response(body, status=200 if ok else 503, dumps=_dumps)


def _dumps(body: Any) -> str:
    return json.dumps(body, indent=2) + "\n"


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer wrong paths and methods in JSON too, with the right ones."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        pages = sorted({route.resource.canonical for route in request.app.router.routes() if route.resource})
        error = f"no page {request.path}; known: {', '.join(pages)}"
        return web.json_response({"error": error}, status=404, dumps=_dumps)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        error = f"{request.method} is not allowed on {request.path}; use {allowed}"
        return web.json_response({"error": error}, status=405, headers={"Allow": allowed}, dumps=_dumps)
