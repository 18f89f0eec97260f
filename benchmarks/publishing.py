"""(a) Publishing alone: the bridge's publisher against ``redis-py``'s asyncio pipelines, from events to Redis.

Both sides get the same events (structs of the model), make the same entries of them under IDs of their own, on the same
event loop, and wait for Redis to acknowledge each. Figures are of the publishing process: CPU time by ``process_time``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from redis.asyncio import Redis

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from benchmarks.samples import deltas, trades
from bridge.feed.policies import backoff
from bridge.keys import Keys
from bridge.model import BookDelta, BookSnapshot, Channel, Trade
from bridge.process.loops import run_async
from bridge.publish.connection import open_connection
from bridge.publish.pending import Budget
from bridge.publish.publisher import OneServer, Publisher
from bridge.publish.stream import Retention, Stream

__all__ = ["Nobody", "measure", "publish"]

NAMESPACE = "bench-publishing"
_PIPELINES = (1, 100, 500)
_STREAMS = 4
_MOST_WAITING = 4096
_PUT_AT_ONCE = 64
"""Events that come in one go, as out of one read of a socket."""
_LESS = {1: 10, 100: 2, 500: 2}
"""By how much the slow sides' runs are shorter, so that they don't take most of the time."""

Event = Trade | BookDelta


class Nobody:
    """Hears what the publisher has to say; in a benchmark, anything it says is a failure."""

    def dropped(self, stream: Stream) -> None:
        raise AssertionError(f"events of {stream} were dropped")

    def recovered(self) -> None:
        """Connected."""

    def hold(self, publisher: object) -> None:
        """Much waits; this sender doesn't mind."""

    def release(self, publisher: object) -> None:
        """Less waits."""

    def conflict(self, stream: Stream) -> None:
        raise AssertionError(f"somebody else writes to {stream}")

    def displaced(self, reason: str) -> None:
        raise AssertionError(reason)

    def disturbed(self, stream: Stream, reason: str, count: int | None) -> None:
        del count
        raise AssertionError(f"{stream}: {reason}")


def measure(server: Server, *, events: int, runs: int, loop: str) -> tuple[str, list[Target], dict[str, Any]]:
    """Trades, then deltas of 20 levels."""
    texts, targets, data = [], [], {}
    for what, made in (("trades", trades(events)), ("20-level deltas", deltas(events // 4, 20))):
        rows = _compare(server, made, runs, loop)
        packed, best = rows["bridge"], rows["redis-py, pipelines of 500"]
        ratios = {name: row["CPU µs/event"] / packed["CPU µs/event"] for name, row in rows.items()}
        for name, row in rows.items():
            row["CPU, times the bridge's"] = ratios[name]
        texts.append(table(f"Publishing alone, {what} ({len(made):,} events, median of {runs} runs, {loop})", rows))
        ratio = best["CPU µs/event"] / packed["CPU µs/event"]
        if what == "trades":
            targets.append(Target("publishing, against redis-py's pipeline of 500 per CPU-second", ratio, at_least=8))
        data[what] = rows
    return "\n\n".join(texts), targets, data


async def publish(url: str, namespace: str, batches: list[list[Event]]) -> None:
    """Publish the events of one stream per list, taking turns, and wait for the last acknowledgement."""
    publisher = Publisher(
        OneServer(lambda: open_connection(url, "benchmark", 5.0, url)),
        lambda: backoff(random.Random()),
        Nobody(),
        budget=Budget(),
        standing_by=False,
        log=structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr), wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
        ),
    )
    sources = [(_stream(namespace, f"P{index}-USD", events[0]), events) for index, events in enumerate(batches)]
    for stream, _ in sources:
        publisher.add(stream)
    running = asyncio.create_task(publisher.run(), name="publisher")
    try:
        put = publisher.put
        for start in range(0, max(map(len, batches)), _PUT_AT_ONCE):
            for stream, events in sources:
                for event in events[start : start + _PUT_AT_ONCE]:
                    put(stream, event)
            await asyncio.sleep(0)
            while publisher.waiting > _MOST_WAITING:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.001)
        await publisher.drained()
        assert publisher.published == sum(map(len, batches))
    finally:
        running.cancel()


def _compare(server: Server, events: list[Any], runs: int, loop: str) -> dict[str, Run]:
    """Each run measures every side once, so that all see the same minutes of a noisy machine."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        found.setdefault("bridge", []).append(_run(server, events, lambda made: _bridge(server.url, made), loop))
        for size in _PIPELINES:
            fewer = events[: len(events) // _LESS[size]]
            name = f"redis-py, pipeline{'s' * (size > 1)} of {size}"
            side = _redis_py(server.url, size)
            found.setdefault(name, []).append(_run(server, fewer, side, loop))
    return {name: medians(of) for name, of in found.items()}


def _run(server: Server, events: list[Any], side: Callable[[list[Any]], Coroutine[Any, Any, None]], loop: str) -> Run:
    server.forget(NAMESPACE)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    run_async(side(events), loop)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    keys = [_key(NAMESPACE, index, events[0]) for index in range(_STREAMS)]
    stand = sum(int(server.client.xlen(key)) for key in keys)
    assert stand == len(events), f"{stand} entries of {len(events)}"
    server.forget(NAMESPACE)
    return {
        "events/s": len(events) / wall,
        "events/CPU-s": len(events) / cpu,
        "CPU µs/event": cpu / len(events) * 1e6,
    }


async def _bridge(url: str, events: list[Event]) -> None:
    await publish(url, NAMESPACE, [events[index::_STREAMS] for index in range(_STREAMS)])


def _redis_py(url: str, size: int) -> Callable[[list[Event]], Coroutine[Any, Any, None]]:
    async def run(events: list[Event]) -> None:
        fields = _trade_fields if isinstance(events[0], Trade) else _delta_fields
        keys = [_key(NAMESPACE, index, events[0]) for index in range(_STREAMS)]
        numbers = [0] * _STREAMS
        async with Redis.from_url(url) as client:
            for start in range(0, len(events), size):
                pipe = client.pipeline(transaction=False)
                for index, event in enumerate(events[start : start + size], start):
                    which = index % _STREAMS
                    numbers[which] += 1
                    ident = f"{event.recv // 1_000_000}-{numbers[which]}"
                    pipe.xadd(keys[which], fields(event), id=ident)  # type: ignore[arg-type]
                await pipe.execute()

    return run


def _trade_fields(e: Trade) -> dict[str, str | int]:
    return {
        "type": "trade", "ts": "" if e.ts is None else e.ts, "recv": e.recv,
        "id": e.id, "side": e.side, "price": e.price, "size": e.size,
    }  # fmt: skip


def _delta_fields(e: BookDelta) -> dict[str, str | int]:
    bids, asks = " ".join(map(":".join, e.bids)), " ".join(map(":".join, e.asks))
    ts = "" if e.ts is None else e.ts
    return {"type": "delta", "ts": ts, "recv": e.recv, "xseq": e.xseq, "bids": bids, "asks": asks}


def _stream(namespace: str, subject: str, event: Event | BookSnapshot) -> Stream:
    key = Keys(namespace).stream("bench", subject, _channel(event))
    return Stream(key, _channel(event), subject, Retention(1_000_000, 86400.0))


def _key(namespace: str, index: int, event: Event) -> str:
    return Keys(namespace).stream("bench", f"P{index}-USD", _channel(event))


def _channel(event: Event | BookSnapshot) -> Channel:
    return event.channel
