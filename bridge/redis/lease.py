"""Who may write a connector's streams, and whatever else it has in Redis: the process whose token its fence key holds.

    bridge:connector:<name>           heartbeat: a hash with a TTL. Whether the process lives
    bridge:connector:<name>:fence     ``7-5f0c9a1be27d``. Which process may write; only a takeover changes it

A takeover replaces the token by one with the next number, in one step with a look that nobody else has. From then on the
process before writes nothing: its entries travel behind a look at the fence (`bridge.publish.fence`), everything else goes
through `Lease.write`. In a Cluster a transaction is for one slot: there the new process ends the old one's connections
(`bridge.redis.connections`), and whoever connects later looks at the fence before it writes.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from bridge.errors import AlreadyRunningError, DisplacedError
from bridge.keys import Keys
from bridge.redis.errors import AWAY, FAILURES, about
from bridge.redis.holding import Holding, LeaseState
from bridge.redis.tokens import epoch_of, instance_of, token_of

__all__ = ["Lease", "Queue", "new_instance"]

Queue = Callable[[Pipeline], None]
"""Puts commands into a transaction."""
_ATTEMPTS = 5
_SAME_MOMENT = "another one was started at the same moment"


def new_instance() -> str:
    """A name for a process: 12 hexadecimal digits."""
    return uuid.uuid4().hex[:12]


class Lease:
    """One process's lease of a connector's name.

    Args:
        client: gives text, and repeats nothing on its own: what it repeated might come after a takeover.
        keys: of the namespace.
        name: the connector's.
        patience: seconds after a renewal for which it holds.
        instance: what tells this process from the others; part of the names of all its connections.
    """

    def __init__(self, client: Redis, keys: Keys, name: str, patience: float, instance: str) -> None:
        self._client: Any = client
        self._cluster = isinstance(client, RedisCluster)
        self._keys = keys
        self.name = name
        """The connector's."""
        self._heartbeat = keys.connector(name)
        self.key = keys.fence(name)
        """The fence."""
        self.instance = instance
        self.epoch = 0
        """How often the name has been taken, with this time; 0 before."""
        self.holding = Holding(patience)
        self.ends_connections = False
        """Whether a takeover ends the connections of the process before, so that one of them is enough to write."""
        self._successor = ""
        """What is known of the process that has taken this one's place."""

    @property
    def token(self) -> str:
        """What the fence holds while this process may write."""
        return token_of(self.epoch, self.instance)

    async def look(self, name: str = "") -> str | None:
        """What a connector's fence holds (by default: of this one), to be given to `take` or `fence_off`."""
        key = self._keys.fence(name or self.name)
        with about(key):
            return _text(await self._client.get(key))

    async def take(self, looked: str | None, last: str | None, put: Queue) -> None:
        """Take the lease, unless somebody else does first.

        Args:
            looked: what the fence held before it was made sure that its process is gone.
            last: the instance whose dead heartbeat stands there.
            put: writes the first heartbeat.

        Raises:
            AlreadyRunningError: somebody else did.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        sent = self.holding.now()
        self.epoch = epoch_of(looked or "") + 1
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
            # The two keys are in two slots. The heartbeat first: who comes now finds that somebody lives.
            taken = await self._swap([self.key], unchanged, fence)
            if not taken:
                with suppress(*FAILURES):
                    await self._swap([self._heartbeat], mine, lambda pipe: _put(pipe.delete(self._heartbeat)))
        if not taken:
            raise AlreadyRunningError(self.name, _SAME_MOMENT)
        self.holding.taken(sent)

    async def fence_off(self, owner: str, looked: str | None) -> bool:
        """Keep the process of another connector, which is gone, from writing should it come back.

        Returns:
            Whether its fence was still as it had been ``looked`` at: if not, that connector has begun anew meanwhile.
        """
        key = self._keys.fence(owner)

        async def unchanged(pipe: Pipeline) -> bool:
            return _text(await pipe.get(key)) == looked

        token = token_of(epoch_of(looked or "") + 1, self.instance)
        return await self._swap([key], unchanged, lambda pipe: _put(pipe.set(key, token)))

    async def renew(self, put: Queue) -> None:
        """Write a heartbeat, by which others see that this process lives.

        Raises:
            DisplacedError: another process has the lease.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        sent = self.holding.now()
        if (holder := await self._client.hget(self._heartbeat, "instance")) not in (None, self.instance):
            await self._displaced(str(holder))
        try:
            await self.write(self._heartbeat, put)
        except ResponseError as error:
            # It has been looked, and a server that takes no writes lets nobody else take the lease.
            if not isinstance(error, AWAY):
                self.holding.renewed(sent)
            raise
        self.holding.renewed(sent)

    async def assure(self) -> None:
        """Make sure that the lease is this process's; to be called on each new connection, before it writes.

        Raises:
            DisplacedError: another process has it.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        if not await self._is_ours(await self.look()):
            await self._restore()

    async def write(self, key: str, queue: Queue) -> list[Any]:
        """Run commands for one key in a transaction that takes place only while the lease is this process's.

        Returns:
            The replies.

        Raises:
            DisplacedError: another process has it; nothing was written.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
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
        raise WatchError(f"{key} changes all the time")

    async def give_back(self) -> None:
        """Take the heartbeat away: the connector ends on purpose, and the next one need not wait.

        Raises:
            DisplacedError: another process has the lease.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        if self.holding.state in (LeaseState.FREE, LeaseState.LOST):
            return
        await self.write(self._heartbeat, lambda pipe: _put(pipe.delete(self._heartbeat)))
        self.holding.given_back()

    async def _is_ours(self, found: str | None) -> bool:
        """Whether the fence holds this process's token; not if Redis has forgotten it.

        An older token is what stands there after a failover to a replica that had not got the newer one yet.

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
        """Another process, of this ``instance``, has the lease: from now on nothing is written.

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
        """Redis has forgotten the token: put it back, unless somebody else's is there by now.

        Raises:
            DisplacedError: it is.
        """

        async def forgotten(pipe: Pipeline) -> bool:
            return not await self._is_ours(_text(await pipe.get(self.key)))

        await self._swap([self.key], forgotten, lambda pipe: _put(pipe.set(self.key, self.token)))

    async def _swap(self, keys: list[str], check: Callable[[Pipeline], Awaitable[bool]], queue: Queue) -> bool:
        """Run commands if ``check`` says so and ``keys`` don't change meanwhile; whether they were run.

        A change is looked at again: it may only be that the heartbeat of a dead process has expired.
        """
        for _ in range(_ATTEMPTS):
            with suppress(WatchError), about(" or ".join(keys)):
                return await self._swapped(keys, check, queue)
        return False

    async def _swapped(self, keys: list[str], check: Callable[[Pipeline], Awaitable[bool]], queue: Queue) -> bool:
        async with self._client.pipeline(transaction=True) as pipe:
            for key in keys:  # one by one: a user's rights to them may stand in several rules
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
    """A pipeline's commands give it back."""
