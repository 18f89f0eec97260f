"""Long runs: ``python -m tests.soak lmex --minutes 10 --seed 7``, ``python -m tests.soak hours --hours 48``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Run one of them; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    runs = parser.add_subparsers(dest="run", required=True)
    lmex = runs.add_parser("lmex", help="faults of all kinds against a connector on the simulated LMEX")
    lmex.add_argument("--minutes", type=float, default=10.0)
    lmex.add_argument("--pause", type=float, default=2.5, help="seconds between two faults, about (default: 2.5)")
    lmex.add_argument("--rate", type=float, default=150.0, help="public events a second (default: 150)")
    lmex.set_defaults(func=_lmex)
    hours = runs.add_parser("hours", help="simulated hours on a fast clock: renewals, and nothing that grows")
    hours.add_argument("--hours", type=float, default=48.0)
    hours.add_argument("--lifetime", type=float, default=24.0, help="hours that a log-in lasts (default: 24)")
    hours.add_argument("--rate", type=float, default=0.5, help="public events a simulated second (default: 0.5)")
    hours.set_defaults(func=_hours)
    for run in (lmex, hours):
        run.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
        run.add_argument("--directory", type=Path, help="where logs and data go (default: a new one)")
    args = parser.parse_args()
    args.directory = args.directory or Path(tempfile.mkdtemp(prefix="tickbridge-soak-"))
    args.directory.mkdir(parents=True, exist_ok=True)
    print(f"in {args.directory}", flush=True)
    begun = time.perf_counter()
    report, wrong = args.func(args)
    print(json.dumps({**report, "real_seconds": round(time.perf_counter() - begun)}, indent=2))
    for line in wrong[:50]:
        print(f"WRONG: {line}")
    print(f"{len(wrong)} things are wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _lmex(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from tests.soak.schedule import schedule
    from tests.soak.storm import storm

    seconds, seed = args.minutes * 60, args.seed
    return storm(args.directory, schedule(seed), seconds=seconds, seed=seed, pause=args.pause, rate=args.rate)


def _hours(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    # Before anything is imported that keeps a function of the old clock.
    from tests.soak.clock import install

    clock = install()
    from tests.soak.hours import hours

    lifetime = args.lifetime * 3600
    return hours(args.directory, clock, simulated=args.hours, lifetime=lifetime, rate=args.rate, seed=args.seed)


if __name__ == "__main__":
    sys.exit(main())
