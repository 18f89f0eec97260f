"""The reader for programs without asyncio: scripts, notebooks, threads.

    with SyncReader(url, {"md:{limitlex:BTC-EUR}:trades": Position.START}) as reader:
        for item in reader:
            match item:
                case Entry(event=Trade() as trade): ...

It is `Reader`, run in a thread of its own, and yields the same items.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from bridge.keys import Keys
from consumers.connection import Where
from consumers.items import Item, Stored
from consumers.patterns import PatternReader
from consumers.reader import Position, Reader, Start

__all__ = ["SyncReader"]

T = TypeVar("T")


class SyncReader:
    """Reads ``streams``, a mapping from key to where to start, and all streams that match ``patterns``.

    ``patterns`` are those of `PatternReader`; all other arguments are those of `Reader`. Waiting can be interrupted
    (Ctrl-C) and continued: what was read and not yet returned comes next. Use it in one thread only.
    """

    def __init__(
        self,
        url: Where,
        streams: Mapping[str, Start] | None = None,
        *,
        patterns: Mapping[str, Start] | None = None,
        namespace: str = "",
        **options: Any,
    ) -> None:
        self._reader = (
            PatternReader(url, patterns, streams, namespace=namespace, **options)
            if patterns
            else Reader(url, streams, namespace=namespace, **options)
        )
        self._keys = Keys(namespace)
        self._ready: deque[Item] = deque()
        self._cursors: dict[str, str] = {}
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Connect, and determine where each stream starts: from here on nothing is missed.

        Raises:
            RedisUnavailableError: Redis does not answer, or refuses this client.
            ValueError: a start that is not valid for its stream.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reader", daemon=True)
        self._thread.start()
        try:
            self._run(self._reader.__aenter__())
        except BaseException:
            self.close()
            raise
        self._is_open = True
        self._cursors = dict(self._reader.cursors)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and end the thread. No effect if it is closed already."""
        self._is_open = False
        if self._loop is None or self._thread is None:
            return
        self._run(self._reader.aclose())
        loop, thread, self._loop = self._loop, self._thread, None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def __iter__(self) -> Iterator[Item]:
        """Item by item, endlessly."""
        while True:
            while not self._ready:
                self._fill(None)
            yield self._next()

    def read(self, timeout: float | None = None) -> list[Item]:
        """All items that are available, at least one; after ``timeout`` seconds without any, an empty list.

        With a ``timeout`` of 0 it returns what is there already: a read that does not wait for new entries.
        """
        if not self._ready:
            self._fill(timeout)
        return [self._next() for _ in range(len(self._ready))]

    @property
    def streams(self) -> list[str]:
        """The keys of the streams that are read."""
        return list(self._open.streams)

    @property
    def cursors(self) -> dict[str, str]:
        """The caller's position: per key the ID of the last entry returned."""
        return dict(self._cursors)

    @property
    def trouble(self) -> str:
        """Why Redis does not answer; empty while it does."""
        return self._open.trouble

    def add(self, key: str, start: Start = Position.START) -> None:
        """Read one more stream; no effect if it is read already. Waits while Redis is unreachable.

        Raises:
            ValueError: the key is not a data stream, or the start is not valid for it.
        """
        reader = self._open
        if key not in reader.streams:
            self._run(reader.add(key, start))
            if key in reader.cursors:
                self._cursors[key] = reader.cursors[key]

    def remove(self, key: str) -> None:
        """Stop reading this stream."""
        reader = self._open

        async def remove() -> None:
            reader.remove(key)

        self._run(remove())
        self._ready = deque(item for item in self._ready if item.key != key)
        self._cursors.pop(key, None)

    def save(self, name: str) -> None:
        """Save ``cursors`` in Redis under ``name``, for ``Saved(name)``; call it when the items are processed."""
        reader, cursors = self._open, dict(self._cursors)

        async def save() -> None:
            fields: dict[Any, Any] = dict(cursors)
            await reader.outlive(lambda: reader.redis.hset(self._keys.cursor(name), mapping=fields))

        if cursors:
            self._run(save())

    @property
    def _open(self) -> Reader:
        if not self._is_open:
            raise ValueError("the reader is not open: use it in a with statement")
        return self._reader

    def _fill(self, timeout: float | None) -> None:
        """Wait for items."""
        reader = self._open

        async def fetch() -> None:
            try:
                async with asyncio.timeout(timeout or None):
                    batch = await (reader.available() if timeout == 0 else anext(reader.batches()))
                    self._ready.extend(batch)  # at once: whatever is interrupted after it, nothing is lost
            except TimeoutError:
                return

        # Python 3.11 takes a task for cancelled if its time is up in the very moment in which it ends.
        with suppress(CancelledError):
            self._run(fetch())

    def _next(self) -> Item:
        item = self._ready.popleft()
        if isinstance(item, Stored):
            self._cursors[item.key] = item.id
        return item

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread, and wait for it; an interrupt cancels it, and waits until it has ended."""
        loop = self._loop
        assert loop is not None
        done: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = loop.create_task(work, name="call")
            tasks.append(task)
            task.add_done_callback(lambda task: _pass_on(task, done))

        loop.call_soon_threadsafe(start)
        try:
            return done.result()
        except BaseException:
            if not done.done():
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108 - by then there is one
                wait([done])
            raise


def _pass_on(task: asyncio.Task[T], done: Future[T]) -> None:
    """How the task has ended, for the thread that waits."""
    if task.cancelled():
        done.set_exception(CancelledError())
    elif error := task.exception():
        done.set_exception(error)
    else:
        done.set_result(task.result())
