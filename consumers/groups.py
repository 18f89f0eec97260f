"""Consumer groups: several readers share the entries of streams, and acknowledge each when it is processed.

    async with GroupReader(url, {key: Position.START}, group="audit", consumer="audit-1") as reader:
        async for batch in reader.batches():
            ...
            await reader.ack(batch)

Each entry is delivered at least once: an entry that a consumer did not acknowledge is delivered again after the
consumer's restart, or to another consumer once it has been idle for ``takeover`` seconds (``Entry.again`` marks both).
Waiting for an item may be cancelled at any time: what Redis delivered and the caller did not get comes next, in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from redis import exceptions
from redis.asyncio import Redis

from bridge.keys import Keys
from bridge.redis.errors import AWAY, refuses_key
from consumers.blocking import BlockingReader, BlockingReaders
from consumers.connection import Endless, Outages, Steps, Where, check, log_outages, make_client, topology_of
from consumers.group_positions import GroupPosition, creation_options, recording_acknowledgements
from consumers.items import GroupLost, Item, PendingGone, Stored, Trimmed, Unreadable, split_id, to_item
from consumers.positions import Cursor, Start, resolve
from consumers.refused import RefusedStreams, all_forbidden

__all__ = ["GroupReader"]

Entries = list[tuple[str, list[str]]]

_log = logging.getLogger(__name__)
_CLAIM_PAGE = 500


class GroupReader:
    """One consumer of a group. ``streams`` maps each key to where the group starts, if it does not exist yet.

    ``takeover`` is how long, in seconds, another consumer's entry must have been idle before it is claimed; ``count`` and
    ``block`` are as in ``Reader``. ``clock`` is in seconds, like ``time.monotonic``.
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
        self._outages = outages or Outages(log_outages(self._topology.address))
        self._redis: Redis = make_client(self._topology)
        self._blocking = BlockingReaders(self._topology, block, self._redis)
        self._positions: dict[str, GroupPosition] = {}
        self._replies: deque[tuple[GroupPosition, Entries]] = deque()
        """What was read and is not an item yet: Redis may have to be asked about a hole."""
        self._ready: deque[Item] = deque()
        self._gone: deque[PendingGone] = deque()
        """Entries that no longer exist, which the reader itself acknowledges."""
        self._refused = RefusedStreams(self._blocking, clock)
        self._history = True
        self._claim_at = 0.0
        self._steps = Steps(self._step)

    async def __aenter__(self) -> Self:
        """Connect, and create the groups that do not exist yet.

        Raises:
            RedisUnavailableError: Redis does not answer, or refuses this client.
            ValueError: no stream, a key that is not a data stream, or a start that is not valid for its stream.
        """
        if not self._wanted:
            raise ValueError("a group reader needs at least one stream")
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
        """Close the connections; unacknowledged entries stay pending."""
        await self._steps.aclose()
        await self._blocking.aclose()
        await self._redis.aclose()

    async def ack(self, items: Iterable[Item]) -> int:
        """Acknowledge the entries among ``items``; returns how many of them were still pending in Redis.

        Waits while Redis is unreachable: an acknowledgement can be repeated.
        """
        done: dict[str, list[str]] = {}
        for item in items:
            if isinstance(item, Stored):
                done.setdefault(item.key, []).append(item.id)
        total = 0
        for key, ids in done.items():
            total += await self._xack(key, ids)
            position = self._positions.get(key)
            if position:
                position.acknowledge(ids)
        return total

    def __aiter__(self) -> AsyncIterator[Item]:
        """Item by item, endlessly."""
        self._history = True
        return Endless(self._next_item)

    def batches(self) -> Endless[list[Item]]:
        """All items that are available at once, endlessly; never an empty list."""
        self._history = True
        return Endless(self._next_batch)

    async def _next_item(self) -> Item:
        while self._gone or not self._ready:
            await self._steps.run()
        return self._ready.popleft()

    async def _next_batch(self) -> list[Item]:
        while self._replies or self._gone or not self._ready:
            await self._steps.run()
        batch = list(self._ready)
        self._ready.clear()
        return batch

    async def _step(self) -> None:
        """One step. What Redis delivered before a failure, and is in neither queue, is in this consumer's history."""
        if self._replies:
            await self._take_reply()
            return
        if self._gone:
            item = self._gone[0]
            await self._xack(item.key, item.ids)
            if self._gone and self._gone[0] is item:
                self._gone.popleft()
            return
        try:
            await self._ask()
        except AWAY:
            # What the lost reply contained is pending for this consumer: read the history before anything new.
            self._history = True
        except exceptions.ResponseError as error:
            self._history = True
            if str(error).startswith(("NOGROUP", "UNBLOCKED")):
                for position in self._positions.values():
                    await self._restore(position)
            elif not refuses_key(error) or not await self._drop_refused():
                raise
        except BaseException:
            self._history = True  # a cancelled read may have been delivered something, as in an outage
            raise

    async def _ask(self) -> None:
        """Ask Redis for items: the history, entries to claim, or new ones."""
        if self._history:
            with recording_acknowledgements(self._positions.values()):
                items, moved = await self._outages.outlive(self._own_pending)
                self._hand(items)
            for position, cursor in moved.items():
                position.last, position.next_seq = cursor.id, cursor.next_seq
            self._history = False
        elif self._clock() >= self._claim_at:
            with recording_acknowledgements(self._positions.values()):
                self._hand(await self._claim())
            self._claim_at = self._clock() + self._takeover / 2
        elif self._readable():
            self._replies.extend(await self._blocking.read(self._read))
        else:
            await asyncio.sleep(self._block / 1000)

    async def _xack(self, key: str, ids: Sequence[str]) -> int:
        try:
            return await self._outages.outlive(partial(self._redis.xack, key, self._group, *ids))
        except exceptions.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return 0  # the stream and its group are gone

    def _hand(self, items: Iterable[Item]) -> None:
        """Queue items for the caller; this reader does not return them a second time."""
        for item in items:
            self._ready.append(item)
            if isinstance(item, Stored):
                self._positions[item.key].inflight[item.id] = None
            elif isinstance(item, PendingGone):
                self._gone.append(item)

    def _readable(self) -> list[GroupPosition]:
        """The streams that Redis does not refuse, including those that are to be retried now."""
        self._refused.retry_due()
        return [position for position in self._positions.values() if position.key not in self._refused]

    async def _own_pending(self) -> tuple[list[Item], dict[GroupPosition, Cursor]]:
        """What was delivered to this consumer and not acknowledged, except what the caller still has.

        Returns:
            The items, and new positions in streams: a stream has one only if a reply was lost.
        """
        items: list[Item] = []
        moved: dict[GroupPosition, Cursor] = {}
        for position in self._readable():
            if self._blocking.of(position.key).task is not None:
                continue  # in a Cluster: a read is in progress, or its reply has not been taken
            after = "0-0"
            while reply := await self._call(*self._head, "STREAMS", position.key, after, key=position.key):
                entries = reply[0][1]
                if not entries:
                    break
                after = entries[-1][0]
                items += position.gone([entry_id for entry_id, flat in entries if flat is None])
                for entry in entries:
                    cursor = moved.get(position) or Cursor(position.last, position.next_seq)
                    if split_id(entry[0]) > split_id(cursor.id):
                        expected, seq = cursor.next_seq, split_id(entry[0])[1]
                        if expected is not None and seq != expected:
                            expected, trimmed = await self._before(position, entry[0], expected)
                            items += [trimmed] if trimmed else []
                        if expected is not None and seq != expected:
                            items.append(position.break_at(entry[0], expected))
                        moved[position] = Cursor(entry[0], seq + 1)
                    items += position.again([entry])
        return items, moved

    async def _claim(self) -> list[Item]:
        """Claim entries that other consumers have left unacknowledged for too long."""
        items: list[Item] = []
        idle = int(self._takeover * 1000)
        for position in self._readable():
            after = "0-0"
            while True:
                command = ("XAUTOCLAIM", position.key, self._group, self._consumer, idle, after, "COUNT", _CLAIM_PAGE)
                after, entries, *deleted = await self._call(*command, key=position.key)
                items += position.gone(deleted[0] if deleted else []) + position.again(
                    [entry for entry in entries if entry]
                )
                if after == "0-0":
                    break
        return items

    async def _take_reply(self) -> None:
        """Turn the entries read from one stream into items."""
        position, entries = self._replies[0]
        expected, trimmed = await self._outages.outlive(
            partial(self._before, position, entries[0][0], position.next_seq)
        )
        if not self._replies or self._replies[0][1] is not entries:
            return
        self._replies.popleft()
        if trimmed:
            self._ready.append(trimmed)
        position.next_seq = expected
        for entry_id, flat in entries:
            seq = split_id(entry_id)[1]
            if position.next_seq is not None and seq != position.next_seq:
                self._ready.append(position.break_at(entry_id, position.next_seq))
            position.next_seq = seq + 1
            position.last = entry_id
            self._hand([to_item(position.key, position.stream, entry_id, flat)])

    async def _read(self, source: BlockingReader) -> list[tuple[GroupPosition, Entries]]:
        keys = list(source.keys)
        new = (">" for _ in keys)
        reply = await source.connection.call(*self._head, "BLOCK", self._block, "STREAMS", *keys, *new)
        self._refused.mark_readable(keys)
        return [(self._positions[key], entries) for key, entries in reply or ()]

    async def _drop_refused(self) -> bool:
        """Find the streams that Redis refuses, and leave them out; returns whether it makes sense to continue."""
        refused: dict[str, exceptions.ResponseError] = {}
        for position in self._readable():
            try:
                look = partial(self._call, *self._head, "STREAMS", position.key, "0-0", key=position.key)
                await self._outages.outlive(look)
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    continue  # for example no group: the next read reports it
                refused[position.key] = error
        if all_forbidden(refused, self._positions, self._refused):
            return False
        for key, why in refused.items():
            self._refuse(key, why)
        return True

    def _refuse(self, key: str, why: exceptions.ResponseError) -> None:
        words = self._refused.add(key, why)
        self._ready.extend([Unreadable(key, self._positions[key].stream, words)] if words else [])

    async def _call(self, *command: Any, key: str) -> Any:
        """Send a command that does not block to the node that has the key."""
        return await self._blocking.of(key).commands.call(*command)

    async def _before(
        self, position: GroupPosition, entry_id: str, expected: int | None
    ) -> tuple[int | None, Trimmed | None]:
        """The ``seq`` expected at an entry: entries between two reads of this consumer went to others, or are gone."""
        found = split_id(entry_id)[1]
        if expected is None or found <= expected:
            return expected, None
        try:
            before = await self._call("XREVRANGE", position.key, f"({entry_id}", "-", "COUNT", 1, key=position.key)
        except exceptions.ResponseError as error:
            if refuses_key(error):
                return expected, None  # the stream is gone: a hole
            raise
        if before:
            return split_id(before[0][0])[1] + 1, None
        return found, Trimmed(position.key, position.stream, position.last, entry_id, found - expected)

    async def _join(self, key: str, start: Start) -> None:
        stream = self._keys.parse(key)
        if stream is None:
            raise ValueError(f"{key!r} is not a data stream")
        cursor = (await resolve(self._redis, self._keys, key, stream, start)).cursor
        try:
            created = await self._create(key, cursor.id)
        except exceptions.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            self._positions[key] = GroupPosition(key, stream, Cursor("0-0", None))
            self._refuse(key, error)
            return
        if not created:
            groups: Any = await self._call("XINFO", "GROUPS", key, key=key)
            known = {info["name"]: info for info in (dict(zip(row[::2], row[1::2], strict=True)) for row in groups)}
            last = known[self._group]["last-delivered-id"]
            cursor = Cursor(last, split_id(last)[1] + 1 if last != "0-0" else None)
        self._positions[key] = GroupPosition(key, stream, cursor)
        self._blocking.add(key)

    async def _create(self, key: str, start: str) -> bool:
        """Create the group; ``False`` if it exists."""
        for options in creation_options(start):
            try:
                await self._call("XGROUP", "CREATE", key, self._group, start, "MKSTREAM", *options, key=key)
            except exceptions.ResponseError as error:
                if str(error).startswith("BUSYGROUP"):
                    return False
                if not options or not str(error).startswith("ERR"):
                    raise
            else:
                break
        return True

    async def _restore(self, position: GroupPosition) -> None:
        """Create the group again if it has disappeared, and report that."""
        try:
            if not await self._outages.outlive(lambda: self._vanished(position.key)):
                return
            resumed = position.resume()
            await self._outages.outlive(lambda: self._create(position.key, resumed))
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            return  # the next read reports it
        # What the caller has, and what is queued here, is delivered again.
        self._ready = deque(item for item in self._ready if item.key != position.key or not isinstance(item, Stored))
        position.inflight.clear()
        position.last, position.next_seq = resumed, None
        self._ready.append(GroupLost(position.key, position.stream, self._group, resumed))

    async def _vanished(self, key: str) -> bool:
        try:
            groups = await self._call("XINFO", "GROUPS", key, key=key)
        except exceptions.ResponseError as error:
            if "no such key" not in str(error).lower():
                raise
            return True
        return all(row[1] != self._group for row in groups)
