"""The lease of a connector: the process whose token is in the fence key may write its streams and other keys.

    bridge:connector:<name>           heartbeat: a hash with a TTL, which shows whether the process lives
    bridge:connector:<name>:fence     ``1795985201716-5f0c9a1be27d``: the process that may write; only a takeover changes it

A takeover atomically replaces the token by one with the next number. The first number, also after Redis has lost the
fence, is the time in milliseconds by Redis' clock, so that a process that wrote before the loss has a lower one, whatever
its host's clock shows. From a takeover on, the previous process writes nothing: its entries are sent after a check of the
fence (`bridge.publish.fence`), everything else goes through `Lease.write`. In a Cluster, a transaction covers only one
slot. There, the new process closes the old one's connections (`bridge.redis.connections`), and every process checks the
fence on a new connection before it writes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from bridge.errors import DisplacedError, LeaseTakenError
from bridge.keys import Keys
from bridge.redis.errors import AWAY, FAILURES, about
from bridge.redis.holding import Holding, LeaseState
from bridge.redis.tokens import epoch_of, instance_of, token_of

__all__ = ["Lease", "Queue", "new_instance"]

Queue = Callable[[Pipeline], None]
"""Adds commands to a transaction."""
_ATTEMPTS = 5
_SAME_MOMENT = "another one was started at the same time"


def new_instance() -> str:
    """A new name for a process: 12 hexadecimal digits."""
    return uuid.uuid4().hex[:12]


class Lease:
    """One process's lease of a connector's name.

    Args:
        client: returns text, and never repeats a command: a repeat might arrive after a takeover.
        keys: the keys of the namespace.
        name: the connector's name.
        patience: seconds for which a renewal is valid.
        instance: identifies this process; part of the names of all its connections.
    """

    def __init__(self, client: Redis, keys: Keys, name: str, patience: float, instance: str) -> None:
        self._client: Any = client
        self._cluster = isinstance(client, RedisCluster)
        self._keys = keys
        self.name = name
        """The connector's name."""
        self._heartbeat = keys.connector(name)
        self.key = keys.fence(name)
        """The key of the fence."""
        self.instance = instance
        self.epoch = 0
        """The number of this process among those that have had the name, higher than all before; 0 if it never had it."""
        self.holding = Holding(patience)
        self.ends_connections = False
        """Whether a takeover closes the connections of the previous process, so that an open one may still write."""
        self._successor = ""
        """What is known of the process that has taken over."""
        self._highest = 0
        """The highest number that another process was seen to have."""

    @property
    def token(self) -> str:
        """The content of the fence while this process may write."""
        return token_of(self.epoch, self.instance)

    async def look(self, name: str = "") -> str | None:
        """The content of a connector's fence (default: this connector), to be passed to `take` or `fence_off`."""
        key = self._keys.fence(name or self.name)
        with about(key):
            return _text(await self._client.get(key))

    def saw(self, epoch: int | str) -> None:
        """Take a higher number than this one of the process that has the name, even if Redis loses the fence."""
        self._highest = max(self._highest, epoch_of(token_of(epoch, self.instance)))

    async def _next_epoch(self, looked: str | None, highest: int = 0) -> int:
        """The number that follows that of a token; without a token, the time: that of a process that still runs is lower."""
        return max(epoch_of(looked or "") or await self._time(), highest) + 1

    async def _time(self) -> int:
        """Milliseconds since the epoch by Redis' clock, or by the host's where this user may not ask."""
        try:
            told = await self._client.time(**({"target_nodes": RedisCluster.RANDOM} if self._cluster else {}))
        except ResponseError:
            return time.time_ns() // 1_000_000
        seconds, microseconds = next(iter(told.values())) if isinstance(told, dict) else told
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def take(self, looked: str | None, last: str | None, put: Queue) -> None:
        """Take the lease, unless another process takes it first.

        Args:
            looked: the content of the fence before its process was found to be gone.
            last: the instance of the dead heartbeat, if there is one.
            put: writes the first heartbeat.

        Raises:
            LeaseTakenError: another process took it.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        sent = self.holding.now()
        self.epoch = await self._next_epoch(looked, self._highest)
        instances = (None, last)

        async def free(pipe: Pipeline) -> bool:
            return await pipe.hget(self._heartbeat, "instance") in instances

        async def mine(pipe: Pipeline) -> bool:
            return await pipe.hget(self._heartbeat, "instance") == self.instance

        async def unchanged(pipe: Pipeline) -> bool:
            return _text(await pipe.get(self.key)) == looked

        async def both(pipe: Pipeline) -> bool:
            return await free(pipe) and await unchanged(pipe)

        def fence(pipe: Pipeline) -> None:
            pipe.set(self.key, self.token)

        def fence_and_put(pipe: Pipeline) -> None:
            fence(pipe)
            put(pipe)

        if not self._cluster:
            taken = await self._swap([self.key, self._heartbeat], both, fence_and_put)
        elif taken := await self._swap([self._heartbeat], free, put):
            # The two keys are in two slots. The heartbeat comes first, so that others find a live process.
            taken = await self._swap([self.key], unchanged, fence)
            if not taken:
                with suppress(*FAILURES):
                    await self._swap([self._heartbeat], mine, lambda pipe: _put(pipe.delete(self._heartbeat)))
        if not taken:
            raise LeaseTakenError(self.name, _SAME_MOMENT)
        self.holding.taken(sent)

    async def fence_off(self, owner: str, looked: str | None) -> bool:
        """Prevent the process of another connector, which is gone, from writing if it comes back.

        Returns:
            Whether its fence was still ``looked``; if not, that connector has been restarted in the meantime.
        """
        key = self._keys.fence(owner)

        async def unchanged(pipe: Pipeline) -> bool:
            return _text(await pipe.get(key)) == looked

        token = token_of(await self._next_epoch(looked), self.instance)
        return await self._swap([key], unchanged, lambda pipe: _put(pipe.set(key, token)))

    async def renew(self, put: Queue) -> None:
        """Write a heartbeat, which shows that this process lives.

        Raises:
            DisplacedError: another process has the lease.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        sent = self.holding.now()
        if (holder := await self._client.hget(self._heartbeat, "instance")) not in (None, self.instance):
            await self._displaced(str(holder))
        try:
            await self.write(self._heartbeat, put)
        except ResponseError as error:
            # The holder was checked, and a server that accepts no writes lets no other process take the lease.
            if not isinstance(error, AWAY):
                self.holding.renewed(sent)
            raise
        self.holding.renewed(sent)

    async def assure(self) -> None:
        """Check that this process has the lease; call it on each new connection before it writes.

        Raises:
            DisplacedError: another process has it.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        if not await self._is_ours(await self.look()):
            await self._restore()

    async def write(self, key: str, queue: Queue) -> list[Any]:
        """Run commands for one key in a transaction that succeeds only while this process has the lease.

        Returns:
            The replies.

        Raises:
            DisplacedError: another process has it; nothing was written.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        for _ in range(_ATTEMPTS):
            with suppress(WatchError):
                async with self._client.pipeline(transaction=True) as pipe:
                    # In a Cluster this opens the connection that is used below, before the fence is read: a takeover
                    # after that ends it.
                    await pipe.watch(key if self._cluster else self.key)
                    ours = await self._is_ours(_text(await (self._client if self._cluster else pipe).get(self.key)))
                    if not ours and self._cluster:
                        await self._restore()
                    pipe.multi()
                    queue(pipe)
                    if not ours and not self._cluster:
                        pipe.set(self.key, self.token)
                    replies: list[Any] = await pipe.execute()
                    return replies
        raise WatchError(f"{key} keeps changing")

    async def give_back(self) -> None:
        """Delete the heartbeat when the connector ends on purpose, so that the next one need not wait.

        Raises:
            DisplacedError: another process has the lease.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        if self.holding.state in (LeaseState.FREE, LeaseState.LOST):
            return
        await self.write(self._heartbeat, lambda pipe: _put(pipe.delete(self._heartbeat)))
        self.holding.given_back()

    async def _is_ours(self, found: str | None) -> bool:
        """Whether the fence has this process's token; ``False`` if Redis has lost it.

        After a failover to a replica that did not have the newest token yet, the fence has an older one.

        Raises:
            DisplacedError: another process has taken it.
        """
        if self.holding.state is LeaseState.LOST:
            raise DisplacedError(self.name, self._successor)
        if found == self.token:
            return True
        if epoch_of(found or "") >= self.epoch:
            await self._displaced(instance_of(found or ""))
        return False

    async def _displaced(self, instance: str) -> None:
        """Record that another process, ``instance``, has the lease, so that nothing more is written.

        Raises:
            DisplacedError: always.
        """
        self.holding.displaced()
        self._successor = f"instance {instance}" if instance else ""
        with suppress(*FAILURES):
            found = await self._client.hgetall(self._heartbeat)
            if found.get("instance") == instance:
                self._successor = f"on host {found.get('host', '')}, pid {found.get('pid', '')}"
        raise DisplacedError(self.name, self._successor)

    async def _restore(self) -> None:
        """Restore the token that Redis has lost, unless another process's token is there.

        Raises:
            DisplacedError: it is.
        """

        async def forgotten(pipe: Pipeline) -> bool:
            return not await self._is_ours(_text(await pipe.get(self.key)))

        await self._swap([self.key], forgotten, lambda pipe: _put(pipe.set(self.key, self.token)))

    async def _swap(self, keys: list[str], check: Callable[[Pipeline], Awaitable[bool]], queue: Queue) -> bool:
        """Run commands if ``check`` succeeds and ``keys`` do not change; returns whether they were run.

        After a change, it checks again: perhaps only the heartbeat of a dead process has expired.
        """
        for _ in range(_ATTEMPTS):
            with suppress(WatchError), about(" or ".join(keys)):
                return await self._swapped(keys, check, queue)
        return False

    async def _swapped(self, keys: list[str], check: Callable[[Pipeline], Awaitable[bool]], queue: Queue) -> bool:
        async with self._client.pipeline(transaction=True) as pipe:
            for key in keys:  # one by one, because a user's rights may be in several rules
                await pipe.watch(key)
            if not await check(pipe):
                return False
            pipe.multi()
            queue(pipe)
            await pipe.execute()
        return True


def _text(found: object) -> str | None:
    return None if found is None else str(found)


def _put(_: object) -> None:
    """Discard the pipeline, which its commands return."""
