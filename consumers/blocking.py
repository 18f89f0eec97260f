"""Blocking reads of any number of streams.

A single server answers for all streams at once. In a Redis Cluster, a command may concern only one hash slot, that is,
the streams of one pair or account. Each slot therefore has a connection of its own, and all of them wait at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from redis.asyncio import Redis

from bridge.redis.topology import Address, Kind, Slots, slot_of
from consumers.connection import BlockingConnection, Where, end, topology_of

__all__ = ["BlockingReader", "BlockingReaders"]

Call = Callable[["BlockingReader"], Coroutine[Any, Any, Any]]


class BlockingReader:
    """A connection and the streams that are read over it."""

    def __init__(self, connection: BlockingConnection, commands: BlockingConnection) -> None:
        self.connection = connection
        self.commands = commands
        """For commands that must not wait behind a blocking read."""
        self.keys: list[str] = []
        self.task: asyncio.Task[Any] | None = None
        """The read in progress; holds its reply until ``BlockingReaders.read`` takes it."""


class BlockingReaders:
    """The blocking readers of one reader; ``client`` is used to look up the slots of a Cluster."""

    def __init__(self, where: Where, block: float, client: Redis) -> None:
        self._topology = topology_of(where)
        self._block = block
        self._slots = Slots(self._topology, client) if self._topology.kind is Kind.CLUSTER else None
        self._readers: dict[int, BlockingReader] = {}

    def of(self, key: str) -> BlockingReader:
        """The blocking reader of this stream."""
        slot = slot_of(key) if self._slots else 0
        reader = self._readers.get(slot)
        if reader is None:
            connection = self._connection(slot)
            reader = self._readers[slot] = BlockingReader(
                connection, self._connection(slot) if self._slots else connection
            )
        return reader

    def add(self, key: str) -> None:
        """Include this stream, from the next read on."""
        keys = self.of(key).keys
        if key not in keys:
            keys.append(key)

    @property
    def idle(self) -> bool:
        """Whether there is no stream to read and no reply to take."""
        return not any(reader.keys or reader.task for reader in self._readers.values())

    def remove(self, key: str) -> None:
        """Stop reading this stream."""
        keys = self.of(key).keys
        if key in keys:
            keys.remove(key)

    async def read(self, call: Call) -> list[Any]:
        """Run ``call`` for each reader that has streams; returns the replies that are available, at least one.

        Replies that arrive later are returned by the next ``read``. Nothing is lost if this is cancelled.

        Raises:
            Exception: whatever ``call`` raises, unless other replies are available; then at the next ``read``.
        """
        readers = [reader for reader in self._readers.values() if reader.keys or reader.task]
        if len(readers) == 1 and readers[0].task is None:
            return list(await call(readers[0]) or ())
        tasks = []
        for reader in readers:
            if reader.task is None:
                reader.task = asyncio.create_task(call(reader), name=f"read-{reader.keys[0]}")
            tasks.append(reader.task)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        replies: list[Any] = []
        failed: BlockingReader | None = None
        for reader in readers:
            if reader.task is not None and reader.task.done():
                if reader.task.exception():
                    failed = reader
                else:
                    replies += reader.task.result() or ()
                    reader.task = None
        if failed and failed.task and not replies:
            task, failed.task = failed.task, None
            task.result()
        return replies

    async def aclose(self) -> None:
        """Cancel all reads and close their connections."""
        readers: Iterable[BlockingReader] = list(self._readers.values())
        for reader in readers:
            if reader.task is not None:
                await end(reader.task)
                reader.task = None
            await reader.connection.aclose()
            await reader.commands.aclose()

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
