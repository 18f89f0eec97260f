"""``tickbridge demo``: runs everything on this machine, with nothing else installed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bridge.cli import values

__all__ = ["add_parser", "repair_standard_files", "run"]

_WITHOUT_TERMINAL = 20.0

_EPILOG = """\
On a terminal, q quits, tab and the arrow keys show other pairs, and ? explains
keys, colours and figures. Without a terminal, or with --plain, it prints lines.
At the end it compares the books and wallets built from the streams with those of
the exchange, or of the recording; the exit code is 1 if they differ.

Server, exchange, connector and consumers are separate processes, and their pids
are printed: kill -9 one of them and watch it recover.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.simulator import EXCHANGES

    first = next(iter(EXCHANGES))
    parser = subparsers.add_parser(
        "demo",
        help="run everything on this machine, with nothing else installed",
        description="Runs an embedded Redis, simulated or recorded exchanges with a connector each,\nthe consumers, and a live view of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--exchange",
        dest="exchanges",
        type=_exchanges,
        default=[first],
        metavar="NAME",
        help=f"simulated: {', '.join(EXCHANGES)}, or both, into one Redis (default: {first}); "
        + "; ".join(f"{words}: {', '.join(names)}" for words, names in _recordings().items()),
    )
    parser.add_argument(
        "--duration",
        type=values.above_zero,
        metavar="S",
        help=f"seconds until it ends by itself (default: never on a terminal, otherwise {_WITHOUT_TERMINAL:g})",
    )
    parser.add_argument(
        "--rate",
        type=values.above_zero,
        default=200.0,
        metavar="N",
        help="public messages per second and exchange (default: 200)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="the same seed gives the same market (default: 1)",
    )
    parser.add_argument(
        "--pairs",
        type=values.names,
        metavar="A-B,C-D",
        help="pairs of each exchange; EXCHANGE:A-B for one only (default: a few)",
    )
    parser.add_argument("--faults", action="store_true", help="inject faults at the exchange while it runs")
    parser.add_argument(
        "--redis",
        metavar="URL",
        help="use this server instead of an embedded one; the demo's keys are removed at the end",
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="keep config, logs and data there (default: nowhere)")
    parser.add_argument("--plain", action="store_true", help="no live view, even on a terminal")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the view as an SVG at the end")
    parser.set_defaults(func=run)


def _recordings() -> dict[str, list[str]]:
    """What kinds of recordings there are, in words, each with its exchanges."""
    from bridge.demo.recorded import RECORDED, kind_of

    kinds = {
        "recorded": "recorded traffic, played slowly",
        "made-up": "a made-up market in the frames of its documentation",
    }
    return {words: [name for name in RECORDED if kind_of(name) == kind] for kind, words in kinds.items()}


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns 1 if the streams differ from the exchange.

    Raises:
        ConfigError: a pair, the server's URL or the directory cannot be used.
        BridgeError: there is no server, Redis is unreachable, or a process keeps dying.
    """
    from bridge.demo.recorded import RECORDED
    from bridge.demo.run import run as run_demo
    from bridge.demo.settings import DemoSettings
    from bridge.errors import ConfigError, Problem
    from bridge.files import check_file
    from bridge.process.loops import run_async

    if options.faults and all(exchange in RECORDED for exchange in options.exchanges):
        problem = Problem("--faults", "a recording has none", "leave it out, or choose a simulated exchange")
        raise ConfigError([problem], "demo")
    if options.picture is not None:
        check_file(options.picture, "--picture", "demo")
    repair_standard_files()
    terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    live = terminal and not options.plain
    settings = DemoSettings(
        pairs=_pairs(options.exchanges, options.pairs),
        duration=options.duration or (None if terminal else _WITHOUT_TERMINAL),
        rate=options.rate,
        seed=options.seed,
        redis=options.redis,
        directory=options.dir,
        live=live,
        faults=options.faults,
        picture=options.picture,
    )
    return run_async(run_demo(settings))


def repair_standard_files() -> None:
    """Open standard files that the shell has closed, and make a terminal blocking if another program left it otherwise.

    The next socket would get the number of a closed file, and everything printed would go to it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # noqa: FBT003  (the function's only way)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    for number in (1, 2):
        if os.isatty(number):
            os.set_blocking(number, True)


def _pairs(exchanges: list[str], asked: tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
    """The pairs of each exchange.

    Raises:
        ConfigError: there is no such exchange, or no such pair.
    """
    from bridge.demo.recorded import RECORDED, recorded_pairs
    from bridge.errors import ConfigError, Problem
    from bridge.simulator import exchange_named

    found = {}
    for exchange in exchanges:
        names = [pair.rpartition(":")[2] for pair in asked or () if pair.rpartition(":")[0] in ("", exchange.upper())]
        if asked and not names:
            problem = Problem(
                "--pairs", f"none for {exchange}", f"write {exchange}:BASE-QUOTE, or leave {exchange} out"
            )
            raise ConfigError([problem], "demo")
        if exchange in RECORDED:
            there = recorded_pairs(exchange)
            if missing := [pair for pair in names if pair not in there]:
                words = f"the recording of {exchange} does not have {', '.join(missing)}"
                raise ConfigError([Problem("--pairs", words, f"it has {', '.join(there)}")], "demo")
            found[exchange] = tuple(names) or there
            continue
        found[exchange] = tuple(pair.name for pair in exchange_named(exchange).market_of(names).pairs)
    return found


def _exchanges(text: str) -> list[str]:
    from bridge.demo.recorded import RECORDED
    from bridge.simulator import EXCHANGES

    known = (*EXCHANGES, *RECORDED)
    words = (EXCHANGES if word == "both" else (word,) for word in values.words(text.lower()))
    names = list(dict.fromkeys(name for each in words for name in each))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown) or repr(text)} cannot be shown; known: {', '.join(known)}, both"
        )
    return names
