"""``tickbridge demo``: the whole thing on this machine, with nothing else installed."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_WITHOUT_TERMINAL = 20.0

_EPILOG = """\
On a terminal, q quits, tab and the arrows show other pairs, and ? explains keys,
colours and figures. Without a terminal, or with --plain, it prints lines. At the
end it compares the books and wallets built from the streams with the exchange's
own; exit code 1 if they differ.

Its parts are separate processes, whose pids it prints: kill -9 one of them and
watch it recover.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.simulator import EXCHANGES

    first = next(iter(EXCHANGES))
    parser = subparsers.add_parser(
        "demo",
        help="the whole thing on this machine, with nothing else installed",
        description="Runs an embedded Redis, simulated exchanges with a connector each,\nthe consumers, and a live view of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--exchange",
        dest="exchanges",
        type=_exchanges,
        default=[first],
        metavar="NAME",
        help=f"{', '.join(EXCHANGES)}, or both: side by side into one Redis (default: {first})",
    )
    parser.add_argument(
        "--duration",
        type=_above_zero,
        metavar="S",
        help=f"seconds until it ends by itself (default: never on a terminal, {_WITHOUT_TERMINAL:g} without one)",
    )
    parser.add_argument(
        "--rate",
        type=_above_zero,
        default=200.0,
        metavar="N",
        help="public messages per second and exchange (default: 200)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed, the same market (default: 1)")
    parser.add_argument(
        "--pairs", type=_names, metavar="A-B,C-D", help="of each exchange; EXCHANGE:A-B of one (default: a few)"
    )
    parser.add_argument("--faults", action="store_true", help="inject faults at the exchange while it runs")
    parser.add_argument(
        "--redis",
        metavar="URL",
        help="use this server instead of an embedded one; the demo's keys are removed at the end",
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="keep config, logs and data there (default: nowhere)")
    parser.add_argument("--plain", action="store_true", help="no live view, on a terminal either")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the view as an SVG at the end")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Show it; 1 if what came out of the streams is not what is true.

    Raises:
        ConfigError: a pair, the server's URL or the directory can't be used.
        BridgeError: no server here, Redis out of reach, or a part that doesn't live.
    """
    from bridge.demo.run import run as run_demo
    from bridge.demo.settings import DemoSettings
    from bridge.process.loops import run_async

    _repair_standard_files()
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


def _repair_standard_files() -> None:
    """Open what the shell has closed, and let a terminal block that a program before this one has left otherwise.

    A closed file's number would go to the next socket, and then whatever is printed would go into that.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # noqa: FBT003  (the function's only way)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    for number in (1, 2):
        if os.isatty(number):
            os.set_blocking(number, True)


def _pairs(exchanges: list[str], asked: list[str] | None) -> dict[str, tuple[str, ...]]:
    """Exchange → its pairs.

    Raises:
        ConfigError: there is no such exchange, or no such pair.
    """
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
        found[exchange] = tuple(pair.name for pair in exchange_named(exchange).market_of(names).pairs)
    return found


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be above zero")
    return number


def _exchanges(text: str) -> list[str]:
    from bridge.simulator import EXCHANGES

    names = list(EXCHANGES) if text.strip().lower() == "both" else [name.lower() for name in _names(text)]
    unknown = [name for name in names if name not in EXCHANGES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown) or repr(text)} can't be simulated; known: {', '.join(EXCHANGES)}, both"
        )
    return names


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip().upper() for name in text.split(",") if name.strip()))
