"""A Prometheus with our rules, and an Alertmanager with our config that tells a receiver in the test.

Both go thirty times as fast as they are deployed, and nothing else about them is changed: every ``for``, range and
``offset`` of the rules and every time of Alertmanager's config is divided by thirty, so that a minute is two seconds.
Expressions, thresholds, labels, annotations, groups and inhibitions are those that are shipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml

from tests.deploy.observability import ALERTS, ROOT, RUNBOOK
from tests.e2e.harness import eventually, fetch
from tests.environment import clean_environment
from tests.servers import free_port

__all__ = ["Alerting", "hurried", "missing"]

HURRY = 30
SCRAPE, EVALUATE = "4s", "1s"
"""A scrape may take as long as the time between two, and should be answered in it on a busy machine, too."""
MOST_LOAD = 8
"""Per core: with more, most scrapes take longer than that."""
BUSY = {
    f"Tickbridge{alert}"
    for alert in ("PublishLatencyHigh", "FeedLatencyHigh", "FeedLatencyCreeping", "LoopLag", "ConsumerBehind")
}
"""They are about processes that get too little time to run, and then they are right."""
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_TIMES = re.compile(r"(?P<before>\[|\boffset |\bfor: |_wait: |_interval: )(?P<count>\d+)(?P<unit>[smh])\b")


def missing() -> str:
    """Why nothing of this can run here; empty if it can."""
    if not os.environ.get("TICKBRIDGE_TEST_ALERTS"):
        return "ten minutes on a machine that does nothing else: with TICKBRIDGE_TEST_ALERTS=yes"
    absent = [name for name in ("prometheus", "prometheus-alertmanager") if shutil.which(name) is None]
    if absent:
        return f"no {' and no '.join(absent)} on this machine (Debian's packages of these names)"
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return f"this machine is too busy for scrapes in time: load {load:.0f} per core" if load > MOST_LOAD else ""


def hurried(text: str) -> str:
    """Rules, or Alertmanager's config, with all times a thirtieth of what they are."""

    def shorter(found: re.Match[str]) -> str:
        milliseconds = int(found["count"]) * _SECONDS[found["unit"]] * 1000 // HURRY
        return f"{found['before']}{milliseconds}ms"

    return _TIMES.sub(shorter, text)


