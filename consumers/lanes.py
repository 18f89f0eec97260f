"""Blocking reads of any number of streams, wherever they are.

One server answers for all streams at once. In a Redis Cluster a command is for one hash slot, that is for the streams of
one pair or account; so each slot has a connection of its own there, and all of them wait side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from redis.asyncio import Redis

from bridge.redis.topology import Address, Kind, Slots, slot_of
from consumers.connection import BlockingConnection, Where, topology_of

__all__ = ["Lane", "Lanes"]

Call = Callable[["Lane"], Coroutine[Any, Any, Any]]


class Lane:
    """A connection, and the streams that are read over it."""

    def __init__(self, connection: BlockingConnection, side: BlockingConnection) -> None:
        self.connection = connection
        self.side = side
        """For commands that don't wait, while a read does."""
        self.keys: list[str] = []
        self.task: asyncio.Task[Any] | None = None
        """A read that has begun; its reply stays here until somebody takes it."""


class Lanes:
    """The lanes of one reader; ``client`` is its ``RedisCluster``, where it has one."""

    def __init__(self, where: Where, block: float, client: Redis) -> None:
        self._topology = topology_of(where)
        self._block = block
        self._slots = Slots(self._topology, client) if self._topology.kind is Kind.CLUSTER else None
        self._lanes: dict[int, Lane] = {}

    def of(self, key: str) -> Lane:
        """The lane of this stream."""
        slot = slot_of(key) if self._slots else 0
        lane = self._lanes.get(slot)
        if lane is None:
            connection = self._connection(slot)
            lane = self._lanes[slot] = Lane(connection, self._connection(slot) if self._slots else connection)
        return lane

    def add(self, key: str) -> None:
        """Read this stream too, from the next read on."""
        keys = self.of(key).keys
        if key not in keys:
            keys.append(key)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to read, and no reply to take."""
        return not any(lane.keys or lane.task for lane in self._lanes.values())

    def remove(self, key: str) -> None:
        """Read it no longer."""
        keys = self.of(key).keys
        if key in keys:
            keys.remove(key)

    async def read(self, call: Call) -> list[Any]:
        """What ``call`` gives for each lane with streams, as soon as there is a reply: the replies, put together.

        A lane whose reply has come waits for the next ``read``; nothing is lost if this is cancelled.

        Raises:
            Exception: what ``call`` raises for a lane, once no other lane's reply would be lost by it.
        """
        lanes = [lane for lane in self._lanes.values() if lane.keys or lane.task]
        if len(lanes) == 1 and lanes[0].task is None:
            return list(await call(lanes[0]) or ())
        tasks = []
        for lane in lanes:
            if lane.task is None:
                lane.task = asyncio.create_task(call(lane), name=f"read-{lane.keys[0]}")
            tasks.append(lane.task)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        replies: list[Any] = []
        failed: Lane | None = None
        for lane in lanes:
            if lane.task is not None and lane.task.done():
                if lane.task.exception():
                    failed = lane
                else:
                    replies += lane.task.result() or ()
                    lane.task = None
        if failed and failed.task and not replies:
            task, failed.task = failed.task, None
            task.result()
        return replies

    async def aclose(self) -> None:
        """End all reads and close their connections."""
        lanes: Iterable[Lane] = list(self._lanes.values())
        for lane in lanes:
            if lane.task is not None:
                lane.task.cancel()
                await asyncio.wait((lane.task,))
                if not lane.task.cancelled():
                    lane.task.exception()
                lane.task = None
            await lane.connection.aclose()
            await lane.side.aclose()

    def _connection(self, slot: int) -> BlockingConnection:
        slots = self._slots
        if slots is None:
            return BlockingConnection(self._topology, self._block)

        async def locate() -> Address | None:
            await slots.refresh()
            owner = slots.owner(slot)
            if owner is None:
                raise ConnectionError(f"no node has slot {slot} of the Cluster")
            return owner

        return BlockingConnection(self._topology, self._block, locate=locate)
