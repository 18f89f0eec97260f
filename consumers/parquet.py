"""Keeps hourly Parquet files of every stream, without loss.

    python -m consumers.parquet -o data                       all public streams of the catalog, including new ones
    python -m consumers.parquet -o data '*:trades'            those that match
    python -m consumers.parquet -o data --accounts            those of accounts too

It may be killed at any moment: it reads from its files where they end, and goes on from there, as long as Redis still
has what came since. One process writes a folder.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from pathlib import Path

import msgspec

from bridge.errors import BridgeError
from bridge.keys import Keys
from bridge.printable import printable, printable_json
from consumers.connection import check, make_client
from consumers.files import arrow
from consumers.monitor import Monitor
from consumers.notices import Notices
from consumers.pages import field_names
from consumers.parquet_streams import ParquetStreams, locked
from consumers.service import Parser, discover, run_as_command, say, serve, to_terminal

__all__ = ["DESCRIPTION", "HTTP_PORT", "add_options", "main", "start"]

HTTP_PORT = 9113
"""Default port of metrics and health checks."""
DESCRIPTION = "Keeps hourly Parquet files of every stream, without loss."


async def run(args: Namespace) -> None:
    """Run the service until it is cancelled."""
    keys = Keys(args.namespace)
    as_json = args.json or not to_terminal()

    def finished(key: str, path: Path) -> None:
        if not args.quiet:
            row = {"key": key, "file": str(path)}
            say(printable_json(msgspec.json.encode(row)) if as_json else printable(f"{key}: {path}"))

    async with make_client(args.redis) as redis:
        await check(redis, args.redis)
        streams = ParquetStreams(
            redis,
            args.redis,
            keys,
            args.output,
            wanted=args.keys,
            exchange=args.exchange,
            notices=Notices("parquet"),
            finished=finished,
        )
        names = (keys.catalog(), keys.accounts_catalog()) if args.accounts else (keys.catalog(),)
        async with asyncio.TaskGroup() as group:
            found = discover(
                redis, keys, streams.found, names=names, notices=Notices("parquet"), missing=streams.missing
            )
            group.create_task(found, name="catalog")
            group.create_task(streams.keep(args.every), name="files")
            monitor = Monitor(
                "parquet",
                streams,
                args.redis,
                lambda: streams.writes,
                degraded=streams.degraded,
                unwritten=lambda: streams.unwritten,
            )
            group.create_task(monitor.run(args.http), name="http")


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument(
        "keys", nargs="*", metavar="KEY", help="keys, or patterns of keys in the catalog: '*:trades' (default: all)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help="folder of the files")
    parser.add_argument(
        "--every", type=float, default=60.0, metavar="S", help="seconds between two parts of an hour (default: 60)"
    )
    parser.add_argument("--accounts", action="store_true", help="also the streams of accounts")
    parser.add_argument("--quiet", action="store_true", help="print nothing; the files are still written")


def start(parser: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    if not 0 < args.every <= 3_600:  # so that NaN is none
        parser.error("--every must be above zero, and at most 3600 seconds")
    keys = Keys(args.namespace)
    other = [key for key in args.keys if "*" not in key and "?" not in key and not field_names(keys, key)]
    if other:
        parser.error(f"{printable(other[0])} is not the key of a stream of events or candles")
    try:
        arrow()
        with locked(args.output):
            return serve("parquet", lambda: run(args))
    except BridgeError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {printable(str(error))}\n")


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("parquet", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(run_as_command("parquet", main))
