"""``tickbridge exchanges``: lists what can be connected to, with its channels, and how far holes in its books are noticed."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "exchanges",
        help="list the exchanges",
        description="Lists the exchanges that a config can name, with their channels, the private ones that come with an "
        "account, and how far messages that are missing from their books are noticed. Those through CCXT need the extra "
        "'ccxt'. Asks nobody.",
    )
    parser.add_argument(
        "words", nargs="*", default=[], metavar="WORD", help="only exchanges whose names contain one of these"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(func=exchanges)


def exchanges(options: argparse.Namespace) -> int:
    """Print the list; 1 if nothing in it matches."""
    from bridge.exchanges import all_names, exchange_type

    wanted = [word.lower() for word in options.words]
    found = [name for name in all_names() if not wanted or any(word in name for word in wanted)]
    if not found:
        _say_nearest(wanted, all_names())
        return 1
    rows = [_row(exchange_type(name)) for name in found]
    if options.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return 0
    width = max(map(len, found))
    for row in rows:
        kinds = " ".join(row["channels"] + [f"({channel})" for channel in row["private_channels"]])
        print(f"{row['exchange']:{width}}  {row['gaps']:15}  {kinds}")
    if any(row["needs"] for row in rows) and (missing := _missing()):
        print(missing)
    return 0


def _row(kind: Any) -> dict[str, Any]:
    from bridge.model import PRIVATE_CHANNELS, PUBLIC_CHANNELS

    return {
        "exchange": kind.name,
        "gaps": kind.promise or kind.gaps,
        "channels": [str(channel) for channel in PUBLIC_CHANNELS if channel in kind.channels],
        "private_channels": [str(channel) for channel in PRIVATE_CHANNELS if channel in kind.private_channels],
        "needs": kind.needs,
    }


def _missing() -> str:
    """What to install for those that need more than there is; empty, if it is there."""
    from importlib.util import find_spec

    if find_spec("ccxt") is not None:
        return ""
    return "Those through CCXT need: pip install 'tickbridge[ccxt]'"


def _say_nearest(words: list[str], known: tuple[str, ...]) -> None:
    import sys

    from bridge.suggestions import did_you_mean

    hints = [hint for word in words if (hint := did_you_mean(word, known))]
    print(f"tickbridge: no exchange matches {' or '.join(words)}; {' '.join(hints)}".rstrip("; "), file=sys.stderr)
