"""Redis connections for readers: blocking reads, and calls that are repeated until Redis answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Self, TypeVar

from redis import exceptions
from redis.asyncio import Connection, Redis

from bridge.redis.errors import AWAY, FAILURES, explain, explained, is_passing
from bridge.redis.retries import retries
from bridge.redis.sentinels import SentinelPool
from bridge.redis.topology import Address, Topology, by_stream, flat_map, safe_url

try:
    from hiredis import pack_command
except ImportError:  # a reader needs only redis and msgspec; with hiredis it is faster
    pack_command = None  # type: ignore[assignment]

__all__ = [
    "BlockingConnection",
    "Endless",
    "Outages",
    "Steps",
    "Where",
    "check",
    "end",
    "log_outages",
    "make_client",
    "of_replica",
    "safe_url",
    "topology_of",
]

# Bytes that are not UTF-8 become text such as "\\xff", which can be printed and written as JSON.
_TEXT = {"decode_responses": True, "encoding_errors": "backslashreplace"}
_UNBLOCKED = "UNBLOCKED force unblock"
"""How a server that is no longer the master ends a blocking read."""
_SHIELDED = 1000
"""Steps with a task of their own after a cancelled one: who has set a time limit may do so again."""

_log = logging.getLogger(__name__)

Where = str | Topology
"""Where Redis is: a URL, or a `Topology` (for TLS with certificate files)."""

T = TypeVar("T")


class Outages:
    """Repeats calls until Redis answers. ``report`` gets the first error of an outage, and ``None`` at its end."""

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
        """Repeat ``call`` until Redis answers, and return its result. It must be safe to repeat.

        Raises:
            redis.exceptions.AuthenticationError: Redis refuses this client, so waiting would not help.
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
                        # Not only after a call that waited: that one may have been cancelled.
                        self._away = False
                        self._report(None)
                    return result
        finally:
            self._waiting -= waits is not None

    def _begin(self, error: BaseException) -> None:
        """Several calls may wait at once: in a Cluster, one for each unreachable node."""
        self._waiting += 1
        if not self._away:
            self._away = True
            self.count += 1
            self._report(error)


def log_outages(address: str) -> Callable[[BaseException | None], None]:
    """A ``report`` for `Outages` that logs; ``address`` is how messages name the server."""

    def report(error: BaseException | None) -> None:
        if error is None:
            _log.warning("Redis at %s is back", address)
        else:
            away = isinstance(error, AWAY) and not isinstance(error, exceptions.ReadOnlyError)
            words = "is unreachable" if away else "accepts no writes"
            _log.warning("Redis at %s %s, waiting: %s", address, words, explain(error, address))

    return report


def topology_of(where: Where) -> Topology:
    """The topology that a URL describes.

    Raises:
        ValueError: it is not a Redis URL.
    """
    return Topology(where) if isinstance(where, str) else where


def make_client(where: Where, **options: Any) -> Redis:
    """A client with text replies that never repeats a command by itself (except the client of a Cluster)."""
    return topology_of(where).client(**{**_TEXT, **options})


async def check(client: Redis, where: Where) -> None:
    """Check that Redis answers.

    Raises:
        RedisUnavailableError: it does not, or refuses this client.
    """
    with explained(topology_of(where).address):
        await client.ping()


async def of_replica(redis: Redis) -> exceptions.ReadOnlyError:
    """The error of a write to a replica: with the address of its master, if Redis tells it (`bridge.redis.errors.explain`)."""
    info: dict[str, Any] = {}
    with suppress(*FAILURES):
        info = await redis.info("replication")
    master = f"{info['master_host']}:{info['master_port']}" if "master_host" in info else "which it does not name"
    return exceptions.ReadOnlyError(master)


class Endless(AsyncIterator[T]):
    """Yields the result of ``step`` endlessly. Unlike a generator, it continues after a step is cancelled or fails."""

    def __init__(self, step: Callable[[], Awaitable[T]]) -> None:
        self._step = step

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self._step()

    async def aclose(self) -> None:
        """Do nothing; for ``contextlib.aclosing``."""


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has ended, however it does."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


class Steps:
    """Runs ``step``, which may be cancelled and repeated. If waiting for it is cancelled, it goes on for the next ``run``.

    Otherwise one that takes longer than its caller ever waits would begin again and again. A task for each step costs
    something, so only those after a cancellation have one; the first cancellation ends the step itself.
    """

    def __init__(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._step = step
        self._task: asyncio.Task[None] | None = None
        self._shielded = 0
        """So many steps more have tasks."""

    @property
    def running(self) -> bool:
        """Whether a step is on its way that nobody may be waiting for."""
        return self._task is not None and not self._task.done()

    async def run(self) -> None:
        """Run a step, or wait for the one that is on its way.

        Raises:
            Exception: whatever ``step`` raises.
        """
        task = self._task
        try:
            if task is None:
                if not self._shielded:
                    await self._step()
                    return
                self._shielded -= 1
                task = self._task = asyncio.create_task(self._step(), name="step")
            if not task.done():
                await asyncio.wait((task,))
        except asyncio.CancelledError:
            self._shielded = _SHIELDED
            raise
        if self._task is task:
            self._task = None
        task.result()

    async def aclose(self) -> None:
        """End the step that is on its way."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)


class BlockingConnection:
    """A connection for ``XREAD BLOCK``, with a socket timeout of ``block`` plus ``grace`` seconds.

    After any failure or cancellation, the connection is closed, because a reply may still arrive. ``locate``
    finds the node to connect to (``None``: there is only one node).
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

    async def call(self, *command: Any, text: bool = True) -> Any:
        """Send one command; returns the raw reply, in the form of RESP2, with bytes unless it is to be ``text``.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._connect()
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]
            elif isinstance(self._pool, SentinelPool) and self._pool.has_left(connection):
                raise exceptions.ConnectionError("the Sentinels name another master")  # noqa: TRY301 - as any other
            # Packing by redis-py would cost more than the rest of a small read.
            if pack_command is None:
                await connection.send_command(*command, check_health=False)
            else:
                await connection.send_packed_command(pack_command(command), check_health=False)
            reply = await connection.read_response(disable_decoding=not text)
            return _as_resp2(command, reply) if self._topology.resp3 else reply
        except exceptions.ResponseError as error:
            if isinstance(error, AWAY) or str(error).startswith(_UNBLOCKED):
                # This node no longer has the keys.
                await self.aclose()
            if str(error).startswith(_UNBLOCKED):
                raise exceptions.ConnectionError(str(error)) from None
            raise
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the socket; the next call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
        if self._pool is not None:
            await self._pool.disconnect()


def _as_resp2(command: tuple[Any, ...], reply: Any) -> Any:
    return by_stream(reply) if command[0] in ("XREAD", "XREADGROUP") else flat_map(reply)
