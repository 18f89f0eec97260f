"""The connectors' heartbeats."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from bridge.demo.rates import Rate

__all__ = ["Heartbeat", "Heartbeats"]


class Heartbeat:
    """One connector's: the newest, and the last one of each process that there was."""

    def __init__(self, redis: Redis, key: str) -> None:
        self.current: dict[str, str] | None = None
        """The fields as they stand; ``None`` while there is no connector."""
        self.received = Rate()
        self.published = Rate()
        self._redis = redis
        self._key = key
        self._last: dict[str, dict[str, str]] = {}

    async def look(self) -> dict[str, str] | None:
        """Read it.

        Raises:
            redis.exceptions.RedisError, OSError: as redis-py has them.
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
        """How many processes there were."""
        return len(self._last)

    @property
    def last(self) -> dict[str, str]:
        """The newest heartbeat, of a process that may be gone."""
        return next(reversed(self._last.values()), {})

    def total(self, name: str) -> int:
        """A count over all processes, as far as they came to say it."""
        return sum(int(fields.get(name) or 0) for fields in self._last.values())


class Heartbeats:
    """Those of several connectors; ``keys``: exchange → key of its connector's."""

    def __init__(self, redis: Redis, keys: Mapping[str, str]) -> None:
        self.of = {exchange: Heartbeat(redis, key) for exchange, key in keys.items()}

    async def look(self) -> None:
        """Read them all.

        Raises:
            redis.exceptions.RedisError, OSError: as redis-py has them.
        """
        for heartbeat in self.of.values():
            await heartbeat.look()

    def total(self, name: str) -> int:
        """A count over all connectors."""
        return sum(heartbeat.total(name) for heartbeat in self.of.values())

    def rates(self) -> tuple[float, float]:
        """Received and published per second."""
        return (
            sum(heartbeat.received.per_second() for heartbeat in self.of.values()),
            sum(heartbeat.published.per_second() for heartbeat in self.of.values()),
        )
