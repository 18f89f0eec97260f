"""A pipeline that nobody runs, for what each event does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import structlog
from structlog.testing import LogCapture

from bridge.model import Channel
from bridge.publish.connection import RedisConnection
from bridge.publish.events import Totals
from bridge.publish.fence import Fence
from bridge.publish.pending import Pending
from bridge.publish.pipeline import RedisPipeline
from bridge.publish.pressure import Pressure
from bridge.publish.transfer import Mode
from tests.unit.core import stream
from tests.unit.publishing import Events

FENCE = Fence("fence", "3-aaaa", "test")


class Piped:
    """A pipeline that nobody runs, with a stream; what it would send is noted."""

    def __init__(
        self,
        backoff: Callable[[], Iterator[float]] = lambda: repeat(0.0),
        *,
        fence: Fence | None = FENCE,
        standing_by: bool = False,
    ) -> None:
        self.events = Events()
        self.captured = LogCapture()
        self.pipeline = RedisPipeline(
            backoff,
            self.events,
            Totals(),
            Pressure(8000, lambda: None, lambda: None),
            mode=Mode.ATOMIC,
            fence=fence,
            standing_by=standing_by,
            log=structlog.wrap_logger(None, processors=[self.captured]),
        )
        self.sent: list[tuple[Any, ...]] = []
        self.pipeline.sender.send = lambda *what: self.sent.append(what)
        self.stream = stream(Channel.TRADES)
        self.pipeline.queue.add(self.stream)

    def put(self, *entries: Pending) -> None:
        self.stream.waiting.extend(entries)
        self.pipeline.queue.wake(self.stream)

    def said(self, event: str) -> list[Any]:
        return [line for line in self.captured.entries if line["event"] == event]

    @property
    def states(self) -> list[str]:
        return [line["now"] for line in self.said("pipeline_state")]


def end_of(line: RedisConnection) -> str:
    """Why a connection was given up; empty if it wasn't."""
    return line.lost.result() if line.lost.done() else ""


async def soon() -> None:
    """Let whatever can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)
