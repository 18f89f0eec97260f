"""What an event costs by its type: in its topic (checked, counted), and published (rendered, packed, acknowledged)."""

from __future__ import annotations

import gc
import time
from typing import Any

from benchmarks.machine import Server
from benchmarks.publishing import publish
from benchmarks.results import Run, Target, medians, table
from benchmarks.samples import deltas, trades
from bridge.keys import Keys
from bridge.model import (
    Balance,
    BookDelta,
    BookSnapshot,
    Event,
    Fill,
    Funding,
    Interest,
    Liquidation,
    Mark,
    Order,
    Position,
    Quote,
    Ticker,
)
from bridge.process.loops import run_async
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import topic_type

__all__ = ["measure", "samples"]

NAMESPACE = "bench-kinds"
_LESS = {"snapshot of 200 levels": 20, "delta of 20 levels": 2}
"""By how much the runs of long entries are shorter."""


class _Nowhere:
    """Takes what a topic lets through."""

    def put(self, stream: Stream, event: Event) -> None:
        """Publish an event."""

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Publish a `lost` entry."""


def measure(server: Server, *, events: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Every type, in turns."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for name, made in samples(events).items():
            found.setdefault(name, []).append(_cost(server, made))
    rows = {name: medians(of) for name, of in found.items()}
    for row in rows.values():
        row["times a trade"] = row["both"] / rows["trade"]["both"]
    return table(f"CPU µs by type of event ({events:,} events, median of {runs} runs)", rows), [], rows


def samples(count: int) -> dict[str, list[Any]]:
    """So many events of each type (fewer of long ones), none equal to the one before it."""
    base = trades(count)
    market = [(event.ts, event.recv) for event in base]
    depth = deltas(1, 200)[0]
    made: dict[str, list[Any]] = {
        "trade": base,
        "quote": [
            Quote("BTC-USD", ts, recv, "65083.66", f"0.2{at:07}", "65083.67", "0.24290402")
            for at, (ts, recv) in enumerate(market)
        ],
        "ticker": [
            Ticker(
                "BTC-USD",
                ts,
                recv,
                "86400",
                "",
                "65252.99",
                "64675.22",
                f"65086.{at:07}",
                "",
                "0.09601",
                "2867.54532609",
            )
            for at, (ts, recv) in enumerate(market)
        ],
        "funding": [
            Funding("BTC-USDT-PERP", ts, recv, f"0.000{at:07}", 1786320000000000000, "28800")
            for at, (ts, recv) in enumerate(market)
        ],
        "mark": [Mark("BTC-USDT-PERP", ts, recv, f"65117.{at:07}", "65137.76") for at, (ts, recv) in enumerate(market)],
        "interest": [
            Interest("BTC-USDT-PERP", ts, recv, f"29945.{at:07}", "1949998132.50")
            for at, (ts, recv) in enumerate(market)
        ],
        "liquidation": [
            Liquidation("BTC-USDT-PERP", ts, recv, "", "sell", f"65010.{at:07}", "0.014")
            for at, (ts, recv) in enumerate(market)
        ],
        "delta of 4 levels": deltas(count, 4),
        "delta of 20 levels": deltas(count // _LESS["delta of 20 levels"], 20),
        "snapshot of 200 levels": [
            BookSnapshot("BTC-USD", ts, recv, str(at), depth.bids, depth.asks)
            for at, (ts, recv) in enumerate(market[: count // _LESS["snapshot of 200 levels"]])
        ],
        "order": [
            Order("main", ts, recv, f"0959f899-{at:07}", "", "BTC-USD", "limit", "buy", "65000.1", "1", "0", "open")
            for at, (ts, recv) in enumerate(market)
        ],
        "fill": [
            Fill("main", ts, recv, f"f{at:09}", f"o{at:09}", "BTC-USD", "buy", "65000.1", "0.1", "0.13", "USD")
            for at, (ts, recv) in enumerate(market)
        ],
        "balance": [Balance("main", ts, recv, "USD", f"1000.{at:07}", "0.5") for at, (ts, recv) in enumerate(market)],
        "position": [
            Position("main", ts, recv, "BTC-PERP", "long", "1.5", "65000.1", f"65001.{at:07}", "0.1")
            for at, (ts, recv) in enumerate(market)
        ],
    }
    return made


def _cost(server: Server, events: list[Any]) -> Run:
    checked = _in_topic(events)
    server.forget(NAMESPACE)
    gc.collect()
    began = time.process_time()
    run_async(publish(server.url, NAMESPACE, [events]))
    published = time.process_time() - began
    server.forget(NAMESPACE)
    scale = 1e6 / len(events)
    return {"topic": checked * scale, "published": published * scale, "both": (checked + published) * scale}


def _in_topic(events: list[Any]) -> float:
    """CPU seconds that the events' topic takes for all of them; none may be kept back."""
    first = events[0]
    key = Keys(NAMESPACE).stream("bench", first.subject, first.channel)
    stream = Stream(key, first.channel, first.subject, Retention(1_000_000, 86400.0))
    topic = topic_type(first.channel)(stream, _Nowhere(), lambda *_: None)
    extra = 0
    if isinstance(first, BookDelta):
        topic.accept(BookSnapshot(first.subject, first.ts, first.recv, "0", first.bids, first.asks))
        extra = 1
    accept = topic.accept
    gc.collect()
    began = time.process_time()
    for event in events:
        accept(event)
    used = time.process_time() - began
    assert topic.received - extra == len(events), f"{topic.received - extra} of {len(events)} {type(first).__name__}"
    assert topic.repeated == 0, f"{topic.repeated} of {len(events)} counted as repeats"
    return used
