"""The typed reader: events out of any set of streams, complete, or saying where they are not.

    async with Reader(url, {"md:{limitlex:BTC-EUR}:trades": Position.NOW}) as reader:
        async for item in reader:
            match item:
                case Entry(event=Trade() as trade): ...
                case Hole() | Trimmed() | Reset(): ...

It reads on over restarts of Redis. ``batches()`` gives the same items in lists, at a lower cost for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from redis.asyncio import Redis

from bridge.entries import decode
from bridge.keys import Keys, StreamKey
from consumers.connection import Outages, Where, check, make_client, topology_of
from consumers.items import Entry, Hole, Item, Reset, Trimmed, Undecodable, split_id, to_item
from consumers.lanes import Lane, Lanes
from consumers.positions import Cursor, Position, Saved, Start, resolve

__all__ = ["Cursor", "Position", "Reader", "Row", "Saved", "Start"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Tail:
    """Where the reader stands in one stream."""

    __slots__ = ("handed", "id", "key", "missing", "next_seq", "read", "stream")

    def __init__(self, key: str, stream: StreamKey, cursor: Cursor) -> None:
        self.key = key
        self.stream = stream
        self.id = cursor.id
        self.next_seq = cursor.next_seq
        self.handed = cursor.id
        self.read = 0
        self.missing: Counter[str] = Counter()


class Row(NamedTuple):
    """A stream as its reader stands to it: the ID read last, entries ``read``, how often which kind of item was ``missing`` some."""

    key: str
    exchange: str
    channel: str
    id: str
    read: int
    missing: Counter[str]


class Reader:
    """Reads streams from ``streams`` = {key: where to start}, each with its own position.

    ``count`` is the most entries of one stream in a batch; ``block`` the seconds that Redis holds a read open: as
    long does it take at most until an added stream is looked at. A read returns as soon as there is one entry.
    Streams that don't exist yet are waited for. ``url`` may also lead to Sentinels or to a Cluster, or be a `Topology`.
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
    ) -> None:
        self._topology = topology_of(url)
        self._keys = Keys(namespace)
        self._wanted = dict(streams or {})
        for key in self._wanted:
            self._parse(key)
        self._command = ("XREAD", "COUNT", count, "BLOCK", max(1, int(block * 1000)), "STREAMS")
        self._outages = outages or Outages(self._report)
        self._redis: Redis = make_client(self._topology)
        self._lanes = Lanes(self._topology, block, self._redis)
        self._tails: dict[str, _Tail] = {}
        self._ready: deque[Item] = deque()
        self._added = asyncio.Event()
        self.trouble = ""
        """Why Redis doesn't answer, while it doesn't."""

    async def __aenter__(self) -> Self:
        """Connect, and settle where each stream starts: from here on nothing is missed.

        Raises:
            RedisUnreachableError: Redis doesn't answer, or refuses this client.
            ValueError: a start that makes no sense for its stream.
        """
        try:
            await check(self._redis, self._topology)
            for key, start in self._wanted.items():
                await self._place(key, start)
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
        await self._lanes.aclose()
        await self._redis.aclose()

    @property
    def redis(self) -> Redis:
        """A client for other commands, which gives text."""
        return self._redis

    @property
    def outages(self) -> int:
        """How often Redis was away since the start."""
        return self._outages.count

    @property
    def streams(self) -> list[str]:
        """The keys being read."""
        return list(self._tails)

    def rows(self) -> list[Row]:
        """Each stream that is read, for whoever watches."""
        return [
            Row(key, tail.stream.exchange, str(tail.stream.channel), tail.id, tail.read, tail.missing)
            for key, tail in self._tails.items()
        ]

    @property
    def cursors(self) -> dict[str, str]:
        """Where the caller stands: per key the ID of the last entry handed out (a batch's last, with ``batches``)."""
        return {key: tail.handed for key, tail in self._tails.items() if tail.handed}

    async def outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call that may be repeated, once Redis answers; refusals are raised."""
        return await self._outages.outlive(call)

    async def add(self, key: str, start: Start = Position.START) -> None:
        """Read one more stream; no effect on one that is read already. Waits while Redis is away.

        Raises:
            ValueError: the key is no data stream, or the start makes no sense for it.
        """
        if key not in self._tails:
            self._parse(key)
            await self._outages.outlive(lambda: self._place(key, start))

    def remove(self, key: str) -> None:
        """Read this stream no longer."""
        if self._tails.pop(key, None):
            self._lanes.remove(key)

    async def save(self, name: str) -> None:
        """Keep ``cursors`` in Redis under ``name``, for ``Saved(name)``; call it when the items are dealt with."""
        cursors: dict[Any, Any] = dict(self.cursors)
        if cursors:
            await self._outages.outlive(lambda: self._redis.hset(self._keys.cursor(name), mapping=cursors))

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Item by item, endlessly."""
        while True:
            if not self._ready:
                self._ready.extend(await self._next_batch())
            item = self._ready.popleft()
            self._hand(item)
            yield item

    async def batches(self) -> AsyncIterator[list[Item]]:
        """All items that there were at once, endlessly; never an empty list."""
        while True:
            batch = await self._next_batch()
            held_back = {item.key for item in self._ready}
            for key, tail in self._tails.items():
                if key not in held_back:
                    tail.handed = tail.id
            yield batch

    def _hand(self, item: Item) -> None:
        tail = self._tails.get(item.key)
        if tail and isinstance(item, Entry | Undecodable):
            tail.handed = item.id

    async def _next_batch(self) -> list[Item]:
        while True:
            if self._ready:
                ready = list(self._ready)
                self._ready.clear()
                return ready
            if not self._tails:
                self._added.clear()
                await self._added.wait()
                continue
            reply = await self._lanes.read(self._read)
            if not reply:
                continue
            items: list[Item] = []
            for key, entries in reply:
                tail = self._tails.get(key)
                if tail is not None:
                    await self._check_first(tail, entries[0][0], items)
                    _take(tail, entries, items)
            if items:
                return items

    async def _read(self, lane: Lane) -> Any:
        async def call() -> Any:
            if not lane.keys:
                return None  # all were removed while Redis was away
            ids = (self._tails[key].id for key in lane.keys)
            return await lane.connection.call(*self._command, *lane.keys, *ids)

        return await self._outages.outlive(call)

    async def _check_first(self, tail: _Tail, entry_id: str, items: list[Item]) -> None:
        """A hole before the first entry of a read that is now the oldest of all was made by trimming."""
        found = split_id(entry_id)[1]
        if tail.next_seq is None or found <= tail.next_seq:
            return
        before = await self._outages.outlive(lambda: self._redis.xrevrange(tail.key, f"({entry_id}", "-", count=1))
        if not before:
            tail.missing["trimmed"] += 1
            items.append(Trimmed(tail.key, tail.stream, tail.id, entry_id, found - tail.next_seq))
            tail.next_seq = found

    async def _place(self, key: str, start: Start) -> None:
        stream = self._parse(key)
        place = await resolve(self._redis, self._keys, key, stream, start)
        tail = self._tails[key] = _Tail(key, stream, place.cursor)
        self._lanes.add(key)
        if place.first is not None:
            self._ready.append(place.first)
            tail.handed = ""
        self._added.set()

    def _parse(self, key: str) -> StreamKey:
        stream = self._keys.parse(key)
        if stream is None:
            msg = f"{key!r} is no data stream" + (
                f" in namespace {self._keys.namespace!r}" * bool(self._keys.namespace)
            )
            raise ValueError(msg)
        return stream

    def _report(self, error: BaseException | None) -> None:
        self.trouble = "" if error is None else str(error) or type(error).__name__
        if error is None:
            _log.warning("Redis at %s is back", self._topology.address)
        else:
            _log.warning("Redis at %s is away, waiting: %s", self._topology.address, error)


def _take(tail: _Tail, entries: Sequence[tuple[str, list[str]]], items: list[Item]) -> None:
    """Turn a stream's raw entries into items; the loop that decides how fast the reader is."""
    key, stream, expected, last = tail.key, tail.stream, tail.next_seq, tail.id
    for entry_id, flat in entries:
        seq = int(entry_id.rpartition("-")[2])
        if seq != expected and expected is not None:
            tail.missing["hole" if seq > expected else "reset"] += 1
            items.append(
                Hole(key, stream, entry_id, expected, seq) if seq > expected else Reset(key, stream, last, entry_id)
            )
        expected = seq + 1
        last = entry_id
        try:
            items.append(Entry(key, stream, entry_id, seq, decode(stream, flat)))
        except ValueError:
            items.append(to_item(key, stream, entry_id, flat))
            tail.missing["undecodable"] += 1
    tail.read += len(entries)
    tail.next_seq, tail.id = expected, last
