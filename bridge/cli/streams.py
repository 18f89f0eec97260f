"""``tickbridge streams``: lists the streams of a Redis, with their state, newest entry and rate."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.reading import (
    add_choice_options,
    add_redis_options,
    choice_of,
    expect_some,
    redis_and_keys,
    with_overview,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.overview.look import Overview
    from bridge.overview.rows import StreamRow

__all__ = ["add_parser"]

_HEAD = ("exchange", "pair", "channel", "state", "seq", "age", "rate", "connector")
_PLAIN = (*_HEAD[:-1], "connector", "last_id", "key")


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "streams",
        help="list the streams, with their state, newest entry and rate",
        description="Lists the streams of the catalogs: state, number and age of the newest entry, entries per second "
        "over the last 10 s, connector. Aligned on a terminal; in a pipe, columns are separated by tabs, ages are in "
        "seconds, and last_id and key are added. Exits with 1 if no stream matches.",
    )
    add_choice_options(parser)
    add_redis_options(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(func=streams)


def streams(options: argparse.Namespace) -> int:
    """Print the streams; 1 if none matches.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis does not answer, or refuses this client or a key.
    """
    choice = choice_of(options)
    topology, keys = redis_and_keys(options)

    async def work(overview: Overview) -> tuple[Overview, list[StreamRow], bool]:
        chosen = expect_some(overview, choice, keys)
        shown = [row for row in chosen if not (options.not_live and row.live)]
        await overview.look_at(row.key for row in shown)
        return overview, shown, bool(chosen)

    overview, shown, any_chosen = with_overview(topology, keys, work)
    if options.json:
        import msgspec

        from bridge.printable import printable_json

        text = msgspec.json.format(msgspec.json.encode([_json_row(overview, row) for row in shown]), indent=2)
        print("\n".join(map(printable_json, text.splitlines())))
    else:
        _print_table(overview, shown)
    return 0 if any_chosen else 1


def _json_row(overview: Overview, row: StreamRow) -> dict[str, Any]:
    """A row for programs; as everywhere, numbers are text."""
    from bridge.entries import textual
    from bridge.overview.look import WINDOW

    tail, age = overview.tails[row.key], overview.age(row.key)
    figures = {
        "live": row.live,
        "last_id": tail.last_id,
        "seq": tail.seq if tail.last_id else "",
        "age_ms": "" if age is None else round(age * 1000),
        "rate": "" if tail.trouble else tail.rate,
        "window": WINDOW,
        "trouble": tail.trouble,
    }
    kind = "pair" if row.stream.public else "account"
    head = {
        "key": row.key,
        "exchange": row.stream.exchange,
        kind: row.stream.subject,
        "channel": str(row.stream.channel),
    }
    whole: dict[str, Any] = textual({**row.entry, **head, "connector": row.connector, "state": row.state, **figures})
    return whole


def _print_table(overview: Overview, shown: Sequence[StreamRow]) -> None:
    from bridge.overview.table import Cell, aligned_rows, separated_rows
    from bridge.overview.words import age_text, count_text, rate_text, state_style

    terminal = sys.stdout is not None and sys.stdout.isatty()
    rows = []
    for row in shown:
        tail, age = overview.tails[row.key], overview.age(row.key)
        there = bool(tail.last_id)
        if terminal:
            figures = [count_text(tail.seq) if there else "", age_text(age), rate_text(tail.rate) if there else ""]
        else:
            figures = [
                str(tail.seq) if there else "",
                "" if age is None else f"{age:.3f}",
                f"{tail.rate:g}" if there else "",
            ]
        cells = [
            *(Cell(text) for text in row.name),
            Cell(row.state, state_style(row.state)),
            *(Cell(text, right=True) for text in figures),
            Cell(row.writer + (f"  {tail.trouble}" if tail.trouble and terminal else "")),
        ]
        rows.append(cells if terminal else [*cells, Cell(tail.last_id), Cell(row.key)])
    if terminal:
        aligned_rows(_HEAD, rows)
    elif sys.stdout is not None:
        sys.stdout.write(separated_rows(_PLAIN, rows))
