"""Group commit: events in, acknowledged stream entries out, each exactly once.

One pipeline is in flight at a time, and all that arrives meanwhile goes out in the next one. There is no timer: an idle
publisher adds one round trip, a busy one makes large batches. An entry gets its ID when its batch is packed; until its
reply has come it is sent again under that ID, so Redis itself refuses what it already has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import hiredis
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.errors import RedisUnavailableError
from bridge.latency import Latency
from bridge.publish.buffer import OVERHEAD, Budget, Pending, batch_length, lost_marker
from bridge.publish.clock import RedisClock
from bridge.publish.counts import settle
from bridge.publish.events import PublisherEvents
from bridge.publish.line import Line, Reply
from bridge.publish.packing import pack
from bridge.publish.queue import Queue
from bridge.publish.recovery import Batch, History, Refusal, recover, sort_out
from bridge.publish.stream import Stream
from bridge.publish.watch import Disturbance, Watch, account, examine
from bridge.publish.wire import command

__all__ = ["Publisher", "PublisherEvents"]

_MOST_IN_BATCH = 4096
_MOST_BYTES_IN_BATCH = 1024 * 1024
_HOUSEKEEPING = 1.0
_UNBLOCK_AFTER = 5.0
_MOST_CONFLICTS = 10
_FORGIVE_AFTER = 60.0
"""Seconds after which one conflict of a stream is forgotten: one now and then is no second connector."""


class Publisher(Queue):
    """Publishes the entries of a connector's streams over one connection."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Line]],
        backoff: Callable[[], Iterator[float]],
        events: PublisherEvents,
        *,
        budget: Budget,
        reply_timeout: float,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(events, budget, log)
        self._connect = connect
        self._backoff = backoff
        self._reply_timeout = reply_timeout
        self._line: Line | None = None
        self._history = History()
        self._cautious = False
        """After a refusal, one entry goes alone: what is accepted behind a refused one closes the door to it."""
        self._held = False
        self._emptied = False
        self._retry: Iterator[float] = backoff()
        self._chores: list[tuple[Stream, str]] = []
        """Trimming of streams that are quiet."""
        self._watch = Watch()
        self._looks: list[Stream] = []
        """Streams to look at with the next batch."""
        self._clock = RedisClock()
        self._ask_time = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._repairs: set[asyncio.Task[None]] = set()
        self.latency = Latency()
        self.published = 0
        """Data entries that Redis has acknowledged."""
        self.lost = 0
        """Dropped events that a `lost` entry in Redis declares."""
        self.confirmed = 0
        """Entries that Redis refused because it had them already."""

    def renew(self, reason: str) -> None:
        """Connect anew: the server seems to have been emptied, and is brought up to date then."""
        self._emptied = True
        if self._line:
            self._line.abort(reason)

    def takes(self, stream: Stream) -> bool:
        """Whether entries of this stream go out at the moment."""
        return self.connected and not stream.blocked

    async def drained(self) -> None:
        """Wait until all that was put is acknowledged."""
        await self._idle.wait()
        while self._pending or self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Keep a connection, for as long as the task lives."""
        keeper = asyncio.create_task(self._keep_house(), name="publisher-housekeeping")
        waits = self._backoff()
        try:
            while True:
                try:
                    await self._open()
                except (RedisUnavailableError, ConnectionError) as error:
                    delay = next(waits)
                    self._log.warning(
                        "redis_unavailable", error=str(error), retry_in=round(delay, 2), waiting=self.waiting
                    )
                    await asyncio.sleep(delay)
                    continue
                # Only now: a server that lets one in and can't go on would otherwise be stormed.
                waits = self._backoff()
                assert self._line is not None
                reason = await self._line.lost
                self._line = None
                self.connected = False
                self._log.warning("redis_lost", reason=reason, waiting=self.waiting)
        finally:
            keeper.cancel()
            self._pressure.release()
            if self._line:
                self._line.abort("closed")

    async def _open(self) -> None:
        """Connect, bring the server up to date, and let entries flow.

        Raises:
            RedisUnavailableError: the connection can't be made.
            ConnectionError: it broke again, or the server refuses what it has forgotten.
        """
        line = await self._connect()
        try:
            await self._tell_time(line)
            await self._resume(line)
        except BaseException:
            line.abort("not usable")
            raise
        self._line = line
        self.connected = True
        self._events.recovered()
        self._flush()
        if self._emptied:
            line.abort("the server was emptied meanwhile")

    async def _tell_time(self, line: Line) -> None:
        asked = CLOCK.now()
        [told] = await line.request([command("TIME")])
        self._clock.told(told, asked, CLOCK.now())

    def _flush(self) -> None:
        """Send the next batch, if none is in flight."""
        self._scheduled = False
        line = self._line
        if line is None or self._in_flight is not None or self._held:
            return
        if not (self._pending or self._chores or self._looks or self._ask_time):
            return
        most = 1 if self._cautious else _MOST_IN_BATCH
        if self._bytes > _MOST_BYTES_IN_BATCH:
            most = batch_length(self._pending, most, _MOST_BYTES_IN_BATCH)
        if len(self._pending) <= most:
            entries, self._pending = self._pending, []
        else:
            entries, self._pending = self._pending[:most], self._pending[most:]
        now = CLOCK.now()
        batch = pack(entries, self._clock.milliseconds(now), self._loop.time(), self._clock.lead(CLOCK.shift))
        for stream, text in self._chores:
            batch.add_trimming(stream, [text])
        if self._ask_time:
            batch.ask_time(now)
        for stream in self._looks:
            batch.add_look(stream)
        self._chores, self._looks, self._ask_time = [], [], False
        self._in_flight = batch
        self._idle.clear()
        line.send("".join(batch.commands).encode("latin-1"), len(batch.commands), self._settle)

    def _settle(self, replies: list[Reply]) -> None:
        """The replies of the batch in flight have come."""
        batch = self._in_flight
        if batch is None:
            return
        if any(reply.__class__ is hiredis.ReplyError for reply in batch.without_looks(replies)):
            self._repair(self._sort_out, batch, replies)
            return
        self._in_flight = None
        if self._cautious:
            self._cautious = False
            self._retry = self._backoff()
        self._acknowledge(batch.entries)
        self._history.add(batch)
        if batch.asked_time:
            self._clock.told(batch.time_of(replies), batch.asked_time, CLOCK.now())
        if batch.looks or batch.trims:
            self._compare(batch, replies)
        if self._pending:
            self._flush()
        else:
            self._idle.set()

    def _acknowledge(self, entries: list[Pending]) -> None:
        received, lost = settle(entries)
        self._bytes -= sum([len(entry.body) for entry in entries]) + OVERHEAD * len(entries)
        self.published += len(received)
        self.lost += lost
        self.latency.add_since(CLOCK.now(), received)
        self._pressure.eased(self._bytes)

    def _repair(
        self, work: Callable[[Line, Batch, list[Reply]], Awaitable[None]], batch: Batch, replies: list[Reply]
    ) -> None:
        """Redis refused something, or a stream was changed: look at what stands there, then go on."""
        line = self._line
        if line is None:
            return

        async def mend() -> None:
            with suppress(ConnectionError):
                await work(line, batch, replies)

        task = asyncio.create_task(mend(), name="publisher-repair")
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _sort_out(self, line: Line, batch: Batch, replies: list[Reply]) -> None:
        replies = await line.follow(batch.commands, replies)
        account(batch, replies)
        await self._take_back(await sort_out(line, batch, replies), line)
        self._flush()

    def _compare(self, batch: Batch, replies: list[Reply]) -> None:
        """Whether the streams are as long as we left them."""
        account(batch, replies)
        flushed = self._watch.flushed(batch, replies, self._loop.time())
        changed = self._watch.judge(batch, replies)
        for stream in changed:
            if stream.blocked:
                if self._watch.is_news(stream):
                    self._log.error("redis_refused", errors=[f"{stream.key}: {stream.blocked}"], waiting=self.waiting)
                self._forgo(stream)
        if flushed:
            self.renew("all streams have shrunk at once: Redis seems to have been emptied")
        elif self._line and any(not stream.blocked for stream in changed):
            self._held = True
            self._repair(partial(self._examine, changed), batch, replies)

    async def _examine(self, changed: list[Stream], line: Line, _: Batch, __: list[Reply]) -> None:
        """Somebody else has changed streams: mark it in each."""
        try:
            found = await examine(line, [stream for stream in changed if not stream.blocked])
        finally:
            self._held = False
        for one in found:
            one.stream.conflicts += one.added > 0
            self._disturbed(one)
            if one.stream.conflicts > _MOST_CONFLICTS:
                self._events.conflict(one.stream)
        self._flush()

    def _disturbed(self, one: Disturbance) -> None:
        what = one.reason or "somebody else trimmed this stream"
        self._log.warning("stream_changed", key=one.stream.key, reason=what, added=one.added, deleted=one.deleted)
        if one.reason:
            self._events.disturbed(one.stream, one.reason, one.deleted or None)

    async def _take_back(self, refusal: Refusal, line: Line) -> None:
        """What was accepted counts; what was refused goes to the front again, or is declared lost."""
        if self._in_flight:
            self._history.add(self._in_flight.only(refusal.accepted))
        self._in_flight = None
        self._held = True
        self.confirmed += refusal.confirmed
        self._acknowledge(refusal.accepted)
        self._requeue(refusal)
        if refusal.messages:
            delay = next(self._retry) if self._cautious else 0.05
            self._cautious = True
            self._log.error("redis_refused", errors=refusal.messages, retry_in=round(delay, 2), waiting=self.waiting)
            await asyncio.sleep(delay)
            if refusal.reconnect:
                line.abort("the server can't take writes")
        self._held = False
        for stream in refusal.foreign:
            self._disturbed(Disturbance(stream, "somebody else wrote to this stream", added=1))
        if not self._pending:
            self._idle.set()

    def _requeue(self, refusal: Refusal) -> None:
        requeue = []
        for stream, count in refusal.holes.items():
            marker = lost_marker(stream, CLOCK.now(), count, "refused by Redis, later entries were not")
            self._bytes += marker.weight - refusal.weight.get(stream, 0)
            self._events.dropped(stream)
            requeue.append(marker)
        requeue += refusal.again
        self._pending[:0] = requeue
        for stream in {entry.stream for entry in refusal.again if entry.stream.blocked}:
            self._forgo(stream)
        for stream in {entry.stream for entry in refusal.again}:
            if stream.conflicts > _MOST_CONFLICTS:
                self._events.conflict(stream)

    async def _resume(self, line: Line) -> None:
        """After a (re)connect: send again what was not acknowledged, and what the server has forgotten."""
        emptied, self._emptied = self._emptied, False
        try:
            batch = await recover(line, self._streams, self._in_flight, self._history, emptied=emptied)
        except BaseException:
            self._emptied = self._emptied or emptied
            raise
        for stream, count in batch.missing.items():
            self.published -= count
            stream.published -= count
            self.declare_lost(stream, CLOCK.now(), count, "Redis lost acknowledged entries")
            self._events.dropped(stream)
        if batch.resent:
            self._log.warning("redis_resent", entries=batch.resent)
        if batch.refusal:
            await self._take_back(batch.refusal, line)

    async def _keep_house(self) -> None:
        """Once a second: age limits of the buffer, a silent server, blocked and idle streams."""
        unblock_at = 0.0
        forgive_at = self._loop.time() + _FORGIVE_AFTER
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            now = CLOCK.now()
            oldest = now - int(self._budget.max_age * 1e9)
            if self._pending and self._pending[0].recv < oldest:
                self._shed(f"Redis was away for more than {self._budget.max_age:g} s", oldest)
            self._pressure.check(self._loop.time())
            batch, line = self._in_flight, self._line
            if batch and line and self._loop.time() - batch.sent > self._reply_timeout and not self._repairs:
                line.abort(f"no reply within {self._reply_timeout:g} s")
            if self._loop.time() >= unblock_at:
                unblock_at = self._loop.time() + _UNBLOCK_AFTER
                self._unblock(now)
            if self._loop.time() >= forgive_at:
                forgive_at = self._loop.time() + _FORGIVE_AFTER
                for stream in self._streams:
                    stream.conflicts = max(stream.conflicts - 1, 0)
            if self.connected:
                if not self._chores:
                    shown = self._clock.milliseconds(now)
                    self._chores = [(stream, text) for stream in self._streams for text in stream.trim(shown)]
                self._ask_time = True
                self._looks = self._watch.next(self._streams)
                # Also what is left of the last round: a batch may have been in flight, and nothing has come since.
                self._flush()
