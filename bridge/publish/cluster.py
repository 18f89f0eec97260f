"""A Redis Cluster's masters: a pipeline for each, and the streams shared out among them by hash slot.

The streams of one slot are always together. Who has a slot is looked up whenever a connection is made, and a connection is
given up for every ``MOVED``: so after a failover a pipeline goes on at the new master, and a stream whose slot went elsewhere
goes over to the pipeline of that master, with all that waits of it and with what may have to be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import Struct, field
from structlog.typing import FilteringBoundLogger

from bridge.errors import RedisUnavailableError
from bridge.publish.connection import RedisConnection
from bridge.publish.pipeline import RedisPipeline
from bridge.publish.stream import Stream
from bridge.publish.transfer import Mode
from bridge.redis.errors import FAILURES
from bridge.redis.topology import Address, Slots, slot_of

__all__ = ["ClusterNodes"]


class _Master(Struct):
    """A master as it was known last, and its pipeline."""

    owner: Address
    pipeline: RedisPipeline
    asked: dict[Address, RedisConnection] = field(default_factory=dict)
    """Connections to nodes that take over slots of this one."""
    task: asyncio.Task[None] | None = None


class ClusterNodes:
    """The masters of a Cluster; ``slots`` must have been asked once, ``connect`` connects to a node."""

    mode = Mode.BY_SLOT

    def __init__(
        self,
        slots: Slots,
        connect: Callable[[Address], Awaitable[RedisConnection]],
        *,
        address: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._slots = slots
        self._open = connect
        self._address = address
        self._log = log
        self._make: Callable[[], RedisPipeline]
        self._masters: list[_Master] = []
        self._homes: dict[Stream, _Master] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def pipelines(self) -> Sequence[RedisPipeline]:
        return [master.pipeline for master in self._masters]

    def set_up(self, make: Callable[[], RedisPipeline]) -> None:
        self._make = make

    def place(self, stream: Stream) -> RedisPipeline:
        owner = self._slots.owner(slot_of(stream.key))
        master = self._master_at(owner) if owner or not self._masters else self._masters[0]
        master.pipeline.queue.add(stream)
        self._homes[stream] = master
        return master.pipeline

    def home(self, stream: Stream) -> RedisPipeline:
        return self._homes[stream].pipeline

    def forget(self, stream: Stream) -> None:
        self._homes.pop(stream).pipeline.forget(stream)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for master in self._masters:
                    self._start(master)
                await asyncio.Event().wait()
        finally:
            for master in self._masters:
                _hang_up(master)

    def _master_at(self, owner: Address | None) -> _Master:
        """The master at this address, with a new pipeline if it has none."""
        for master in self._masters:
            if master.owner == owner:
                return master
        master = _Master(owner or ("", 0), self._make())
        master.pipeline.connect = partial(self._connect, master)
        self._masters.append(master)
        if self._group:
            self._start(master)
        return master

    def _start(self, master: _Master) -> None:
        assert self._group is not None
        host, port = master.owner
        master.task = self._group.create_task(master.pipeline.run(), name=f"publisher-{host}:{port}")

    async def _connect(self, master: _Master) -> RedisConnection:
        """A connection to whoever has the pipeline's slots now.

        Raises:
            RedisUnavailableError: the Cluster can't be asked, or that node doesn't answer.
        """
        try:
            await self._slots.refresh()
        except FAILURES as error:
            raise RedisUnavailableError(self._address, str(error) or type(error).__name__) from error
        _hang_up(master)
        self._share_out(master)
        if not master.pipeline.queue.streams:
            await self._retire(master)
        connection = await self._open(master.owner)
        connection.elsewhere = partial(self._elsewhere, master)
        return connection

    def _share_out(self, master: _Master) -> None:
        """Send away the streams whose slots other masters have; the pipeline follows those that are left."""
        pipeline = master.pipeline
        owners = {stream: self._slots.owner(slot_of(stream.key)) or master.owner for stream in pipeline.queue.streams}
        taken = {other.owner for other in self._masters if other is not master}
        if master.owner not in owners.values():
            # A failover: all of them went to one that has no pipeline yet. What went elsewhere leaves below.
            master.owner = next((owner for owner in owners.values() if owner not in taken), master.owner)
        for stream, owner in owners.items():
            if owner != master.owner:
                acknowledged = pipeline.release(stream)
                target = self._master_at(owner)
                target.pipeline.adopt(stream, acknowledged)
                self._homes[stream] = target
                self._log.info("stream_moved", key=stream.key, node="{}:{}".format(*owner))

    async def _retire(self, master: _Master) -> None:
        """End the pipeline that calls this: its last stream has gone."""
        self._masters.remove(master)
        master.pipeline.pressure.release()
        assert master.task is not None
        master.task.cancel()
        await asyncio.Event().wait()

    async def _elsewhere(self, master: _Master, address: Address) -> RedisConnection:
        """A connection to the node that takes over a slot, kept until the pipeline's own is made again."""
        connection = master.asked.get(address)
        if connection is None or connection.lost.done():
            connection = master.asked[address] = await self._open(address)
        return connection


def _hang_up(master: _Master) -> None:
    for connection in master.asked.values():
        connection.abort("closed")
    master.asked.clear()
