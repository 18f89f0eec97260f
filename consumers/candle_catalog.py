"""Lists the streams of candles in the catalog, and shows that the process that writes them is alive.

A catalog entry names the process in ``instance``, whose heartbeat is a string that expires. Of several processes that
write the same candles, one has the entry; when it ends or is killed, another one puts its own name there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
from redis.asyncio import Redis

from bridge.keys import Keys
from bridge.model import SCHEMA_VERSION, ControlEvent

__all__ = ["SERVICE", "CandleCatalog"]

SERVICE = "candles"
"""What the catalog says in ``service``."""
_UNITS = "ms of the ID is the end of the bar, seq its number since the epoch"
_TTL = 15
"""Seconds."""


class CandleCatalog:
    """The entries of one process in the catalog of ``keys``."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.instance = uuid4().hex[:12]
        self._redis = redis
        self._keys = keys
        self._shown: dict[str, str] = {}
        """Stream key → the entry that was written by this process."""

    async def show(self, streams: Iterable[str], refused: Mapping[str, str]) -> None:
        """Renew the heartbeat, and list these streams of candles; those ``refused`` cannot be written and are ``down``.

        It may be repeated after any error.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        await self._redis.set(self._keys.service(self.instance), SERVICE, ex=_TTL)
        wanted = {key: self._entry(key, ControlEvent.DOWN if key in refused else ControlEvent.LIVE) for key in streams}
        if not wanted:
            return
        names = list(wanted)
        there: list[Any] = await self._redis.hmget(self._keys.catalog(), names)
        others = {key: self._instance_of(text) for key, text in zip(names, there, strict=True) if text != wanted[key]}
        alive = {
            other
            for other in sorted(set(others.values()) - {"", self.instance})
            if await self._redis.exists(self._keys.service(other))
        }
        mine: dict[Any, Any] = {key: wanted[key] for key, other in others.items() if other not in alive}
        if mine:
            await self._redis.hset(self._keys.catalog(), mapping=mine)
        self._shown = {key: text for key, text in wanted.items() if others.get(key, "") not in alive}

    async def stop(self) -> None:
        """Say that this process writes its streams no more.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        names = list(self._shown)
        there: list[Any] = await self._redis.hmget(self._keys.catalog(), names) if names else []
        own = [key for key, text in zip(names, there, strict=True) if self._instance_of(text) == self.instance]
        ended: dict[Any, Any] = {key: self._entry(key, ControlEvent.STOP) for key in own}
        if ended:
            await self._redis.hset(self._keys.catalog(), mapping=ended)
        await self._redis.delete(self._keys.service(self.instance))

    def _entry(self, key: str, state: ControlEvent) -> str:
        stream = self._keys.parse(key)
        assert stream is not None
        entry = {
            "exchange": stream.exchange,
            "pair": stream.subject,
            "channel": str(stream.channel),
            "interval": stream.interval,
            "schema": str(SCHEMA_VERSION),
            "service": SERVICE,
            "instance": self.instance,
            "state": str(state),
            "units": _UNITS,
        }
        return msgspec.json.encode(entry).decode()

    @staticmethod
    def _instance_of(text: str | None) -> str:
        """The process that still writes the stream, by its entry; empty: none does."""
        try:
            said: Any = msgspec.json.decode(text or "")
        except (msgspec.MsgspecError, UnicodeError):
            return ""
        if not isinstance(said, dict) or said.get("state") == ControlEvent.STOP:
            return ""
        return str(said.get("instance", ""))
