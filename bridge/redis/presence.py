"""What a connector writes to Redis besides its streams: heartbeat, catalog entries, rejected frames.

These writes are rare and use a ``redis-py`` client of their own; losing one of them loses no event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bridge import __version__
from bridge.clock import CLOCK
from bridge.config import HeartbeatSettings
from bridge.errors import AlreadyRunningError, LeaseTakenError
from bridge.keys import Keys
from bridge.redis.catalog import Catalog
from bridge.redis.connected import Connected
from bridge.redis.errors import AWAY, FAILURES
from bridge.redis.groups import GroupLags
from bridge.redis.instruments import InstrumentHashes
from bridge.redis.lease import Lease
from bridge.redis.rejects import Rejects
from bridge.redis.rivals import Rivals, identity, is_gone
from bridge.redis.topology import masters
from bridge.redis.vacancy import LOOK_EVERY, Vacancy, await_vacancy

__all__ = ["WANTED", "Memory", "Presence"]

WANTED = "wanted"
"""Field of a standby's hash: the instance of the writer that is asked to let it go on."""
_MEMORY_EVERY = 5.0
_MEMORY_REFUSED = 300.0
_STARTING = 30.0
"""Minimum TTL of the first heartbeat, in seconds: opening hundreds of streams takes a while."""


class Memory(Struct, frozen=True):
    """Bytes that Redis uses, and its limit (0: no limit)."""

    used: int
    most: int


