"""One reader for all streams that clients watch: each stream is read once, however many clients there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from redis import exceptions

from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, NEWEST_ONLY
from bridge.redis.errors import refuses_key, said
from consumers.items import Entry, Item, split_id
from consumers.positions import Position, resolve
from consumers.reader import Reader
from consumers.web.cohort import Cohorts
from consumers.web.feed import Feed
from consumers.web.records import EntryId, notice_json

__all__ = ["Hub", "RefusedStreamError", "Waiter", "tail_of"]

_PACE = 0.01
"""Seconds between two reads: entries of that time are read at once, and go out in one array. A client waits for half of
it on average; half as long costs a third more CPU with 200 clients."""
_MANY = 2_000
"""A read of more items than this is followed by the next at once."""
_LINGER = 10.0
"""Seconds for which a stream is still read after its last client has left."""
_SWEEP = 1.0
_SLICE = 500
"""Items that are taken before other tasks have a turn."""
_RETRY = 5.0
_PAGES_AT_ONCE = 4
_MOST_FEEDS = 2_000

Page = list[tuple[str, dict[str, str]]]
"""Entries of a stream, oldest first: IDs and fields."""


class RefusedStreamError(Exception):
    """Redis refuses to read the stream, or the gateway reads too many; the message says which."""


class Waiter(Protocol):
    """A client or a cohort of them: it is woken when a stream that it watches has news."""

    def wake(self) -> None: ...


class Listener(Waiter, Protocol):
    """A client: it is also told what concerns all streams."""

    def tell(self, notice: bytes) -> None: ...

    def end(self) -> None: ...


class Overview(Protocol):
    """What else wants to know what is read."""

    def watched(self, feed: Feed) -> None: ...

    def unwatched(self, key: str) -> None: ...

    def taken(self, item: Item) -> None: ...


class WatchingReader(Reader):
    """A raw reader that says when Redis is unreachable, and when it is back."""

    on_outage: Any = None
    """Called with the trouble; ``""`` at its end."""

    def _report(self, error: BaseException | None) -> None:
        super()._report(error)
        if self.on_outage is not None:
            self.on_outage(self.trouble)


async def tail_of(reader: Reader, key: str) -> str:
    """The ID of the stream's newest entry; ``0-0`` if it has none.

    Raises:
        redis.exceptions.ResponseError: Redis refuses to read it.
    """
    newest: Any = await reader.outlive(lambda: reader.redis.xrevrange(key, count=1))
    return str(newest[0][0]) if newest else "0-0"


class Hub:
    """The feeds of all streams that are watched. ``memory`` is the limit of bytes per stream.

    Run `read` and `sweep` as tasks.
    """

    def __init__(
        self,
        reader: WatchingReader,
        keys: Keys,
        *,
        memory: int,
        entries: int = 5_000,
        linger: float = _LINGER,
        exchange: str | None = None,
        overview: Overview | None = None,
    ) -> None:
        self.reader = reader
        self.keys = keys
        self.exchange = exchange
        """Only its streams are served; ``None``: all."""
        self.feeds: dict[str, Feed] = {}
        self.clients: set[Listener] = set()
        self.cohorts = Cohorts(self.watch, self.unwatch)
        self.conflated = 0
        """How often a client was given the newest state in place of entries."""
        self.reread = 0
        """Entries read from Redis for single clients."""
        self._memory = memory
        self._entries = entries
        self._linger = linger
        self._overview = overview
        self._watchers: dict[str, set[Waiter]] = {}
        self._pages = asyncio.Semaphore(_PAGES_AT_ONCE)
        reader.on_outage = self._tell_outage

    def now(self) -> float:
        """The loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    @asynccontextmanager
    async def use(self, key: str, stream: StreamKey) -> AsyncIterator[Feed]:
        """The feed of a stream for as long as the block runs.

        Raises:
            RefusedStreamError: Redis refuses to read it.
        """
        feed = await self.open(key, stream)
        try:
            yield feed
        finally:
            self.close(feed)

    async def open(self, key: str, stream: StreamKey, client: Waiter | None = None) -> Feed:
        """Read this stream, if it is not read already, until `close`; ``client`` is woken by its entries.

        Raises:
            RefusedStreamError: Redis refuses to read it.
        """
        feed = self.feeds.get(key)
        if feed is None:
            if len(self.feeds) >= _MOST_FEEDS:
                raise RefusedStreamError(f"the gateway reads {_MOST_FEEDS} streams already; try again later")
            feed = Feed(key, stream, most_bytes=self._memory, most_entries=self._entries)
            self.feeds[key] = feed
        feed.users += 1
        try:
            async with feed.lock:
                if not feed.opened:
                    await self._start(feed)
        except BaseException as error:
            self.close(feed)
            if isinstance(error, exceptions.ResponseError) and refuses_key(error):
                raise RefusedStreamError(said(error)) from None
            raise
        if client is not None:
            self.watch([feed], client)
        return feed

    def watch(self, feeds: Iterable[Feed], waiter: Waiter) -> None:
        """Have a waiter woken by the news of these feeds."""
        for feed in feeds:
            self._watchers.setdefault(feed.key, set()).add(waiter)

    def unwatch(self, feeds: Iterable[Feed], waiter: Waiter) -> None:
        """Do not wake it any more."""
        for feed in feeds:
            self._watchers.get(feed.key, set()).discard(waiter)

    def close(self, feed: Feed, client: Waiter | None = None) -> None:
        """Undo one `open`; the stream is read for some seconds more, in case that somebody comes back."""
        feed.users -= 1
        feed.idle_since = self.now()
        if client is not None:
            self.unwatch([feed], client)
        if not feed.users and not feed.opened and self.feeds.get(feed.key) is feed:
            del self.feeds[feed.key]

    async def read(self) -> None:
        """Give every feed what its stream gets, and wake the clients that watch it, endlessly.

        After each read there is a pause, in which entries collect: one read and one array for all of them cost little
        more than for one. There is none while a read returns more than it usually would.
        """
        batches = self.reader.batches()
        while True:
            try:
                batch = await anext(batches)
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    raise
                # This user may read none of the streams any more. That may be put right, and others may be asked for.
                self._refuse_all(said(error))
                await asyncio.sleep(_RETRY)
                continue
            await self._take(batch)
            await asyncio.sleep(_PACE if len(batch) < _MANY else 0)

    async def _take(self, batch: list[Item]) -> None:
        now, dirty = self.now(), set[str]()
        for place, item in enumerate(batch, 1):
            feed = self.feeds.get(item.key)
            if feed is not None:
                feed.take(item, now)
                if self._overview is not None:
                    self._overview.taken(item)
                dirty.add(item.key)
            if not place % _SLICE:
                self._wake(dirty)
                await asyncio.sleep(0)
        self._wake(dirty)

    def _wake(self, dirty: set[str]) -> None:
        """Wake the clients of these streams. Nothing else may run between the taking of entries and this."""
        for waiter in set[Waiter]().union(*(self._watchers.get(key, ()) for key in dirty)):
            waiter.wake()
        for key in dirty:
            self.feeds[key].note_sent()
        dirty.clear()

    async def sweep(self) -> None:
        """Stop reading streams that nobody watches any more, endlessly."""
        while True:
            await asyncio.sleep(_SWEEP)
            for feed in list(self.feeds.values()):
                if not feed.users and self.now() - feed.idle_since > self._linger:
                    self.reader.remove(feed.key)
                    del self.feeds[feed.key]
                    self._watchers.pop(feed.key, None)
                    if self._overview is not None:
                        self._overview.unwatched(feed.key)

    async def page(self, feed: Feed, after: str, count: int) -> Page:
        """The next ``count`` entries of a stream after an ID, from Redis, for a client that is behind what is in memory.

        Raises:
            RefusedStreamError: Redis refuses to read it.
        """
        page = await self._ask(lambda: self.reader.redis.xrange(feed.key, f"({after}", "+", count))
        self.reread += len(page)
        return page

    async def tail(self, feed: Feed) -> EntryId:
        """The ID of the newest entry that the stream has in Redis.

        Raises:
            RefusedStreamError: Redis refuses to read it.
        """
        page = await self._ask(lambda: self.reader.redis.xrevrange(feed.key, count=1))
        return split_id(page[0][0]) if page else (0, 0)

    async def is_oldest(self, feed: Feed, entry_id: str) -> bool:
        """Whether the stream has no entry before this one: what is missing before it was then trimmed.

        Raises:
            RefusedStreamError: Redis refuses to read it.
        """
        return not await self._ask(lambda: self.reader.redis.xrevrange(feed.key, f"({entry_id}", "-", 1))

    def end(self) -> None:
        """Have all clients end."""
        for client in self.clients:
            client.end()

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Page:
        async with self._pages:
            try:
                page: Page = await self.reader.outlive(call)
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    raise
                raise RefusedStreamError(said(error)) from None
        return page

    async def _start(self, feed: Feed) -> None:
        """Determine where to start, and read on from there.

        Raises:
            redis.exceptions.ResponseError: Redis refuses to read it.
        """
        goal = await tail_of(self.reader, feed.key)
        after, book = goal, None
        if feed.stream.channel in NEWEST_ONLY:
            after = _before(goal)  # so that the newest entry is in memory: it is the state
        if feed.stream.channel in BOOKS:
            start = await self.reader.outlive(
                lambda: resolve(self.reader.redis, self.keys, feed.key, feed.stream, Position.SNAPSHOT)
            )
            after, book = start.cursor.id, start.first
            goal = max(goal, after, key=split_id)
        feed.begin(after, goal, book if isinstance(book, Entry) else None)
        await self.reader.add(feed.key, after)
        feed.opened = True
        if self._overview is not None:
            self._overview.watched(feed)

    def _refuse_all(self, words: str) -> None:
        for feed in self.feeds.values():
            feed.refuse(words, self.now())
        self._wake(set(self.feeds))

    def _tell_outage(self, trouble: str) -> None:
        notice = notice_json("", "away", message=trouble) if trouble else notice_json("", "back")
        for client in self.clients:
            client.tell(notice)


def _before(entry_id: str) -> str:
    """An ID after which this entry comes next."""
    ms, seq = split_id(entry_id)
    return f"{ms}-{seq - 1}" if seq else entry_id
