"""The HTTP server of a process: ``/metrics``, ``/livez``, ``/readyz``, ``/status``, and the lag of its event loop.

Connectors and consumers share it. It reads everything at the time of a request.
"""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.process.output import dropped_lines

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


class ProcessMetrics(Collector):
    """The metrics of every process: lag of the event loop, build, and dropped lines of output.

    ``prefix`` is ``bridge`` or ``consumer``.
    """

    def __init__(self, prefix: str, version: str, pulse: Pulse) -> None:
        self._prefix = prefix
        self._version = version
        self._pulse = pulse

    def collect(self) -> Iterable[Metric]:
        """Two gauges and a counter."""
        lag = "Longest delay of the event loop in the last 15 to 30 s."
        yield GaugeMetricFamily(f"{self._prefix}_event_loop_lag_seconds", lag, self._pulse.lag)
        build = GaugeMetricFamily(
            f"{self._prefix}_build_info", "Always 1; the labels give the versions.", labels=["version", "python"]
        )
        build.add_metric([self._version, platform.python_version()], 1)
        yield build
        words = "Printed and logged lines that were dropped because nothing read them."
        dropped = CounterMetricFamily(f"{self._prefix}_output_dropped_lines", words, labels=["stream"])
        for stream, lines in {"stdout": 0, "stderr": 0, **dropped_lines()}.items():
            dropped.add_metric([stream], lines)
        yield dropped


class HttpServer:
    """The server. ``missing`` lists what prevents the process from being ready, ``degraded`` what else does not work.

    ``status`` returns the status page; numbers and times in it should be text. ``middlewares`` see every request first.
    """

    def __init__(
        self,
        pulse: Pulse,
        collectors: Sequence[Collector],
        *,
        missing: Callable[[], list[str]],
        status: Callable[[], object],
        degraded: Callable[[], list[str]] = list,
        routes: Sequence[web.RouteDef] = (),
        middlewares: Sequence[Middleware] = (),
    ) -> None:
        self._pulse = pulse
        self._missing = missing
        self._status = status
        self._degraded = degraded
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)
        self._app = web.Application(middlewares=[*middlewares, _plain_errors])
        self._app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/metrics", self._metrics),
                web.get("/readyz", self._readyz),
                web.get("/status", self._whole),
                *routes,
            ]
        )
        self._app.on_response_prepare.append(_hide_server_version)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_ENDING)
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
        await web.TCPSite(self._runner, host, port).start()
        self._pulse_task = asyncio.create_task(self._pulse.run(), name="pulse")
        taken = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{taken}"

    async def aclose(self) -> None:
        """Stop listening."""
        if self._pulse_task:
            self._pulse_task.cancel()
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        stuck = self._pulse.stuck
        return _json({"alive": not stuck, "reason": stuck, "lag_seconds": f"{self._pulse.lag:.6f}"}, ok=not stuck)

    async def _readyz(self, _: web.Request) -> web.Response:
        missing, degraded = self._missing(), self._degraded()
        state = overall(missing, degraded)
        body = {"state": state, "ready": not missing, "missing": missing, "degraded": degraded}
        return _json(body, ok=not missing)

    async def _whole(self, _: web.Request) -> web.Response:
        return _json(self._status())

    async def _metrics(self, _: web.Request) -> web.Response:
        # In the loop, without interruption: nothing changes between two values, so that their sums add up.
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": _TEXT})


def _json(body: object, *, ok: bool = True) -> web.Response:
    return web.json_response(body, status=200 if ok else 503, dumps=_dumps)


def _dumps(body: Any) -> str:
    return json.dumps(body, indent=2) + "\n"


async def _hide_server_version(_: web.Request, response: web.StreamResponse) -> None:
    """Do not reveal the server's versions."""
    response.headers.pop("Server", None)


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
