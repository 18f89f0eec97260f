"""Reads and sums up the heartbeats of connectors."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from bridge.demo.rates import Rate

__all__ = ["Heartbeat", "Heartbeats"]


class Heartbeat:
    """The heartbeats of one connector: the newest, and the last one of each of its processes."""

    def __init__(self, redis: Redis, key: str) -> None:
        self.current: dict[str, str] | None = None
        """The current fields; ``None`` while there is no connector."""
        self.received = Rate()
        self.published = Rate()
        self._redis = redis
        self._key = key
        self._last: dict[str, dict[str, str]] = {}

    async def read(self) -> dict[str, str] | None:
        """Read the heartbeat.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        fields: dict[str, str] = await self._redis.hgetall(self._key)  # type: ignore[assignment]
        if fields:
            before = self._last.get(fields["instance"], {})
            self._last[fields["instance"]] = fields
            if fields["beat"] != before.get("beat"):
                self.received.add(int(fields["received"]) - int(before.get("received", 0)))
                self.published.add(int(fields["published"]) - int(before.get("published", 0)))
        self.current = fields or None
        return self.current

    @property
    def processes(self) -> int:
        """How many processes there have been."""
        return len(self._last)

    @property
    def last(self) -> dict[str, str]:
        """The newest heartbeat; its process may have ended."""
        return next(reversed(self._last.values()), {})

    def total(self, name: str) -> int:
        """A count over all processes, each up to its last heartbeat."""
        return sum(int(fields.get(name) or 0) for fields in self._last.values())


class Heartbeats:
    """The heartbeats of several connectors; ``keys`` maps an exchange to the key of its connector's heartbeat."""

    def __init__(self, redis: Redis, keys: Mapping[str, str]) -> None:
        self.of = {exchange: Heartbeat(redis, key) for exchange, key in keys.items()}

    async def read(self) -> None:
        """Read all heartbeats.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        for heartbeat in self.of.values():
            await heartbeat.read()

    def total(self, name: str) -> int:
        """A count over all connectors."""
        return sum(heartbeat.total(name) for heartbeat in self.of.values())

    def rates(self) -> tuple[float, float]:
        """Events received and published per second."""
        return (
            sum(heartbeat.received.per_second() for heartbeat in self.of.values()),
            sum(heartbeat.published.per_second() for heartbeat in self.of.values()),
        )
