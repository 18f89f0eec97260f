"""The Redis side of a connector: its publisher, its client for everything else, and its streams' standing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from bridge.config import Settings
from bridge.errors import RedisUnavailableError
from bridge.feed.policies import backoff
from bridge.keys import Keys
from bridge.model import Channel, Event
from bridge.opening import open_stream
from bridge.presence import Presence
from bridge.publish.buffer import Budget
from bridge.publish.line import Line, connection_options, open_line
from bridge.publish.publisher import Publisher, PublisherEvents
from bridge.publish.stream import Retention, Stream
from bridge.redis_probe import explain

__all__ = ["Store"]

_RETRY_FIRST = 0.1
_RETRY_CAP = 2.0


class Store:
    """Everything that a connector has in Redis; a context manager around its connections."""

    def __init__(self, settings: Settings, name: str, exchange: str, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._name = name
        self._exchange = exchange
        self._log = log
        self.keys = Keys(settings.namespace)
        ca_file = str(settings.redis.ca_file) if settings.redis.ca_file else None
        self._ca_file = ca_file
        self.client: Redis = Redis.from_url(
            settings.redis.plain_url,
            decode_responses=True,
            client_name=f"tickbridge:{name}",
            socket_connect_timeout=settings.redis.connect_timeout,
            socket_timeout=settings.redis.reply_timeout,
            # One of our retries is a new heartbeat or a new reject; none of these writes needs its reply.
            retry=Retry(NoBackoff(), 0),
            **connection_options(settings.redis.plain_url, ca_file),
        )
        heartbeat = settings.heartbeat
        self.presence = Presence(self.client, self.keys, name, exchange, heartbeat)
        self._random = random.Random()  # noqa: S311 - jitter

    async def __aenter__(self) -> Self:
        """Check that Redis is there.

        Raises:
            RedisUnavailableError: it isn't, for as long as ``redis.connect_timeout``.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.redis.connect_timeout
        for delay in self._retries():
            try:
                line = await self.line()
            except RedisUnavailableError:
                if asyncio.get_running_loop().time() + delay >= deadline:
                    raise
                await asyncio.sleep(delay)
            else:
                line.abort("only a look")
                break
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.client.aclose()

    def publisher(self, events: PublisherEvents) -> Publisher:
        """A publisher on a connection of its own."""
        buffer = self._settings.buffer
        return Publisher(
            self.line,
            self._retries,
            events,
            budget=Budget(buffer.max_bytes, buffer.max_age),
            reply_timeout=self._settings.redis.reply_timeout,
            log=self._log,
        )

    async def line(self) -> Line:
        """A new raw connection.

        Raises:
            RedisUnavailableError: it can't be made.
        """
        redis = self._settings.redis
        name = f"tickbridge:{self._name}:publisher"
        try:
            return await open_line(
                redis.plain_url,
                name,
                redis.connect_timeout,
                redis.address,
                ca_file=self._ca_file,
                reply_timeout=redis.reply_timeout,
            )
        except RedisUnavailableError as error:
            if error.__cause__ is None:
                raise
            raise RedisUnavailableError(redis.address, explain(error.__cause__, redis.plain_url)) from None

    def stream(self, channel: Channel, subject: str) -> Stream:
        """A stream of this connector's, not yet opened."""
        limits = self._settings.retention.of(channel)
        key = self.keys.stream(self._exchange, subject, channel)
        return Stream(key, channel, subject, Retention(limits.max_entries, limits.max_age))

    async def open(self, stream: Stream) -> list[Event]:
        """Set a stream to go on where Redis has it; returns its newest events, oldest first.

        Raises:
            RedisUnavailableError: Redis is out of reach, or the key is no stream.
        """
        address = self._settings.redis.address
        try:
            return await open_stream(self.client, self.keys, stream, address)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(address, explain(error, self._settings.redis.plain_url)) from None

    def _retries(self) -> Iterator[float]:
        return backoff(self._random, _RETRY_FIRST, _RETRY_CAP)
