"""Between a connector's feed and its streams: hands every event to its topic, and keeps the books of the connector."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import structs
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.config import ConnectorSettings, Settings
from bridge.connector.books import Books
from bridge.connector.ending import write_the_rest
from bridge.connector.leaseholder import Leaseholder
from bridge.connector.opening import Tail
from bridge.connector.standby import Standby
from bridge.connector.store import Store
from bridge.connector.subaccounts import Subaccounts
from bridge.connector.topics import TopicTable
from bridge.errors import AlreadyRunningError, StreamConflictError
from bridge.exchange_errors import ErrorKind, ExchangeError, FrameError
from bridge.exchanges.api import Exchange, Restated, Subscription
from bridge.feed.exclusive import ExclusiveAccess
from bridge.feed.flow import FlowControl
from bridge.feed.latency import FeedLatency
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import PUBLIC_CHANNELS, Control, ControlEvent, Event
from bridge.observe.report import Report
from bridge.process.logs import FrequentWarning
from bridge.publish.publisher import Publisher
from bridge.publish.stream import Stream
from bridge.redis.errors import FAILURES
from bridge.sequencer import Topic, Window

__all__ = ["Router"]

_LOOK_EVERY = 0.05
"""Seconds between two looks at whether what waits has been acknowledged."""
_NOT_THE_WRITER = "the exchange allows the account one connection, and another process writes"


class Router:
    """The receiving end of a connector's feed, and the other end of its publisher."""

    def __init__(
        self,
        exchange: Exchange,
        connector: ConnectorSettings,
        store: Store,
        settings: Settings,
        log: FilteringBoundLogger,
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._settings = settings
        self.standby: Standby | None = None
        """Until the streams are taken over from another process."""
        self._log = log
        self._say_rejected = FrequentWarning(log, "frame_rejected")
        self._publisher = store.publisher(self)
        self._left: set[Subscription] = set()
        """Streams of pairs that are read no more; their connections may still bring something."""
        self.flow = FlowControl()
        self.access = ExclusiveAccess()
        self._books = Books(exchange, lambda: self.supervisors, self.event, log, self.flow)
        self.latency = FeedLatency(exchange.timed, log, limit=connector.latency_limit, window=connector.latency_window)
        self._table = TopicTable(store, self._books, self.latency)
        self._topics, self._fed, self._by_class = self._table.published, self._table.fed, self._table.by_class
        self._subaccounts = Subaccounts(self, self._topics, self._open, self._fail, log)
        shown = (exchange, connector.name, self._publisher, store.presence, self._topics)
        self.report = Report(*shown, latency=self.latency, settings=settings, flow=self.flow)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when the connector can't go on."""
        parts = (store.presence, self._publisher, self.report, settings.heartbeat, self._fail)
        self.holder = Leaseholder(*parts, access=self.access, log=log, has_standby=connector.standby)

    @property
    def supervisors(self) -> list[FeedSupervisor]:
        """The connector's connections."""
        return self.report.supervisors

    @supervisors.setter
    def supervisors(self, supervisors: list[FeedSupervisor]) -> None:
        """A stream that several of them feed is live when all of them are."""
        self.report.supervisors = supervisors
        self._subaccounts.attach(supervisors)
        for subscription, topic in self._fed.items():
            feeding = [supervisor for supervisor in supervisors if subscription in supervisor.plan.subscriptions]
            if len(feeding) > 1:
                topic.may_live = lambda feeding=feeding: all(one.serving for one in feeding)

    async def open(self) -> None:
        """Claim the name and open every stream that the profile asks for.

        Raises:
            AlreadyRunningError: somebody else has the name or a stream.
            RedisUnavailableError: Redis is out of reach.
        """
        wanted = self._exchange.published()
        streams = [self._store.stream(subscription.channel, subscription.subject).key for subscription in wanted]
        self.report.starting = True
        beginning = self.report.heartbeat()
        try:
            await self._claim(streams, beginning)
            async with self.holder.kept(beginning):
                self._table.keep_unpublished(set(self._exchange.subscriptions()).difference(wanted))
                await self._open_all([one for one in wanted if not (self.standby and self._exchange.exclusive([one]))])
            self.report.starting = False
            with self._store.explained():
                await self.holder.show()
        except BaseException:
            with suppress(*FAILURES, AlreadyRunningError):
                await self._store.presence.leave()  # for who tries next, this one itself maybe
            raise

    async def _claim(self, streams: Sequence[str], fields: Mapping[str, str | int | float]) -> None:
        """Take the name and these streams, or stand by for who has them."""
        try:
            await self._store.claim(streams, fields)
        except AlreadyRunningError as error:
            if not self.holder.has_standby or error.name != self.report.name:
                raise
            self.access.withhold(_NOT_THE_WRITER)
            deferred = [one for one in self._exchange.published() if self._exchange.exclusive([one])]
            opening = partial(self._open_all, deferred)
            parts = (self._store, self._publisher, self._books, self._topics, self._settings)
            self.standby = self.report.standby = Standby(*parts, deferred=deferred, opening=opening, log=self._log)

    async def _open_all(self, wanted: Iterable[Subscription]) -> None:
        """Open these streams and those of sub-accounts, but for those that are open."""
        for subscription in wanted:
            if subscription not in self._topics:
                await self._open(subscription)
        account = self._exchange.profile.account
        if account is not None and account.subaccounts:
            await self._subaccounts.reopen(await self._store.subaccounts())

    async def _hold(self) -> None:
        """Have the lease, as soon as it is free, and keep it."""
        if self.standby:
            await self.standby.run(self.report.heartbeat, self.holder)
            self.standby = self.report.standby = None
            self.access.allow(_NOT_THE_WRITER)
            self.report.beaten()
        await self.holder.run(self._restore_books)

    async def include(self, pair: str) -> None:
        """Open the streams of a further pair.

        Raises:
            AlreadyRunningError: another process writes one of them.
            RedisUnavailableError: Redis is out of reach.
        """
        exchange, standby = self._exchange.beside([pair]), self.standby
        wanted, fed = exchange.published(), set(exchange.subscriptions())
        streams = [self._store.stream(one.channel, one.subject) for one in wanted]
        if not (standby and standby.waits):
            await self._store.claim_more([stream.key for stream in streams])
        tails = [await self._store.open(stream) for stream in streams]  # all or none: the pair may be tried again
        if standby is not self.standby:  # the streams were another process's until now
            await self.include(pair)
            return
        self._left -= fed
        self._table.keep_unpublished(fed.difference(wanted))
        for subscription, stream, tail in zip(wanted, streams, tails, strict=True):
            self._add(subscription, stream, tail)
        self.report.poll(exchange)

    async def exclude(self, pairs: Collection[str], reason: str) -> None:
        """Write ``stop`` to the streams of these pairs, and give them up once Redis has acknowledged it."""
        leaving = [one for one in self._fed if one.channel in PUBLIC_CHANNELS and one.subject in pairs]
        self._left.update(leaving)
        topics = []
        for subscription in leaving:
            topic = self._fed[subscription]
            topic.stop(CLOCK.now(), reason)
            if self._table.remove(subscription):
                topics.append(topic)
                self.report.leaving(topic)
        waiting = [topic.stream for topic in topics]
        # The acknowledgements of one stream are no event to wait for.
        while waiting := [s for s in waiting if not self._outlet(s).give_up(s)]:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)
        for topic in topics:
            self.report.left(topic)
        with suppress(*FAILURES):  # the next heartbeat does it
            await self.holder.show()

    def background(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """The tasks that run beside the feed, with their names."""
        presence, topics = self._store.presence, self._topics
        return [
            ("publisher", self._publisher.run()),
            ("heartbeat", self._hold()),
            ("books", self._books.watch()),
            ("lease", self._store.lease.holding.watch()),
            ("memory", presence.watch_memory()),
            ("groups", presence.groups.watch(lambda: () if self.standby else [one.stream for one in topics.values()])),
            ("latency", self.latency.run()),
            ("rejects", presence.rejects.write(presence.interval)),
        ]

    async def finish(self, deadline: float) -> None:
        """Write ``stop`` to every stream, and wait until all is in Redis, for ``deadline`` seconds at most.

        Where another process has taken this one's place, nothing is written: the streams are no longer this one's.

        Raises:
            RedisUnavailableError: entries were left over.
        """
        self.report.ended = True
        await self._subaccounts.finish(min(1.0, deadline / 2))
        if self.holder.displaced.is_set() or (self.standby and self.standby.waits):
            return
        now = CLOCK.now()
        for topic in self._topics.values():
            topic.stop(now)
        parts = (self._publisher, self.holder.displaced, deadline)
        await write_the_rest(self._write_the_rest(), *parts, address=self._settings.redis.address, log=self._log)

    async def _write_the_rest(self) -> None:
        if self.standby:
            await self.standby.done.wait()
        await self._publisher.drained()
        await self._store.presence.rejects.drained()
        await self.holder.show()
        await self._store.presence.leave()

    # --- what the feed calls -------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """A data or control event, in the order of its connection."""
        try:
            topic = self._by_class[event.__class__][event.subject]
        except KeyError:
            self._control_or_early(event)
        else:
            topic.accept(event)

    def opened(self, streams: Sequence[Subscription], since: int) -> None:
        """A connection starts; what was received from ``since`` on may come again over it."""
        now = CLOCK.now()
        for subscription in streams:
            if subscription in self._fed:
                self._fed[subscription].reopened(since)
                self.latency.opened(subscription.channel, self._fed[subscription], now)

    def down(self, streams: Sequence[Subscription], reason: str) -> None:
        """A connection is lost, or can't be made."""
        now = CLOCK.now()
        for subscription in streams:
            if subscription in self._fed:
                self._fed[subscription].down(now, reason)

    def stale(self, stream: Subscription, reason: str) -> bool:
        """A subscription is silent; whether that is news."""
        topic = self._fed.get(stream)
        if topic is None or not topic.live:
            return False
        topic.stale(CLOCK.now(), reason)
        return True

    def last(self, stream: Subscription) -> int:
        """When the stream's last event came (ns), 0 if none has."""
        topic = self._fed.get(stream)
        return topic.last if topic else 0

    def restated(self, state: Restated) -> None:
        """The whole present state of a private channel."""
        topic = self._topics.get(Subscription(state.channel, state.subject))
        if topic is not None:
            topic.restate(state.events, state.asked, CLOCK.now(), state.covers)

    def rejected(self, connection: str, error: FrameError, recv: int) -> None:
        """A frame could not be understood; who writes the streams keeps it."""
        if self.standby:
            self._store.presence.rejects.count += 1
            return
        self._store.presence.rejects.add(connection, error, recv + CLOCK.shift)
        self._say_rejected(connection=connection, error=error.words)

    def unknown(self, kind: str) -> None:
        """A message of an unknown type came: counted, and logged once."""
        news = self.report.count_unknown(kind)
        if news:
            self._log.warning("unknown_message", type=news)

    def fault(self, error: ExchangeError) -> None:
        """The exchange refused something, or said that something is wrong."""
        self.report.errors[error.kind] += 1
        if error.kind is ErrorKind.BLOCKED:
            # Those connections wait, which haven't been tried yet: nobody else would tell what that means for them.
            waiting = (supervisor for supervisor in self.supervisors if not supervisor.up)
            self.down([stream for supervisor in waiting for stream in supervisor.plan.subscriptions], str(error))

    # --- what the publisher calls --------------------------------------------------------------------------------

    def dropped(self, stream: Stream) -> None:
        """Events of this stream were dropped: a book needs a fresh snapshot, once Redis takes entries."""
        if topic := self._table.by_stream.get(stream):
            self._books.dropped(topic)

    def recovered(self) -> None:
        """Redis takes entries again."""
        self._restore_books()

    def hold(self, publisher: object) -> None:
        """Redis takes less than comes: pause the feed's sockets."""
        self.flow.hold(publisher)

    def release(self, publisher: object) -> None:
        """The feed's sockets may be read again."""
        self.flow.release(publisher)

    def conflict(self, stream: Stream) -> None:
        """Somebody else keeps writing to this stream."""
        self._fail(StreamConflictError(stream.key))

    def displaced(self, reason: str) -> None:
        """Another process writes these streams now."""
        self.holder.suspect(reason)

    def disturbed(self, stream: Stream, reason: str, count: int | None) -> None:
        """Somebody else has changed this stream: it says so, and a book starts again."""
        topic = self._table.by_stream.get(stream)
        if topic is None:
            return  # it is being given up
        topic.disturbed(CLOCK.now(), reason, count)
        self._books.disturbed(topic)
        self._restore_books()

    # --- what the sub-accounts' streams call ---------------------------------------------------------------------

    def not_taken(self, topic: Topic, count: int) -> None:
        """Declare events lost that came before their stream was open."""
        topic.received += count
        topic.sink.declare_lost(topic.stream, CLOCK.now(), count, "too many events before the stream was open")

    # -------------------------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _control_or_early(self, event: Event) -> None:
        """A control event, or one of a stream that is not open: not yet, or not any more."""
        if self._left and Subscription(event.channel, event.subject) in self._left:  # type: ignore[attr-defined]
            return
        if not isinstance(event, Control):
            if event.__class__ in self._by_class:
                self._subaccounts.early(Subscription(event.channel, event.subject), event)  # type: ignore[attr-defined]
            return
        subscription = Subscription(event.channel, event.subject)
        known = self._fed.get(subscription)
        if known is None:
            self._subaccounts.early(subscription, event)
            return
        known.control(event)
        if event.event is ControlEvent.LIVE:
            for topic in self._subaccounts.of(subscription):  # subscribed with their account, and silent maybe
                topic.control(event)

    async def _open(self, subscription: Subscription) -> Topic:
        while True:
            stream, standby = self._store.stream(subscription.channel, subscription.subject), self.standby
            tail = await self._store.open(stream)
            if standby is self.standby:  # else the stream was another process's until now
                return self._add(subscription, stream, tail)

    def _add(self, subscription: Subscription, stream: Stream, tail: Tail) -> Topic:
        # What only the writer can feed is opened when this process is the writer.
        window = None if self._exchange.exclusive([subscription]) or not self.standby else self.standby.window
        outlet = window or self._publisher
        topic = self._table.add(subscription, stream, outlet)
        now = CLOCK.now()
        if window:
            window.add(stream, now)
        else:
            self._publisher.add(stream)
        # Another host's clock may have been ahead: nothing that stands there was received later than now.
        events = [event if event.recv <= now else structs.replace(event, recv=now) for event in tail.events]
        topic.seed(events, now)
        self._exchange.recall(subscription, events, min(tail.since, now))
        self.latency.opened(subscription.channel, topic, now)
        return topic

    def _outlet(self, stream: Stream) -> Publisher | Window:
        """What a stream's entries go to."""
        standby = self.standby
        return standby.window if standby and standby.window.holds(stream) else self._publisher

    def _restore_books(self) -> None:
        self._books.restore(self._publisher.takes)
