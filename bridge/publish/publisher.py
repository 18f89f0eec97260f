"""Group commit: events in, acknowledged stream entries out, each exactly once.

The publisher takes events, renders them, and keeps them within the budget; its pipelines, one for each Redis node, send what
waits (`pipeline.py`). Which streams are whose is up to `Nodes`: one server, or the masters of a Cluster.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from msgspec import structs
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.latency import Latency
from bridge.model import BOOKS, NEWEST_ONLY, Event
from bridge.publish.connection import RedisConnection
from bridge.publish.events import PublisherEvents, Totals
from bridge.publish.fence import Fence
from bridge.publish.pending import CONTROL, DATA, KINDS, OVERHEAD, WIDE, WIDER, Budget, Pending, width
from bridge.publish.pipeline import RedisPipeline
from bridge.publish.pressure import Pressure
from bridge.publish.shedding import collapse, shed
from bridge.publish.stream import Stream
from bridge.publish.transfer import Mode
from bridge.publish.wire import RENDERERS, render
from bridge.redis.topology import Address

__all__ = ["Nodes", "OneServer", "Publisher", "PublisherEvents"]

_HOUSEKEEPING = 1.0
_UNBLOCK_AFTER = 5.0
_FORGIVE_AFTER = 60.0
"""Seconds after which one conflict of a stream is forgotten: one now and then is no second connector."""
_STEPS = 64
"""In so many steps does the budget fill up: at each one, somebody looks. So much is freed when it is full."""
_LEAST_SHARE = 16
"""A blocked stream may have this part of the budget, or an equal share of it if that is more."""
_SUMMED_UP = NEWEST_ONLY | BOOKS
"""Channels of which old entries say nothing: quotes and the like, and books, which begin again with a snapshot."""


class Nodes(Protocol):
    """The Redis nodes that a publisher writes to."""

    mode: Mode
    """Which commands of a batch stand or fall together."""

    @property
    def pipelines(self) -> Sequence[RedisPipeline]:
        """One for each node."""

    def set_up(self, make: Callable[[], RedisPipeline]) -> None:
        """Learn how to make a pipeline; called once, by the publisher."""

    def place(self, stream: Stream) -> RedisPipeline:
        """The pipeline that a new stream belongs to."""

    def home(self, stream: Stream) -> RedisPipeline:
        """The pipeline that has the stream now."""

    def forget(self, stream: Stream) -> None:
        """The stream is written no more."""

    async def run(self) -> None:
        """Run the pipelines, for as long as the task lives."""


class OneServer:
    """One server, or the master that Sentinels name."""

    mode = Mode.ATOMIC

    def __init__(self, connect: Callable[[], Awaitable[RedisConnection]]) -> None:
        self._connect = connect
        self._pipeline: RedisPipeline

    @property
    def pipelines(self) -> Sequence[RedisPipeline]:
        return (self._pipeline,)

    def set_up(self, make: Callable[[], RedisPipeline]) -> None:
        self._pipeline = make()
        self._pipeline.connect = self._connect

    def follow_master(self, address: Address) -> None:
        """The Sentinels name the server at this address now."""
        self._pipeline.follow_master(address)

    def place(self, stream: Stream) -> RedisPipeline:
        self._pipeline.queue.add(stream)
        return self._pipeline

    def home(self, stream: Stream) -> RedisPipeline:
        del stream
        return self._pipeline

    def forget(self, stream: Stream) -> None:
        self._pipeline.forget(stream)

    async def run(self) -> None:
        await self._pipeline.run()


class Publisher:
    """Publishes the entries of a connector's streams.

    Args:
        nodes: where to.
        backoff: makes the seconds to wait between attempts, for as long as they fail.
        events: hears what becomes of the streams.
        budget: how much may wait while Redis takes nothing.
        fence: guards every write on a single server; see `may_write`.
        standing_by: hold what is put until `may_write`.
    """

    def __init__(
        self,
        nodes: Nodes,
        backoff: Callable[[], Iterator[float]],
        events: PublisherEvents,
        *,
        budget: Budget,
        fence: Fence | None = None,
        standing_by: bool,
        log: FilteringBoundLogger,
    ) -> None:
        self._nodes = nodes
        self._backoff = backoff
        self._events = events
        self._budget = budget
        self._fence = fence
        self._standing_by = standing_by
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._totals = Totals()
        self.most_bytes = budget.max_bytes
        self._step = budget.max_bytes // _STEPS
        self._look_at = self._step
        """Bytes at which somebody has to look: at the pressure, or at the budget."""
        self._streams: list[Stream] = []
        nodes.set_up(self._make)

    # --- figures -------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Entries not yet acknowledged."""
        return sum(pipeline.waiting for pipeline in self._nodes.pipelines)

    @property
    def waiting_bytes(self) -> int:
        """What they count for in the budget."""
        return self._totals.bytes

    @property
    def published(self) -> int:
        """Data entries that Redis has acknowledged."""
        return self._totals.published

    @property
    def lost(self) -> int:
        """Dropped events that a `lost` entry in Redis declares."""
        return self._totals.lost

    @property
    def confirmed(self) -> int:
        """Entries that Redis refused because it had them already."""
        return self._totals.confirmed

    @property
    def connected(self) -> bool:
        """Whether all nodes that matter take entries."""
        return all(pipeline.connected for pipeline in self._nodes.pipelines)

    @property
    def latency(self) -> Latency:
        """From receipt to acknowledgement."""
        return self._totals.latency

    @property
    def ids_ahead(self) -> int:
        """By how much (ns) the times in IDs are ahead of the steady clock, on the first node."""
        clocks = [pipeline.upkeep.clock for pipeline in self._nodes.pipelines]
        return clocks[0].lead(CLOCK.shift) if clocks else CLOCK.shift

    def backlog(self) -> Counter[Stream]:
        """Per stream, the events that are neither published nor declared lost yet."""
        return Counter({stream: stream.backlog for stream in self._streams})

    def takes(self, stream: Stream) -> bool:
        """Whether entries of this stream go out at the moment."""
        return self._nodes.home(stream).connected and not stream.blocked

    # --- what comes in -------------------------------------------------------------------------------------------

    def add(self, stream: Stream) -> None:
        """Take a stream into care; it must stand where Redis has it (`Stream.resume`)."""
        self._streams.append(stream)
        self._nodes.place(stream)

    def give_up(self, stream: Stream) -> bool:
        """Write this stream no more, from now on, if all that was put is acknowledged; returns whether it is.

        Another process may then write it. A stream that Redis refuses is given up with what waits of it.
        """
        if stream.flying or (stream.waiting and not stream.blocked):
            return False
        self._totals.bytes -= stream.bytes
        self._streams.remove(stream)
        self._nodes.forget(stream)
        return True

    def put(self, stream: Stream, event: Event) -> None:
        """Take an event of a stream, to be published soon; its entry's ``recv`` is by the host's clock."""
        sort = event.__class__
        recv = event.recv
        if CLOCK.shift:
            event = structs.replace(event, recv=recv + CLOCK.shift)
        body = RENDERERS[sort](event)
        if not body.isascii():
            body = render(event)
        kind = KINDS[sort]
        if kind:  # else plain data
            if kind == WIDE:
                if event.contracts is None:  # type: ignore[attr-defined]
                    kind = DATA
            elif kind == WIDER:
                kind = width(event)
            elif kind == CONTROL:
                stream.controls += 1
        size = len(body) + OVERHEAD
        stream.waiting.append(Pending(recv, body, kind))
        stream.bytes += size
        totals = self._totals
        totals.bytes += size
        if totals.bytes > self._look_at:
            self._relieve()
        if not stream.ready:
            self._wake(stream)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Put a `lost` entry into a stream."""
        self._nodes.home(stream).ledger.put_last(stream, recv, count, reason)
        self._wake(stream)

    def _wake(self, stream: Stream) -> None:
        pipeline = self._nodes.home(stream)
        pipeline.queue.wake(stream)
        if not pipeline.scheduled:
            pipeline.scheduled = True
            self._loop.call_soon(pipeline.flush)

    # --- who may write -------------------------------------------------------------------------------------------

    def stand_by(self) -> None:
        """Write nothing more until `may_write`; what is put is held."""
        self._standing_by = True
        for pipeline in self._nodes.pipelines:
            pipeline.stand_by()

    def may_write(self, fence: Fence | None = None) -> None:
        """This process may write: behind this fence on a single server; in a Cluster there is none."""
        self._standing_by = False
        self._fence = fence = fence if self._nodes.mode is Mode.ATOMIC else None
        for pipeline in self._nodes.pipelines:
            pipeline.may_write(fence)

    def displace(self) -> None:
        """Another process has taken this one's place: write nothing more, ever."""
        for pipeline in self._nodes.pipelines:
            pipeline.displace()

    def renew(self, reason: str) -> None:
        """Connect again: a server seems to have been emptied, and is brought up to date."""
        for pipeline in self._nodes.pipelines:
            pipeline.renew(reason)

    # --- the run -------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until all that was put is acknowledged, but for what Redis refuses."""
        while any(pipeline.busy for pipeline in self._nodes.pipelines):
            for pipeline in list(self._nodes.pipelines):
                await pipeline.drained()

    async def run(self) -> None:
        """Keep the connections and the limits, for as long as the task lives.

        Raises:
            ExceptionGroup: with what went wrong in it, in whatever part.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_house(), name="publisher-housekeeping")
                group.create_task(self._nodes.run(), name="publisher-nodes")
        finally:
            for pipeline in self._nodes.pipelines:
                pipeline.pressure.release()

    def _make(self) -> RedisPipeline:
        pipeline: RedisPipeline

        def hold() -> None:
            self._events.hold(pipeline)

        def release() -> None:
            self._events.release(pipeline)

        pipeline = RedisPipeline(
            self._backoff,
            self._events,
            self._totals,
            Pressure(self._budget.max_bytes, hold, release),
            mode=self._nodes.mode,
            fence=self._fence,
            standing_by=self._standing_by,
            log=self._log,
        )
        return pipeline

    def _relieve(self) -> None:
        """Much waits: let no more come while Redis takes what there is; drop something where that doesn't help."""
        if self._totals.bytes > self.most_bytes:
            # A little at a time: freeing much at once would hold up everything else.
            need = self._totals.bytes - self.most_bytes + self._step
            self._drop(self._streams, need, f"the buffer of {self.most_bytes} bytes is full")
        now = self._loop.time()
        for pipeline in self._nodes.pipelines:
            if pipeline.sender.pressing_bytes > pipeline.pressure.limit:
                pipeline.pressure.exceeded(now)
        self._look_at = min(self.most_bytes, self._totals.bytes + self._step)

    def _drop(self, streams: list[Stream], need: int, reason: str) -> None:
        before = sum(stream.bytes for stream in streams)
        dropped = shed(streams, need, reason)
        self._account(before, streams, dropped, reason)

    def _account(self, before: int, streams: list[Stream], dropped: Counter[Stream], reason: str) -> None:
        self._totals.bytes += sum(stream.bytes for stream in streams) - before
        for stream in dropped:
            self._events.dropped(stream)
        if dropped:
            self._log.error("events_dropped", count=dropped.total(), reason=reason, waiting=self.waiting)

    async def _keep_house(self) -> None:
        """Once a second: what is too old, blocked streams, the pressure, quiet streams."""
        unblock_at = 0.0
        forgive_at = self._loop.time() + _FORGIVE_AFTER
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            now = self._loop.time()
            self._sum_up_the_old(CLOCK.now())
            self._limit_the_blocked()
            self._look_at = min(self._look_at, self._totals.bytes + self._step)
            trials = now >= unblock_at
            if trials:
                unblock_at = now + _UNBLOCK_AFTER
            for pipeline in self._nodes.pipelines:
                pipeline.pressure.check(now)
                pipeline.look_around(CLOCK.now(), trials=trials)
            if now >= forgive_at:
                forgive_at = now + _FORGIVE_AFTER
                for stream in self._streams:
                    stream.conflicts = max(stream.conflicts - 1, 0)

    def _sum_up_the_old(self, now: int) -> None:
        """Drop what is too old to say anything: of what can be summed up, all but the newest."""
        oldest = now - int(self._budget.max_age * 1e9)
        old = [s for s in self._streams if s.channel in _SUMMED_UP and s.waiting and s.waiting[0].recv < oldest]
        if old:
            before = sum(stream.bytes for stream in old)
            dropped: Counter[Stream] = Counter()
            reason = f"Redis was away for more than {self._budget.max_age:g} s"
            for stream in old:
                dropped += collapse(stream, reason)
            self._account(before, old, dropped, reason)

    def _limit_the_blocked(self) -> None:
        """A stream that Redis refuses keeps what fits its share of the budget."""
        share = max(self.most_bytes // max(len(self._streams), 1), self.most_bytes // _LEAST_SHARE)
        for stream in self._streams:
            if stream.blocked and stream.bytes > share:
                self._drop([stream], stream.bytes - share, f"Redis refused this stream: {stream.blocked}"[:200])
