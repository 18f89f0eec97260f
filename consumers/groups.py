"""Consumer groups: several readers share the entries of some streams, each entry acknowledged when dealt with.

    async with GroupReader(url, {key: Position.START}, group="audit", consumer="audit-1") as reader:
        async for batch in reader.batches():
            ...
            await reader.ack(batch)

An entry comes at least once: what a consumer left unacknowledged comes again after its restart, or to another consumer
once it has been idle for ``takeover`` seconds (``Entry.again`` marks both).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from redis import exceptions
from redis.asyncio import Redis

from bridge.keys import Keys, StreamKey
from consumers.connection import OUTAGE, Outages, Where, check, make_client, topology_of
from consumers.items import Entry, GroupLost, Hole, Item, PendingGone, Reset, Trimmed, Undecodable, split_id, to_item
from consumers.lanes import Lane, Lanes
from consumers.positions import Cursor, Start, resolve

__all__ = ["GroupReader"]

_log = logging.getLogger(__name__)
_CLAIM_PAGE = 500


class _Share:
    """This consumer's part in one stream."""

    __slots__ = ("inflight", "key", "last", "next_seq", "stream")

    def __init__(self, key: str, stream: StreamKey, cursor: Cursor) -> None:
        self.key = key
        self.stream = stream
        self.next_seq = cursor.next_seq
        self.last = cursor.id
        """The newest ID that this consumer was given, or where the group stood when it came."""
        self.inflight: dict[str, None] = {}
        """Handed to the caller and not yet acknowledged, in their order."""

    def resume(self) -> str:
        """Where a new group must start so that nothing unacknowledged is passed over."""
        if not self.inflight:
            return self.last
        ms, seq = min(map(split_id, self.inflight))
        return f"{ms}-{seq - 1}" if seq else f"{ms - 1}-0"


