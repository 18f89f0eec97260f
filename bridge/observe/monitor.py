"""The HTTP server of a process of connectors: metrics, health, status."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import structlog

from bridge import __version__
from bridge.config import HttpSettings
from bridge.entries import textual
from bridge.errors import PortUnavailableError
from bridge.observe.figures import plain_rows
from bridge.observe.metrics import BridgeMetrics
from bridge.observe.report import Report
from bridge.process.logs import left_out_lines
from bridge.process.output import dropped_lines
from bridge.process.requests import Hosts
from bridge.process.serving import HttpServer, ProcessMetrics, Pulse, overall
from bridge.redaction import presentable, redact_value

__all__ = ["Monitor"]


class Monitor:
    """Runs the server as a context manager. The report of each connector is added when it starts.

    ``connectors`` maps the name of each connector to its exchange.
    """

    def __init__(self, settings: HttpSettings, connectors: Mapping[str, str]) -> None:
        self._settings = settings
        self._connectors = connectors
        self._reports: dict[str, Report | None] = dict.fromkeys(connectors)
        self._failed: dict[str, str] = {}
        """Errors of failed connectors, until they are restarted."""
        self._pulse = Pulse()
        self._server: HttpServer | None = None

    def add(self, report: Report) -> None:
        """Record that a connector has started."""
        self._reports[report.name] = report
        self._failed.pop(report.name, None)

    def fail(self, name: str, words: str) -> None:
        """Record that a connector has failed; it is shown as failed until it starts again."""
        self._reports[name] = None
        self._failed[name] = words

    async def __aenter__(self) -> Self:
        """Start the server if it is enabled.

        Raises:
            PortUnavailableError: the configured address is not available.
        """
        settings = self._settings
        if settings.port is None:
            return self
        metrics = BridgeMetrics(self.begun, self._up, pairs=settings.pair_labels)
        server = HttpServer(
            self._pulse,
            [metrics, ProcessMetrics(__version__, self._pulse)],
            missing=self.missing,
            status=self.status,
            degraded=self.degraded,
            hosts=Hosts(settings.hosts, settings.host),
            old_names=settings.old_metric_names,
        )
        log = structlog.get_logger()
        try:
            url = await server.start(settings.host, settings.port)
        except OSError as error:
            await server.aclose()
            if settings.explicit or error.errno != errno.EADDRINUSE:
                words = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                raise PortUnavailableError(settings.host, settings.port, words) from None
            hint = "no metrics and health pages; set http.port to a free port, to 0 for any, or to off"
            log.warning("http_port_taken", host=settings.host, port=settings.port, hint=hint)
        else:
            self._server = server
            log.info("http_listening", url=url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            await self._server.aclose()

    def missing(self) -> list[str]:
        """What prevents each connector from being ready."""
        found = []
        for name, report in self._reports.items():
            failed = self._failed.get(name)
            starting = f"it has failed: {failed}" if failed else "it has not started yet"
            found += [f"{name}: {what}" for what in (report.missing if report else [starting])]
        return [presentable(what) for what in found]

    def degraded(self) -> list[str]:
        """What does not work in each connector, although it may be ready."""
        found = [f"{report.name}: {what}" for report in self.begun() for what in report.degraded]
        return [str(redact_value(what)) for what in found]

    async def status(self) -> Callable[[], object]:
        """Copy what the status page says; the result makes plain data of it, without secrets."""
        connectors = [
            await report.status() if report else self._without_report(name) for name, report in [*self._reports.items()]
        ]
        missing, degraded = self.missing(), self.degraded()
        whole = {
            "version": __version__,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "state": overall(missing, degraded),
            "ready": not missing,
            "missing": missing,
            "degraded": degraded,
            "event_loop_lag_seconds": round(self._pulse.lag, 6),
            "output": {"dropped_lines": dropped_lines(), "repeated_log_lines": left_out_lines()},
            "connectors": connectors,
        }
        return partial(_plain, whole)

    def _without_report(self, name: str) -> dict[str, object]:
        failed = self._failed.get(name)
        state = {"state": "failed", "error": failed} if failed else {"state": "starting"}
        return {"name": name, "exchange": self._connectors[name], **state, "ready": False}

    def _up(self) -> dict[tuple[str, ...], bool]:
        return {(self._connectors[name], name): report is not None for name, report in self._reports.items()}

    def begun(self) -> list[Report]:
        """The reports of connectors that have started."""
        return [report for report in self._reports.values() if report]


def _plain(whole: object) -> object:
    return redact_value(textual(plain_rows(whole)), presentable)
