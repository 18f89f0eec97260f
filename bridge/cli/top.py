"""``tickbridge top``: a live view of the streams and connectors of any Redis."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.reading import add_redis_options, redis_and_keys

if TYPE_CHECKING:
    from bridge.view.device import Device

__all__ = ["add_parser", "has_view"]

_EPILOG = """\
Keys: arrows, j and k choose a stream, Enter opens its pair or account, Esc returns,
/ filters, n shows only what is not live, < and > sort, l shows control entries, c all
connectors, ? explains keys and figures, q quits.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "top",
        help="watch streams and connectors on a terminal",
        description="Shows the streams and connectors of a Redis, live: state, newest entry, rate, gaps and losses; the\n"
        "book and trades of a pair, an account, and control entries. Needs a terminal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", default=[], help="only streams with these words, as with the key /"
    )
    add_redis_options(parser)
    parser.add_argument("--not-live", action="store_true", help="only streams that are not live, as with the key n")
    parser.set_defaults(func=top)


def has_view() -> bool:
    """Whether standard output is a terminal that can show a view."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def top(options: argparse.Namespace) -> int:
    """Show the view until the user quits.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis does not answer, or refuses this client.
    """
    from bridge.process.loops import run_async
    from bridge.top.run import run
    from bridge.view.device import open_terminal

    device: Device | None = open_terminal(sys.stdout.fileno()) if has_view() else None
    if device is None:
        words = "needs a terminal; in a pipe or a script, use 'tickbridge streams' or 'tickbridge status'"
        print(f"tickbridge top: {words}", file=sys.stderr)
        return 1
    topology, keys = redis_and_keys(options)
    return run_async(run(topology, keys, device, words=" ".join(options.words), not_live=options.not_live))
