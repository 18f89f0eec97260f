"""A running connector, asked for its pages over HTTP."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench, Run
    from tests.e2e.harness import Process

__all__ = ["Watched", "adds_up", "get"]


def get(url: str, timeout: float = PATIENCE) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


class Watched:
    """A connector that serves its metrics."""

    def __init__(self, bench: Bench, run: Run, path: Path, env: dict[str, str], *more: str, **connector: Any) -> None:
        assert bench.simulated is not None
        written = str(bench.simulated.write(path / "watched.yaml", **connector))
        self.process: Process = run("run", "--config", written, *more, TICKBRIDGE_HTTP__PORT="0", **env)
        output = self.process.wait_for("http_listening")
        self.url = re.findall(r'"url":"([^"]+)"', output)[0]

    def ready(self) -> tuple[int, list[str]]:
        code, body = get(f"{self.url}/readyz")
        return code, json.loads(body)["missing"]

    def status(self) -> dict[str, Any]:
        [connector] = json.loads(get(f"{self.url}/status")[1])["connectors"]
        return connector

    def text(self) -> str:
        return get(f"{self.url}/metrics")[1]

    def metrics(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Sample name → sorted labels → value."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found


def by_channel(samples: dict[tuple[tuple[str, str], ...], float]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, value in samples.items():
        sums[dict(labels)["channel"]] = sums.get(dict(labels)["channel"], 0) + value
    return sums


def adds_up(watched: Watched) -> int:
    """Received = published + lost + buffered, per channel and per stream; returns what is buffered."""
    metrics = watched.metrics()
    received, published, lost, buffered = (
        by_channel(metrics.get(f"tickbridge_{name}", {}))
        for name in ("ws_messages_received_total", "published_total", "lost_total", "publish_queue_entries")
    )
    assert sum(received.values()) > 0
    for channel, count in received.items():
        assert count == published[channel] + lost.get(channel, 0) + buffered[channel], channel
    waiting = 0
    for row in watched.status()["streams"]:
        published, buffered = int(row["published"]), int(row["buffered"])
        assert int(row["received"]) == published + sum(map(int, row["lost"].values())) + buffered, row
        waiting += buffered
    return waiting
