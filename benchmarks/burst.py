"""A burst: trades as fast as the socket takes them, with a healthy Redis. Nothing may be lost, and nothing stand still."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from typing import Any, Self

from msgspec import structs

from benchmarks.machine import Server, free_port
from benchmarks.results import Run, Target, medians, table
from benchmarks.tickbridge import EVERY_SETUP, Tickbridge
from benchmarks.trial import Load, Trial, trades

__all__ = ["measure"]

_LOOK = 0.05
_HUNG = 60.0


class _Watch:
    """Looks at a connector from outside, until told to end: the heartbeat's age and ``/livez``."""

    def __init__(self, server: Server, setup: Tickbridge) -> None:
        self._server = server
        self._setup = setup
        self._ended = threading.Event()
        self.oldest = 0.0
        """The greatest age of the heartbeat, in seconds."""
        self.slowest = 0.0
        """The longest that ``/livez`` took to answer."""
        self._threads = [threading.Thread(target=self._heartbeat), threading.Thread(target=self._livez)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _heartbeat(self) -> None:
        last = time.time_ns()
        while not self._ended.wait(_LOOK):
            last = int(self._setup.beat(self._server).get("at", last))  # gone: as old as the last one
            self.oldest = max(self.oldest, (time.time_ns() - last) / 1e9)

    def _livez(self) -> None:
        url = f"http://127.0.0.1:{self._setup.http}/livez"
        while not self._ended.wait(2 * _LOOK):
            began = time.monotonic()
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=_HUNG) as answer:
                answer.read()
            self.slowest = max(self.slowest, time.monotonic() - began)


def measure(server: Server, *, messages: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Each transport on each loop, in turns."""
    load = trades(messages)
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for setup in EVERY_SETUP:
            found.setdefault(setup.name, []).append(_burst(server, setup, load))
    rows = {name: medians(of) for name, of in found.items()}
    worst = {name: {column: max(run[column] for run in of) for column in of[0]} for name, of in found.items()}
    targets = []
    for name, row in worst.items():  # a limit holds in every run
        targets += [
            Target(f"burst, {name}: trades lost", row["lost"], at_most=0),
            Target(f"burst, {name}: heartbeat's greatest age, s", row["heartbeat s"], at_most=2),
            Target(f"burst, {name}: slowest /livez, s", row["/livez s"], at_most=0.2),
            Target(f"burst, {name}: resident memory, MB", row["peak MiB"] * 2**20 / 1e6, at_most=200),
        ]
    return table(f"Burst of {messages:,} trades (median of {runs} runs; limits hold in each)", rows), targets, rows


def _burst(server: Server, setup: Tickbridge, load: Load) -> Run:
    setup = structs.replace(setup, http=free_port())
    with Trial(server, setup, load) as trial, _Watch(server, setup) as watch:
        trial.go()
        measured = trial.finish()
    sent = measured.exchange["seconds"]
    return {
        "lost": float(measured.said["lost"]),
        "heartbeat s": watch.oldest,
        "/livez s": watch.slowest,
        "peak MiB": measured.peak_mib,
        "messages/CPU-s": load.count / measured.cpu,
        "messages/s": load.count / measured.wall,
        "paused s": float(measured.said["paused"]),
        "sending s": sent,
        "others %": measured.others,
    }
