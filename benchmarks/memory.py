"""(c) Memory: bytes of Redis per entry, published by the bridge, against the same events as JSON in one field."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.machine import Server
from benchmarks.publishing import publish
from benchmarks.results import Run, Target, table
from benchmarks.samples import deltas, fields, trades
from bridge.keys import Keys
from bridge.model import BookDelta, Trade
from bridge.process.loops import run_async

__all__ = ["measure"]

NAMESPACE = "bench-memory"
_JSON_KEY = f"{NAMESPACE}:json"
_LIMITS = {"trade": 90, "20-level delta": 450}


def measure(server: Server, *, events: int) -> tuple[str, list[Target], dict[str, Any]]:
    """One run: memory doesn't vary."""
    rows: dict[str, Run] = {}
    targets = []
    for what, made in (("trade", trades(events)), ("20-level delta", deltas(events, 20))):
        server.forget(NAMESPACE)
        run_async(publish(server.url, NAMESPACE, [made]))  # type: ignore[list-item]
        key = Keys(NAMESPACE).stream("bench", "P0-USD", made[0].channel)
        flat = _bytes_per_entry(server, key, events)
        _as_json(server, made)
        json = _bytes_per_entry(server, _JSON_KEY, events)
        text = sum(len(part) for event in made for name, part in fields(event).items() if name != "type") / events
        rows[what] = {"bytes/entry": flat, "values alone": text, "as JSON": json, "JSON, times": json / flat}
        targets.append(Target(f"memory, bytes per {what}", flat, at_most=_LIMITS[what]))
    server.forget(NAMESPACE)
    return table(f"Memory in Redis (MEMORY USAGE / XLEN, {events:,} entries)", rows), targets, dict(rows)


def _bytes_per_entry(server: Server, key: str, expected: int) -> float:
    length = int(server.client.xlen(key))
    assert length == expected, f"{length} entries of {expected}"
    return float(server.client.memory_usage(key, samples=0)) / length  # type: ignore[arg-type]


def _as_json(server: Server, events: list[Any]) -> None:
    pipe = server.client.pipeline(transaction=False)
    for seq, event in enumerate(events, 1):
        pipe.xadd(_JSON_KEY, {"data": msgspec.json.encode(_plain(event))}, id=f"{event.recv // 1_000_000}-{seq}")
    pipe.execute()


def _plain(event: Trade | BookDelta) -> dict[str, Any]:
    """What a user would put into the JSON: the fields of the entry, numbers as numbers where they are ours."""
    names = ("ts", "recv", *event.WIRE)
    return {"type": event.__struct_config__.tag, **{name: getattr(event, name) for name in names}}
