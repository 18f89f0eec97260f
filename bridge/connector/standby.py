"""A connector that stands by: it holds its events back until the process that writes its streams is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from msgspec import structs
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.config import Settings
from bridge.connector.books import Books
from bridge.connector.leaseholder import Leaseholder
from bridge.connector.store import Store
from bridge.connector.writer_beats import WriterBeats
from bridge.connector.writer_clock import WriterClock
from bridge.errors import RedisUnavailableError
from bridge.exchanges.api import Subscription
from bridge.model import PRIVATE_CHANNELS
from bridge.process.lifecycle import end_tasks
from bridge.publish.publisher import Publisher
from bridge.redis.errors import FAILURES
from bridge.sequencer import MARGIN, OVERLAP, IdTopic, Topic, Window, succeed

__all__ = ["Standby"]

T = TypeVar("T")
_AGAIN = 0.2
"""Seconds from one failed question to Redis to the next."""
_KEPT = 10_000_000_000
"""Nanoseconds before a sign of life of the writer for which events are held: what is older, it has written."""
_KEPT_INTERVALS = 4
"""The same in intervals of its heartbeat, if that is more."""
_EARLIER = 5_000_000_000
"""Nanoseconds by which the exchange's clock may be ahead of the writer's."""
_MOST_BEHIND, _MOST_BEHIND_OF_ACCOUNTS = 60_000_000_000, 600_000_000_000
"""Nanoseconds by which a connection that hangs may be behind the writer's: after ``dead_after`` it is given up. What an
account has missed is fetched afterwards."""
_AT_ONCE = 16
"""Streams that are read at the same time."""


class Standby:
    """Waits for a connector's lease, and then goes on with its streams.

    Args:
        store: what the connector has in Redis.
        publisher: takes what the streams lack.
        books: asks for books of which there is no whole copy.
        topics: of the connector's streams, those included that are opened later.
        deferred: streams that nobody but the writer can feed; they are opened by ``opening``, once the lease is taken.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        books: Books,
        topics: Mapping[Subscription, Topic],
        settings: Settings,
        *,
        deferred: Collection[Subscription],
        opening: Callable[[], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._books = books
        self._topics = topics
        self._deferred = deferred
        self._opening = opening
        self._patience = settings.redis.connect_timeout
        self._log = log
        self._kept = max(_KEPT, int(_KEPT_INTERVALS * store.presence.interval * 1e9))
        self.window = Window(settings.buffer.max_bytes)
        self.waits = True
        """Whether another process writes."""
        self.done = asyncio.Event()
        """The streams are this connector's, and it goes on with them."""
        self.looked = time.monotonic()
        """When the writer's heartbeat was last seen, or Redis found to be there without it."""
        self.writer = ""
        """What its last heartbeat says of the writer: its host and process."""
        self._alive = 0
        """Until when (ns, by the steady clock) it has certainly written."""
        self._beats = WriterBeats()
        self._newest = 0
        """When the newest written event of all streams was received (ns, by the steady clock)."""
        self._clock = WriterClock()

    async def run(self, heartbeat: Callable[[], Mapping[str, Any]], holder: Leaseholder) -> None:
        """Wait until nobody else has the lease, take it, and go on with the streams.

        Raises:
            AlreadyRunningError: another connector writes some of the streams.
            RedisUnavailableError: Redis is out of reach for too long, with the lease taken.
        """
        self._log.info("standing_by")
        fields: dict[str, Any] = {}

        def first() -> Mapping[str, Any]:
            fields.update(heartbeat(), state="starting")
            return fields

        showing = asyncio.create_task(self._show(heartbeat), name="standby-show")
        try:
            # A writer that was cut off keeps an account's only connection until its lease lapses: so long this one must wait.
            by_connections = not self._deferred
            succession = partial(self._store.succeed, self._streams, first, self._seen, by_connections=by_connections)
            names = await self._asked(succession, None)
        finally:
            await end_tasks([showing])
        begun = time.monotonic()
        self.waits = False
        async with holder.kept(fields):
            await self._asked(lambda: self._store.end_predecessors(names), self._patience)
            await self._succeed_all()
            pause = self._pause()
            await self._asked(self._opening, self._patience)
        await self._succeed_all()  # a pair may have come while the last renewal ended
        self.done.set()
        took = time.monotonic() - begun
        pause = took if pause is None else pause
        holder.took_over(pause)
        self._log.warning("took_over", seconds=round(took, 3), pause=round(pause, 3), writer=self.writer)

    @property
    def settled(self) -> bool:
        """Whether the writer has lived on since all streams were live: a takeover would find where they continue.

        Else a stream with few events may have none that both processes have received, and would need a `gap`.
        """
        return self.window.live_since <= self._alive - MARGIN

    def _pause(self) -> float | None:
        """For how many seconds nothing was written; ``None`` if there is no entry."""
        return (CLOCK.now() - self._newest) / 1e9 if self._newest else None

    async def _show(self, heartbeat: Callable[[], Mapping[str, Any]]) -> None:
        """Show what is held, and whether this connector could go on at once, as often as a writer its heartbeat."""
        presence = self._store.presence
        try:
            while True:
                held = {"state": heartbeat()["state"], "held_bytes": self.window.bytes, "writer": self.writer}
                with suppress(*FAILURES):
                    await presence.stand_by(held)
                await asyncio.sleep(presence.interval)
        finally:
            with suppress(*FAILURES):
                await presence.stand_by_no_more()

    def _streams(self) -> list[str]:
        deferred = [self._store.stream(one.channel, one.subject).key for one in self._deferred]
        return [*(topic.stream.key for topic in self._topics.values()), *deferred]

    def _seen(self, heartbeat: Mapping[str, str]) -> None:
        """The writer has shown a heartbeat; whether it lives, only a new one tells."""
        until = self._beats.until(heartbeat, CLOCK.now())
        if until is None:  # it is looked at from the beginning again, after Redis was away
            return
        self.looked = time.monotonic()
        self.writer = f"host {heartbeat.get('host', '')}, pid {heartbeat.get('pid', '')}"
        before, self._alive = self._alive, until
        if until < before:
            self._log.warning("redis_set_back", seconds=round((before - until) / 1e9, 1))
            return
        self._clock.seen(heartbeat, self._alive)
        self.window.forget(self._alive - self._kept)

    async def _succeed_all(self) -> None:
        while left := [topic for topic in self._topics.values() if self.window.holds(topic.stream)]:
            await asyncio.gather(*(self._succeed(topic) for topic in left[:_AT_ONCE]))

    async def _succeed(self, topic: Topic) -> None:
        stream = topic.stream
        # After a reconnect an exchange says again what happened before, and the writer may have written that long ago.
        earliest = self.window.told_again(stream) if isinstance(topic, IdTopic) else 0
        back = [earliest - _EARLIER] if earliest else []
        private = stream.channel in PRIVATE_CHANNELS
        # A connection may hang, and bring later what the writer has had: then the records meet further back.
        seen = self.window.seen(stream)
        if CLOCK.now() - seen < (_MOST_BEHIND_OF_ACCOUNTS if private else _MOST_BEHIND):
            back.append(seen - OVERLAP)
        since = self._clock.id_time(min(back)) if back else None
        tail = await self._asked(lambda: self._store.go_on(stream, OVERLAP, since), self._patience)
        # An account may have several connections, of which one has been down for long: its streams have data all the same.
        down = private and await self._asked(lambda: self._store.is_down(stream), self._patience)
        if not self.window.holds(stream):
            return  # its pair has left meanwhile
        held = self.window.release(stream)
        self._publisher.add(stream)
        now = CLOCK.now()
        written = [
            structs.replace(event, recv=self._clock.received(event.recv, ms, now))
            for event, ms in zip(tail.events, tail.times, strict=True)
        ]
        self._newest = max([self._newest, *(event.recv for event in written[-1:])])
        reread = bool(earliest)
        if not succeed(topic, self._publisher, held, written, alive=self._alive, now=now, reread=reread, down=down):
            self._books.dropped(topic)

    async def _asked(self, ask: Callable[[], Awaitable[T]], patience: float | None) -> T:
        """An answer of Redis, which is asked again for so many seconds; ``None``: for as long as it takes."""
        begun, said = time.monotonic(), ""
        while True:
            try:
                return await ask()
            except RedisUnavailableError as error:
                if patience is not None and time.monotonic() - begun > patience:
                    raise
                if str(error) != said:
                    said = str(error)
                    self._log.warning("standby_without_redis", error=said)
            await asyncio.sleep(_AGAIN)
