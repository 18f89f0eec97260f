"""How late events are, seen from outside: a connector on simulated exchanges whose clocks are wrong, and which lag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.e2e.conftest import Run
from tests.e2e.harness import Process, eventually, fetch
from tests.e2e.observing import connect
from tests.servers import RedisServer


class Rig:
    """A simulated exchange whose clock is off, with its connector."""

    def __init__(self, run: Run, server: RedisServer, directory: Path) -> None:
        self._run = run
        self._url = server.url
        self._directory = directory
        self.client: redis.Redis = connect(server)
        self.control = ""
        self.name = ""

    def start(self, exchange: str, *arguments: str, **connector: Any) -> Process:
        """Start both."""
        written = self._directory / "simulated.yaml"
        command = ["simulate", exchange, "--port", "0", "--rate", "200", "--write-config", str(written)]
        self._run(*command, "--redis-url", self._url, *arguments).wait_for("ready")
        config = yaml.safe_load(written.read_text())
        self.control = config["connectors"][0]["rest_url"].removesuffix("/api") + "/sim"
        self.name = exchange
        config["connectors"][0].update(connector)
        written.write_text(yaml.safe_dump(config))
        return self._run("run", "--config", str(written))

    def fault(self, name: str, **fields: Any) -> None:
        fetch(f"{self.control}/faults", {"fault": name, **fields})

    def beat(self, *needed: str) -> dict[str, Any]:
        """The heartbeat with its JSON read, once these channels have a latency."""
        fields: dict[str, Any] = self.client.hgetall(f"bridge:connector:{self.name}")
        read = json.loads(fields.get("latency") or "{}")
        fields["latency"] = {name: {key: float(text) for key, text in row.items()} for name, row in read.items()}
        return fields if all(channel in fields["latency"] for channel in needed) else {}

    def logged(self, process: Process, event: str) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
        return [row for row in rows if row["event"] == event]


@pytest.fixture
def rig(run: Run, redis_server: RedisServer, tmp_path: Path) -> Rig:
    return Rig(run, redis_server, tmp_path)


def test_the_exchanges_clock_is_found_and_taken_off(rig: Rig) -> None:
    """It is off by more than the log-in allows: the account is live only because it is signed with that time."""
    process = rig.start("lmex", "--clock-offset", "-90", "--activity", "0.2", account="main", latency_limit="45s")
    beat = eventually(lambda: rig.beat("trades", "book", "quotes", "fills"), "latencies")
    assert abs(float(beat["clock_offset_ms"]) + 90_000) <= float(beat["clock_error_ms"]) + 1
    assert float(beat["clock_error_ms"]) < 45_000
    for channel, figures in beat["latency"].items():
        assert -1 - float(beat["clock_error_ms"]) <= figures["p50_ms"] < 45_000, channel
        assert figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        assert figures["count"] > 0
    assert "orders" not in beat["latency"]
    eventually(lambda: rig.beat()["state"] == "live", "all connections are up")
    assert process.stop() == 0
    assert rig.logged(process, "latency_high") == []


def test_limitlex_by_the_date_of_its_answers(rig: Rig) -> None:
    """The clock is found; but the times of its events are whole seconds, which say nothing of latency."""
    process = rig.start("limitlex", "--clock-offset", "300")
    beat = eventually(lambda: (found := rig.beat()).get("clock_offset_ms") and found, "the clock")
    assert abs(float(beat["clock_offset_ms"]) - 300_000) <= float(beat["clock_error_ms"]) + 1
    eventually(lambda: int(rig.beat()["received"]) > 1_000, "events")
    assert rig.beat()["latency"] == {}
    assert process.stop() == 0


def test_what_lags_is_warned_of_until_it_is_well_again(rig: Rig) -> None:
    settings = {"latency_limit": "500ms", "latency_window": "3s", "account": None, "channels": ["trades", "book"]}
    process = rig.start("lmex", **settings)
    eventually(lambda: rig.beat("trades", "book"), "latencies")
    rig.fault("delay", seconds=1.5, ramp=2)
    process.wait_for("latency_high")
    high = rig.logged(process, "latency_high")[0]
    assert high["level"] == "warning"
    assert high["p50_ms"] > high["limit_ms"] == 500
    eventually(lambda: rig.beat("book") and rig.beat("book")["latency"]["book"]["p50_ms"] > 1200, "the delay's figure")
    rig.fault("clear")
    process.wait_for("latency_normal")
    eventually(lambda: rig.beat("book") and rig.beat("book")["latency"]["book"]["p50_ms"] < 500, "it is well again")
    assert process.stop() == 0
    told = [row["channel"] for row in rig.logged(process, "latency_high")]
    assert len(told) == len(set(told)), "each channel once"


def test_errors_are_counted_and_a_rest_that_refuses_makes_no_noise(rig: Rig) -> None:
    process = rig.start("lmex", channels=["book"], account=None, pairs=["BTC-USD"])
    eventually(lambda: rig.beat("book"), "a latency")
    rig.fault("rest_errors", status=429, retry_after=1)
    rig.fault("refuse", duration=2)
    rig.fault("buffer_full")

    def errors() -> dict[str, int]:
        found: dict[str, int] = json.loads(rig.beat().get("errors", "{}"))
        return found if {"buffer_full", "handshake_refused"} <= found.keys() else {}

    eventually(errors, "both are counted")
    [said] = rig.logged(process, "exchange_error")
    assert (said["kind"], said["code"], said["level"]) == ("buffer_full", 1007, "warning")
    assert process.stop() == 0
    [stopped] = rig.logged(process, "stopped")
    assert stopped["errors"]["buffer_full"] == 1
    assert len(rig.logged(process, "clock_unknown")) <= 1
