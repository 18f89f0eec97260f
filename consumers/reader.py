"""The typed reader: the events of any set of streams, and a report wherever something is missing.

    async with Reader(url, {"md:{limitlex:BTC-EUR}:trades": Position.NOW}) as reader:
        async for item in reader:
            match item:
                case Entry(event=Trade() as trade): ...
                case Hole() | Trimmed() | Reset(): ...

It continues after restarts of Redis. ``batches()`` yields the same items in lists, at a lower cost per item.

Waiting for an item may be cancelled at any time, for example by a timeout: what was read and not yet returned comes next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from bridge.keys import Keys, StreamKey
from bridge.redis.errors import refuses_key
from consumers.blocking import BlockingReader, BlockingReaders
from consumers.connection import (
    Endless,
    Outages,
    Steps,
    Where,
    check,
    log_outages,
    make_client,
    of_replica,
    topology_of,
)
from consumers.items import Item, Stored, Trimmed, Unreadable, split_id
from consumers.positions import Cursor, Position, Saved, Start, resolve
from consumers.refused import RefusedStreams, all_forbidden
from consumers.stream_positions import Entries, StreamPosition, take, take_raw

__all__ = ["Cursor", "Position", "Reader", "Row", "Saved", "Start"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


Reply = list[tuple[StreamPosition, Entries]]


class Row(NamedTuple):
    """What a reader knows of a stream: ``id`` is the last ID read, ``read`` counts entries, ``missing`` counts interruptions by kind."""

    key: str
    exchange: str
    channel: str
    id: str
    read: int
    missing: Counter[str]


class Reader:
    """Reads the streams in ``streams``, a mapping from key to where to start, each with its own position.

    ``count`` is the maximum number of entries of one stream in a batch. ``block`` is how long, in seconds, Redis keeps
    a read open, and so the maximum time until an added stream is read. A read returns as soon as there is an entry.
    Streams that do not exist yet are waited for. ``url`` may also be that of Sentinels or a Cluster, or a `Topology`.
    A ``raw`` reader yields entries as `Raw`, without parsing them.
    """

    def __init__(
        self,
        url: Where,
        streams: Mapping[str, Start] | None = None,
        *,
        namespace: str = "",
        count: int = 1000,
        block: float = 1.0,
        outages: Outages | None = None,
        raw: bool = False,
    ) -> None:
        self._topology = topology_of(url)
        self._keys = Keys(namespace)
        self._wanted = dict(streams or {})
        for key in self._wanted:
            self._parse(key)
        self._take = take_raw if raw else take
        self._command: tuple[str | int, ...] = ("XREAD", "COUNT", count)
        self._block = block
        self._waits = True
        """Whether reads wait for new entries."""
        self._log_outage = log_outages(self._topology.address)
        self._outages = outages or Outages(self._report)
        self._redis: Redis = make_client(self._topology)
        self._blocking = BlockingReaders(self._topology, block, self._redis)
        self._positions: dict[str, StreamPosition] = {}
        self._replies: deque[tuple[StreamPosition, Entries]] = deque()
        """What was read and is not an item yet: Redis may have to be asked about a hole."""
        self._ready: deque[Item] = deque()
        self._refused = RefusedStreams(self._blocking, lambda: asyncio.get_running_loop().time())
        self._added = asyncio.Event()
        self._steps = Steps(lambda: self._step())  # noqa: PLW0108 - a PatternReader has steps of its own
        self.trouble = ""
        """Why Redis does not answer; empty while it does."""

    async def __aenter__(self) -> Self:
        """Connect, and determine where each stream starts: from here on nothing is missed.

        Raises:
            RedisUnavailableError: Redis does not answer, or refuses this client.
            ValueError: a start that is not valid for its stream.
        """
        try:
            await check(self._redis, self._topology)
            for key, start in self._wanted.items():
                await self._start_reading(key, start)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._steps.aclose()
        await self._blocking.aclose()
        await self._redis.aclose()

    @property
    def redis(self) -> Redis:
        """A client for other commands, with decoded replies."""
        return self._redis

    @property
    def outages(self) -> int:
        """How often Redis was unreachable since the start."""
        return self._outages.count

    @property
    def streams(self) -> list[str]:
        """The keys being read."""
        return list(self._positions)

    def rows(self) -> list[Row]:
        """A row for each stream that is read, for monitoring."""
        return [
            Row(
                key,
                position.stream.exchange,
                str(position.stream.channel),
                position.id,
                position.read,
                position.missing,
            )
            for key, position in self._positions.items()
        ]

    @property
    def cursors(self) -> dict[str, str]:
        """The caller's position: per key the ID of the last entry returned (with ``batches``, the last of the batch)."""
        return {key: position.returned for key, position in self._positions.items() if position.returned}

    async def outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call that may be repeated, once Redis answers; refusals are raised."""

        async def attempt() -> T:
            try:
                return await call()
            except exceptions.ReadOnlyError:
                raise await of_replica(self._redis) from None

        return await self._outages.outlive(attempt)

    async def add(self, key: str, start: Start = Position.START) -> None:
        """Read one more stream; no effect if it is read already. Waits while Redis is unreachable.

        Raises:
            ValueError: the key is not a data stream, or the start is not valid for it.
        """
        if key not in self._positions:
            self._parse(key)
            await self._outages.outlive(lambda: self._start_reading(key, start))

    def remove(self, key: str) -> None:
        """Stop reading this stream."""
        if self._positions.pop(key, None):
            # What was read and not returned must not come after a later `add`.
            self._ready = deque(item for item in self._ready if item.key != key)
            self._blocking.remove(key)
            self._refused.discard(key)

    async def save(self, name: str) -> None:
        """Save ``cursors`` in Redis under ``name``, for ``Saved(name)``; call it when the items are processed."""
        cursors: dict[Any, Any] = dict(self.cursors)
        if cursors:
            await self._outages.outlive(lambda: self._redis.hset(self._keys.cursor(name), mapping=cursors))

    def __aiter__(self) -> AsyncIterator[Item]:
        """Item by item, endlessly."""
        return Endless(self._next_item)

    def batches(self) -> Endless[list[Item]]:
        """All items that are available at once, endlessly; never an empty list."""
        return Endless(self._next_batch)

    async def _next_item(self) -> Item:
        while not self._ready:
            await self._steps.run()
        item = self._ready.popleft()
        position = self._positions.get(item.key)
        if position and isinstance(item, Stored):
            position.returned = item.id
        return item

    async def _next_batch(self) -> list[Item]:
        while self._replies or not self._ready:
            await self._steps.run()
        return self._take_ready()

    async def available(self) -> list[Item]:
        """The items that are there already, perhaps none: a read that does not wait for new entries.

        A read that is on its way because a wait was cancelled is not waited for, nor is Redis for longer than ``block``.
        """
        self._waits = False
        try:
            async with asyncio.timeout(self._block):
                if self._steps.running:
                    await asyncio.sleep(0)
                elif not self._ready:
                    await self._steps.run()
                while self._replies and not self._steps.running:
                    await self._steps.run()
        except TimeoutError:
            pass
        finally:
            self._waits = True
        return self._take_ready()

    def _take_ready(self) -> list[Item]:
        batch = list(self._ready)
        self._ready.clear()
        for position in self._positions.values():
            position.returned = position.id
        return batch

    async def _step(self) -> None:
        """One step: turn what was read of one stream into items, or read.

        Nothing changes before its last ``await``, so a cancelled step can be repeated.
        """
        if self._replies:
            position, entries = self._replies[0]
            trimmed = None
            if self._positions.get(position.key) is position:
                trimmed = await self._trimmed_before(position, entries[0][0].decode())
            if self._replies and self._replies[0][1] is entries:
                self._replies.popleft()
                if self._positions.get(position.key) is position:
                    if trimmed:
                        self._note_trimmed(position, trimmed)
                    self._take(position, entries, self._ready)
            return
        self._refused.retry_due()
        if self._blocking.idle:
            if self._waits:
                await self._wait_for_streams()
            return
        self._replies.extend(await self._blocking.read(self._read))

    async def _wait_for_streams(self) -> None:
        """Wait until a stream is added, or a refused one is to be retried."""
        self._added.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._idle_for()):
                await self._added.wait()

    def _idle_for(self) -> float | None:
        """Seconds for which a reader without streams has nothing to do; ``None``: until one is added."""
        return self._refused.retry_in

    async def _read(self, source: BlockingReader) -> Reply:
        async def call() -> Reply:
            positions = {key: self._positions[key] for key in source.keys}
            if not positions:
                return []  # all were removed while Redis was unreachable
            reply = await source.connection.call(
                *self._command,
                *(("BLOCK", max(1, int(self._block * 1000))) if self._waits else ()),
                "STREAMS",
                *positions,
                *(position.id for position in positions.values()),
                text=False,
            )
            self._refused.mark_readable(positions)
            return [(positions[key.decode()], entries) for key, entries in reply or ()]

        try:
            return await self._outages.outlive(call)
        except exceptions.ResponseError as error:
            if not refuses_key(error) or not await self._drop_refused(source):
                raise
            return []

    async def _drop_refused(self, source: BlockingReader) -> bool:
        """Find the streams that Redis refuses, and leave them out; returns whether it makes sense to continue.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        refused: dict[str, exceptions.ResponseError] = {}
        for key in list(source.keys):
            if key not in self._positions:
                continue
            look = partial(source.connection.call, "XREAD", "COUNT", 1, "STREAMS", key, self._positions[key].id)
            try:
                await self._outages.outlive(look)
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    raise
                refused[key] = error
        if all_forbidden(refused, self._positions, self._refused):
            return False
        for key, why in refused.items():
            if key in self._positions:
                words = self._refused.add(key, why)
                self._ready.extend([Unreadable(key, self._positions[key].stream, words)] if words else [])
        return True

    async def _trimmed_before(self, position: StreamPosition, entry_id: str) -> Trimmed | None:
        """A hole before the first entry read is due to trimming if that entry is now the stream's oldest."""
        found = split_id(entry_id)[1]
        if position.next_seq is None or found <= position.next_seq:
            return None
        try:
            before = await self._outages.outlive(
                lambda: self._redis.xrevrange(position.key, f"({entry_id}", "-", count=1)
            )
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            return None  # the stream is gone: a hole
        if before:
            return None
        return Trimmed(position.key, position.stream, position.id, entry_id, found - position.next_seq)

    def _note_trimmed(self, position: StreamPosition, trimmed: Trimmed) -> None:
        position.missing["trimmed"] += 1
        position.next_seq = split_id(trimmed.oldest)[1]
        self._ready.append(trimmed)

    async def _start_reading(self, key: str, start: Start) -> None:
        stream = self._parse(key)
        start_point = await resolve(self._redis, self._keys, key, stream, start)
        if key in self._positions:
            return  # another task added it first
        position = self._positions[key] = StreamPosition(key, stream, start_point.cursor)
        self._blocking.add(key)
        if start_point.first is not None:
            self._ready.append(start_point.first)
            position.returned = ""
        self._added.set()

    def _parse(self, key: str) -> StreamKey:
        stream = self._keys.parse(key)
        if stream is None:
            msg = f"{key!r} is not a data stream" + (
                f" in namespace {self._keys.namespace!r}" * bool(self._keys.namespace)
            )
            raise ValueError(msg)
        return stream

    def _report(self, error: BaseException | None) -> None:
        self.trouble = "" if error is None else str(error) or type(error).__name__
        self._log_outage(error)
