"""Group commit: events in, acknowledged stream entries out, each exactly once.

One pipeline is in flight at a time, and all that arrives meanwhile goes out in the next one. There is no timer: an idle
publisher adds one round trip, a busy one makes large batches. An entry gets its ID when its batch is packed; until its
reply has come it is sent again under that ID, so Redis itself refuses what it already has.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import hiredis
from structlog.typing import FilteringBoundLogger

from bridge.errors import RedisUnavailableError
from bridge.latency import Latency
from bridge.model import Control, Event
from bridge.publish.buffer import (
    CONTROL,
    DATA,
    KINDS,
    OVERHEAD,
    WIDE,
    Budget,
    Pending,
    batch_length,
    lost_marker,
    shed,
)
from bridge.publish.counts import backlog, settle
from bridge.publish.events import PublisherEvents
from bridge.publish.line import Line, Reply
from bridge.publish.packing import pack
from bridge.publish.pressure import Pressure
from bridge.publish.recovery import Batch, History, Refusal, recover, sort_out
from bridge.publish.stream import Stream
from bridge.publish.wire import RENDERERS, render

__all__ = ["Publisher", "PublisherEvents"]

_MOST_IN_BATCH = 4096
_MOST_BYTES_IN_BATCH = 1024 * 1024
_HOUSEKEEPING = 1.0
_UNBLOCK_AFTER = 5.0
_MOST_CONFLICTS = 10
_FORGIVE_AFTER = 60.0
"""Seconds after which one conflict of a stream is forgotten: one now and then is no second connector."""


class Publisher:
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
        self._connect = connect
        self._backoff = backoff
        self._budget = budget
        self.most_bytes = budget.max_bytes
        self._reply_timeout = reply_timeout
        self._events = events
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._streams: list[Stream] = []
        self._pending: list[Pending] = []
        self._bytes = 0
        self._pressure = Pressure(budget.max_bytes, partial(events.hold, self), partial(events.release, self))
        self._scheduled = False
        self._line: Line | None = None
        self._in_flight: Batch | None = None
        self._history = History()
        self._cautious = False
        """After a refusal, one entry goes alone: what is accepted behind a refused one closes the door to it."""
        self._held = False
        self._emptied = False
        self._retry: Iterator[float] = backoff()
        self._chores: list[str] = []
        """Trimming of streams that are quiet."""
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
        self.connected = False

    @property
    def waiting(self) -> int:
        """Entries not yet acknowledged."""
        return len(self._pending) + (len(self._in_flight.entries) if self._in_flight else 0)

    @property
    def waiting_bytes(self) -> int:
        """What they count for in the budget."""
        return self._bytes

    def backlog(self) -> Counter[Stream]:
        """Per stream, the events that are neither published nor declared lost yet."""
        flying = self._in_flight.entries if self._in_flight else ()
        return backlog((*flying, *self._pending)) + Counter({stream: stream.unsent for stream in self._streams})

    def add(self, stream: Stream) -> None:
        """Take a stream into care; it must stand where Redis has it (`Stream.resume`)."""
        self._streams.append(stream)

    def put(self, stream: Stream, event: Event) -> None:
        """Take an event of a stream, to be published soon."""
        if stream.blocked:
            stream.unsent += event.__class__ is not Control
            return
        sort = event.__class__
        body = RENDERERS[sort](event)
        if not body.isascii():
            body = render(event)
        kind = KINDS[sort]
        if kind == WIDE and event.contracts is None:  # type: ignore[attr-defined]
            kind = DATA
        self._pending.append(Pending(stream, event.recv, body, kind))
        self._bytes += len(body) + OVERHEAD
        if self._bytes > self._pressure.limit:
            self._relieve()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Put a `lost` entry into a stream."""
        marker = lost_marker(stream, recv, count, reason)
        self._pending.append(marker)
        self._bytes += marker.weight
        self._loop.call_soon(self._flush)

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

    def _flush(self) -> None:
        """Send the next batch, if none is in flight."""
        self._scheduled = False
        line = self._line
        if line is None or self._in_flight is not None or self._held or not (self._pending or self._chores):
            return
        most = 1 if self._cautious else _MOST_IN_BATCH
        if self._bytes > _MOST_BYTES_IN_BATCH:
            most = batch_length(self._pending, most, _MOST_BYTES_IN_BATCH)
        if len(self._pending) <= most:
            entries, self._pending = self._pending, []
        else:
            entries, self._pending = self._pending[:most], self._pending[most:]
        batch = Batch(entries, pack(entries, time.time_ns() // 1_000_000), self._loop.time())
        if self._chores:
            batch.commands += self._chores
            self._chores = []
        self._in_flight = batch
        self._idle.clear()
        line.send("".join(batch.commands).encode("latin-1"), len(batch.commands), self._settle)

    def _settle(self, replies: list[Reply]) -> None:
        """The replies of the batch in flight have come."""
        batch = self._in_flight
        if batch is None:
            return
        if any(reply.__class__ is hiredis.ReplyError for reply in replies):
            self._repair(batch, replies)
            return
        self._in_flight = None
        if self._cautious:
            self._cautious = False
            self._retry = self._backoff()
        self._acknowledge(batch.entries)
        self._history.add(batch)
        if self._pending:
            self._flush()
        else:
            self._idle.set()

    def _acknowledge(self, entries: list[Pending]) -> None:
        received, lost = settle(entries)
        self._bytes -= sum([len(entry.body) for entry in entries]) + OVERHEAD * len(entries)
        self.published += len(received)
        self.lost += lost
        self.latency.add_since(time.time_ns(), received)
        self._pressure.eased(self._bytes)

    def _repair(self, batch: Batch, replies: list[Reply]) -> None:
        """Redis refused something: look at what stands there, then go on."""
        line = self._line
        if line is None:
            return
        task = asyncio.create_task(self._sort_out(line, batch, replies), name="publisher-repair")
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _sort_out(self, line: Line, batch: Batch, replies: list[Reply]) -> None:
        with suppress(ConnectionError):
            replies = await line.follow(batch.commands, replies)
            await self._take_back(await sort_out(line, batch, replies), line)
            self._flush()

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
        if not self._pending:
            self._idle.set()

    def _requeue(self, refusal: Refusal) -> None:
        requeue = []
        for stream, count in refusal.holes.items():
            marker = lost_marker(stream, time.time_ns(), count, "refused by Redis, later entries were not")
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

    def _forgo(self, stream: Stream) -> None:
        """Redis refuses this stream: what waits for it must not hold up the others."""
        for entry in self._pending:
            if entry.stream is stream:
                stream.unsent += entry.lost or entry.kind != CONTROL
                self._bytes -= entry.weight
        self._pending = [entry for entry in self._pending if entry.stream is not stream]
        self._events.dropped(stream)

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
            self.declare_lost(stream, time.time_ns(), count, "Redis lost acknowledged entries")
            self._events.dropped(stream)
        if batch.resent:
            self._log.warning("redis_resent", entries=batch.resent)
        if batch.refusal:
            await self._take_back(batch.refusal, line)

    def _relieve(self) -> None:
        """Much waits: let no more come while Redis takes what there is; drop something where that doesn't help."""
        if self._bytes > self.most_bytes:
            self._shed(f"the buffer of {self.most_bytes} bytes is full")
        else:
            self._pressure.exceeded(self._loop.time())

    def _shed(self, reason: str, older_than: int = 0) -> None:
        need = self._bytes - self._budget.max_bytes * 9 // 10 if self._bytes > self._budget.max_bytes else 0
        self._drop(need, older_than, reason)

    def _drop(self, need: int, older_than: int, reason: str) -> None:
        self._pending, dropped = shed(self._pending, need, older_than, reason)
        in_flight = sum(entry.weight for entry in self._in_flight.entries) if self._in_flight else 0
        self._bytes = in_flight + sum(entry.weight for entry in self._pending)
        for stream in dropped:
            self._events.dropped(stream)
        if dropped:
            self._log.error("events_dropped", count=sum(dropped.values()), reason=reason, waiting=self.waiting)

    async def _keep_house(self) -> None:
        """Once a second: age limits of the buffer, a silent server, blocked and idle streams."""
        unblock_at = 0.0
        forgive_at = self._loop.time() + _FORGIVE_AFTER
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            now = time.time_ns()
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
            if self.connected and not self._chores:
                for stream in self._streams:
                    self._chores += stream.trim(now // 1_000_000)
                self._flush()

    def _unblock(self, now: int) -> None:
        for stream in self._streams:
            if stream.blocked and self.connected:
                stream.blocked = ""
                count, stream.unsent = stream.unsent, 0
                if count:
                    self.declare_lost(stream, now, count, "Redis refused this stream")
                    # A snapshot may have been among them: a book starts anew.
                    self._events.dropped(stream)
