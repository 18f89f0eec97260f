"""The streams that `consumers.parquet` keeps: each is brought up to date in turn, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.keys import Keys, StreamKey
from bridge.redis.errors import refuses_key, said
from consumers.columns import Columns
from consumers.connection import Outages, Where, log_outages, topology_of
from consumers.export import is_oldest
from consumers.files import FilesError, stream_path, unfinished
from consumers.gaps import GapFinder
from consumers.items import split_id
from consumers.notices import Notices
from consumers.pages import Page, last_id, most_per_page, open_client, pages
from consumers.parquet_store import HOUR, ParquetStore, StoppedError, hour_of
from consumers.reader import Row

__all__ = ["ParquetStreams", "locked"]

_SETTLED = 600_000
"""Milliseconds after which an hour is finished although no later entry has come."""
_ROWS_OF_A_PART = 1_000_000


class _Stream(Struct):
    """What is known of a stream."""

    key: str
    exchange: str
    channel: str
    store: ParquetStore | None = None
    read: int = 0
    missing: Counter[str] = field(default_factory=Counter)


class ParquetStreams:
    """All streams that match one of ``wanted`` (none: all), of ``exchange`` (``None``: of all), in ``folder``.

    ``finished`` is called with the key and the file of each hour that is complete.
    """

    def __init__(
        self,
        redis: Redis,
        where: Where,
        keys: Keys,
        folder: Path,
        *,
        wanted: list[str],
        exchange: str | None = None,
        notices: Notices,
        finished: Callable[[str, Path], None] = lambda *_: None,
    ) -> None:
        self.redis = redis
        self.trouble = ""
        """Why Redis does not answer; empty while it does."""
        self.writes = 0
        """Files written."""
        self._where = topology_of(where)
        self._keys = keys
        self._folder = folder
        self._wanted = wanted
        self._exchange = exchange
        self._notices = notices
        self._finished = finished
        self._log_outage = log_outages(self._where.address)
        self._outages = Outages(self._report)
        self._streams: dict[str, _Stream] = {}
        self._refused: dict[str, str] = {}
        self._unwritten: dict[str, str] = {}
        self._client: SyncRedis | None = None
        self._stop = threading.Event()
        self._added = asyncio.Event()
        for key in wanted:
            if "*" not in key and "?" not in key:
                self._add(key)

    # --- for the monitor -------------------------------------------------------------------------------------------

    @property
    def streams(self) -> list[str]:
        """The keys of the streams."""
        return list(self._streams)

    @property
    def outages(self) -> int:
        """How often Redis was unreachable since the start."""
        return self._outages.count

    def rows(self) -> list[Row]:
        """A row for each stream."""
        return [
            Row(one.key, one.exchange, one.channel, (one.store and one.store.last) or "0-0", one.read, one.missing)
            for one in self._streams.values()
        ]

    @property
    def unwritten(self) -> str:
        """Why the files of a stream cannot be read or written; empty while all can."""
        return next(iter(self._unwritten.values()), "")

    def degraded(self) -> list[str]:
        """The streams that cannot be read."""
        return [f"{key}: {words}" for key, words in sorted(self._refused.items())]

    # --- streams ---------------------------------------------------------------------------------------------------

    async def found(self, key: str, stream: StreamKey) -> None:
        """Keep a stream of the catalog if it is wanted."""
        matches = not self._wanted or any(fnmatchcase(key, pattern) for pattern in self._wanted)
        if matches and self._exchange in (None, stream.exchange) and key not in self._streams:
            self._add(key)

    def missing(self, streams: Mapping[str, StreamKey]) -> tuple[set[str], set[str]]:
        """Whether there is nothing to keep yet, and the streams that exist."""
        return (set() if self._streams else {""}), set(streams)

    async def keep(self, every: float) -> None:
        """Bring all streams up to date every ``every`` seconds, endlessly."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                begun = loop.time()
                self._added.clear()
                for key in sorted(self._streams):
                    await self._update(self._streams[key])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, begun + every - loop.time())):
                        await self._added.wait()
        finally:
            if self._client is not None:
                self._client.close()

    def _add(self, key: str) -> None:
        stream = self._keys.parse(key)
        assert stream is not None
        self._streams[key] = _Stream(key, stream.exchange, stream.suffix)
        self._added.set()

    async def _update(self, one: _Stream) -> None:
        try:
            for path in await self._outages.outlive(lambda: self._in_thread(one)):
                self._finished(one.key, path)
        except ResponseError as error:
            if not refuses_key(error):
                raise
            self._refused[one.key] = said(error)
            self._notices.report_problem(one.key, said(error))
        except FilesError as error:
            one.store = None  # read from the files again where they end
            self._unwritten[one.key] = str(error)
            self._notices.report_problem(one.key, str(error))
        except ValueError as error:  # an entry that does not fit into a table
            self._refused[one.key] = str(error)
            self._notices.report_problem(one.key, str(error))
        else:
            self._unwritten.pop(one.key, None)
            self._refused.pop(one.key, None)
            self._notices.clear_problem(one.key)

    async def _in_thread(self, one: _Stream) -> list[Path]:
        """Run `_bring_up_to_date` in a thread; if cancelled, wait until it has stopped."""
        task = asyncio.ensure_future(asyncio.to_thread(self._bring_up_to_date, one))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()
            raise

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _bring_up_to_date(self, one: _Stream) -> list[Path]:
        """Write what is new; returns the hours that are complete.

        Raises:
            FilesError: a file cannot be read or written.
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        if self._client is None:
            self._client = open_client(self._where, "tickbridge-parquet")
        if one.store is None:
            one.store = ParquetStore(self._folder / stream_path(self._keys, one.key))
        store, finished = one.store, []
        with contextlib.suppress(StoppedError):
            end = last_id(self._client, one.key)
            if end and (not store.last or split_id(end) > split_id(store.last)):
                finished += self._write_new(self._client, one, store, end)
            now = time.time() * 1000
            while store.parts and (store.parts[0].hour + 1) * HOUR + _SETTLED < now:
                finished.append(store.finish_hour(self._stop.is_set))
        self.writes += len(finished)
        return finished

    def _write_new(self, client: SyncRedis, one: _Stream, store: ParquetStore, end: str) -> list[Path]:
        finished = []
        finder = GapFinder(store.last, lambda before: is_oldest(client, one.key, before), counted=True)
        columns = Columns(self._keys, one.key)
        found = pages(client, one.key, store.last, end, most=most_per_page(self._keys, one.key))
        for (hour, _), parts in groupby(self._in_parts(found), key=lambda pair: pair[0]):
            while store.parts and store.parts[0].hour != hour:
                finished.append(store.finish_hour(self._stop.is_set))
            gaps = store.add(columns, (self._count(one, page) for _, page in parts), finder)
            one.missing.update(gap.event for gap in gaps)
            self.writes += 1
        return finished

    def _in_parts(self, found: Iterator[Page]) -> Iterator[tuple[tuple[int, int], Page]]:
        """The pages with their hour, cut where an hour ends, and the number of the part, which is of limited size."""
        number = rows = 0
        for page in found:
            if self._stop.is_set():
                return
            begin = 0
            while begin < len(page):
                hour = hour_of(page.id(begin))
                stop = len(page)
                if hour_of(page.id(-1)) != hour:
                    stop = next(at for at in range(begin, stop) if hour_of(page.id(at)) != hour)
                rows += stop - begin
                yield (hour, number), page.cut(begin, stop)
                if rows >= _ROWS_OF_A_PART:
                    number, rows = number + 1, 0
                begin = stop

    @staticmethod
    def _count(one: _Stream, page: Page) -> Page:
        one.read += len(page)
        return page

    def _report(self, error: BaseException | None) -> None:
        self.trouble = "" if error is None else str(error) or type(error).__name__
        self._log_outage(error)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made if it is not there, for one process at a time; files that a killed one left are removed.

    Raises:
        FilesError: it cannot be written, or another process has it.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            _lock(file, folder)
            for left in unfinished(folder):
                left.unlink()
            yield
    except OSError as error:
        raise FilesError.of(folder, error) from None


def _lock(file: Any, folder: Path) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, where the folder is not locked
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FilesError(f"{folder}: another process writes this folder; stop it, or choose another one") from None