class Alerting:
    """Runs while the block does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._targets: list[str] = []
        self._told: list[dict[str, Any]] = []
        """Alerts in the order in which the receiver was told of them."""
        self._heeded = 0
        """As many of them were about what was before."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._prometheus = f"http://127.0.0.1:{free_port()}"
        self._alertmanager = f"127.0.0.1:{free_port()}"
        self._anchors = {f"#{word.lower()}" for word in re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)}

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(
            "prometheus-alertmanager", "alertmanager.yml", self._alertmanager_config(), "--cluster.listen-address="
        )
        (self._directory / "alerts.yml").write_text(hurried(ALERTS.read_text()))
        self._run("prometheus", "prometheus.yml", self._prometheus_config(), "--rules.alert.resend-delay=1s")
        eventually(lambda: self._asked("rules")["groups"], "Prometheus with our rules")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._server.shutdown()
        self._server.server_close()

    def watch(self, port: int) -> None:
        """Scrape this port of the machine from now on."""
        self._targets.append(f"127.0.0.1:{port}")
        where = f"http://127.0.0.1:{port}/metrics"
        eventually(
            lambda: any(
                target["scrapeUrl"] == where and target["health"] == "up"
                for target in self._asked("targets")["activeTargets"]
            ),
            f"a scrape of {where}",
        )

    def fires(self, alert: str, **labels: str) -> dict[str, Any]:
        """Wait until the receiver is told of it; it must be readable, and lead to its section of the runbook."""
        told = eventually(
            lambda: next((each for each in self._latest(alert, labels) if each["status"] == "firing"), None),
            f"{alert} {labels}; firing: {self.firing()}",
        )
        summary, runbook = told["annotations"]["summary"], told["annotations"]["runbook_url"]
        assert re.fullmatch(r"[\w\"].*\w", summary), summary
        assert "<no value>" not in summary, summary
        page, _, section = runbook.partition("#")
        assert page.endswith("/how-to/runbook.html"), runbook
        assert section == alert.lower()
        assert f"#{section}" in self._anchors
        return told

    def resolved(self, alert: str, **labels: str) -> None:
        """Wait until the receiver is told that each such alert has ended."""

        def ended() -> bool:
            latest = self._latest(alert, labels)
            return bool(latest) and all(each["status"] == "resolved" for each in latest)

        eventually(ended, f"the end of {alert} {labels}")

    def firing(self) -> list[str]:
        """The alerts that Prometheus calls firing."""
        return sorted(
            {each["labels"]["alertname"] for each in self._asked("alerts")["alerts"] if each["state"] == "firing"}
        )

    def quiet(self) -> None:
        """Wait until nothing fires, but for what a busy machine may set off; what was told so far is past."""
        try:
            eventually(lambda: not {*self.firing(), *self._held()} - BUSY, "nothing that fires")
        except AssertionError as error:
            error.add_note(f"firing: {self._asked('alerts')['alerts']}")
            raise
        with self._lock:
            self._heeded = len(self._told)

    def take(self, alerts: list[dict[str, Any]]) -> None:
        """The receiver is told of these."""
        with self._lock:
            self._told += alerts

    def targets(self) -> list[dict[str, list[str]]]:
        """What is to be scraped, as Prometheus asks for it."""
        return [{"targets": list(self._targets)}]

    def _latest(self, alert: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The last word about each alert that has these labels."""
        wanted = {"alertname": alert, **labels}.items()
        with self._lock:
            recent = self._told[self._heeded :]
        last = {json.dumps(each["labels"], sort_keys=True): each for each in recent}
        return [each for each in last.values() if wanted <= each["labels"].items()]

    def _held(self) -> list[str]:
        """The alerts that Alertmanager has not seen the end of."""
        return [each["labels"]["alertname"] for each in fetch(f"http://{self._alertmanager}/api/v2/alerts")]

    def _asked(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self._prometheus}/api/v1/{what}")["data"]
        return found

    def _run(self, command: str, name: str, config: str, *more: str) -> None:
        path = self._directory / name
        path.write_text(config)
        address = self._prometheus.removeprefix("http://") if command == "prometheus" else self._alertmanager
        storage = "--storage.tsdb.path" if command == "prometheus" else "--storage.path"
        data = self._directory / f"{command}-data"
        arguments = [f"--config.file={path}", f"{storage}={data}", f"--web.listen-address={address}", *more]
        with (self._directory / f"{command}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen([command, *arguments], stdout=log, stderr=log, env=clean_environment())
            )

    @property
    def _here(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _alertmanager_config(self) -> str:
        """Ours, with a receiver that gets what it is told."""
        config = yaml.safe_load(hurried((ROOT / "deploy" / "prometheus" / "alertmanager.yml").read_text()))
        [receiver] = config["receivers"]
        receiver["webhook_configs"] = [{"url": f"{self._here}/alerts", "send_resolved": True}]
        return yaml.safe_dump(config)

    def _prometheus_config(self) -> str:
        found = [{"url": f"{self._here}/targets", "refresh_interval": EVALUATE}]
        return yaml.safe_dump(
            {
                "global": {"scrape_interval": SCRAPE, "evaluation_interval": EVALUATE},
                "rule_files": ["alerts.yml"],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self._alertmanager]}]}]},
                "scrape_configs": [{"job_name": "tickbridge", "http_sd_configs": found}],
            }
        )


def _handler(alerting: Alerting) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(json.dumps(alerting.targets()).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            alerting.take(body["alerts"])
            self._answer(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
