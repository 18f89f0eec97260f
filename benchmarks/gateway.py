"""How late entries reach browsers: `tickbridge web` with 200 clients on 50 streams, at an even rate.

Every trial ends with the proof that each client got every entry of its streams, once and in order.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from benchmarks.machine import Others, Server, cpu_seconds
from benchmarks.results import Run, Target, medians, table
from benchmarks.trial import memory_mib, python, read_line, started
from bridge.keys import Keys
from bridge.model import Channel

__all__ = ["CLIENTS", "RATE", "STREAMS", "measure"]

NAMESPACE = "bench-gateway"
CLIENTS, STREAMS, RATE = 200, 50, 5_000
_FEW = 5
_TICK = 0.005
"""Seconds between two batches that are written."""
_MOST_LATE = 50.0


class _Load(Struct, frozen=True):
    """``each``: how many of the streams a client watches."""

    clients: int
    each: int
    count: int
    """Entries of each stream."""

    @property
    def name(self) -> str:
        return f"{self.clients} clients, {self.each} streams each"


def measure(
    server: Server, *, seconds: float, runs: int, clients: int = CLIENTS
) -> tuple[str, list[Target], dict[str, Any]]:
    """Clients that watch a few of the streams, as a page does, and clients that watch all of them."""
    count = int(RATE * seconds / STREAMS)
    loads = [_Load(clients, each, count) for each in (_FEW, STREAMS)]
    found: dict[str, list[Run]] = {load.name: [] for load in loads}
    for _ in range(runs):
        for load in loads:
            found[load.name].append(_trial(server, load))
    rows = {name: medians(of) for name, of in found.items()}
    title = f"Gateway, {STREAMS} streams, {RATE:,} entries/s in all, {seconds:g} s, median of {runs} runs"
    targets = [
        Target(f"{name}: written → client, p99 ms", row["p99 ms"], at_most=_MOST_LATE) for name, row in rows.items()
    ]
    return table(title, rows), targets, rows


def _trial(server: Server, load: _Load) -> Run:
    server.forget(NAMESPACE)
    keys = [Keys(NAMESPACE).stream("bench", f"P{number}-USD", Channel.TRADES) for number in range(STREAMS)]
    for key in keys:
        server.client.hset(Keys(NAMESPACE).catalog(), key, json.dumps({"connector": "bench", "state": "live"}))
    words = ["--clients", str(load.clients), "--each", str(load.each), "--count", str(load.count), *keys]
    with _gateway(server) as (gateway, url), started(python("benchmarks.watching", url, *words)) as watching:
        read_line(watching)
        others = Others(gateway, watching.pid, *([server.pid] if server.pid else []))
        cpu, began = cpu_seconds(gateway), time.monotonic()
        late = _write(server, keys, load.count)
        seen = json.loads(read_line(watching))
        wall = time.monotonic() - began
        cpu = cpu_seconds(gateway) - cpu
        peak, busy = memory_mib(gateway, "VmHWM"), others.share()
    server.forget(NAMESPACE)
    assert seen["wrong"] == [], seen["wrong"]
    return {
        "p50 ms": seen["p50"],
        "p99 ms": seen["p99"],
        "worst ms": seen["worst"],
        "entries/s to clients": load.clients * load.each * load.count / wall,
        "gateway's core %": 100 * cpu / wall,
        "peak MiB": peak,
        "clients' core %": 100 * seen["cpu"] / wall,
        "writer late ms": late,
        "others %": busy,
    }


@contextlib.contextmanager
def _gateway(server: Server) -> Iterator[tuple[int, str]]:
    """A gateway's process ID and its address."""
    command = python("consumers.web", "--redis", server.url, "--namespace", NAMESPACE, "--http", "127.0.0.1:0")
    with started(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if "health at" in line), "")
        if not line:
            raise RuntimeError("the gateway did not start")
        yield process.pid, line.split()[-1]
        process.stderr.close()


def _write(server: Server, keys: list[str], count: int) -> float:
    """Write ``count`` trades to each stream at an even rate, stamped when they are sent; returns how late the worst was, ms."""
    total, sent, late = count * len(keys), 0, 0.0
    began = time.monotonic()
    while sent < total:
        due = min(total, int((time.monotonic() - began) * RATE) + 1)
        pipe = server.client.pipeline(transaction=False)
        now = time.time_ns()
        for number in range(sent, due):
            entry = {"type": "trade", "ts": str(now), "recv": str(now), "id": str(number), "side": "buy"}
            seq = number // len(keys) + 1
            pipe.xadd(
                keys[number % len(keys)],
                {**entry, "price": "65083.67", "size": "0.00769899"},
                id=f"{now // 10**6}-{seq}",
            )
        if due > sent:
            late = max(late, (time.monotonic() - began) * 1000 - sent / RATE * 1000)
            pipe.execute()
            sent = due
        time.sleep(max(0.0, began + sent / RATE + _TICK - time.monotonic()))
    return late


if __name__ == "__main__":
    sys.exit("run: python -m benchmarks gateway")
