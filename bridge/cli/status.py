"""``tickbridge status``: says whether all streams are live and all connectors run, for people, scripts and health checks."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
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
    from bridge.overview.look import Overview
    from bridge.overview.rows import ConnectorRow, StreamRow

__all__ = ["add_parser"]

_HEAD = (
    "connector",
    "exchange",
    "state",
    "standby",
    "connections",
    "received",
    "lost",
    "gaps",
    "waiting",
    "uptime",
    "streams",
    "not live",
)
_PLAIN = tuple(title.replace(" ", "_") for title in _HEAD)
_MOST_NAMED = 20


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="say whether all streams are live and all connectors run",
        description="Shows the connectors of the catalogs, and the streams that are not live. Exits with 0 if every stream "
        "is live and every connector has a heartbeat, with 1 if not or if there is no stream, with 2 if Redis is "
        "unreachable. --not-live leaves out connectors whose streams are all live.",
    )
    add_choice_options(parser)
    add_redis_options(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a table")
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit code says it")
    parser.set_defaults(func=status)


def status(options: argparse.Namespace) -> int:
    """Print the state of the chosen streams and their connectors; 1 unless all are in order.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis does not answer, or refuses this client or a key.
    """
    choice = choice_of(options)
    topology, keys = redis_and_keys(options)

    async def work(overview: Overview) -> tuple[Overview, list[StreamRow]]:
        return overview, expect_some(overview, choice, keys)

    overview, rows = with_overview(topology, keys, work)
    names = dict.fromkeys(row.connector for row in rows)
    connectors = [overview.connectors[name] for name in names if name in overview.connectors]
    good = bool(rows) and all(row.live or row.ended for row in rows) and all(row.alive for row in connectors)
    if options.not_live:
        bad = {row.connector for row in rows if not row.live}
        connectors = [connector for connector in connectors if connector.name in bad]
    if options.quiet:
        pass
    elif options.json:
        _print_json(topology.address, rows, connectors, good=good)
    elif rows:
        _print_text(rows, connectors)
    return 0 if good else 1


def _print_json(address: str, rows: list[StreamRow], connectors: list[ConnectorRow], *, good: bool) -> None:
    import msgspec

    from bridge.entries import textual
    from bridge.printable import printable_json

    bad = [row for row in rows if not row.live]
    whole = {
        "redis": address,
        "live": good,
        "streams": {"total": len(rows), **Counter(row.state for row in rows)},
        "not_live": [
            {
                "key": row.key,
                "exchange": row.stream.exchange,
                "pair" if row.stream.public else "account": row.stream.subject,
                "channel": str(row.stream.channel),
                "connector": row.connector,
                "state": row.state,
            }
            for row in bad
        ],
        "connectors": [
            {
                **row.fields,
                "name": row.name,
                "exchange": row.exchange,
                "state": row.state,
                "alive": row.alive,
                "standby": row.standby,
            }
            for row in connectors
        ],
    }
    text = msgspec.json.format(msgspec.json.encode(textual(whole)), indent=2)
    print("\n".join(map(printable_json, text.splitlines())))


def _print_text(rows: list[StreamRow], connectors: list[ConnectorRow]) -> None:
    from bridge.overview.table import Cell, aligned_rows, separated_rows
    from bridge.overview.words import age_text, count_text, state_style
    from bridge.printable import printable

    terminal = sys.stdout is not None and sys.stdout.isatty()
    now = time.time_ns()
    table = []
    for row in connectors:
        own = [stream for stream in rows if stream.connector == row.name]
        started = row.number("started")
        seconds = None if started is None else max(0.0, (now - started) / 1e9)
        counts = [row.number(name) for name in ("received", "lost", "gaps", "waiting")]
        plain = ["" if count is None else f"{count:.0f}" for count in counts]
        up = "/".join(row.fields.get(name, "") for name in ("connections_up", "connections")) if row.alive else ""
        figures = [up, *(map(count_text, counts) if terminal else plain)]
        figures.append(age_text(seconds) if terminal else "" if seconds is None else f"{seconds:.0f}")
        figures += [str(len(own)), str(sum(not stream.live for stream in own))]
        head = [Cell(row.name), Cell(row.exchange), Cell(row.state, state_style(row.state)), Cell(row.standby_state)]
        table.append([*head, *(Cell(text, right=True) for text in figures)])
    if not terminal:
        if sys.stdout is not None:
            sys.stdout.write(separated_rows(_PLAIN, table))
        return
    if table:
        aligned_rows(_HEAD, table)
    counted = Counter(row.state for row in rows)
    print(f"{len(rows)} streams: " + ", ".join(f"{count} {state}" for state, count in counted.most_common()))
    bad = [row for row in rows if not row.live]
    for stream in bad[:_MOST_NAMED]:
        print(f"  {stream.state:9} {printable(' '.join(stream.name))}")
    if len(bad) > _MOST_NAMED:
        print(f"  and {len(bad) - _MOST_NAMED} more: tickbridge streams --not-live")
