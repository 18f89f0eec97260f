"""A writer is killed again and again, and its standby goes on: how long nothing is written, and what the streams lack.

Judged from outside: how long the streams of trades do not grow, and by the exchange's own list of trades at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import yaml

from benchmarks.machine import Server
from benchmarks.results import Run, Target, table
from bridge.keys import Keys
from bridge.model import Channel
from tests.environment import clean_environment

__all__ = ["measure"]

_NAMESPACE = "bench-takeovers"
_KEYS = Keys(_NAMESPACE)
_EXCHANGE = "limitlex"
_RATE = 500
"""Messages per second of the simulated exchange."""
_PATIENCE = 120.0
_LOOK = 0.002
_RESTED = 2.0
"""Seconds for which the streams must not grow before they are compared."""


def measure(server: Server, *, kills: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Kill the writer so often; each time another process becomes the standby."""
    server.forget(_NAMESPACE)
    try:
        with tempfile.TemporaryDirectory(prefix="tickbridge-takeovers-") as folder, _Feed(server, Path(folder)) as feed:
            pauses = sorted(feed.kill() for _ in range(kills))
            audit = feed.audit()
    finally:
        server.forget(_NAMESPACE)
    row: Run = {
        "median s": pauses[len(pauses) // 2],
        "p90 s": pauses[int(0.9 * (len(pauses) - 1))],
        "worst s": pauses[-1],
        **audit,
    }
    targets = [
        Target("takeovers: median, s", row["median s"], at_most=1),
        Target("takeovers: worst, s", row["worst s"], at_most=2),
        *(Target(f"takeovers: {name}", audit[name], at_most=0) for name in ("twice", "missing", "breaks", "declared")),
    ]
    title = f"{kills} takeovers after kill -9, {_RATE} messages/s: seconds without an entry; trades; breaks of seq"
    return table(title, {"on one host": row}), targets, {"on one host": row}


class _Feed:
    """A simulated exchange and two processes of one connector."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._url = server.url
        self._client = server.client
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        with self._stack:
            self._simulate()
            self._writer = self._start("run", "--config", str(self._config))
            _until(lambda: self._client.hget(self._heartbeat, "state") == "live", "the writer is live")
            self._standby = self._ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _simulate(self) -> None:
        written = self._folder / "connector.yaml"
        command = ["simulate", _EXCHANGE, "--port", "0", "--rate", str(_RATE), "--write-config", str(written)]
        self._start(*command, "--redis-url", self._url)
        _until(lambda: "ready" in (self._folder / "1.log").read_text(), "the simulator is ready")
        config = yaml.safe_load(written.read_text())
        connector = config["connectors"][0]
        connector["standby"] = True
        config |= {"namespace": _NAMESPACE, "http": {"port": "off"}, "heartbeat": {"interval": "500ms", "ttl": "3s"}}
        self._config = self._folder / "standby.yaml"
        self._config.write_text(yaml.safe_dump(config))
        self._control = connector["rest_url"].removesuffix("/api") + "/sim"
        self._pairs: list[str] = connector["pairs"]
        self._heartbeat = _KEYS.connector(connector["name"])
        self._standing_by = _KEYS.standby(connector["name"])

    def kill(self) -> float:
        """Kill the writer; returns the seconds without an entry once another process is ready to stand by."""
        self._writer.kill()
        self._writer.wait()
        before, began = self._trades(), time.monotonic()
        _until(lambda: self._trades() > before, "the standby writes", _LOOK)
        pause = time.monotonic() - began
        _until(lambda: self._client.hget(self._heartbeat, "pid") == str(self._standby.pid), "its heartbeat is there")
        self._writer, self._standby = self._standby, self._ready()
        return pause

    def audit(self) -> dict[str, float]:
        """Hold the market, and compare the streams with the exchange's trades."""
        self._ask("pause", {})
        rested, size = time.monotonic(), self._trades()
        while time.monotonic() - rested < _RESTED:
            time.sleep(_LOOK)
            if self._trades() != size:
                rested, size = time.monotonic(), self._trades()
        found: Counter[str] = Counter(trades=size)
        for pair in self._pairs:
            wanted = [
                (row["side"], row["price"], row["size"], int(row["time"]))
                for row in self._ask(f"trades?pair={pair}")["trades"]
            ]
            entries = self._client.xrange(self._key(pair))
            seqs = [int(entry_id.partition("-")[2]) for entry_id, _ in entries]
            trades = [
                (fields["side"], fields["price"], fields["size"], int(fields["ts"]) // 10**9)
                for _, fields in entries
                if fields["type"] == "trade"
            ]
            # Those before the first that was read are not missing.
            sent, read = Counter(wanted[len(wanted) - len(trades) :]), Counter(trades)
            found["twice"] += (read - sent).total()
            found["missing"] += (sent - read).total()
            found["breaks"] += sum(later != earlier + 1 for earlier, later in itertools.pairwise(seqs))
            found["declared"] += sum(fields.get("event") not in (None, "live") for _, fields in entries)
        return {name: float(found[name]) for name in ("trades", "twice", "missing", "breaks", "declared")}

    def _key(self, pair: str) -> str:
        return _KEYS.stream(_EXCHANGE, pair, Channel.TRADES)

    def _trades(self) -> int:
        return sum(int(self._client.xlen(self._key(pair))) for pair in self._pairs)

    def _ready(self) -> subprocess.Popen[bytes]:
        """Start another process; wait until it could take over."""
        process = self._start("run", "--config", str(self._config))

        def stands_by() -> bool:
            shown: dict[str, str] = self._client.hgetall(self._standing_by)
            return (shown.get("pid"), shown.get("state")) == (str(process.pid), "standby")

        _until(stands_by, "a process stands by")
        return process

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        self._started += 1
        with (self._folder / f"{self._started}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *words], stdout=log, stderr=log, env=clean_environment()
            )
        self._stack.callback(_end, process)
        return process

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._control}/{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return json.load(answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _until(condition: Callable[[], bool], what: str, every: float = 0.02) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {_PATIENCE:g} s: {what}")
        time.sleep(every)
