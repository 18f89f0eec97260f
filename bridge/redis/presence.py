"""What a connector shows of itself in Redis beside its streams: heartbeat, catalog, rejected frames.

Low-rate, over its own ``redis-py`` client: losing one of these writes loses no event.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from bridge import __version__
from bridge.config import HeartbeatSettings
from bridge.errors import AlreadyRunningError
from bridge.keys import Keys
from bridge.redis.catalog import Catalog
from bridge.redis.rejects import Rejects
from bridge.redis.topology import AWAY, FAILURES, masters

__all__ = ["Memory", "Presence"]

_MEMORY_EVERY = 5.0
_MEMORY_REFUSED = 300.0
_GAP_BETWEEN_LOOKS = 0.2
_STARTING = 30.0
"""Seconds that the first heartbeat holds: opening hundreds of streams takes a while."""


class Memory(Struct, frozen=True):
    """Bytes that Redis uses, and the most it may use (0: no limit)."""

    used: int
    most: int


class Presence:
    """One connector's heartbeat, catalog entries and rejects."""

    def __init__(self, client: Redis, keys: Keys, name: str, exchange: str, beats: HeartbeatSettings) -> None:
        self._client = client
        self._keys = keys
        self.name = name
        self._exchange = exchange
        self.interval = beats.interval
        self._ttl = beats.ttl
        self.catalog = Catalog(client, keys)
        self._beat = 0
        self.memory: Memory | None = None
        """How full Redis was last; ``None`` where it doesn't say."""
        self.instance = uuid.uuid4().hex[:12]
        self.rejects = Rejects(client, keys.rejects(exchange), name)
        """Frames that could not be understood."""

    async def claim(self, streams: Sequence[str], fields: Mapping[str, str | int | float]) -> None:
        """Make sure that no other live process has this name or writes these streams; then write the first heartbeat.

        A connector that was killed leaves its heartbeat behind for some seconds: if the key stands but doesn't beat,
        or its process is of this host and gone, the place is free. So is a stream that its connector no longer has.

        Raises:
            AlreadyRunningError: somebody is there.
        """
        last = await self._expect_silence(self.name, self.name)
        for owner, keys in (await self.catalog.owners(streams)).items():
            if owner != self.name:
                await self._expect_given_up(owner, list(keys))
        await self._take(last, fields)

    async def beat(self, fields: Mapping[str, str | int | float]) -> None:
        """Renew the heartbeat.

        Raises:
            AlreadyRunningError: while this process was stopped or cut off, another has taken its place.
        """
        self._beat += 1
        key = self._keys.connector(self.name)
        holder = await self._client.hget(key, "instance")
        if holder not in (None, self.instance):
            raise AlreadyRunningError(self.name, "another process has taken its place")
        await self._write(key, fields, self._ttl)

    async def _write(self, key: str, fields: Mapping[str, str | int | float], ttl: float) -> None:
        async with self._client.pipeline(transaction=True) as pipe:
            self._put(pipe, key, fields, ttl)
            await pipe.execute()

    def _put(self, pipe: Pipeline, key: str, fields: Mapping[str, str | int | float], ttl: float) -> None:
        values: dict[str, str | int | float] = {
            "name": self.name,
            "exchange": self._exchange,
            "instance": self.instance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "beat": self._beat,
            "at": time.time_ns(),
            **fields,
        }
        pipe.hset(key, mapping=values)  # type: ignore[arg-type]
        pipe.pexpire(key, int(ttl * 1000))

    async def _take(self, last: str | None, fields: Mapping[str, str | int | float]) -> None:
        """Put this instance in the place of ``last`` (``None``: of nobody), if nobody else does first.

        Raises:
            AlreadyRunningError: somebody else did, started at the same moment.
        """
        key = self._keys.connector(self.name)
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                free = await pipe.hget(key, "instance") in (None, last)
                if free:
                    pipe.multi()  # type: ignore[no-untyped-call]
                    self._put(pipe, key, fields, max(self._ttl, _STARTING))
                    await pipe.execute()
        except WatchError:
            free = False
        if not free:
            raise AlreadyRunningError(self.name, "another one was started at the same moment")

    async def leave(self) -> None:
        """Take the heartbeat away, if it is this one's: the connector ends on purpose."""
        key = self._keys.connector(self.name)
        if await self._client.hget(key, "instance") == self.instance:
            await self._client.delete(key)

    async def show(self, catalog: Mapping[str, Mapping[str, object]]) -> bool:
        """Write the catalog entries that have changed, as `Catalog.show`."""
        return await self.catalog.show(catalog)

    async def watch_memory(self) -> None:
        """Ask Redis for its memory, once in a while, for as long as the task lives.

        Beside the heartbeat: in a Cluster all masters are asked, and one that hangs must hold up nothing else. A user
        that may not run ``INFO`` is not asked again for long.
        """
        while True:
            found, pause = None, _MEMORY_EVERY
            try:
                async with asyncio.timeout(_MEMORY_EVERY):
                    infos = await masters(self._client, "memory")
                memories = [Memory(int(info["used_memory"]), int(info.get("maxmemory", 0))) for info in infos]
                # Of several, the one that will be full first.
                found = max(memories, key=lambda memory: memory.used / (memory.most or float("inf")))
            except AWAY:
                pass
            except (*FAILURES, KeyError, TypeError, ValueError):
                pause = _MEMORY_REFUSED
            self.memory = found
            await asyncio.sleep(pause)

    async def _expect_given_up(self, owner: str, streams: Sequence[str]) -> None:
        """Make sure that another connector is gone, or has begun anew without these streams, as a shard does.

        Raises:
            AlreadyRunningError: it lives and writes them.
        """
        try:
            await self._expect_silence(owner, f"{owner}, which writes {streams[0]}")
        except AlreadyRunningError:
            # It beats; what it writes is in the catalog right after its first beat.
            await asyncio.sleep(self.interval)
            instance = (await self._client.hgetall(self._keys.connector(owner))).get("instance", "")
            said = (await self.catalog.owners(streams)).get(owner, {}).values()
            if any(writer in ("", instance) for writer in said):
                raise

    async def _expect_silence(self, name: str, shown: str) -> str | None:
        """The instance whose dead heartbeat stands there, if any."""
        key = self._keys.connector(name)
        first = await self._client.hgetall(key)
        if not first:
            return None
        instance = str(first.get("instance", ""))
        host, pid = str(first.get("host", "")), str(first.get("pid", ""))
        if host == socket.gethostname() and pid.isdigit() and not _alive(int(pid)):
            return instance
        patience = time.monotonic() + 2.5 * self.interval
        while time.monotonic() < patience:
            await asyncio.sleep(_GAP_BETWEEN_LOOKS)
            now = await self._client.hgetall(key)
            if not now:
                return None
            if now.get("beat") != first.get("beat"):
                raise AlreadyRunningError(shown, f"on host {host}, pid {pid}; stop it, or give this one another name")
        return instance


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
