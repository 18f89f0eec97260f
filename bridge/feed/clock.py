"""The exchange's clock, as seen from here: how far it is ahead of ours, and how well that is known.

A reading (`ClockReading`) that was asked for at ``before`` and answered at ``after``, both by our clock (`bridge.clock`,
which is never set), bounds the
offset: the exchange's clock showed ``at`` to ``at + resolution`` at some moment between. The intervals of several
readings are intersected, so that a clock of whole seconds becomes sharp, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from bridge.clock import CLOCK
from bridge.exchange_errors import RestError
from bridge.exchanges.api import ClockReading
from bridge.feed.context import FeedContext
from bridge.feed.policies import backoff

__all__ = ["Clock", "ClockKeeper", "Offset", "watch_host_clock"]

_KEPT = 16
_DRIFT = 0.0001
"""How fast two clocks may part: crystals stay within half of it."""
_SOON = 8
"""Readings soon after the start."""
_FIRST_WAITS = (0.7, 1.7)
"""Seconds between them: not a whole number, or a clock of whole seconds would show the same each time."""
_INTERVAL = 60.0
_LONGEST_WAIT = 900.0
_LOOK = 0.25
"""Seconds between two looks at the host's clock."""


class Offset(Struct, frozen=True):
    """The exchange's clock is ahead of ours by ``ns``, give or take ``error`` (ns)."""

    ns: int
    error: int


class _Bound(Struct, frozen=True):
    low: int
    high: int
    at: int


class Clock:
    """An exchange's clock. All times are nanoseconds since the epoch, by our clock, which is never set."""

    def __init__(self) -> None:
        self._bounds: deque[_Bound] = deque(maxlen=_KEPT)
        self.settled = False
        """Whether the first attempt to read it is over, well or not."""

    def add(self, before: int, after: int, reading: ClockReading) -> None:
        """Take a reading in; where it contradicts older ones, because the exchange's clock was set, those are forgotten."""
        self.settled = True
        self._bounds.append(_Bound(reading.at - after, reading.at + reading.resolution - before, before))
        self._intersect(after)

    def offset(self, now: int) -> Offset | None:
        """How far it is ahead of ours; ``None`` while it is unknown."""
        if not self._bounds:
            return None
        low, high = self._intersect(now)
        return Offset((low + high) // 2, (high - low + 1) // 2)

    def _intersect(self, now: int) -> tuple[int, int]:
        """What all agree on, the newest first; each is the wider the older it is, because clocks drift."""
        low, high, agreeing = -(1 << 63), 1 << 63, 0
        for bound in reversed(self._bounds):
            slack = int(max(now - bound.at, 0) * _DRIFT)
            closer = max(low, bound.low - slack), min(high, bound.high + slack)
            if closer[0] > closer[1]:
                break
            low, high = closer
            agreeing += 1
        while len(self._bounds) > agreeing:
            self._bounds.popleft()
        return low, high


class ClockKeeper:
    """Reads an exchange's clock for as long as the connector lives: often at first, then about once a minute."""

    def __init__(
        self, clock: Clock, context: FeedContext, sleep: Callable[[float], asyncio.Future[None]] | None = None
    ) -> None:
        self._clock = clock
        self._context = context
        self._sleep = sleep or asyncio.sleep

    async def run(self) -> None:
        """Read, wait, read again; failures are said once, then it tries ever more seldom, in silence."""
        context = self._context
        failures = 0
        count = 0
        waits = backoff(context.random, _INTERVAL / 2, _LONGEST_WAIT)
        while True:
            try:
                if not await self._read():
                    self._clock.settled = True
                    return
            except RestError as error:
                self._clock.settled = True
                failures += 1
                context.receiver.fault(error)
                if failures == 1:
                    context.log.info("clock_unknown", kind=error.kind, error=str(error))
                wait = max(next(waits), error.retry_after or 0.0, _FIRST_WAITS[1])
            else:
                if failures:
                    waits = backoff(context.random, _INTERVAL / 2, _LONGEST_WAIT)
                    failures = 0
                count += 1
                wait = context.random.uniform(*_FIRST_WAITS)
                if count > _SOON and count % 2:  # then in pairs: the second finds the connection open, and is sharper
                    wait = _INTERVAL * context.random.uniform(0.8, 1.0)
            await self._sleep(wait)

    async def _read(self) -> bool:
        """Whether there is a clock to be read."""
        context = self._context
        flow = context.exchange.clock()
        if flow is None:
            return False
        before = context.now()
        reading = await context.rest.drive(flow)
        after = context.now()
        self._clock.add(before, after, reading)
        offset = self._clock.offset(after)
        if offset is not None:
            context.exchange.clock_known(offset.ns if abs(offset.ns) > offset.error else 0)
        return True


async def watch_host_clock(context: FeedContext, exchange_clock: Clock) -> None:
    """Notice when the host's clock is set, and say so; for as long as the connector lives.

    What is signed goes by the exchange's clock. Where that is unknown, the host's is the best guess there is.
    """
    known = CLOCK.shift
    while True:
        shift = CLOCK.look()
        if shift != known:
            context.log.warning("clock_set", seconds=round((shift - known) / 1e9, 3))
            known = shift
            if exchange_clock.offset(context.now()) is None:
                context.exchange.clock_known(shift)
        await asyncio.sleep(_LOOK)
