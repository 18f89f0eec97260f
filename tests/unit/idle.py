"""A publisher that isn't run, for tests of what it does by itself."""

from __future__ import annotations

import itertools

import structlog
from structlog.testing import LogCapture

from bridge.model import Channel
from bridge.publish.pending import Budget
from bridge.publish.publisher import OneServer, Publisher
from tests.unit.core import T0, stream, trade
from tests.unit.publishing import Events

STEP = 1000
BUDGET = Budget(64 * STEP, 300.0)


async def nowhere():
    raise AssertionError("what isn't run connects to nothing")


class Idle:
    """A publisher that isn't run: what is put waits."""

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.events = Events()
        self.capture = LogCapture()
        self.publisher = Publisher(
            OneServer(nowhere),
            lambda: itertools.repeat(0.01),
            self.events,
            budget=budget,
            standing_by=False,
            log=structlog.wrap_logger(None, processors=[self.capture]),
        )
        [self.pipeline] = self.publisher._nodes.pipelines

    def add(self, channel: Channel, subject: str = ""):
        made = stream(channel, subject)
        self.publisher.add(made)
        return made

    def put(self, where, count: int, at: int = T0) -> None:
        """Trades of one weight, about half a step."""
        for number in range(count):
            self.publisher.put(where, trade(0, "x" * 40, recv=at + number))

    @property
    def dropped(self):
        return [line for line in self.capture.entries if line["event"] == "events_dropped"]
