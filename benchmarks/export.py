"""How many rows a second a core writes into files: streams that are full before it starts, read by `consumers.export`.

Each export is the first of its process. What the process takes before it, to start and to import, is a column of its own:
it is the same for a thousand rows and for a day of a busy pair.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import Server, cpu_seconds
from benchmarks.reader import fill
from benchmarks.results import Run, Target, medians, table
from benchmarks.samples import deltas, trades
from benchmarks.trial import python, read_line, started
from bridge.keys import Keys

__all__ = ["main", "measure"]

NAMESPACE = "bench-export"
_TARGET = 200_000
_FORMS = ("parquet", "csv", "jsonl", "arrow")


def measure(server: Server, *, events: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Trades and deltas as Parquet, CSV, JSON lines, and as a table in memory."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for what, made in (("trades", trades(events)), ("deltas of 4 levels", deltas(events, 4))):
            server.forget(NAMESPACE)
            key = fill(server, made, NAMESPACE)
            for form in _FORMS if what == "trades" else ("parquet",):
                found.setdefault(f"{what}, {form}", []).append(_export(server, key, form, events))
                if form == "parquet":  # the other side: an object for each value, as the ordinary parser makes them
                    lists = _export(server, key, form, events, "--lists")
                    found.setdefault(f"{what}, {form}, value by value", []).append(lists)
    server.forget(NAMESPACE)
    rows = {name: medians(of) for name, of in found.items()}
    name = "trades, parquet"
    targets = [Target(f"export, {name}: rows per CPU-second", rows[name]["rows/CPU-s"], at_least=_TARGET)]
    return table(f"Into files ({events:,} entries, median of {runs} runs)", rows), targets, rows


def _export(server: Server, key: str, form: str, events: int, *more: str) -> Run:
    command = python("benchmarks.export", key, "--redis", server.url, "--form", form, *more)
    redis = cpu_seconds(server.pid) if server.pid else 0.0
    with started(command) as process:
        seen = json.loads(read_line(process))
    redis = cpu_seconds(server.pid) - redis if server.pid else 0.0
    assert seen["rows"] == events, seen
    return {
        "rows/CPU-s": events / seen["cpu"],
        "CPU µs/row": seen["cpu"] / events * 1e6,
        "start-up CPU ms": seen["start"] * 1e3,
        "Redis CPU µs/row": redis / events * 1e6,
        "rows/s": events / seen["seconds"],
        "bytes/row": seen["bytes"] / events,
    }


def main() -> None:
    """Export one stream, in a process of its own; prints what it took as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("key")
    parser.add_argument("--redis", required=True)
    parser.add_argument("--form", choices=_FORMS, required=True)
    parser.add_argument("--lists", action="store_true", help="parse every page in the ordinary way")
    options = parser.parse_args()
    from consumers import frames, raw_replies  # noqa: PLC0415 - what is measured begins after the imports
    from consumers.export import export  # noqa: PLC0415
    from consumers.files import library  # noqa: PLC0415
    from consumers.pages import last_id, open_client  # noqa: PLC0415

    for name in ("pyarrow.parquet", "pyarrow.csv", "pyarrow.compute", "numpy", "consumers.grid"):
        library(name)
    if options.lists:
        raw_replies.RawReplies.ask = lambda *_: None  # type: ignore[method-assign, assignment]
    gc.disable()  # as the command does
    with open_client(options.redis, "bench-export") as client, tempfile.TemporaryDirectory() as folder:
        end = last_id(client, options.key)
        start = cpu = time.process_time()
        begun = time.monotonic()
        if options.form == "arrow":
            read = frames.read(options.key, redis=options.redis, namespace=NAMESPACE)
            rows, size = read.num_rows, read.nbytes
        else:
            keys = Keys(NAMESPACE)
            done = export(client, keys, options.key, after="", end=end, folder=Path(folder), form=options.form)
            rows, size = done.rows, done.path.stat().st_size
        seen = {
            "start": start,
            "cpu": time.process_time() - cpu,
            "seconds": time.monotonic() - begun,
            "rows": rows,
            "bytes": size,
        }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