class Presence:
    """One connector's lease, heartbeat, catalog entries and rejects.

    Args:
        client: returns text; used only for reading.
        lease: the lease of this process, for all writes.
        keys: the keys of the namespace.
        exchange: the exchange's name.
        heartbeat: interval and TTL of the heartbeat.
    """

    def __init__(self, client: Redis, lease: Lease, keys: Keys, exchange: str, heartbeat: HeartbeatSettings) -> None:
        self._client = client
        self._keys = keys
        self._name = lease.name
        self._exchange = exchange
        self.interval = heartbeat.interval
        self._ttl = heartbeat.ttl
        self.lease = lease
        self.catalog = Catalog(client, keys, self.lease)
        self.instruments = InstrumentHashes(client, keys, self.lease, exchange)
        """What the exchange lists of the connector's pairs."""
        self._rivals = Rivals(client, keys, self.catalog, heartbeat.interval)
        self.rejects = Rejects(self.lease, keys.rejects(exchange), lease.name)
        """Frames that could not be parsed."""
        self._beat = 0
        self.groups = GroupLags(client)
        """The consumer groups of the connector's streams."""
        self.ids_ahead: Callable[[], int] = lambda: CLOCK.shift
        """By how much (ns) the times in IDs are ahead of the steady clock."""
        self.memory: Memory | None = None
        """The last known memory of Redis; ``None`` if unknown."""

    @property
    def instance(self) -> str:
        """The name of this process, new at each start."""
        return self.lease.instance

    async def claim(self, streams: Sequence[str], fields: Mapping[str, str | int | float]) -> list[str]:
        """Check that no other live process has this name or writes these streams, and take the lease.

        Returns:
            The connectors whose earlier processes must not write any more: this one, and earlier owners of the streams.

        Raises:
            AlreadyRunningError: another process has the name or writes the streams.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        looked = await self.lease.look()
        last = await self._rivals.expect_silence(self._name, self._name)
        return await self._take(Vacancy(looked, last), streams, fields)

    async def succeed(
        self,
        streams: Callable[[], Sequence[str]],
        fields: Callable[[], Mapping[str, str | int | float]],
        seen: Callable[[Mapping[str, str]], None],
        connected: Connected | None = None,
    ) -> list[str]:
        """Wait until the process that has this name is gone, and take the lease; ``seen`` gets each of its heartbeats.

        ``connected`` tells whether that process has connections to Redis; without it, only its heartbeat counts.

        Returns, raises:
            As `claim`; what ``streams`` and ``fields`` give is asked for at the end.
        """

        def saw(heartbeat: Mapping[str, str]) -> None:
            self.lease.saw(heartbeat.get("epoch", ""))
            seen(heartbeat)

        while True:
            free = await await_vacancy(self._client, self._keys, self._name, self.interval, saw, connected=connected)
            try:
                return await self._take(free, streams(), fields())
            except LeaseTakenError:
                continue  # another standby was faster

    async def _take(self, free: Vacancy, streams: Sequence[str], fields: Mapping[str, str | int | float]) -> list[str]:
        gone = await self._gone(streams)
        await self.lease.take(free.fence, free.last, partial(self._put, fields=fields, ttl=max(self._ttl, _STARTING)))
        try:
            await self._fence_off(gone)
        except AlreadyRunningError:
            await self.leave()
            raise
        return [self._name, *gone]

    async def claim_more(self, streams: Sequence[str]) -> list[str]:
        """Check that no other live process writes these streams, while this one has its lease.

        Returns:
            The earlier owners of the streams, which must not write any more.

        Raises:
            AlreadyRunningError: another process writes one of them.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        gone = await self._gone(streams)
        await self._fence_off(gone)
        return list(gone)

    async def _gone(self, streams: Sequence[str]) -> dict[str, str | None]:
        """The earlier owners of these streams that are gone, with their fences."""
        gone = {}
        for owner, keys in (await self.catalog.owners(streams)).items():
            if owner != self._name:
                before = await self.lease.look(owner)
                if await self._rivals.expect_given_up(owner, list(keys)):
                    gone[owner] = before
        return gone

    async def _fence_off(self, gone: Mapping[str, str | None]) -> None:
        for owner, before in gone.items():
            if not await self.lease.fence_off(owner, before):
                raise AlreadyRunningError(owner, "it was started at the same time, and may write the same streams")

    async def beat(self, fields: Mapping[str, str | int | float]) -> None:
        """Renew the lease with a heartbeat.

        Raises:
            DisplacedError: another process has taken over while this one was stopped or disconnected.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        self._beat += 1
        await self.lease.renew(partial(self._put, fields=fields, ttl=self._ttl))

    async def stand_by(self, fields: Mapping[str, str | int | float]) -> None:
        """Show that this process stands by.

        Raises:
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        key = self._keys.standby(self._name)
        async with self._client.pipeline(transaction=True) as pipe:
            self._show(pipe, key, fields, self._ttl)
            await pipe.execute()

    async def standby(self) -> dict[str, str]:
        """What the process shows that stands by for this connector, if there is one.

        Raises:
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        found: dict[str, str] = await self._client.hgetall(self._keys.standby(self._name))  # type: ignore[assignment]
        return found

    def is_ready(self, shown: Mapping[str, str]) -> bool:
        """Whether another process, of what a standby shows, could go on at once."""
        return shown.get("state") == "standby" and shown.get("instance") != self.instance and not is_gone(shown)

    def is_wanted(self, shown: Mapping[str, str]) -> bool:
        """Whether somebody has asked this process to let the one that stands by go on (`tickbridge handover`)."""
        return shown.get(WANTED) == self.instance

    async def has_successor(self, patience: float) -> bool:
        """Whether another process takes the lease within so many seconds.

        Raises:
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        until = time.monotonic() + patience
        while await self.lease.look() == self.lease.token:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(LOOK_EVERY)
        return True

    async def stand_by_no_more(self) -> None:
        """Delete what this process has shown as a standby, unless another one shows itself there by now.

        Raises:
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        if (await self.standby()).get("instance") == self.instance:
            await self._client.delete(self._keys.standby(self._name))

    def _put(self, pipe: Pipeline, fields: Mapping[str, str | int | float], ttl: float) -> None:
        self._show(pipe, self._keys.connector(self._name), fields, ttl)

    def _show(self, pipe: Pipeline, key: str, fields: Mapping[str, str | int | float], ttl: float) -> None:
        values: dict[str, str | int | float] = {
            "name": self._name,
            "exchange": self._exchange,
            "instance": self.instance,
            "epoch": self.lease.epoch,
            **identity(),
            "version": __version__,
            "beat": self._beat,
            "at": time.time_ns(),
            "steady": CLOCK.now(),
            "ids_ahead": self.ids_ahead(),
            **fields,
        }
        pipe.hset(key, mapping=values)  # type: ignore[arg-type]
        pipe.pexpire(key, int(ttl * 1000))

    async def leave(self) -> None:
        """Delete this process's heartbeat when the connector ends on purpose.

        Raises:
            DisplacedError: another process has the lease.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        await self.lease.give_back()

    async def show(self, catalog: Mapping[str, Mapping[str, object]]) -> bool:
        """Write the catalog entries that have changed; see `Catalog.show`."""
        return await self.catalog.show(catalog)

    async def watch_memory(self) -> None:
        """Ask Redis for its memory every few seconds, endlessly.

        This is separate from the heartbeat: in a Cluster all masters are asked, and one that hangs must not delay
        anything else. If this user may not run ``INFO``, the next attempt is much later.
        """
        while True:
            found, pause = None, _MEMORY_EVERY
            try:
                async with asyncio.timeout(_MEMORY_EVERY):
                    infos = await masters(self._client, "memory")
                memories = [Memory(int(info["used_memory"]), int(info.get("maxmemory", 0))) for info in infos]
                # With several masters, the fullest one.
                found = max(memories, key=lambda memory: memory.used / (memory.most or float("inf")))
            except AWAY:
                pass
            except (*FAILURES, KeyError, TypeError, ValueError):
                pause = _MEMORY_REFUSED
            self.memory = found
            await asyncio.sleep(pause)
