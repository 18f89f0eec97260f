"""A small deployment for alerts: a simulated LMEX, a Redis, a connector and a book consumer, both scraped."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.alerting import Alerting
from tests.e2e.conftest import Run
from tests.e2e.harness import Process, eventually, fetch
from tests.e2e.links import Link
from tests.e2e.observing import connect
from tests.e2e.watched import get
from tests.servers import RedisServer, free_port

__all__ = ["World"]

SETTINGS = {
    "buffer": {"max_bytes": "256KiB"},
    # So that it is full within seconds of an outage, whatever the machine does.
    "retention": {"book": {"max_entries": 100_000}},
}


class World:
    """All of it runs, and nothing fires, when this is there."""

    def __init__(
        self, run: Run, alerting: Alerting, server: RedisServer, link: Link, directory: Path, *, pairs: list[str]
    ) -> None:
        self._run = run
        self._directory = directory
        self._link = link
        self._ports = {name: free_port() for name in ("connector", "books")}
        self.alerting = alerting
        self.server = server
        self.client = connect(server)
        written = directory / "simulated.yaml"
        words = ("--port", "0", "--rate", "300", "--activity", "0.2", "--write-config", str(written))
        run("simulate", "lmex", *words, "--redis-url", server.url).wait_for("ready")
        self.config: dict[str, Any] = yaml.safe_load(written.read_text()) | SETTINGS
        [self.settings] = self.config["connectors"]
        self.settings.update(pairs=pairs, silence={"book": "4s"})
        self._control = f"{self.settings['rest_url']}/sim"
        self.connector = self.start()
        self.books = self.start_books()
        for port in self._ports.values():
            alerting.watch(port)
        self.well()

    def start(self, **changes: Any) -> Process:
        """Start the connector, some of its settings changed, and wait until it is live."""
        self.settings.update(changes)
        self.connector = self.process(self.config, self._ports["connector"])
        eventually(lambda: self.metric("tickbridge_connector_up") and not self.missing(), "a live connector")
        return self.connector

    def restart(self, **changes: Any) -> Process:
        """As an operator does after a correction of the config."""
        assert self.connector.stop() == 0
        return self.start(**changes)

    def process(self, config: dict[str, Any], port: int) -> Process:
        """Start ``tickbridge run`` with a config of its own, and wait for its pages."""
        path = self._directory / f"run-{port}.yaml"
        path.write_text(yaml.safe_dump(config))
        process = self._run("run", "--config", str(path), TICKBRIDGE_HTTP__PORT=str(port))
        process.wait_for("http_listening")
        return process

    def start_books(self, *pairs: str) -> Process:
        """Start the consumer, which reaches Redis over the link, and wait until it reads."""
        address = f"127.0.0.1:{self._ports['books']}"
        words = ("--redis", self._link.url, "--http", address, "--quiet")
        self.books = self._run(*pairs, *words, module="consumers.books")
        self.books.wait_for("health at")
        eventually(lambda: self.metric("tickbridge_consumer_entries_read_total", "books"), "a consumer that reads")
        return self.books

    def well(self) -> None:
        """Wait until the connector has no complaints, and nothing fires."""
        eventually(lambda: get(f"{self._url('connector')}/readyz")[0] == 200 and not self.degraded(), "all live")
        self.alerting.quiet()

    def command(self, *words: str) -> tuple[int, str]:
        """A command of ours: its exit code and what it says."""
        process = self._run(*words)
        return process.ended(), process.output

    def check(self) -> tuple[int, str]:
        """``check --connect`` of the connector's config, as the runbook has it."""
        path = self._directory / f"run-{self._ports['connector']}.yaml"
        return self.command("check", "--config", str(path), "--connect")

    def degraded(self) -> list[str]:
        """What ``/readyz`` says does not work as it should."""
        return self._ready()["degraded"]

    def missing(self) -> list[str]:
        """What ``/readyz`` says prevents the connector from working."""
        return self._ready()["missing"]

    def status(self) -> list[dict[str, Any]]:
        """The streams of ``/status``."""
        [connector] = fetch(f"{self._url('connector')}/status")["connectors"]
        rows: list[dict[str, Any]] = connector["streams"]
        return rows

    def metric(self, name: str, of: str = "connector", **labels: str) -> float:
        """The sum of the samples that have these labels."""
        total = 0.0
        for line in get(f"{self._url(of)}/metrics")[1].splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and all(f'{label}="{value}"' in (found[1] or "") for label, value in labels.items()):
                total += float(found[2])
        return total

    def alive(self, of: str = "connector") -> bool:
        """Whether the event loop answers, as ``curl -m 2 …/livez`` asks."""
        try:
            return get(f"{self._url(of)}/livez", timeout=2)[0] == 200
        except OSError:
            return False

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The connector's log lines of an event."""
        lines = [json.loads(line) for line in self.connector.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def fault(self, name: str, **settings: Any) -> None:
        """Let something go wrong at the exchange."""
        fetch(f"{self._control}/faults", {"fault": name, **settings})

    def clear(self) -> None:
        """The exchange is as it should be."""
        self.fault("clear")

    def narrow(self, rate: float | None) -> None:
        """Let so many bytes a second through from Redis to the consumer."""
        self._link.narrow(rate)

    def instance(self, process: Process) -> str:
        """What Prometheus calls it."""
        return f"127.0.0.1:{self._ports['connector' if process is self.connector else 'books']}"

    @staticmethod
    @contextlib.contextmanager
    def frozen(process: Process, seconds: float) -> Iterator[None]:
        """Hold a process still while the block runs, and for so many seconds at least."""
        began = time.monotonic()
        process.send(signal.SIGSTOP)
        try:
            yield
            eventually(lambda: time.monotonic() - began > seconds, "the end of the pause")
        finally:
            process.send(signal.SIGCONT)

    def _ready(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(get(f"{self._url('connector')}/readyz")[1])
        return found

    def _url(self, of: str) -> str:
        return f"http://127.0.0.1:{self._ports[of]}"
