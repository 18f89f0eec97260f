"""The reader of the whole-path benchmark: `consumers.reader.Reader` in a process of its own.

    python -m benchmarks.reading --redis URL --count 100000 KEY ...

It prints ``ready``; when it has read ``count`` data entries, or nothing for ten seconds, it prints what it saw as JSON.
Latencies are those of messages that were sent a second or more after the first one: all processes start cold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from benchmarks.exchange import STAMP_DIGITS
from bridge.keys import StreamKey
from bridge.model import Channel, Control, Trade
from bridge.process.loops import run_async
from bridge.process.starting import collect_rarely
from consumers.items import Entry, Item
from consumers.keeper import BookKeeper
from consumers.positions import Position
from consumers.reader import Reader

__all__ = ["main"]

_PATIENCE = 10.0
_WARM_UP = 1_000_000_000
_SECOND: int = 10**STAMP_DIGITS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("keys", nargs="+")
    parser.add_argument("--redis", required=True)
    parser.add_argument("--namespace", default="")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--loop", default="auto")
    parser.add_argument("--book", action="store_true", help="make a book of the first stream")
    parser.add_argument("--stamped", action="store_true", help="prices are the times of sending")
    options = parser.parse_args()
    print(json.dumps(run_async(_read(options), options.loop)), flush=True)


async def _read(options: argparse.Namespace) -> dict[str, Any]:
    seen: Counter[str] = Counter()
    latencies: list[int] = []
    keeper = BookKeeper(StreamKey("bench", "", Channel.BOOK)) if options.book else None
    warm = 0
    collect_rarely()  # as consumers do
    cpu = began = 0.0
    streams = dict.fromkeys(options.keys, Position.START)
    async with Reader(options.redis, streams, namespace=options.namespace) as reader:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        batches = reader.batches()
        cpu, began = time.process_time(), time.time()
        while seen["data"] < options.count:
            try:
                batch = await asyncio.wait_for(anext(batches), _PATIENCE if seen["data"] else 6 * _PATIENCE)
            except TimeoutError:
                break
            now = time.time_ns()
            if options.stamped and not seen["data"]:
                cpu, began = time.process_time(), time.time()
            if keeper is not None:
                for item in batch:
                    keeper.take(item)
                    seen["data"] += 1
                continue
            seen.update(map(_kind, batch))
            if options.stamped:
                times = [_sent(item) for item in batch if _kind(item) == "data"]
                warm = warm or (times[0] + _WARM_UP if times else 0)
                latencies += [now - sent for sent in times if sent >= warm]
        cpu, began = time.process_time() - cpu, time.time() - began
    if keeper is not None and not keeper.valid:
        raise RuntimeError(f"the book is not valid: {keeper.reason}")
    latencies.sort()
    return {"seen": dict(seen), "cpu": cpu, "seconds": began, "latency_ms": _percentiles(latencies)}


def _kind(item: Item) -> str:
    if isinstance(item, Entry):
        return f"control {item.event.event}" if isinstance(item.event, Control) else "data"
    return type(item).__name__


def _sent(item: Item) -> int:
    assert isinstance(item, Entry)
    assert isinstance(item.event, Trade)
    seconds, _, fraction = item.event.price.partition(".")
    return int(seconds) * _SECOND + int(fraction)


def _percentiles(ordered: list[int]) -> dict[str, float]:
    if not ordered:
        return {}
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1e6 for name, share in shares.items()}


if __name__ == "__main__":
    main()
