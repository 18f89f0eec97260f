"""A publisher on a real server, and what its streams hold."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from itertools import repeat
from typing import Any

import redis
import structlog
from redis.asyncio import Redis
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from bridge.connector.opening import open_stream
from bridge.keys import Keys
from bridge.model import PUBLIC_CHANNELS, Channel, Event, Trade
from bridge.publish import publisher as module
from bridge.publish.connection import RedisConnection, open_connection
from bridge.publish.fence import Fence
from bridge.publish.pending import CONTROL, LOST, Budget
from bridge.publish.pipeline import RedisPipeline
from bridge.publish.publisher import Nodes, OneServer, Publisher
from bridge.publish.stream import Retention, Stream, StreamId
from tests.patience import PATIENCE
from tests.servers import RedisServer

KEYS = Keys()


class Events:
    """What the publisher says, kept."""

    def __init__(self) -> None:
        self.drops: list[Stream] = []
        self.recoveries = 0
        self.conflicts: list[Stream] = []
        self.displacements: list[str] = []
        self.disturbances: list[tuple[Stream, str, int | None]] = []
        self.held: list[bool] = []
        """Each time that the feed was held or released, in order."""

    def disturbed(self, stream: Stream, reason: str, count: int | None) -> None:
        self.disturbances.append((stream, reason, count))

    def dropped(self, stream: Stream) -> None:
        self.drops.append(stream)

    def recovered(self) -> None:
        self.recoveries += 1

    def hold(self, publisher: object) -> None:
        self.held.append(True)

    def release(self, publisher: object) -> None:
        self.held.append(False)

    def conflict(self, stream: Stream) -> None:
        self.conflicts.append(stream)

    def displaced(self, reason: str) -> None:
        self.displacements.append(reason)


class Connections:
    """Makes the publisher's connections, with a patience that can be changed."""

    def __init__(self, url: str, patience: float) -> None:
        self._url = url
        self._patience = patience
        self._newest: RedisConnection | None = None

    async def connect(self) -> RedisConnection:
        self._newest = await open_connection(self._url, "test", self._patience, "server", reply_timeout=self._patience)
        self.wait(self._patience)  # which may have been changed meanwhile
        return self._newest

    def wait(self, seconds: float) -> None:
        self._patience = seconds
        if self._newest:
            self._newest._patience = seconds
            self._newest._timer.cancel()
            self._newest._watch()


class Desk:
    """A publisher with its streams."""

    @property
    def pipeline(self) -> RedisPipeline:
        """The one to the server."""
        [pipeline] = self.publisher._nodes.pipelines
        return pipeline

    def __init__(
        self,
        server: RedisServer,
        publisher: Publisher,
        events: Events,
        log: Sequence[MutableMapping[str, Any]],
        *,
        task: asyncio.Task[None],
        connections: Connections,
    ) -> None:
        self.server = server
        self.publisher = publisher
        self.events = events
        self.log = log
        self._task = task
        self.count = 0
        self._connections = connections

    def wait_for_answers(self, seconds: float = PATIENCE) -> None:
        """How long the server may be silent from here on: a short time only where it is to be found silent."""
        self._connections.wait(seconds)

    @property
    def states(self) -> list[str]:
        """The states that the pipeline has gone through."""
        return [str(line["now"]) for line in self.log if line["event"] == "pipeline_state"]

    def said(self, event: str) -> list[MutableMapping[str, Any]]:
        """The lines of the log about this event."""
        return [line for line in self.log if line["event"] == event]

    async def stream(self, channel: Channel = Channel.TRADES, subject: str = "", **limits: Any) -> Stream:
        """A stream that stands where the server has it."""
        subject = subject or ("BTC-EUR" if channel in PUBLIC_CHANNELS else "main")
        retention = Retention(limits.get("entries", 1_000_000), limits.get("age", 1e6))
        made = Stream(KEYS.stream("limitlex", subject, channel), channel, subject, retention)
        async with Redis.from_url(self.server.url, decode_responses=True) as client:
            await open_stream(client, KEYS, made, self.server.url)
        self.publisher.add(made)
        return made

    def put(self, stream: Stream, count: int = 1) -> None:
        """Trades with rising ids."""
        for _ in range(count):
            self.count += 1
            now = time.time_ns()
            self.publisher.put(stream, Trade(stream.subject, None, now, str(self.count), "buy", "1", "2"))

    def put_event(self, stream: Stream, event: Event) -> None:
        self.publisher.put(stream, event)

    async def drained(self, seconds: float = PATIENCE) -> None:
        async with asyncio.timeout(seconds):
            await self.publisher.drained()

    async def ended(self, seconds: float = 10.0) -> None:
        """Wait until the publisher ends, and raise what it raised."""
        async with asyncio.timeout(seconds):
            await self._task

    async def nothing_under_way(self) -> None:
        """Look at quiet streams no more, and wait for what is on its way: what is put next travels next, and alone.

        A look whose reply is held back would otherwise hold the batch back, too.
        """
        self.pipeline.look_around = lambda *_, **__: None
        await until(lambda: self.pipeline.sender.transfer is None)

    def entries(self, stream: Stream) -> list[tuple[str, dict[str, str]]]:
        with self.server.client() as client:
            return client.xrange(stream.key)

    def ids(self, stream: Stream) -> list[str]:
        """The trades' ids, and ``lost N`` and the like for control entries."""
        return [
            fields["id"] if "id" in fields else f"{fields['event']} {fields['count']}".strip()
            for _, fields in self.entries(stream)
            if "type" in fields
        ]

    def seqs(self, stream: Stream) -> list[int]:
        return [StreamId.parse(ident).seq for ident, fields in self.entries(stream) if "type" in fields]


