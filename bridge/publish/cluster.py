"""Publishing to a Redis Cluster: one line for each master, and the streams shared out among them by hash slot.

Each master has a publisher of its own, with its own pipeline in flight and its own outages; the streams of one slot are
always together. Who has a slot is looked up anew whenever a line is made, and a line is given up for every ``MOVED``: so
after a failover a publisher goes on at the new master, and a stream whose slot went elsewhere goes over to the publisher
of that master, with all that waits of it and with what may have to be sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from bridge.errors import RedisUnavailableError
from bridge.latency import Latency
from bridge.model import Event
from bridge.publish.buffer import Budget, Pending
from bridge.publish.fence import Fence
from bridge.publish.line import Line
from bridge.publish.publisher import Publisher, PublisherEvents
from bridge.publish.recovery import Batch
from bridge.publish.stream import Stream, StreamId
from bridge.redis.topology import FAILURES, Address, Slots, slot_of

__all__ = ["ClusterPublisher", "Shard"]


class _Luggage(NamedTuple):
    """What goes with a stream to another master."""

    waiting: list[Pending]
    acknowledged: Batch


class Shard(Publisher):
    """The publisher of one master: streams leave it and come to it, as their slots do."""

    owner: Address
    """Who had its slots when it was last looked up."""
    asked: dict[Address, Line]
    """Lines to nodes that take over slots of this one."""

    def streams(self) -> list[Stream]:
        """Those that it has now."""
        return list(self._streams)

    def leave(self, stream: Stream) -> _Luggage:
        """Give a stream away; only while there is no line."""
        assert self._line is None
        waiting: list[Pending] = []
        if self._in_flight:
            waiting = [entry for entry in self._in_flight.entries if entry.stream is stream]
            if waiting:
                # They get the same IDs again: those that stand there already will be known by them.
                stream.set_back(StreamId(waiting[0].ms, waiting[0].seq - 1))
                rest = self._in_flight.only(entry for entry in self._in_flight.entries if entry.stream is not stream)
                self._in_flight = rest if rest.entries else None
        waiting += [entry for entry in self._pending if entry.stream is stream]
        self._pending = [entry for entry in self._pending if entry.stream is not stream]
        self._bytes -= sum(entry.weight for entry in waiting)
        self._streams.remove(stream)
        if not self._pending and not self._in_flight:
            self._idle.set()
        return _Luggage(waiting, self._history.after({stream: 0}))

    def join(self, stream: Stream, luggage: _Luggage) -> None:
        """Take a stream; the line is made anew, which looks first at where it stands."""
        self._streams.append(stream)
        self._pending += luggage.waiting
        self._bytes += sum(entry.weight for entry in luggage.waiting)
        if luggage.acknowledged.entries:
            self._history.add(luggage.acknowledged)
        if self._line:
            self._line.abort("streams of another node have come to this one")

    def make_room(self, need: int, reason: str) -> None:
        """Drop what waits until so many bytes are free."""
        self._drop(need, 0, reason)


class ClusterPublisher:
    """Publishes a connector's streams to a Cluster; to the rest of the connector it is a `Publisher`.

    ``open_line`` connects to a node; ``slots`` must have been asked once.
    """

    def __init__(
        self,
        slots: Slots,
        open_line: Callable[[Address], Awaitable[Line]],
        backoff: Callable[[], Iterator[float]],
        events: PublisherEvents,
        *,
        budget: Budget,
        reply_timeout: float,
        address: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._slots = slots
        self._open_line = open_line
        self._backoff = backoff
        self._events = events
        self._budget = budget
        self._reply_timeout = reply_timeout
        self._address = address
        self._log = log
        self._shards: list[Shard] = []
        self._retired: list[Shard] = []
        self._home: dict[Stream, Shard] = {}
        self._tasks: dict[Shard, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._standing_by = False
        self.latency = Latency()

    @property
    def waiting(self) -> int:
        """Entries not yet acknowledged."""
        return sum(shard.waiting for shard in self._shards)

    @property
    def waiting_bytes(self) -> int:
        """What they count for in the budget, which all nodes share."""
        return sum(shard.waiting_bytes for shard in self._shards)

    @property
    def most_bytes(self) -> int:
        """The budget."""
        return self._budget.max_bytes

    def backlog(self) -> Counter[Stream]:
        """Per stream, the events that are neither published nor declared lost yet."""
        total: Counter[Stream] = Counter()
        for shard in self._shards:
            total.update(shard.backlog())
        return total

    @property
    def published(self) -> int:
        """Data entries that Redis has acknowledged."""
        return sum(shard.published for shard in (*self._shards, *self._retired))

    @property
    def lost(self) -> int:
        """Dropped events that a `lost` entry in Redis declares."""
        return sum(shard.lost for shard in (*self._shards, *self._retired))

    @property
    def confirmed(self) -> int:
        """Entries that Redis refused because it had them already."""
        return sum(shard.confirmed for shard in (*self._shards, *self._retired))

    @property
    def connected(self) -> bool:
        """Whether all nodes that matter take entries."""
        return all(shard.connected for shard in self._shards)

    def takes(self, stream: Stream) -> bool:
        """Whether entries of this stream go out at the moment."""
        return self._home[stream].takes(stream)

    def add(self, stream: Stream) -> None:
        """Take a stream into care; it must stand where Redis has it (`Stream.resume`)."""
        owner = self._slots.owner(slot_of(stream.key))
        shard = self._shard_of(owner) if owner or not self._shards else self._shards[0]
        shard.add(stream)
        self._home[stream] = shard

    def put(self, stream: Stream, event: Event) -> None:
        """Take an event of a stream, to be published soon."""
        self._home[stream].put(stream, event)
        excess = self.waiting_bytes - self._budget.max_bytes
        if excess > 0:
            fullest = max(self._shards, key=lambda shard: shard.waiting_bytes)
            reason = f"the buffer of {self._budget.max_bytes} bytes is full"
            fullest.make_room(excess + self._budget.max_bytes // 10, reason)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Put a `lost` entry into a stream."""
        self._home[stream].declare_lost(stream, recv, count, reason)

    def stand_by(self) -> None:
        """Send nothing more until `may_write`: another process may have taken this one's place."""
        self._standing_by = True
        for shard in self._shards:
            shard.stand_by()

    def may_write(self, fence: Fence | None = None) -> None:
        """This process may write: behind this fence on a single server; in a Cluster there is none."""
        self._standing_by = False
        for shard in self._shards:
            shard.may_write(fence)

    def renew(self, reason: str) -> None:
        """Connect anew: a server seems to have been emptied, and all are brought up to date."""
        for shard in self._shards:
            shard.renew(reason)

    async def drained(self) -> None:
        """Wait until all that was put is acknowledged."""
        while self.waiting:
            for shard in list(self._shards):
                await shard.drained()

    async def run(self) -> None:
        """Keep a line to each master, for as long as the task lives."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for shard in self._shards:
                    self._start(shard)
                await asyncio.Event().wait()
        finally:
            for shard in self._shards:
                _hang_up(shard)

    def _shard_of(self, owner: Address | None) -> Shard:
        """The publisher of this master, made if there is none."""
        for shard in self._shards:
            if shard.owner == owner:
                return shard
        shard = Shard(
            lambda: self._connect(shard),
            self._backoff,
            self._events,
            budget=self._budget,
            reply_timeout=self._reply_timeout,
            log=self._log,
        )
        shard.owner = owner or ("", 0)
        shard.asked = {}
        shard.latency = self.latency
        if self._standing_by:
            shard.stand_by()
        self._shards.append(shard)
        if self._group:
            self._start(shard)
        return shard

    def _start(self, shard: Shard) -> None:
        assert self._group is not None
        host, port = shard.owner
        self._tasks[shard] = self._group.create_task(shard.run(), name=f"publisher-{host}:{port}")

    async def _connect(self, shard: Shard) -> Line:
        """A line to whoever has the shard's slots now.

        Raises:
            RedisUnavailableError: the Cluster can't be asked, or that node doesn't answer.
        """
        try:
            await self._slots.refresh()
        except FAILURES as error:
            raise RedisUnavailableError(self._address, str(error) or type(error).__name__) from error
        _hang_up(shard)
        self._share_out(shard)
        if not shard.streams():
            await self._retire(shard)
        line = await self._open_line(shard.owner)
        line.elsewhere = partial(self._elsewhere, shard)
        return line

    def _share_out(self, shard: Shard) -> None:
        """Send away the streams whose slots other masters have; the shard follows those that are left."""
        owners = {stream: self._slots.owner(slot_of(stream.key)) or shard.owner for stream in shard.streams()}
        taken = {other.owner for other in self._shards if other is not shard}
        if shard.owner not in owners.values():
            # A failover: all of them went to one that has no publisher yet. What went elsewhere leaves below.
            shard.owner = next((owner for owner in owners.values() if owner not in taken), shard.owner)
        for stream, owner in owners.items():
            if owner != shard.owner:
                luggage = shard.leave(stream)
                target = self._shard_of(owner)
                target.join(stream, luggage)
                self._home[stream] = target
                self._log.info("stream_moved", key=stream.key, node="{}:{}".format(*owner))

    async def _retire(self, shard: Shard) -> None:
        """End the publisher that calls this: its last stream has gone."""
        self._shards.remove(shard)
        self._retired.append(shard)
        self._tasks.pop(shard).cancel()
        await asyncio.Event().wait()

    async def _elsewhere(self, shard: Shard, address: Address) -> Line:
        """A line to the node that takes over a slot, kept until the shard's own line is made anew."""
        line = shard.asked.get(address)
        if line is None or line.lost.done():
            line = shard.asked[address] = await self._open_line(address)
        return line


def _hang_up(shard: Shard) -> None:
    for line in shard.asked.values():
        line.abort("closed")
    shard.asked.clear()
