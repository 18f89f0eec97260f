"""Connections to Redis for readers: one that may block for long, and calls that outlive an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self, TypeVar

from hiredis import pack_command
from redis import exceptions
from redis.asyncio import Connection, Redis

from bridge.redis.errors import AWAY, FAILURES, explain, explained, is_passing
from bridge.redis.retries import retries
from bridge.redis.topology import Address, Topology, by_stream, flat_map, safe_url

__all__ = [
    "BlockingConnection",
    "Endless",
    "Outages",
    "Where",
    "check",
    "log_outages",
    "make_client",
    "safe_url",
    "topology_of",
]

# Bytes that are no UTF-8 become "\\xff" and the like: text that can be printed, and written as JSON.
_TEXT = {"decode_responses": True, "encoding_errors": "backslashreplace"}
_UNBLOCKED = "UNBLOCKED force unblock"
"""How a server that is no longer the master ends a read that waits."""

_log = logging.getLogger(__name__)

Where = str | Topology
"""Where Redis is: a URL, or one that is taken apart already (for TLS with files of one's own)."""

T = TypeVar("T")


class Outages:
    """Repeats a call until Redis answers; ``report`` hears of the first failure, and of the end (``None``)."""

    def __init__(
        self,
        report: Callable[[BaseException | None], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        waits: Callable[[], Iterator[float]] = retries,
    ) -> None:
        self._report = report
        self._sleep = sleep
        self._waits = waits
        self._waiting = 0
        self._away = False
        self.count = 0

    async def outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result. It may be made several times, so it must be one that can be repeated.

        Raises:
            redis.exceptions.AuthenticationError: Redis refuses this client: waiting would not help.
            redis.exceptions.ResponseError: the call itself is wrong.
        """
        waits = None
        try:
            while True:
                try:
                    result = await call()
                except FAILURES as error:
                    if not is_passing(error):
                        raise
                    if waits is None:
                        waits = self._waits()
                        self._begin(error)
                    await self._sleep(next(waits))
                else:
                    if self._away and self._waiting == (waits is not None):
                        # Not only a call that waited: one that did may have been cancelled since.
                        self._away = False
                        self._report(None)
                    return result
        finally:
            self._waiting -= waits is not None

    def _begin(self, error: BaseException) -> None:
        """Several calls may wait at once: in a Cluster, one for each node that is away."""
        self._waiting += 1
        if not self._away:
            self._away = True
            self.count += 1
            self._report(error)


def log_outages(address: str) -> Callable[[BaseException | None], None]:
    """A report for `Outages` that logs; ``address`` is what messages call the server."""

    def report(error: BaseException | None) -> None:
        if error is None:
            _log.warning("Redis at %s is back", address)
        else:
            _log.warning("Redis at %s is unreachable, waiting: %s", address, explain(error, address))

    return report


def topology_of(where: Where) -> Topology:
    """The URL taken apart.

    Raises:
        ValueError: it is no Redis URL.
    """
    return Topology(where) if isinstance(where, str) else where


def make_client(where: Where, **options: Any) -> Redis:
    """A client that gives text and never repeats a command on its own; in a Cluster, a ``RedisCluster``, which does."""
    return topology_of(where).client(**{**_TEXT, **options})


async def check(client: Redis, where: Where) -> None:
    """Make sure that Redis answers.

    Raises:
        RedisUnavailableError: it doesn't, or doesn't let this client in.
    """
    with explained(topology_of(where).address):
        await client.ping()


class Endless(AsyncIterator[T]):
    """What ``step`` gives, again and again. Unlike a generator, it goes on after a step that was cancelled or failed."""

    def __init__(self, step: Callable[[], Awaitable[T]]) -> None:
        self._step = step

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self._step()

    async def aclose(self) -> None:
        """Nothing is open; for ``contextlib.aclosing``."""


class BlockingConnection:
    """A connection of its own for ``XREAD BLOCK``: its socket timeout is ``block`` seconds plus ``grace``.

    After any failure, cancellation included, the connection is dropped: a reply may still be on its way. ``locate``
    finds the node to connect to (``None``: there is only one).
    """

    def __init__(
        self,
        where: Where,
        block: float,
        grace: float = 5.0,
        locate: Callable[[], Awaitable[Address | None]] | None = None,
    ) -> None:
        self._topology = topology_of(where)
        self._options: dict[str, Any] = {
            "blocks": block + grace,
            "socket_connect_timeout": grace,
            "socket_read_size": 1 << 18,
            **_TEXT,
        }
        self._locate = locate
        self._pool = None if locate else self._topology.pool(**self._options)
        self._connection: Connection | None = None

    async def _connect(self) -> Connection:
        pool = self._pool
        if pool is None:
            assert self._locate is not None
            pool = self._topology.pool(await self._locate(), **self._options)
        connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def call(self, *command: Any) -> Any:
        """Send one command, return the raw reply, as it is in RESP2.

        Raises:
            redis.exceptions.RedisError, OSError: as redis-py has them.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._connect()
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]
            # Packing by redis-py would cost more than all else of a small read.
            await connection.send_packed_command(pack_command(command), check_health=False)
            reply = await connection.read_response()
            return _as_resp2(command, reply) if self._topology.resp3 else reply
        except exceptions.ResponseError as error:
            if isinstance(error, AWAY) or str(error).startswith(_UNBLOCKED):
                # Whoever has the keys now, it is no longer this node.
                await self.aclose()
            if str(error).startswith(_UNBLOCKED):
                raise exceptions.ConnectionError(str(error)) from None
            raise
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the socket; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
        if self._pool is not None:
            await self._pool.disconnect()


def _as_resp2(command: tuple[Any, ...], reply: Any) -> Any:
    return by_stream(reply) if command[0] in ("XREAD", "XREADGROUP") else flat_map(reply)
