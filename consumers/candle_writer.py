"""Writes candles: each once, in order, however often a write is tried again or by how many processes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.redis.errors import refuses_key, said
from consumers.bars import ClosedBar, Resume
from consumers.candle_series import Series
from consumers.items import split_id

__all__ = ["CandleWriter"]

_AT_ONCE = 500
_REMEMBERED = 20
"""Of each stream, the candles that a failover may take back: those of some seconds, or minutes."""
_NOT_ABOVE = "equal or smaller than the target stream top item"


class CandleWriter:
    """``written`` is called with each new candle; ``keep`` is how many each stream keeps."""

    def __init__(
        self, redis: Redis, *, keep: int, written: Callable[[Series, ClosedBar], None] = lambda *_: None
    ) -> None:
        self.writes = 0
        """Candles written."""
        self.trouble = ""
        """Why Redis accepts none of them; empty while it does."""
        self.refused: dict[str, str] = {}
        """Streams that cannot be written, with the error."""
        self.there: set[str] = set()
        """Streams that have candles."""
        self._redis = redis
        self._keep = keep
        self._written = written
        self._waiting: dict[str, tuple[Series, deque[ClosedBar]]] = {}
        self._done: dict[str, tuple[Series, deque[ClosedBar]]] = {}
        """The newest candles of each stream that were written."""
        self._lock = asyncio.Lock()

    def add(self, series: Series, candles: Iterable[ClosedBar]) -> None:
        """Have these candles written next; of a stream that cannot be written, only the last ``keep`` wait."""
        for candle in candles:
            if series.key not in self._waiting:
                self._waiting[series.key] = (series, deque(maxlen=self._keep))
            self._waiting[series.key][1].append(candle)

    async def write(self) -> None:
        """Write what waits. It may be repeated after any error; a stream that is refused does not affect the others.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        async with self._lock:
            for key in list(self._waiting):
                series, candles = self._waiting[key]
                try:
                    while candles:
                        await self._write(series, candles)
                except _ForeignEntryError as error:
                    self.refused[key] = f"{key}: {error}"
                except ResponseError as error:
                    if not refuses_key(error):
                        self.trouble = said(error)
                        raise
                    self.refused[key] = f"{key}: {said(error)}"
                else:
                    self.there.add(key)
                    self.refused.pop(key, None)
                    del self._waiting[key]
            self.trouble = ""

    async def look(self) -> None:
        """Have those candles written again that were written, and that Redis has lost, as after a failover.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        async with self._lock:
            keys = [key for key in self._done if key not in self._waiting]
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.xrevrange(key, count=1)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            for key, reply in zip(keys, replies, strict=True):
                if isinstance(reply, ResponseError):
                    continue  # the next candle is refused, too, and `refused` says so
                if isinstance(reply, Exception):
                    raise reply
                last = split_id(reply[0][0])[1] if reply else -1
                series, done = self._done[key]
                self.add(series, (candle for candle in done if split_id(candle.id)[1] > last))

    async def _write(self, series: Series, candles: deque[ClosedBar]) -> None:
        """Write the first of them. Several are one transaction: none is left out by a server that becomes full."""
        batch = list(islice(candles, _AT_ONCE))
        async with self._redis.pipeline(transaction=len(batch) > 1) as pipe:
            for candle in batch:
                fields: dict[Any, Any] = dict(candle.fields)
                pipe.xadd(series.key, fields, id=candle.id, maxlen=self._keep, approximate=True)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        for candle, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                if _NOT_ABOVE not in str(reply):
                    raise reply
                await self._check(series, candle)
            else:
                self.writes += 1
                self._note(series, candle)
            if candles and candles[0] is candle:  # else it was dropped meanwhile: too many wait
                candles.popleft()

    def _note(self, series: Series, candle: ClosedBar) -> None:
        if series.key not in self._done:
            self._done[series.key] = (series, deque(maxlen=_REMEMBERED))
        done = self._done[series.key][1]
        if candle not in done:
            done.append(candle)
            self._written(series, candle)

    async def _check(self, series: Series, candle: ClosedBar) -> None:
        """Make sure that a candle that Redis refused is there already, or a later one.

        Raises:
            _ForeignEntryError: somebody else's entry is in its way.
        """
        last: Any = await self._redis.xrevrange(series.key, count=1)
        try:
            there = Resume.of(series.interval, *last[0]).number if last else -1
        except ValueError as error:
            raise _ForeignEntryError(f"{error}: somebody else wrote to this stream; rename or delete it") from None
        if there < split_id(candle.id)[1]:
            raise _ForeignEntryError("its last ID is above that of the next candle; rename or delete it")


class _ForeignEntryError(Exception):
    """An entry that is not a candle is in the way of the next one."""
