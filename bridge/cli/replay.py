"""``tickbridge replay``: serves a recording over a local WebSocket, like its exchange."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from pathlib import Path
from typing import Any

from bridge.cli import values
from bridge.cli.progress import add_progress_options, replay_progress, report_progress, shown

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help="serve a recording as its exchange would",
        description=(
            "Serves a recording over a local WebSocket, and its REST answers over HTTP on the same port. Each client "
            "gets the next recorded connection (with the same address, if they differ), complete and in order; after "
            "the last one, the first one again. Runs until SIGTERM or SIGINT."
        ),
    )
    parser.add_argument("recording", metavar="RECORDING", type=Path, help="recording to serve: .jsonl or .jsonl.zst")
    parser.add_argument(
        "--port", metavar="N", type=values.port, required=True, help="port to listen on; 0: any free port"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--speed",
        metavar="X",
        type=_speed,
        default=1.0,
        help="speed relative to the recording (default: 1), or 'max': as fast as the client reads",
    )
    parser.add_argument(
        "--once", action="store_true", help="serve each recorded connection once, refuse further clients, and then exit"
    )
    parser.add_argument("--close", action="store_true", help="close a connection after its last frame")
    parser.add_argument(
        "--wait-subscribe",
        metavar="S",
        type=values.at_least_zero,
        default=5.0,
        help="warn if a client has not subscribed after this many seconds, and keep waiting (default: 5)",
    )
    parser.add_argument(
        "--compare",
        metavar="EXCHANGE:A-B,C-D",
        type=_compared,
        help="also serve what the streams of these pairs should hold, under /sim/ as a simulated exchange does",
    )
    add_progress_options(parser)
    parser.set_defaults(func=run, long_running=True)


def _compared(text: str) -> tuple[str, tuple[str, ...]]:
    from bridge.exchanges import names

    exchange, _, pairs = text.partition(":")
    if exchange not in names() or not pairs:
        raise argparse.ArgumentTypeError(f"should be EXCHANGE:PAIR,PAIR with one of {', '.join(names())}")
    return exchange, values.names(pairs)


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        return values.above_zero(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; 'max' is as fast as the client reads") from None


def run(options: argparse.Namespace) -> int:
    """Serve until a signal.

    Raises:
        BridgeError: the recording cannot be read, or the port is not available.
    """
    from bridge.process.loops import run_async

    run_async(_serve(options))
    return 0


async def _serve(options: argparse.Namespace) -> None:
    from bridge.process.lifecycle import end_on_signals
    from bridge.recordings.replay import serve_replay

    stop = asyncio.Event()
    end_on_signals(lambda _: stop.set())
    async with serve_replay(
        options.recording,
        host=options.host,
        port=options.port,
        speed=options.speed,
        once=options.once,
        close=options.close,
        subscribe_timeout=options.wait_subscribe,
        report=_report,
        warn=_warn,
        truth=options.compare,
    ) as server:
        _report(f"{server.url} serves {options.recording}")
        if options.compare:
            _report(f"control {server.rest_url}/sim")
            _report("ready")
        ends: set[asyncio.Task[Any]] = {asyncio.create_task(stop.wait(), name="replay-stop")}
        if shown(options):
            line = replay_progress(server)
            ends.add(asyncio.create_task(report_progress(options, line), name="replay-progress"))
        if options.once:
            ends.add(asyncio.create_task(server.exhausted(), name="replay-exhausted"))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()


def _report(line: str) -> None:
    # Flushed, because a script may wait for this line.
    print(line, flush=True)


def _warn(line: str) -> None:
    print(f"tickbridge replay: {line}", file=sys.stderr, flush=True)
