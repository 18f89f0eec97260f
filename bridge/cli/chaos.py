"""``tickbridge chaos``: runs everything on this machine, lets it fail on purpose, and audits the streams."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from bridge.cli import values
from bridge.cli.demo import repair_standard_files

__all__ = ["add_parser", "chaos"]

_DURATION = 180.0


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.chaos.plan import KINDS, SHAPES

    width = max(map(len, KINDS)) + 2
    lines = ["kinds of faults:", *(f"  {name:{width}}{kind.words}" for name, kind in KINDS.items())]
    parser = subparsers.add_parser(
        "chaos",
        help="let everything fail on purpose, and audit the streams",
        description="Runs Redis, simulated exchanges, connectors with standbys and consumers on this machine, carries\n"
        "out a plan of faults, then compares every stream with what the exchanges did.\n"
        "Exits with 1 if anything is lost without a word, duplicated, wrong or leaked. Ctrl-C ends the\n"
        "faults; the audit follows.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the same seed gives the same plan (default: 1)"
    )
    parser.add_argument(
        "--duration",
        type=values.duration,
        default=_DURATION,
        metavar="D",
        help="how long faults go on, such as 90s or 10m (default: 3m)",
    )
    parser.add_argument(
        "--kinds", type=values.words, default=(), metavar="A,B", help="only these kinds of faults (default: all)"
    )
    parser.add_argument(
        "--redis",
        choices=SHAPES,
        default=SHAPES[0],
        help="one server, a Cluster of three masters with a replica each, or a master with two replicas and three "
        "Sentinels (default: %(default)s)",
    )
    parser.add_argument("--print-plan", action="store_true", help="print the plan, as JSON with --json, and do nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="keep logs, journals and entries there (default: only if anything is wrong)",
    )
    parser.set_defaults(func=chaos)


def chaos(options: argparse.Namespace) -> int:
    """Print a plan, or carry it out; returns 1 if anything is wrong.

    Raises:
        ConfigError: a kind of fault does not exist or is not possible here.
        BridgeError: there is no server, or a process does not start or keeps dying.
    """
    from bridge.chaos.plan import KINDS, SHAPES, checked_kinds, make_plan
    from bridge.chaos.run import ChaosSettings, run
    from bridge.process.loops import run_async

    left_out = {
        name: f"only with {kind.requirement}"
        for name, kind in KINDS.items()
        if kind.needs and options.redis not in kind.needs
    }
    kinds = checked_kinds(options.kinds, tuple(name for name in KINDS if name not in left_out))
    command = ["tickbridge", "chaos", "--seed", str(options.seed), "--duration", f"{options.duration:g}s"]
    command += ["--redis", options.redis] * (options.redis != SHAPES[0]) + ["--kinds", ",".join(kinds)]
    if options.print_plan:
        plan = make_plan(options.seed, options.duration, kinds)
        if options.json:
            from msgspec import to_builtins

            print(json.dumps({"command": shlex.join(command), "plan": to_builtins(plan)}, indent=2))
        else:
            print("\n".join(map(str, plan)))
        return 0
    repair_standard_files()
    settings = ChaosSettings(
        seed=options.seed,
        duration=options.duration,
        kinds=kinds,
        command=shlex.join(command),
        left_out={} if options.kinds else left_out,
        shape=options.redis,
        directory=options.dir,
        json=options.json,
    )
    return run_async(run(settings))