@contextlib.asynccontextmanager
async def desk(
    server: RedisServer,
    url: str = "",
    budget: Budget | None = None,
    patience: float = PATIENCE,
    *,
    fence: Fence | None = None,
    standing_by: bool = False,
    nodes: Callable[[FilteringBoundLogger], Nodes] | None = None,
) -> AsyncIterator[Desk]:
    """A running publisher; ``url`` is where it finds the server (a proxy's), ``nodes`` makes others out of the log."""
    events = Events()
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[capture])
    connections = Connections(url or server.url, patience)
    publisher = Publisher(
        nodes(log) if nodes else OneServer(connections.connect),
        lambda: repeat(0.01),
        events,
        budget=budget or Budget(),
        fence=fence,
        standing_by=standing_by,
        log=log,
    )
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield Desk(server, publisher, events, capture.entries, task=task, connections=connections)
        assert not task.done(), task.exception()
        check_sums(publisher)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def check_sums(publisher: Publisher) -> None:
    """What is counted as it goes is what is there."""
    flying: Counter[Stream] = Counter()
    total = 0
    for pipeline in publisher._nodes.pipelines:
        runs = pipeline.sender.transfer.batch.runs if pipeline.sender.transfer else pipeline.sender.in_doubt
        for stream, entries, size in runs:
            assert size == sum(entry.weight for entry in entries)
            flying[stream] += len(entries)
            total += size
        for stream in pipeline.queue.streams:
            assert stream.bytes == sum(entry.weight for entry in stream.waiting), stream
            assert stream.flying == flying[stream], stream
            total += stream.bytes
            if not flying[stream]:
                assert stream.controls == sum(entry.kind >= CONTROL for entry in stream.waiting), stream
                assert stream.declared == sum(entry.count for entry in stream.waiting if entry.kind == LOST), stream
    assert publisher.waiting_bytes == total, "the budget's books"


def numbers(first: int, last: int) -> list[str]:
    """Ids of the trades that ``Desk.put`` makes."""
    return [str(n) for n in range(first, last + 1)]


async def until(true: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


def hurry(monkeypatch: Any) -> None:
    """Housekeeping many times a second."""
    monkeypatch.setattr(module, "_HOUSEKEEPING", 0.02)
    monkeypatch.setattr(module, "_UNBLOCK_AFTER", 0.1)


@contextlib.contextmanager
def raw(server: RedisServer) -> Any:
    with server.client() as client:
        assert isinstance(client, redis.Redis)
        yield client
