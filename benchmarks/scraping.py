"""What a scrape costs the feed: for how long ``/metrics`` holds up the event loop, of a connector with many streams.

A process with the parts of a connector, without an exchange and without Redis, serves its pages. A probe in its event
loop sees how late it is, beside one client that scrapes. Both ways are measured in turn: the copy with a thread that
makes the text, as it is served, and the same figures made into text in the loop, as up to version 0.1.0.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import structlog
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from bridge.clock import CLOCK
from bridge.config.load import load_settings
from bridge.exchanges import exchange_type
from bridge.exchanges.api import Profile
from bridge.feed.latency import FeedLatency
from bridge.keys import Keys
from bridge.observe.metrics import BridgeMetrics
from bridge.observe.report import Report
from bridge.process.exposition import Source
from bridge.process.loops import run_async
from bridge.process.serving import HttpServer, ProcessMetrics, Pulse
from bridge.publish.pending import Budget
from bridge.publish.publisher import OneServer, Publisher
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import topic_type

__all__ = ["measure"]

_STREAMS = 2_000
_LIMIT = 5.0
"""Milliseconds that a scrape may hold up the feed."""
_SCRAPES = 5
_TURN = 0.001
_CLIENT = """
import sys, time, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
for _ in range(int(sys.argv[2])):
    time.sleep(1.1)
    sys.stdout.write(f"{len(urllib.request.urlopen(request, timeout=60).read())}\\n")
    sys.stdout.flush()
"""


def measure(_: Server, *, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Sums, as by default, and series for each pair."""
    found: dict[str, list[Run]] = {}
    for _run in range(runs):
        for pairs in (False, True):
            what = "a series per stream" if pairs else "sums"
            found.setdefault(f"{what}, served", []).append(run_async(_served(pairs=pairs), "auto"))
            found.setdefault(f"{what}, made in the loop", []).append(run_async(_in_the_loop(pairs=pairs), "auto"))
    rows = {name: medians(of) for name, of in found.items()}
    targets = []
    for what in ("sums", "a series per stream"):
        served, before = rows[f"{what}, served"], rows[f"{what}, made in the loop"]
        served["in the loop / served"] = before["longest ms"] / served["longest ms"]
        before["in the loop / served"] = 1.0
        targets.append(
            Target(f"scrape, {what}: longest step of the feed's loop, CPU ms", served["step, CPU ms"], at_most=_LIMIT)
        )
    title = f"A scrape of {_STREAMS:,} streams (median of {runs} runs of {_SCRAPES} scrapes)"
    return table(title, rows), targets, rows


def _report() -> Report:
    """A connector of so many streams, as far as reports read it."""
    kind = exchange_type("coinbase")
    per_pair = len(kind.channels)
    pairs = tuple(f"P{number}-USD" for number in range(_STREAMS // per_pair))
    exchange = kind(Profile(pairs, frozenset(kind.channels)))
    log = structlog.get_logger()
    nothing = cast("Any", None)
    publisher = Publisher(OneServer(nothing), lambda: iter(()), nothing, budget=Budget(), standing_by=True, log=log)
    topics: Any = {}
    now = CLOCK.now()
    for subscription in exchange.subscriptions():
        key = Keys().stream("coinbase", subscription.subject, subscription.channel)
        stream = Stream(key, subscription.channel, subscription.subject, Retention(10, 10))
        publisher.add(stream)
        topic = topic_type(subscription.channel)(stream, publisher, nothing)
        topic.live, topic.received, topic.last, stream.published = True, 1_000, now, 1_000
        topics[subscription] = topic
    presence: Any = SimpleNamespace(
        memory=None,
        instance="x",
        interval=1.0,
        groups=SimpleNamespace(found={}),
        rejects=SimpleNamespace(count=0, omitted=0),
    )
    latency = FeedLatency(exchange.timed, log, limit=None, window=60.0)
    return Report(exchange, "bench", publisher, presence, topics, latency=latency, settings=load_settings(None, {}))


async def _no_status() -> Callable[[], object]:
    return dict


async def _served(*, pairs: bool) -> Run:
    report = _report()
    pulse = Pulse()
    sources: list[Source] = [BridgeMetrics(lambda: [report], pairs=pairs), ProcessMetrics("bench", pulse)]
    async with HttpServer(pulse, sources, missing=list, status=_no_status) as server:
        url = await server.start("127.0.0.1", 0)
        command = [sys.executable, "-c", _CLIENT, f"{url}/metrics", str(_SCRAPES)]
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert client.stdout is not None
        found = await _probed(client.stdout.readline)
    return {"step, CPU ms": min(map(_longest_step, [sources[0]] * _SCRAPES)), **found}


class _All(Collector):
    def __init__(self, made: list[Metric]) -> None:
        self._made = made

    def collect(self) -> list[Metric]:
        return self._made


async def _in_the_loop(*, pairs: bool) -> Run:
    report = _report()
    metrics = BridgeMetrics(lambda: [report], pairs=pairs)

    steps: list[float] = []

    async def scrape() -> bytes:
        begun = time.thread_time()
        make = await metrics.snapshot()
        size = len(generate_latest(_All(list(make()))))
        steps.append((time.thread_time() - begun) * 1e3)
        return str(size).encode()

    found = await _probed(scrape)
    return {"step, CPU ms": min(steps), **found}


def _longest_step(source: Source) -> float:
    """The longest of the steps in which the figures are copied: CPU time, so that it says the same on a busy machine."""
    copying, longest, done = source.snapshot(), 0.0, False
    while not done:
        begun = time.thread_time()
        try:
            cast("Any", copying).send(None)
        except StopIteration:
            done = True
        longest = max(longest, time.thread_time() - begun)
    return longest * 1e3


async def _probed(scrape: Callable[[], Awaitable[bytes]]) -> Run:
    """Scrape again and again beside a probe that wants its turn every millisecond."""
    worst = [0.0]

    async def probe() -> None:
        while True:
            due = time.perf_counter() + _TURN
            await asyncio.sleep(_TURN)
            worst[-1] = max(worst[-1], time.perf_counter() - due)

    task = asyncio.create_task(probe(), name="probe")
    await asyncio.sleep(0.5)
    idle = worst[-1]
    sizes, cpu = [], 0.0
    for _ in range(_SCRAPES):
        worst.append(0.0)
        begun = time.thread_time()
        sizes.append(int(await scrape()))
        await asyncio.sleep(10 * _TURN)
        cpu += time.thread_time() - begun
    task.cancel()
    seen = sorted(worst[1:])
    return {
        "longest ms": seen[len(seen) // 2] * 1e3,
        "without ms": idle * 1e3,
        "loop's CPU ms": cpu / _SCRAPES * 1e3,
        "kB": sizes[-1] / 1e3,
    }
