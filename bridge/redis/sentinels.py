"""Connections to the master that Sentinels name, and to its successor as soon as they name another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError
from redis.sentinel import SentinelConnectionPool as RedisSyncSentinelPool

from bridge.redis.url import Address

__all__ = ["SentinelPool", "SyncSentinelPool"]

_ASK_EVERY = 1.0
"""Seconds between two questions to the Sentinels, by a pool that is in use."""
_ASK_AFTER_FAILURE = 30.0
"""The same if none has answered, and the question has held up a command."""


class SentinelPool(SentinelConnectionPool):
    """A pool whose connections are to one master only: the one that the Sentinels name now.

    redis-py asks them only for a new connection. After a planned failover the old master goes on for some ten seconds, until
    it is demoted: what is written there meanwhile is lost, or refused for want of replicas. So a pool that is in use asks
    again once a second, beside the commands, which do not wait for it.

    redis-py also keeps connections that are in use when it learns of another master. Commands would go to both by turns: a
    lease would be taken at one of them, and what the streams have would be read from the other.
    """

    def __init__(self, service_name: str, sentinel_manager: Any, **options: Any) -> None:
        super().__init__(service_name, sentinel_manager, **options)  # type: ignore[no-untyped-call]
        self.moved: Callable[[Address], None] = lambda _: None
        """Called when the Sentinels name another master than before."""
        self._asked = time.monotonic()
        self._asking: asyncio.Task[None] | None = None

    def has_left(self, connection: Any) -> bool:
        """Whether a connection is to a server that is the master no more, as far as the Sentinels have said."""
        self._ask()
        return self.master_address is not None and (connection.host, connection.port) != self.master_address

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        self._ask()
        return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]

    async def get_master_address(self) -> Address:
        before = self.master_address
        found: Address = await super().get_master_address()  # type: ignore[no-untyped-call]
        self._asked = time.monotonic()
        if before not in (None, found):
            self.moved(found)
        return found

    async def release(self, connection: Any) -> None:
        if (connection.host, connection.port) != self.master_address:
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            if self._asking is not None:
                self._asking.cancel()
                await asyncio.wait((self._asking,))
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()

    def _ask(self) -> None:
        idle = self._asking is None or self._asking.done()
        if idle and self.master_address is not None and time.monotonic() - self._asked >= _ASK_EVERY:
            self._asking = asyncio.create_task(self._look(), name="sentinels-ask")

    async def _look(self) -> None:
        try:
            await self.get_master_address()
        except (RedisError, OSError):
            self._asked = time.monotonic()  # the master may be there, even if no Sentinel is


class SyncSentinelPool(RedisSyncSentinelPool):
    """The same for code without an event loop, where the question holds up the command that comes next."""

    def __init__(self, service_name: str, sentinel_manager: Any, **options: Any) -> None:
        super().__init__(service_name, sentinel_manager, **options)  # type: ignore[no-untyped-call]
        self._ask_at = time.monotonic() + _ASK_EVERY

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if self.master_address is not None and time.monotonic() >= self._ask_at:
            wait = _ASK_EVERY
            try:
                self.get_master_address()  # type: ignore[no-untyped-call]
            except (RedisError, OSError):
                wait = _ASK_AFTER_FAILURE
            self._ask_at = time.monotonic() + wait
        return super().get_connection(*args, **options)
