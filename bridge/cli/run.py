"""``tickbridge run``: runs connectors until SIGTERM."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from typing import Any

from bridge.cli.common import add_config_option, load, load_again, select_connectors
from bridge.cli.progress import add_progress_options, report_progress, run_progress, shown

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="run connectors, which write exchange feeds to Redis Streams",
        description="Runs the given connectors (default: all) until SIGTERM or SIGINT; a second signal ends them at once.",
    )
    add_config_option(parser)
    parser.add_argument(
        "--connector", metavar="NAME", nargs="+", action="extend", default=[], help="only these (default: all)"
    )
    parser.add_argument(
        "--watch-config",
        action="store_true",
        help="also read the config again when the file changes, not only at SIGHUP; pairs then come and go",
    )
    add_progress_options(parser)
    parser.set_defaults(func=run, long_running=True)


def run(options: argparse.Namespace) -> int:
    """Run until a signal.

    Raises:
        BridgeError: a mistake in the config, or Redis or the exchange is unreachable at the start.
    """
    # Before the connectors exist there is nothing to end, so an early SIGTERM is not a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from bridge.connector.reload import WatchedFile

    watched = WatchedFile(options.config) if options.watch_config else None
    settings = load(options.config)
    connectors = select_connectors(settings, options.connector)

    from bridge.connector import run as connector
    from bridge.process.loops import run_async

    gc.collect()  # before what is left is frozen
    watch = (lambda reports: report_progress(options, run_progress(reports))) if shown(options) else None
    work = connector.run(settings, connectors, watch, reload=lambda: load_again(options.config), watched=watched)
    run_async(work, settings.loop)
    return 0
