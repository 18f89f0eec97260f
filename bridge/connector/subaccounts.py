"""The streams of sub-accounts: nobody lists them, so the first event of one opens its stream.

After a restart those that the catalog has are opened at once: their streams then say that the connector was away, and
are live again with their account, however quiet they are.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.errors import RedisUnavailableError
from bridge.exchanges.api import Subscription
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import PUBLIC_CHANNELS, Control, ControlEvent, Event
from bridge.sequencer import Topic

__all__ = ["Receiver", "Subaccounts", "account_of"]

_MOST_STREAMS = 4_000
"""Of one connector: an exchange can make up sub-accounts, and each is streams in Redis."""
_MOST_EARLY = 10_000
"""Events that wait for a stream which is being opened."""
_RETRY = 1.0
"""Seconds from one try to open a stream to the next."""


class Receiver(Protocol):
    """What takes the events: the router."""

    def event(self, event: Event) -> None:
        """Take an event, of a stream that is open."""

    def unknown(self, kind: str) -> None:
        """Take note of what nobody asked for."""

    def not_taken(self, topic: Topic, count: int) -> None:
        """Declare events lost that came before the stream was open."""


def account_of(stream: Subscription) -> Subscription | None:
    """The account's stream of which this is a sub-account's; ``None`` if it is none."""
    account, _, sub = stream.subject.partition("/")
    return Subscription(stream.channel, account) if sub and stream.channel not in PUBLIC_CHANNELS else None


class Subaccounts:
    """Opens their streams, and holds the events that come meanwhile.

    Args:
        receiver: of the events.
        topics: all that are open, by their subscriptions.
        opening: opens the stream of a subscription.
        fail: is told why an opening failed for good.
    """

    def __init__(
        self,
        receiver: Receiver,
        topics: Mapping[Subscription, Topic],
        opening: Callable[[Subscription], Awaitable[Topic]],
        fail: Callable[[BaseException], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._receiver = receiver
        self._topics = topics
        self._opening = opening
        self._fail = fail
        self._log = log
        self._open: defaultdict[Subscription, list[Subscription]] = defaultdict(list)
        """An account's subscription → those of its sub-accounts."""
        self._early: dict[Subscription, list[Event]] = {}
        self._too_many: Counter[Subscription] = Counter()
        """Events beyond those that wait for a stream which is being opened."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.supervisors: list[FeedSupervisor] = []
        """The connector's connections."""

    async def reopen(self, known: Iterable[Subscription]) -> None:
        """Open the streams of sub-accounts that an earlier process has had.

        Their account may be connected already, at a takeover: then they are live with it, and what comes meanwhile waits.

        Raises:
            RedisUnavailableError: Redis is out of reach.
        """
        for stream in known:
            account = account_of(stream)
            if account is None or account not in self._topics or stream in self._topics or stream in self._early:
                continue
            if len(self._topics) + len(self._early) >= _MOST_STREAMS:
                return
            self._early[stream] = []
            try:
                topic = await self._opening(stream)
            except BaseException:
                del self._early[stream]
                raise
            if self._topics[account].live:
                topic.control(Control(stream.subject, None, CLOCK.now(), stream.channel, ControlEvent.LIVE))
            self._complete(stream, account, topic)

    def attach(self, supervisors: list[FeedSupervisor]) -> None:
        """The connector's connections have changed: each feeds the sub-accounts of its accounts."""
        self.supervisors = supervisors
        for account, streams in self._open.items():
            self._adopt(account, streams)

    def of(self, account: Subscription) -> list[Topic]:
        """The open streams of this account's sub-accounts."""
        return [self._topics[stream] for stream in self._open.get(account, ())]

    def early(self, stream: Subscription, event: Event) -> None:
        """An event for a stream that isn't open: a sub-account's is opened, anything else wasn't asked for."""
        account = account_of(stream)
        if account is None or account not in self._topics:
            self._receiver.unknown(f"{stream.channel} of {stream.subject}")
            return
        waiting = self._early.get(stream)
        if waiting is not None:
            if len(waiting) < _MOST_EARLY:
                waiting.append(event)
            else:
                self._too_many[stream] += not isinstance(event, Control)
            return
        if len(self._topics) + len(self._early) >= _MOST_STREAMS:
            self._receiver.unknown("a sub-account beyond the limit of streams")
            return
        self._early[stream] = [event]
        task = asyncio.create_task(self._open_late(stream, account), name=f"open-{stream.subject}-{stream.channel}")
        self._tasks.add(task)
        task.add_done_callback(self._opened)

    async def finish(self, patience: float) -> None:
        """Wait for the streams that are being opened, for ``patience`` seconds at most."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()

    async def _open_late(self, stream: Subscription, account: Subscription) -> None:
        while True:
            try:
                topic = await self._opening(stream)
                break
            except RedisUnavailableError as error:
                self._log.warning("stream_not_opened", stream=f"{stream.channel}:{stream.subject}", error=str(error))
                await asyncio.sleep(_RETRY)
        topic.reopened(0)
        self._complete(stream, account, topic)

    def _complete(self, stream: Subscription, account: Subscription, topic: Topic) -> None:
        """A stream is open: the account's connections feed it, and what has come meanwhile is for it."""
        self._open[account].append(stream)
        self._adopt(account, [stream])
        for event in self._early.pop(stream):
            self._receiver.event(event)
        if lost := self._too_many.pop(stream, 0):
            self._receiver.not_taken(topic, lost)

    def _opened(self, task: asyncio.Task[None]) -> None:
        """Without its stream, a sub-account's events would wait for ever."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _adopt(self, account: Subscription, streams: Iterable[Subscription]) -> None:
        for supervisor in self.supervisors:
            if account in supervisor.plan.subscriptions:
                for stream in streams:
                    supervisor.adopt(stream)
