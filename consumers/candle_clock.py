"""Until when all trades of a stream are known, although none comes: what connectors' heartbeats prove.

A heartbeat that is newer than a moment comes from a connector that was running then. If hardly anything waits in it for
Redis, what it had received until that moment is in the streams. A connector that is dead proves nothing: its streams
have a ``down`` entry as soon as it is started again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.keys import Keys
from bridge.redis.errors import refuses_key

__all__ = ["CandleClock"]

_MOST_WAITING = 1_000
"""Entries; more of them mean that the connector writes what it received while Redis was away."""
_CATALOG_AFTER = 30
"""Looks after which the catalog is read again: another connector may have taken over a stream."""


class _Listed(Struct):
    connector: str


class _Beat(Struct, frozen=True):
    """A heartbeat: that of a process, its number, and when it was seen (Redis' clock, ms)."""

    instance: str
    number: int
    seen: int


class CandleClock:
    """``newest`` is the last entry of each stream, as it was looked up last (``""``: none)."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.newest: dict[str, str] = {}
        self._redis = redis
        self._keys = keys
        self._connectors: dict[str, str] = {}
        self._beats: dict[str, _Beat] = {}
        self._looks = 0

    async def known_until(self, streams: Collection[str]) -> dict[str, int]:
        """The streams of which all is in Redis that was received before a moment (Redis' clock, ms).

        Whoever asks must have read them to `newest`.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        now = await self._now()
        proven = await self._proven(await self._connectors_of(streams), now)
        known = {key: proven[name] for key, name in self._connectors.items() if key in streams and name in proven}
        # After the heartbeats: what they prove is there by now.
        pipe = self._redis.pipeline(transaction=False)
        for key in known:
            pipe.xrevrange(key, count=1)
        replies: list[Any] = await pipe.execute(raise_on_error=False) if known else []
        self.newest = {}
        for key, reply in zip(list(known), replies, strict=True):
            if isinstance(reply, list):
                self.newest[key] = reply[0][0] if reply else ""
            else:
                del known[key]  # its key holds something else now, which the reader reports
        return known

    async def _now(self) -> int:
        reply: Any = await self._redis.time()
        if isinstance(reply, dict):  # the nodes of a Cluster
            reply = next(iter(reply.values()))
        seconds, micros = reply
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def _connectors_of(self, streams: Collection[str]) -> set[str]:
        """The connectors that write these streams, as the catalog says."""
        self._looks += 1
        keys = [key for key in streams if key not in self._connectors or self._looks % _CATALOG_AFTER == 0]
        try:
            rows: list[Any] = await self._redis.hmget(self._keys.catalog(), keys) if keys else []
        except ResponseError as error:
            if not refuses_key(error):
                raise
            keys = rows = []  # something else is there, which is reported by whoever looks for streams
        for key, row in zip(keys, rows, strict=True):
            try:
                self._connectors[key] = msgspec.json.decode(row or b"", type=_Listed).connector
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self._connectors.pop(key, None)  # not listed
        return {name for key, name in self._connectors.items() if key in streams}

    async def _proven(self, connectors: set[str], now: int) -> dict[str, int]:
        """The connectors with a heartbeat since the last look, and when that was."""
        proven: dict[str, int] = {}
        beats: dict[str, _Beat] = {}
        pipe = self._redis.pipeline(transaction=False)
        names = sorted(connectors)
        for name in names:
            pipe.hmget(self._keys.connector(name), ["instance", "beat", "waiting"])
        replies: list[Any] = await pipe.execute(raise_on_error=False) if names else []
        for name, reply in zip(names, replies, strict=True):
            if isinstance(reply, Exception) or not all(reply):
                continue
            instance, number, waiting = reply
            if not (number.isdecimal() and waiting.isdecimal()):
                continue
            last = self._beats.get(name)
            same = last is not None and last.instance == instance
            if last is not None and same and int(number) == last.number:
                beats[name] = last  # the same heartbeat: it proves what it did
                continue
            beats[name] = _Beat(instance, int(number), now)
            if last is not None and same and int(waiting) <= _MOST_WAITING:
                proven[name] = last.seen
        self._beats = beats
        return proven
