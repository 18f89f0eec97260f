"""Reads every stream while a run lasts, keeps the entries in files, and follows books and wallets in them.

Whoever audits streams that Redis may lose needs a copy of them. What Redis has again under the same ID after it lost its
data is not another entry; where numbers do not go on, the copy has a ``reset``, as a reader sees it.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from bridge.chaos.checks import Row
from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from bridge.publish.pending import REDIS_LOST
from bridge.redis.errors import FAILURES
from consumers.items import Reset, split_id, to_item
from consumers.keeper import BookKeeper
from consumers.wallet import Wallet

__all__ = ["Collector", "Copy"]

_LOOK_EVERY = 0.3
_PAGE = 2_000
_REMEMBERED = 20_000
"""Entries of a stream that are known by ID, for when Redis has them again."""
_RESET: dict[str, str] = {"type": "control", "event": "reset", "reason": "Redis lost the stream", "recv": "0"}


class Copy:
    """The entries of one stream, in a file."""

    def __init__(self, key: str, stream: StreamKey, path: Path) -> None:
        self.key = key
        self.stream = stream
        self.last = "0-0"
        self.count = 0
        self.wrong: list[str] = []
        self._path = path
        path.write_text("", encoding="utf-8")
        self._known: dict[str, dict[str, str]] = {}
        self._again = False
        """Whether Redis has lost the stream since, and what it had may come once more."""

    def lost(self) -> None:
        """Redis has lost its data: read on from the start."""
        self.last, self._again = "0-0", True

    def add(self, rows: list[Row]) -> list[Row]:
        """Add what was read; returns what is new, with a ``reset`` before it where the numbers do not go on."""
        new: list[Row] = []
        for ident, fields in rows:
            self.last = ident
            if self._again:
                known = self._known.get(ident)
                if known is not None:
                    if known != fields:
                        self.wrong.append(f"{self.key} {ident}: another entry than before under this ID")
                    continue
                self._again = False
                newest = next(reversed(self._known), "0-0")
                if split_id(ident)[1] != split_id(newest)[1] + 1 or split_id(ident) <= split_id(newest):
                    new.append((newest, _RESET))
            new.append((ident, fields))
            self._known[ident] = fields
        for ident in list(self._known)[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[ident]
        self.count += len(new)
        if new:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in new)
        return new

    def rows(self) -> Iterator[Row]:
        """All entries, from the file."""
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                ident, fields = json.loads(line)
                yield ident, fields


class Collector:
    """Copies of all streams (``copies``: key → copy), the books and the wallets (exchange, subject) that they make."""

    def __init__(self, redis: Redis | RedisCluster, keys: Keys, directory: Path) -> None:
        self.copies: dict[str, Copy] = {}
        self.books: dict[tuple[str, str], BookKeeper] = {}
        self.wallets: dict[tuple[str, str], Wallet] = {}
        self.known_since: dict[str, int] = {}
        """Stream → when its last control entry was received, by its ID: ``recv`` is by a clock that may have been set."""
        self.reset_at: dict[str, int] = {}
        """Stream → the time from which on orders and balances are confirmed: that of its first entry since it began again, or
        of the last `lost` entry that says that Redis has lost entries, which may have been the last word on an order."""
        self.orders: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """The orders (by the exchange's ID) that the streams know."""
        self._resetting: set[str] = set()
        self._redis: Any = redis
        self._keys = keys
        self._directory = directory
        self._reading = asyncio.Lock()

    async def follow(self) -> None:
        """Read, endlessly, whenever Redis answers."""
        while True:
            with suppress(*FAILURES, TimeoutError):
                await self.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> int:
        """Read what is new; returns how many entries that is.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        async with self._reading:
            async for key in self._redis.scan_iter("*}:*", _type="STREAM", count=1000):
                stream = self._keys.parse(key)
                if key not in self.copies and stream is not None:
                    self._directory.mkdir(exist_ok=True)
                    path = self._directory / f"{key.replace('/', '_')}.jsonl"
                    self.copies[key] = Copy(key, stream, path)
            return sum([await self._read(copy) for copy in list(self.copies.values())])

    async def lose(self) -> None:
        """Redis has lost its data. Waits until a reading has ended that has begun before."""
        async with self._reading:
            for copy in self.copies.values():
                copy.lost()

    async def _read(self, copy: Copy) -> int:
        count = 0
        while rows := await self._redis.xrange(copy.key, f"({copy.last}", count=_PAGE):
            count += len(rows)
            for row in copy.add(rows):
                self._take(copy, *row)
        return count

    def _take(self, copy: Copy, ident: str, fields: dict[str, str]) -> None:
        stream, subject = copy.stream, (copy.stream.exchange, copy.stream.subject)
        received = (split_id(ident)[0] + 1) * 1_000_000
        if fields is _RESET:
            self._resetting.add(copy.key)
        elif fields["type"] == "control" or copy.key in self._resetting:
            self.known_since[copy.key] = received
            if copy.key in self._resetting:
                self._resetting.discard(copy.key)
                self.reset_at[copy.key] = received
        if fields.get("event") == "lost" and fields["reason"] == REDIS_LOST:
            self.reset_at[copy.key] = received
        item = (
            Reset(copy.key, stream, ident, "0-0")
            if fields is _RESET
            else to_item(copy.key, stream, ident, [word for pair in fields.items() for word in pair])
        )
        if stream.channel is Channel.BOOK:
            self.books.setdefault(subject, BookKeeper(stream)).take(item)
        elif not stream.public:
            if stream.channel is Channel.ORDERS:
                self.orders[subject].add(fields.get("order_id", ""))
            self.wallets.setdefault(subject, Wallet("", {})).take(item)
