"""``tickbridge pairs``: lists the pairs of an exchange, by REST."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.exchanges.api import ListedPair

__all__ = ["add_parser"]

_GLOB = frozenset("*?[")
_ENVIRONMENT = 2


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.exchanges import all_names, names

    parser = subparsers.add_parser(
        "pairs",
        help="list the pairs of an exchange",
        description="Lists the pairs of an exchange, as they are written in a config, with their kind and status. Needs "
        "the exchange's REST API, but no account (exit 2 if it is unreachable).",
    )
    parser.add_argument(
        "exchange",
        choices=all_names(),
        metavar="EXCHANGE",
        help=f"{', '.join(names())}, or one through CCXT ('tickbridge exchanges' lists all)",
    )
    parser.add_argument(
        "patterns",
        nargs="*",
        default=[],
        metavar="PATTERN",
        help="only pairs that contain this text or match this pattern: usd, 'BTC-*', '*-EUR'; case does not matter",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of a table")
    parser.add_argument(
        "--rest-url", metavar="URL", help="REST URL to use instead of the exchange's own, as in the config"
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", type=Path, help="PEM file with an additional CA certificate to trust"
    )
    parser.set_defaults(func=pairs)


def pairs(options: argparse.Namespace) -> int:
    """Print the list; 1 if nothing in it matches.

    Raises:
        ConfigError: the address cannot be used.
        RestError: the exchange is unreachable.
    """
    from bridge.check.exchange import list_pairs
    from bridge.config.values import is_pair
    from bridge.exchange_errors import RestError
    from bridge.exchanges import exchange_type
    from bridge.process.loops import run_async

    where = options.rest_url or exchange_type(options.exchange).rest_url
    try:
        listed = run_async(list_pairs(options.exchange, options.rest_url, options.ca_file))
    except RestError as error:
        print(f"tickbridge: the pairs of {options.exchange} at {where} cannot be listed: {error}", file=sys.stderr)
        return _ENVIRONMENT
    known = sorted({pair.pair: pair for pair in listed if is_pair(pair.pair)}.values(), key=lambda pair: pair.pair)
    found = [pair for pair in known if _matches(pair.pair, options.patterns)]
    if options.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for line in _table(found):
            print(line)
    if known and not found:
        _say_nearest(options.patterns, [pair.pair for pair in known])
        return 1
    return 0


def _matches(pair: str, patterns: list[str]) -> bool:
    wanted = [pattern.upper() for pattern in patterns]
    return not wanted or any(
        fnmatch.fnmatchcase(pair, pattern) if _GLOB & set(pattern) else pattern in pair for pattern in wanted
    )


def _table(found: list[ListedPair]) -> list[str]:
    width = max((len(pair.pair) for pair in found), default=0)
    status = max((len(pair.status) for pair in found), default=0)
    return [f"{pair.pair:{width}}  {pair.kind:9}  {pair.status:{status}}  {_figures(pair)}".rstrip() for pair in found]


def _figures(pair: ListedPair) -> str:
    figures = {"tick": pair.tick_size, "lot": pair.lot_size, "contract": pair.contract_size}
    return "  ".join(f"{name} {figure}" for name, figure in figures.items() if figure)


def _say_nearest(patterns: list[str], known: list[str]) -> None:
    from bridge.exchanges.toolkit.pairs.listing import nearest_pairs

    near = list(dict.fromkeys(name for text in patterns for name in nearest_pairs(text.upper(), known)))
    hint = f"; the closest are {', '.join(near)}" if near else ""
    print(f"tickbridge: none of the {len(known)} pairs matches {' or '.join(patterns)}{hint}", file=sys.stderr)
