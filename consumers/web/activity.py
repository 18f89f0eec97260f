"""What happens in every stream of the catalogs: state, rate, gaps and losses; and which connectors are alive.

All streams are followed, twenty times a second, by a reader of their own, so that nothing is missed and no stream is asked
for its newest entry, which for a book may be a whole snapshot. What the hub reads for clients is not read a second time:
once both have come equally far, the hub's entries are taken (`Activity.watched`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from redis import exceptions

from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, ControlEvent
from bridge.redis.errors import FAILURES, refuses_key
from consumers.items import Item, Raw, Reset, split_id
from consumers.reader import Reader
from consumers.web.feed import Feed
from consumers.web.records import EntryId

__all__ = ["Activity", "StreamActivity"]

_NAP = 0.05
_CATALOGS_EVERY = 2.0
_LENGTHS_EVERY = 5.0
_OLDEST_EVERY = 60.0
_OLDEST_AT_ONCE = 4
_SECONDS = 60
_DAY = 86_400
_RETRY = 5.0
_LONGEST_COUNT = 19
_RECEIVING = frozenset({ControlEvent.LIVE, ControlEvent.GAP, ControlEvent.LOST})
"""Control events after which a stream goes on."""


class StreamActivity:
    """One stream: ``listed`` is what the catalog says of it."""

    def __init__(self, key: str, stream: StreamKey) -> None:
        self.key = key
        self.stream = stream
        self.listed: dict[str, str] = {}
        self.last_id = ""
        self.event = ""
        """The event of the newest control entry that was read; empty before the first."""
        self.reason = ""
        self.gaps = 0
        self.lost = 0
        self.length: int | None = None
        self.oldest = ""
        self.oldest_at = -_OLDEST_EVERY
        self.rate: deque[int] = deque([0] * _SECONDS, _SECONDS)
        self._count = 0

    def take(self, item: Raw) -> None:
        """Take the next entry."""
        self.last_id = item.id
        self._count += 1
        flat = item.flat
        if len(flat) > 1 and flat[1] == "control":
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            self.event, self.reason = fields.get("event", ""), fields.get("reason", "")
            if self.event == ControlEvent.GAP:
                self.gaps += 1
            elif self.event == ControlEvent.LOST:
                count = fields.get("count", "")
                self.lost += int(count) if count.isascii() and count.isdigit() and len(count) <= _LONGEST_COUNT else 0

    def tick(self) -> None:
        """A second is over."""
        self.rate.append(self._count)
        self._count = 0

    def describe(self, now_ms: int, *, alive: bool) -> dict[str, Any]:
        """The stream as a row of ``/api/streams``."""
        stream, listed = self.stream, self.listed
        state = self.event or listed.get("state", "")
        ms, seq = split_id(self.last_id) if self.last_id else (0, 0)
        row = {
            "key": self.key,
            "exchange": stream.exchange,
            "pair" if stream.public else "account": stream.subject,
            "channel": stream.suffix,
            "connector": listed.get("connector", ""),
            "service": listed.get("service", ""),
            "state": state,
            "reason": self.reason,
            "live": alive and state in _RECEIVING,
            "last_id": self.last_id,
            "seq": str(seq) if seq else "",
            "age_ms": str(max(0, now_ms - ms)) if ms else "",
            "rate": list(self.rate),
            "entries": "" if self.length is None else str(self.length),
            "oldest_ms": self.oldest.partition("-")[0],
            "max_entries": listed.get("max_entries", ""),
            "max_age": listed.get("max_age", ""),
            "gaps": str(self.gaps),
            "lost": str(self.lost),
            "detection": listed.get("gaps", ""),
            "units": listed.get("units", ""),
        }
        if "polled" in listed:
            row["polled"] = listed["polled"]
        return row


class Activity:
    """All streams of the catalogs. ``reader`` is raw and reads nothing else; ``exchange``: only those of this one.

    Run `follow`, `look`, `measure` and `count` as tasks.
    """

    def __init__(
        self, reader: Reader, keys: Keys, exchange: str | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self.streams: dict[str, StreamActivity] = {}
        self.beats: dict[str, dict[str, str]] = {}
        """Connector → its heartbeat; only those that are alive."""
        self.standbys: dict[str, dict[str, str]] = {}
        """Connector → what the process shows that stands by for it."""
        self.services: set[str] = set()
        """The processes of services that are alive."""
        self._feeds: dict[str, Feed] = {}
        """The streams that the hub reads."""
        self._handed: dict[str, EntryId] = {}
        """Those of them whose entries are taken from the hub → the last entry that was taken before."""
        self._returned: set[str] = set()
        """Those that have to be followed here again."""
        self._reader = reader
        self._keys = keys
        self._exchange = exchange
        self._wall = wall
        self._since = int(wall() * 1000)

    @property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch."""
        return int(self._wall() * 1000)

    @property
    def since_ms(self) -> int:
        """When counting gaps and losses began: at midnight (UTC), or when the gateway started."""
        return self._since

    @property
    def connectors(self) -> dict[str, str]:
        """The connectors that the catalogs name, and their exchanges."""
        return {row.listed["connector"]: row.stream.exchange for row in self.streams.values() if _named(row)}

    def rows(self) -> Iterable[StreamActivity]:
        """The streams, in the order of their keys."""
        return [self.streams[key] for key in sorted(self.streams)]

    def describe(self, row: StreamActivity) -> dict[str, Any]:
        """A stream as a row of ``/api/streams``."""
        connector, listed = row.listed.get("connector", ""), row.listed
        alive = connector in self.beats if connector else listed.get("instance", "") in self.services
        return row.describe(self.now_ms, alive=alive)

    def watched(self, feed: Feed) -> None:
        """The hub reads this stream."""
        self._feeds[feed.key] = feed

    def unwatched(self, key: str) -> None:
        """The hub has stopped reading this stream: it is followed from its last entry on."""
        self._feeds.pop(key, None)
        if self._handed.pop(key, None) is not None:
            self._returned.add(key)

    def taken(self, item: Item) -> None:
        """The hub has read this."""
        before = self._handed.get(item.key)
        if before is None or not isinstance(item, Raw | Reset):
            return
        row = self.streams[item.key]
        if isinstance(item, Reset):
            self._handed[item.key] = (0, 0)
        elif before == (0, 0):
            row.take(item)
        elif split_id(item.id) > before:
            self._handed[item.key] = (0, 0)
            row.take(item)

    def _hand_over(self, keys: Iterable[str]) -> None:
        """Take entries from the hub where this reader is as far as the hub's."""
        for key in keys:
            row, feed = self.streams.get(key), self._feeds.get(key)
            if row is not None and feed is not None and feed.opened and split_id(row.last_id or "0-0") >= feed.head:
                self._reader.remove(key)
                self._handed[key] = split_id(row.last_id or "0-0")

    async def follow(self) -> None:
        """Take every entry, endlessly."""
        batches = self._reader.batches()
        while True:
            try:
                batch = await anext(batches)
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    raise
                await asyncio.sleep(_RETRY)  # this user may read none of the streams; that may be put right
                continue
            await self._take(batch)
            await asyncio.sleep(_NAP)

    async def look(self) -> None:
        """Read catalogs and heartbeats, endlessly."""
        while True:
            with suppress(*FAILURES):
                await self._look()
            await asyncio.sleep(_CATALOGS_EVERY)

    async def count(self) -> None:
        """Count entries per second, endlessly; at midnight, begin to count gaps and losses again."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += 1.0
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.tick()

    def tick(self) -> None:
        """A second is over."""
        for row in self.streams.values():
            row.tick()
        midnight = self.now_ms // (_DAY * 1000) * _DAY * 1000
        if midnight > self._since:
            self._since = midnight
            for row in self.streams.values():
                row.gaps = row.lost = 0

    async def measure(self) -> None:
        """Measure the streams' lengths, and find their oldest entries, endlessly."""
        while True:
            with suppress(*FAILURES):
                await self._measure()
            await asyncio.sleep(_LENGTHS_EVERY)

    async def _take(self, batch: list[Item]) -> None:
        for place, item in enumerate(batch):
            row = self.streams.get(item.key)
            if row is not None and isinstance(item, Raw):
                row.take(item)
            if not place % 1000:
                await asyncio.sleep(0)
        self._hand_over({item.key for item in batch} - self._handed.keys())

    async def _look(self) -> None:
        public = await self._hash(self._keys.catalog()) or {}
        accounts = await self._hash(self._keys.accounts_catalog()) or {}
        listed = {**public, **accounts}
        for key, text in sorted(listed.items()):
            stream = self._keys.parse(key)
            if stream is None or self._exchange not in (None, stream.exchange):
                continue
            row = self.streams.get(key) or await self._add(key, stream)
            with suppress(msgspec.MsgspecError):
                row.listed = {
                    name: str(value) for name, value in msgspec.json.decode(text, type=dict[str, Any]).items()
                }
        for key in sorted(self._returned & self.streams.keys()):
            await self._reader.add(key, self.streams[key].last_id or "0-0")
            self._returned.discard(key)
        for key in self.streams.keys() - listed.keys():
            self._reader.remove(key)
            self._handed.pop(key, None)
            self._returned.discard(key)
            del self.streams[key]
        beats, standbys = {}, {}
        for name in sorted(self.connectors):
            beat = await self._hash(self._keys.connector(name))
            if beat:
                beats[name] = beat
            standby = await self._hash(self._keys.standby(name))
            if standby:
                standbys[name] = standby
        self.beats, self.standbys = beats, standbys
        named = {row.listed.get("instance", "") for row in self.streams.values() if row.listed.get("service")}
        self.services = {
            name
            for name in sorted(named)
            if await self._allowed(partial(self._reader.redis.exists, self._keys.service(name)))
        }

    async def _add(self, key: str, stream: StreamKey) -> StreamActivity:
        """Follow one more stream, from its newest entry on, so that its state is that entry's if it is a control entry."""
        row = StreamActivity(key, stream)
        newest: Any = await self._allowed(lambda: self._reader.redis.xrevrange(key, count=1)) or []
        for entry_id, fields in newest:
            row.last_id = entry_id
            if fields.get("type") == "control":
                row.event, row.reason = fields.get("event", ""), fields.get("reason", "")
        self.streams[key] = row
        await self._reader.add(key, row.last_id or "0-0")
        return row

    async def _measure(self) -> None:
        rows = list(self.streams.values())
        pipe = self._reader.redis.pipeline(transaction=False)
        for row in rows:
            pipe.xlen(row.key)
        for row, length in zip(rows, await pipe.execute(raise_on_error=False) if rows else (), strict=True):
            row.length = length if isinstance(length, int) else None
        now = asyncio.get_running_loop().time()
        # The oldest entry of a book is a whole snapshot: a few at a time.
        due = sorted((row for row in rows if now - row.oldest_at > _OLDEST_EVERY), key=lambda row: row.oldest_at)
        books = [row for row in due if row.stream.channel in BOOKS][:_OLDEST_AT_ONCE]
        for row in [row for row in due if row.stream.channel not in BOOKS] + books:
            oldest: Any = await self._allowed(partial(self._reader.redis.xrange, row.key, count=1)) or []
            row.oldest = oldest[0][0] if oldest else ""
            row.oldest_at = now if oldest else -_OLDEST_EVERY

    async def _hash(self, name: str) -> dict[str, str] | None:
        """A hash; ``None`` if this user may not read it."""
        found: dict[str, str] | None = await self._allowed(lambda: self._reader.redis.hgetall(name))
        return found

    async def _allowed(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """The result of a call; ``None`` if Redis refuses it because of the key."""
        try:
            return await call()
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            return None


def _named(row: StreamActivity) -> bool:
    return bool(row.listed.get("connector"))
