"""Polls what an exchange has no topic for, at a polite rate."""

from __future__ import annotations

import asyncio

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Poll
from bridge.feed.context import FeedContext
from bridge.feed.policies import backoff

__all__ = ["Poller"]

_LOOK = 0.25
"""Seconds between two looks at whether the poll is wanted ahead of its time."""


class Poller:
    """One poll, for as long as the connector lives."""

    def __init__(self, poll: Poll, context: FeedContext) -> None:
        self._poll = poll
        self._context = context
        self._log = context.log.bind(connection=poll.name)

    async def run(self) -> None:
        """Ask, publish, wait; while REST is away, back off and say so."""
        waits = backoff(self._context.random)
        exclusive = self._context.exchange.exclusive(self._poll.streams)
        while True:
            if exclusive:
                await self._context.access.allowed()
            self._poll.wanted = False
            self._context.receiver.opened(self._poll.streams, 0)
            try:
                events = await self._context.rest.drive(self._poll.flow(self._context.now()))
            except RestError as error:
                delay = max(next(waits), error.retry_after or 0.0)
                self._context.receiver.fault(error)
                self._context.receiver.down(self._poll.streams, str(error))
                self._log.warning("poll_failed", error=str(error), retry_in=round(delay, 2))
                await asyncio.sleep(delay)
                continue
            waits = backoff(self._context.random)
            rejects, self._poll.rejects = self._poll.rejects, []
            for reject in rejects:
                self._context.receiver.rejected(self._poll.name, reject, self._context.now())
            for event in events:
                self._context.receiver.event(event)
            await self._rest()

    async def _rest(self) -> None:
        """Until the interval is over, or a session wants the poll."""
        until = self._context.monotonic() + self._poll.interval
        while not self._poll.wanted and (left := until - self._context.monotonic()) > 0:  # noqa: ASYNC110 - sessions know no events
            await asyncio.sleep(min(_LOOK, left))
