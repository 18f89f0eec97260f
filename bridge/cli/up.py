"""``tickbridge up``: a server, connectors, books and a view with one command, without a config."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bridge.cli import values
from bridge.cli.demo import repair_standard_files
from bridge.cli.top import has_view
from bridge.keys import checked_namespace

__all__ = ["add_parser"]

_EPILOG = """\
On a terminal it shows what 'tickbridge top' shows; q ends all of it. In a pipe it
prints lines. Nothing is left at the end; --keep DIR keeps the data, and the same
command continues with it.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.cli.init import DEFAULT_EXCHANGE
    from bridge.demo.recorded import RECORDED
    from bridge.exchanges import exchange_type

    example = f"{DEFAULT_EXCHANGE} {' '.join(exchange_type(DEFAULT_EXCHANGE).example_pairs)}"
    parser = subparsers.add_parser(
        "up",
        help="connect to exchanges now: a server, connectors, books and a live view, without a config",
        description="Starts an embedded Redis, a connector for each exchange, and the books, and shows what arrives.\n"
        f"For example: tickbridge up {example}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "markets",
        nargs="+",
        metavar="EXCHANGE PAIR",
        help="an exchange and its pairs or patterns of pairs, then perhaps another exchange and its pairs",
    )
    parser.add_argument(
        "--channels",
        type=values.words,
        default=(),
        metavar="A,B",
        help="only these channels, such as trades,book (default: all that the exchange offers)",
    )
    parser.add_argument(
        "--duration", type=values.above_zero, metavar="S", help="seconds until it ends by itself (default: never)"
    )
    parser.add_argument(
        "--replay",
        type=Path,
        nargs="?",
        const=True,
        default=False,
        metavar="FILE",
        help=f"play a recording, without the network: FILE, or the one that is brought along ({', '.join(RECORDED)})",
    )
    parser.add_argument(
        "--redis", metavar="URL", help="use this server instead of an embedded one; the streams stay there"
    )
    parser.add_argument("--namespace", type=checked_namespace, default="", help="prefix of all keys (default: none)")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep config, logs and data there, and continue with them (default: nowhere)",
    )
    parser.add_argument("--plain", action="store_true", help="no live view, even on a terminal")
    parser.set_defaults(func=up)


def up(options: argparse.Namespace) -> int:
    """Run until the user ends it.

    Raises:
        ConfigError: an exchange, a pair, a channel, the server's URL or the directory cannot be used.
        BridgeError: there is no server, Redis is unreachable, or a process keeps dying.
    """
    from bridge.process.loops import run_async
    from bridge.up.markets import check_channels, parse_markets, recordings_of
    from bridge.up.run import run
    from bridge.up.setup import UpSettings

    repair_standard_files()
    markets = parse_markets(options.markets)
    check_channels(markets, options.channels)
    settings = UpSettings(
        markets=markets,
        channels=options.channels,
        duration=options.duration,
        recordings=recordings_of(markets, options.replay),
        redis=options.redis,
        namespace=options.namespace,
        keep=options.keep,
        live=has_view() and not options.plain,
    )
    return run_async(run(settings))
