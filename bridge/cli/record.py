"""``tickbridge record``: records the live connections of a connector."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli import values
from bridge.cli.common import add_config_option, load, select_connectors
from bridge.cli.progress import add_progress_options, record_progress, report_progress, shown
from bridge.errors import BridgeError, ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bridge.config import ConnectorSettings
    from bridge.recordings.writer import RecordingWriter

__all__ = ["add_parser"]

_FLUSH_INTERVAL = 1.0
_CLOSING = 2.5
"""Seconds that sockets have for their closing handshakes."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "record",
        help="record the live connections of a connector",
        description=(
            "Connects like the given connector, but without Redis, and records what goes over its sockets in a file for "
            "'tickbridge replay', without secrets. SIGINT or SIGTERM ends it; the file is then complete."
        ),
    )
    add_config_option(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="file to write: .jsonl or .jsonl.zst")
    parser.add_argument("--connector", metavar="NAME", help="connector to record (required if the exchanges differ)")
    parser.add_argument("--duration", metavar="S", type=values.above_zero, help="end after this many seconds")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    add_progress_options(parser)
    parser.set_defaults(func=run, long_running=True)


def run(options: argparse.Namespace) -> int:
    """Record until a signal, or until ``--duration`` is over.

    Raises:
        BridgeError: a mistake in the config, a file that cannot be written, or an unreachable exchange.
    """
    settings = load(options.config)
    connectors = select_connectors(settings, [options.connector] if options.connector else [])
    exchange = _one_exchange(connectors)

    from bridge.connector import run as connector
    from bridge.process.loops import run_async
    from bridge.recordings.secrets import Redactor
    from bridge.recordings.writer import RecordingWriter

    described = {one.name: {"pairs": one.own_pairs, "channels": [*map(str, one.channels)]} for one in connectors}
    redact = Redactor(settings.secrets())
    with RecordingWriter(options.out, exchange, redact=redact, config=described, force=options.force) as writer:
        try:
            feed = connector.record(settings, connectors, writer)
            run_async(_record(feed, writer, options), settings.loop)
        finally:
            if not writer.rows:
                options.out.unlink(missing_ok=True)
    if not writer.rows:
        print("nothing was recorded", file=sys.stderr)
        return 2
    print(f"{writer.rows} rows recorded in {options.out}")
    return 0


def _one_exchange(connectors: list[ConnectorSettings]) -> str:
    """The exchange of these connectors; a recording has only one.

    Raises:
        ConfigError: they have several.
    """
    exchanges = {one.exchange for one in connectors}
    if len(exchanges) > 1:
        names = " or ".join(one.name for one in connectors)
        raise ConfigError([Problem("--connector", "a recording is of one exchange", f"choose {names}")], "arguments")
    return exchanges.pop()


async def _record(feed: Coroutine[Any, Any, None], writer: RecordingWriter, options: argparse.Namespace) -> None:
    """Run the feed until it fails, a signal arrives or the time is over."""
    from bridge.process.lifecycle import end_on_signals, end_tasks

    stop = asyncio.Event()
    end_on_signals(lambda _: stop.set())
    writer.on_failure = stop.set
    feeding = asyncio.create_task(feed, name="record-feed")
    tasks = {
        feeding,
        asyncio.create_task(_flush(writer), name="record-flush"),
        asyncio.create_task(stop.wait(), name="record-stop"),
    }
    if shown(options):
        line = record_progress(writer, options.duration)
        tasks.add(asyncio.create_task(report_progress(options, line), name="record-progress"))
    try:
        done, _ = await asyncio.wait(tasks, timeout=options.duration, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except BaseExceptionGroup as group:
        # A recorder that cannot write fails inside the feed's task group; the user sees only the reason.
        raise _first_of_ours(group) from group
    finally:
        await end_tasks(tasks, _CLOSING)
    if feeding.done() and not feeding.cancelled():
        feeding.result()  # some of several connectors failed


def _first_of_ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first ``BridgeError`` in the group, or the group itself."""
    found, _ = group.split(BridgeError)
    while isinstance(found, BaseExceptionGroup):
        first = found.exceptions[0]
        if not isinstance(first, BaseExceptionGroup):
            return first
        found = first
    return group


async def _flush(writer: RecordingWriter) -> None:
    """Flush every second, so that at most a second is lost if the process dies."""
    while True:
        await asyncio.sleep(_FLUSH_INTERVAL)
        writer.flush()
