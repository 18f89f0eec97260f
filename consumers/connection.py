"""Connections to Redis for readers: one that may block for long, and calls that outlive an outage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from hiredis import pack_command
from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = [
    "OUTAGE",
    "BlockingConnection",
    "Outages",
    "RedisUnreachableError",
    "backoff",
    "check",
    "make_client",
    "safe_url",
]

OUTAGE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    OSError,
)
"""What a call raises while Redis is away, loading, or failing over."""

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_TEXT = {"decode_responses": True, "encoding_errors": "surrogateescape", "protocol": 2}

T = TypeVar("T")


class RedisUnreachableError(Exception):
    """Redis is out of reach, or doesn't let this client in; ``url`` is without its password."""

    def __init__(self, url: str, cause: BaseException) -> None:
        self.url = safe_url(url)
        super().__init__(f"Redis at {self.url}: {_words(cause)}")


def safe_url(url: str) -> str:
    """The URL without user, password and query, fit for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def backoff(base: float = 0.05, cap: float = 2.0, rand: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each retry: none, then doubling to ``cap``, each between a half and the whole."""
    yield 0.0
    step = base
    while True:
        yield step * (0.5 + rand() / 2)
        step = min(cap, step * 2)


class Outages:
    """Repeats a call until Redis answers; ``report`` hears of the first failure, and of the end (``None``)."""

    def __init__(
        self,
        report: Callable[[BaseException | None], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        waits: Callable[[], Iterator[float]] = backoff,
    ) -> None:
        self._report = report
        self._sleep = sleep
        self._waits = waits
        self.count = 0

    async def outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result. It may be made several times, so it must be one that can be repeated.

        Raises:
            redis.exceptions.AuthenticationError: Redis refuses this client: waiting would not help.
            redis.exceptions.ResponseError: the call itself is wrong.
        """
        waits = None
        while True:
            try:
                result = await call()
            except _REFUSED:
                raise
            except OUTAGE as error:
                if waits is None:
                    waits = self._waits()
                    self.count += 1
                    self._report(error)
                await self._sleep(next(waits))
            else:
                if waits is not None:
                    self._report(None)
                return result


def make_client(url: str, **options: Any) -> Redis:
    """A client that gives text and never repeats a command on its own."""
    client: Redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **{**_TEXT, **options})
    _make_cancellable(client.connection_pool)
    return client


class _Cancellable:
    """Mixed into redis-py's connections: sends without ``asyncio.wait_for``.

    On Python 3.11 that swallows a cancellation which comes as the write completes, and under load a write always does:
    a service would never end. It also costs a task for each command.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        finally:
            self.socket_timeout = limit


def _make_cancellable(pool: ConnectionPool) -> None:
    # The pool chooses the class by the URL's scheme: TCP, TLS or a Unix socket.
    pool.connection_class = type("CancellableConnection", (_Cancellable, pool.connection_class), {})


async def check(client: Redis, url: str) -> None:
    """Make sure that Redis answers.

    Raises:
        RedisUnreachableError: it doesn't.
    """
    try:
        await client.ping()
    except (exceptions.RedisError, OSError) as error:
        raise RedisUnreachableError(url, error) from None


class BlockingConnection:
    """A connection of its own for ``XREAD BLOCK``: its socket timeout is ``block`` seconds plus ``grace``.

    After any failure, cancellation included, the connection is dropped: a reply may still be on its way.
    """

    def __init__(self, url: str, block: float, grace: float = 5.0) -> None:
        self._pool: ConnectionPool = ConnectionPool.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=block + grace,
            socket_connect_timeout=grace,
            socket_read_size=1 << 18,
            **_TEXT,
        )
        _make_cancellable(self._pool)
        self._connection: Connection | None = None

    async def call(self, *command: Any) -> Any:
        """Send one command, return the raw reply.

        Raises:
            redis.exceptions.RedisError, OSError: as redis-py has them.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            if not connection.is_connected:
                await connection.connect()
            # Packing by redis-py would cost more than all else of a small read.
            await connection.send_packed_command(pack_command(command), check_health=False)
            return await connection.read_response()
        except exceptions.ResponseError:
            raise
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the socket; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _words(cause: BaseException) -> str:
    text = str(cause).strip().rstrip(".")
    return text or type(cause).__name__
