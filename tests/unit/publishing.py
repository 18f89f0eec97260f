"""A publisher on a real server, and what its streams hold."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from itertools import repeat
from typing import Any

import redis
import structlog
from redis.asyncio import Redis
from structlog.testing import LogCapture

from bridge.keys import Keys
from bridge.model import PUBLIC_CHANNELS, Channel, Event, Trade
from bridge.opening import open_stream
from bridge.publish import publisher as module
from bridge.publish.buffer import Budget
from bridge.publish.line import Line, open_line
from bridge.publish.publisher import Publisher
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


class Desk:
    """A publisher with its streams."""

    def __init__(self, server: RedisServer, url: str, budget: Budget) -> None:
        self.server = server
        self.events = Events()
        self.count = 0
        self.publisher = Publisher(
            self._connect,
            lambda: repeat(0.01),
            self.events,
            budget=budget,
            reply_timeout=PATIENCE,
            log=structlog.wrap_logger(None, processors=[LogCapture()]),
        )
        self._url = url
        self._patience = PATIENCE
        self._lines: list[Line] = []

    def wait_for_answers(self, seconds: float = PATIENCE) -> None:
        """How long the server may be silent from here on: a short time only where it is to be found silent."""
        self._patience = self.publisher._reply_timeout = seconds
        for line in self._lines:
            line._patience = seconds

    async def _connect(self) -> Line:
        line = await open_line(self._url, "test", self._patience, "server", reply_timeout=self._patience)
        line._patience = self._patience
        self._lines = [line]
        return line

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
async def desk(server: RedisServer, url: str = "", budget: Budget | None = None) -> AsyncIterator[Desk]:
    """A running publisher; ``url`` is where it finds the server (a proxy's)."""
    made = Desk(server, url or server.url, budget or Budget())
    publisher = made.publisher
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield made
        assert not task.done(), task.exception()
        waiting = [*publisher._pending, *(publisher._in_flight.entries if publisher._in_flight else ())]
        assert publisher.waiting_bytes == sum(entry.weight for entry in waiting), "the budget's books"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for repair in publisher._repairs:
            repair.cancel()


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
