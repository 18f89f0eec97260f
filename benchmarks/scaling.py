"""How cost and memory grow: with the number of pairs at the same rate, and with what waits while Redis is away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from benchmarks.machine import Server, cpu_seconds, free_port, running_server
from benchmarks.results import Run, Target, medians, table
from benchmarks.tickbridge import SETUPS, Tickbridge
from benchmarks.trial import Load, Trial, memory_mib, trades

__all__ = ["PAIRS", "backlog", "pairs"]

PAIRS = (1, 10, 50, 100, 250, 500)
_MOST_TIMES = 1.3
_IDLE = 3.0
_SAMPLES = 24
_STUCK = 120.0


def pairs(
    server: Server, *, rate: int, seconds: float, runs: int, counts: Sequence[int] = PAIRS
) -> tuple[str, list[Target], dict[str, Any]]:
    """The same number of trades a second, over more and more pairs."""
    found: dict[int, list[Run]] = {}
    for _ in range(runs):
        for count in counts:
            names = [f"P{index:03}-USD" for index in range(count)]
            load = trades(int(rate * seconds), pairs=names, rate=rate)
            found.setdefault(count, []).append(_spread(server, SETUPS[-1], load))
    rows = {count: medians(of) for count, of in found.items()}
    first = rows[counts[0]]["CPU µs/message"]
    for row in rows.values():
        row["times the first"] = row["CPU µs/message"] / first
    named = {f"{count} pair{'s' * (count > 1)}": row for count, row in rows.items()}
    what = f"{max(counts)} pairs, {rate:,}/s: CPU, times that of {min(counts)} pair"
    target = Target(what, rows[max(counts)]["times the first"], at_most=_MOST_TIMES)
    title = f"By number of pairs, {rate:,} trades/s, {SETUPS[-1].short} ({seconds:g} s each, median of {runs} runs)"
    return table(title, named), [target], named


def _spread(server: Server, setup: Tickbridge, load: Load) -> Run:
    with Trial(server, setup, load) as trial:
        pid = trial.process.pid
        before = cpu_seconds(pid)
        time.sleep(_IDLE)
        idle = (cpu_seconds(pid) - before) / _IDLE
        trial.go()
        measured = trial.finish()
        resident = memory_mib(pid)
    return {
        "CPU µs/message": measured.cpu / load.count * 1e6,
        "Redis CPU µs": measured.server_cpu / load.count * 1e6,
        "idle CPU %": 100 * idle,
        "resident MiB": resident,
        "others %": measured.others,
    }


def backlog(*, rate: int, binary: str | None) -> tuple[str, list[Target], dict[str, Any]]:
    """Memory while Redis is away, until the buffer's budget (64 MiB, the default) is full."""
    rows: list[Run] = []
    setup = structs.replace(SETUPS[-1], http=free_port())
    load = trades(int(rate * _STUCK), rate=rate)
    # That Redis is away, and that events are dropped, is on purpose: nobody needs to read it.
    with running_server(None, binary) as server, Trial(server, setup, load, errors=subprocess.DEVNULL) as trial:
        assert server.pid is not None
        trial.go()
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + _STUCK / 2
        while time.monotonic() < deadline and trial.process.poll() is None:
            budgeted = _waiting_bytes(setup.http) / 2**20
            if rows and budgeted < rows[-1]["budgeted MiB"]:
                break  # the oldest was dropped
            rows.append(
                {
                    "budgeted MiB": budgeted,
                    "resident MiB": memory_mib(trial.process.pid),
                }
            )
            time.sleep(0.1)
    first = rows[0]["resident MiB"]
    for row in rows:
        row["grown MiB"] = row["resident MiB"] - first
    step = max(1, len(rows) // _SAMPLES)
    kept = [*rows[:-1:step], rows[-1]]
    named = {f"{row['budgeted MiB']:.0f} MiB": row for row in kept}
    text = table(f"Memory by what waits, Redis away, {rate:,} trades/s, {setup.short}", named)
    last = rows[-1]
    target = Target(
        "backlog: memory that it takes, times what the budget counts",
        last["grown MiB"] / last["budgeted MiB"],
        at_most=1.5,
    )
    return text, [target], {"rows": kept}


def _waiting_bytes(port: int) -> float:
    """What the connector's ``/metrics`` say of what waits."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_STUCK) as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(r"^tickbridge_publish_queue_bytes(?:\{.*\})? (\S+)$", text, re.MULTILINE)))