class GroupReader:
    """One consumer of a group. ``streams`` = {key: where the group starts, if it doesn't exist yet}.

    ``takeover`` is how long, in seconds, another consumer's entry must have waited before it is taken; ``count`` and
    ``block`` are as in ``Reader``. ``clock`` gives seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        url: Where,
        streams: Mapping[str, Start],
        *,
        group: str,
        consumer: str,
        namespace: str = "",
        count: int = 1000,
        block: float = 1.0,
        takeover: float = 60.0,
        outages: Outages | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topology = topology_of(url)
        self._keys = Keys(namespace)
        self._wanted = dict(streams)
        self._group = group
        self._consumer = consumer
        self._head = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count)
        self._block = max(1, int(block * 1000))
        self._takeover = takeover
        self._clock = clock
        self._outages = outages or Outages(self._report)
        self._redis: Redis = make_client(self._topology)
        self._lanes = Lanes(self._topology, block, self._redis)
        self._shares: dict[str, _Share] = {}
        self._ready: deque[Item] = deque()
        self._history = True
        self._claim_at = 0.0

    async def __aenter__(self) -> Self:
        """Connect and make the groups that don't exist yet.

        Raises:
            RedisUnreachableError: Redis doesn't answer, or refuses this client.
            ValueError: no stream, a key that is no data stream, or a start that makes no sense for its stream.
        """
        if not self._wanted:
            msg = "a group reader needs at least one stream"
            raise ValueError(msg)
        try:
            await check(self._redis, self._topology)
            for key, start in self._wanted.items():
                await self._join(key, start)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; what is unacknowledged stays so."""
        await self._lanes.aclose()
        await self._redis.aclose()

    async def ack(self, items: Iterable[Item]) -> int:
        """Acknowledge the entries among ``items``; returns how many Redis still had down as pending.

        Waits while Redis is away: an acknowledgement can be repeated.
        """
        done: dict[str, list[str]] = {}
        for item in items:
            if isinstance(item, Entry | Undecodable):
                done.setdefault(item.key, []).append(item.id)
        total = 0
        for key, ids in done.items():
            call = partial(self._redis.xack, key, self._group, *ids)
            total += await self._outages.outlive(call)
            share = self._shares.get(key)
            if share:
                for entry_id in ids:
                    share.inflight.pop(entry_id, None)
        return total

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Item by item, endlessly."""
        self._history = True
        while True:
            while not self._ready:
                self._ready.extend(await self._next_batch())
            yield self._ready.popleft()

    async def batches(self) -> AsyncIterator[list[Item]]:
        """All items that there were at once, endlessly; never an empty list."""
        self._history = True
        while True:
            batch = list(self._ready) or await self._next_batch()
            self._ready.clear()
            if batch:
                yield batch

    async def _next_batch(self) -> list[Item]:
        try:
            if self._history:
                batch = await self._outages.outlive(self._own_pending)
                self._history = False
            elif self._clock() >= self._claim_at:
                batch = await self._claim()
                self._claim_at = self._clock() + self._takeover / 2
            else:
                batch = await self._new()
        except OUTAGE:
            # What the lost reply held is pending in our name: it stands in our history, before anything new.
            self._history = True
            return []
        except exceptions.ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            batch = [item for share in self._shares.values() for item in await self._restore(share)]
        for item in batch:
            if isinstance(item, Entry | Undecodable):
                self._shares[item.key].inflight[item.id] = None
            elif isinstance(item, PendingGone):
                await self._outages.outlive(partial(self._redis.xack, item.key, self._group, *item.ids))
        return batch

    async def _own_pending(self) -> list[Item]:
        """What was given to this consumer and never acknowledged, without what the caller still has in hand."""
        items: list[Item] = []
        for share in self._shares.values():
            if self._lanes.of(share.key).task is not None:
                continue  # in a Cluster: this one's read goes on, or its reply waits to be taken
            after = "0-0"
            while reply := await self._call(*self._head, "STREAMS", share.key, after, key=share.key):
                entries = reply[0][1]
                if not entries:
                    break
                after = entries[-1][0]
                gone = [entry_id for entry_id, flat in entries if flat is None]
                items += _gone(share, gone) + _again(share, entries)
        return items

    async def _claim(self) -> list[Item]:
        """Take over what other consumers have left lying for too long."""
        items: list[Item] = []
        idle = int(self._takeover * 1000)
        for share in self._shares.values():
            after = "0-0"
            while True:
                command = ("XAUTOCLAIM", share.key, self._group, self._consumer, idle, after, "COUNT", _CLAIM_PAGE)
                after, entries, *deleted = await self._call(*command, key=share.key)
                items += _gone(share, deleted[0] if deleted else []) + _again(
                    share, [entry for entry in entries if entry]
                )
                if after == "0-0":
                    break
        return items

    async def _new(self) -> list[Item]:
        items: list[Item] = []
        reply = await self._lanes.read(self._read)
        for key, entries in reply or ():
            share = self._shares[key]
            await self._check_first(share, entries[0][0], items)
            for entry_id, flat in entries:
                seq = split_id(entry_id)[1]
                if share.next_seq is not None and seq != share.next_seq:
                    items.append(_break(share, entry_id, seq, share.next_seq))
                share.next_seq = seq + 1
                share.last = entry_id
                items.append(to_item(key, share.stream, entry_id, flat))
        return items

    async def _read(self, lane: Lane) -> Any:
        new = (">" for _ in lane.keys)
        return await lane.connection.call(*self._head, "BLOCK", self._block, "STREAMS", *lane.keys, *new)

    async def _call(self, *command: Any, key: str) -> Any:
        """A command that doesn't wait, where the key is."""
        return await self._lanes.of(key).side.call(*command)

    async def _check_first(self, share: _Share, entry_id: str, items: list[Item]) -> None:
        """Entries between two reads of this consumer went to others, or were trimmed, or are missing."""
        found = split_id(entry_id)[1]
        expected = share.next_seq
        if expected is None or found <= expected:
            return
        before = await self._call("XREVRANGE", share.key, f"({entry_id}", "-", "COUNT", 1, key=share.key)
        if before:
            share.next_seq = split_id(before[0][0])[1] + 1
        else:
            items.append(Trimmed(share.key, share.stream, share.last, entry_id, found - expected))
            share.next_seq = found

    async def _join(self, key: str, start: Start) -> None:
        stream = self._keys.parse(key)
        if stream is None:
            msg = f"{key!r} is no data stream"
            raise ValueError(msg)
        cursor = (await resolve(self._redis, self._keys, key, stream, start)).cursor
        if not await self._create(key, cursor.id):
            groups: Any = await self._call("XINFO", "GROUPS", key, key=key)
            known = {info["name"]: info for info in (dict(zip(row[::2], row[1::2], strict=True)) for row in groups)}
            last = known[self._group]["last-delivered-id"]
            cursor = Cursor(last, split_id(last)[1] + 1 if last != "0-0" else None)
        self._shares[key] = _Share(key, stream, cursor)
        self._lanes.add(key)

    async def _create(self, key: str, start: str) -> bool:
        """Make the group; ``False`` if it is there."""
        try:
            await self._call("XGROUP", "CREATE", key, self._group, start, "MKSTREAM", key=key)
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return False
        return True

    async def _restore(self, share: _Share) -> list[Item]:
        """Make the group again where it has vanished, and say so."""
        if not await self._outages.outlive(lambda: self._vanished(share.key)):
            return []
        resumed = share.resume()
        await self._outages.outlive(lambda: self._create(share.key, resumed))
        share.inflight.clear()
        share.last, share.next_seq = resumed, None
        return [GroupLost(share.key, share.stream, self._group, resumed)]

    async def _vanished(self, key: str) -> bool:
        try:
            groups = await self._call("XINFO", "GROUPS", key, key=key)
        except exceptions.ResponseError as error:
            if "no such key" not in str(error).lower():
                raise
            return True
        return all(row[1] != self._group for row in groups)

    def _report(self, error: BaseException | None) -> None:
        if error is None:
            _log.warning("Redis at %s is back", self._topology.address)
        else:
            _log.warning("Redis at %s is away, waiting: %s", self._topology.address, error)


def _break(share: _Share, entry_id: str, found: int, expected: int) -> Item:
    if found > expected:
        return Hole(share.key, share.stream, entry_id, expected, found)
    return Reset(share.key, share.stream, share.last, entry_id)


def _gone(share: _Share, ids: Iterable[str]) -> list[Item]:
    gone = tuple(entry_id for entry_id in ids if entry_id not in share.inflight)
    return [PendingGone(share.key, share.stream, gone)] if gone else []


def _again(share: _Share, entries: Iterable[tuple[str, list[str] | None]]) -> list[Item]:
    return [
        to_item(share.key, share.stream, entry_id, flat, again=True)
        for entry_id, flat in entries
        if flat is not None and entry_id not in share.inflight
    ]
