"""How many typed events a second a core reads: `consumers.reader.Reader` over streams that are full before it starts."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from benchmarks.samples import deltas, fields, trades
from benchmarks.trial import python, read_line, started
from bridge.keys import Keys
from bridge.model import BookDelta, BookSnapshot, Channel

__all__ = ["fill", "measure"]

NAMESPACE = "bench-reader"
_AT_ONCE = 1_000
_TARGET = 200_000


def measure(server: Server, *, events: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Trades and deltas; the latter also as they make a book."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for name, made, words in (
            ("trades", trades(events), []),
            ("deltas of 4 levels", deltas(events, 4), []),
            ("deltas of 4 levels, into a book", deltas(events, 4), ["--book"]),
            ("deltas of 20 levels", deltas(events // 2, 20), []),
        ):
            found.setdefault(name, []).append(_read(server, made, words))
    rows = {name: medians(of) for name, of in found.items()}
    targets = [
        Target(f"reader, {name}: events per CPU-second", rows[name]["events/CPU-s"], at_least=_TARGET)
        for name in ("trades", "deltas of 4 levels")
    ]
    return table(f"Reading alone ({events:,} entries, median of {runs} runs)", rows), targets, rows


def _read(server: Server, events: list[Any], words: list[str]) -> Run:
    server.forget(NAMESPACE)
    key = fill(server, events, NAMESPACE)
    command = python(
        "benchmarks.reading", key, "--redis", server.url, "--namespace", NAMESPACE, "--count", str(len(events)), *words
    )
    with started(command) as reader:
        read_line(reader)
        seen = json.loads(read_line(reader))
    assert seen["seen"] == {"data": len(events)}, seen["seen"]
    server.forget(NAMESPACE)
    return {
        "events/CPU-s": len(events) / seen["cpu"],
        "CPU µs/event": seen["cpu"] / len(events) * 1e6,
        "events/s": len(events) / seen["seconds"],
    }


def fill(server: Server, events: list[Any], namespace: str) -> str:
    """Write the entries of these events, as the bridge does; a book's first is its snapshot. Returns the key."""
    first = events[0]
    if isinstance(first, BookDelta):
        events = [BookSnapshot(first.subject, first.ts, first.recv, "0", first.bids, first.asks), *events[1:]]
    key = Keys(namespace).stream("bench", first.subject, Channel(first.channel))
    for start in range(0, len(events), _AT_ONCE):
        pipe = server.client.pipeline(transaction=False)
        for seq, event in enumerate(events[start : start + _AT_ONCE], start + 1):
            pipe.xadd(key, fields(event), id=f"{event.recv // 1_000_000}-{seq}")  # type: ignore[arg-type]
        pipe.execute()
    return key
