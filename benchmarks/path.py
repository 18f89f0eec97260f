"""The whole path: saturated, and how late entries are at an even rate.

Every trial ends with the proof that nothing is missing: as many entries as were sent, no hole, nothing declared lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchmarks.machine import Others, Server
from benchmarks.results import Run, Target, medians, table
from benchmarks.tickbridge import SETUPS, Tickbridge
from benchmarks.trial import NAMESPACE, Carrier, Load, Measured, Trial, python, read_line, recorded, started, trades

__all__ = ["RATES", "latency", "quietest", "saturate", "saturated"]

RATES = (100, 1_000, 5_000, 10_000, 20_000)
_JUDGED = 10_000
"""The rate at which latency has targets."""
_TRIES = 6
_PATIENCE = 60.0
_LOOK = 2.0
T = TypeVar("T")


def saturate(
    server: Server, *, messages: int, runs: int, quiet: float, setups: Sequence[Tickbridge] = SETUPS
) -> tuple[str, list[Target], dict[str, Any]]:
    """As fast as the connector takes it; the setups take turns."""
    texts, data = [], {}
    for load in (trades(messages), recorded(messages)):
        rows = {
            name: medians([measured.run(load.count) for measured in of])
            for name, of in saturated(server, setups, load, runs=runs, quiet=quiet).items()
        }
        texts.append(table(f"Whole path, saturated, {load.name} ({messages:,} messages, median of {runs} runs)", rows))
        data[load.name] = rows
    return "\n\n".join(texts), [], data


def saturated(
    server: Server, carriers: Sequence[Carrier], load: Load, *, runs: int, quiet: float
) -> dict[str, list[Measured]]:
    """Every carrier's trials, in turns, so that all see the same minutes of a noisy machine."""
    found: dict[str, list[Measured]] = {carrier.name: [] for carrier in carriers}
    for _ in range(runs):
        for carrier in carriers:
            found[carrier.name].append(quietest(server, quiet, lambda of=carrier: _saturated(server, of, load)))
    return found


def _saturated(server: Server, carrier: Carrier, load: Load) -> tuple[Measured, float]:
    with Trial(server, carrier, load) as trial:
        trial.go()
        measured = trial.finish()
    return measured, measured.others


def quietest(server: Server, quiet: float, measure: Callable[[], tuple[T, float]]) -> T:
    """A measurement during which others took at most ``quiet`` percent of the machine; or the quietest of a few.

    ``measure`` returns what it found and the percentage.
    """
    found: list[tuple[T, float]] = []
    while len(found) < _TRIES and not (found and found[-1][1] <= quiet):
        if quiet < 100:
            _await_quiet(server, quiet)
        found.append(measure())
    return min(found, key=lambda each: each[1])[0]


def _await_quiet(server: Server, quiet: float) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        others = Others(*([server.pid] if server.pid else []))
        time.sleep(_LOOK)
        if others.share() <= quiet:
            return


def latency(
    server: Server,
    *,
    seconds: float,
    runs: int,
    quiet: float,
    rates: Sequence[int] = RATES,
    setups: Sequence[Tickbridge] = SETUPS,
) -> tuple[str, list[Target], dict[str, Any]]:
    """At even rates; the setups take turns."""
    whole: dict[str, list[Run]] = {}
    inner: dict[str, list[Run]] = {}
    for _ in range(runs):
        for rate in rates:
            for setup in setups:
                load = trades(int(rate * seconds), rate=rate)
                outer, acks = quietest(server, quiet, lambda of=setup, what=load: _paced(server, of, what))
                name = f"{rate:,}/s, {setup.short}"
                whole.setdefault(name, []).append(outer)
                inner.setdefault(name, []).append(acks)
    outside = {name: medians(of) for name, of in whole.items()}
    inside = {name: medians(of) for name, of in inner.items()}
    title = f"ms, {seconds:g} s each, median of {runs} runs"
    text = table(f"Latency, sender → reader ({title})", outside)
    text += "\n\n" + table(f"Latency, received → acknowledged ({title})", inside)
    targets = [
        target
        for setup in setups
        if (name := f"{_JUDGED:,}/s, {setup.short}") in inside
        for target in _latency_targets(name, outside[name], inside[name], fast=setup.short == "fast")
    ]
    return text, targets, {"sender to reader": outside, "received to acknowledged": inside}


def _paced(server: Server, setup: Tickbridge, load: Load) -> tuple[tuple[Run, Run], float]:
    entries = setup.entries(load)[1]
    words = [*setup.keys(load), "--redis", server.url, "--namespace", NAMESPACE, "--count", str(entries)]
    with (
        Trial(server, setup, load) as trial,
        started(python("benchmarks.reading", *words, "--loop", setup.loop, "--stamped")) as reader,
    ):
        read_line(reader)
        trial.go(reader.pid)
        measured = trial.finish()
        seen = json.loads(read_line(reader))
    assert seen["seen"] == {"data": entries, "control live": len(setup.keys(load))}, f"the reader saw {seen['seen']}"
    further = {
        "sender late p99": measured.exchange["late"] * 1000,
        "connector's core %": 100 * measured.cpu / measured.wall,
        "others %": measured.others,
    }
    acks = {name: float(measured.said[f"publish_{name}_ms"]) for name in ("p50", "p99")}
    return ({**seen["latency_ms"], **further}, acks), measured.others


def _latency_targets(where: str, reader: Run, acks: Run, *, fast: bool) -> list[Target]:
    half, most = (0.15, 0.6) if fast else (0.3, 1.0)
    return [
        Target(f"{where}: received → acknowledged, p50 ms", acks["p50"], at_most=half),
        Target(f"{where}: received → acknowledged, p99 ms", acks["p99"], at_most=most),
        Target(f"{where}: sender → reader, p50 ms", reader["p50"], at_most=1.2),
        Target(f"{where}: sender → reader, p99 ms", reader["p99"], at_most=5.0),
    ]
