"""The hashes with what an exchange lists of a connector's pairs: tick size, contract size, status and so on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bridge.keys import Keys
from bridge.redis.errors import about
from bridge.redis.lease import Lease

__all__ = ["InstrumentHashes"]


class InstrumentHashes:
    """Writes the hashes of one exchange's pairs under a connector's ``lease``; ``client`` decodes responses."""

    def __init__(self, client: Redis, keys: Keys, lease: Lease, exchange: str) -> None:
        self._client: Any = client
        self._keys = keys
        self._lease = lease
        self._exchange = exchange

    async def show(self, pair: str, fields: Mapping[str, str], *, only_known: bool = False) -> bool:
        """Write a pair's hash if a field differs from what is there; ``only_known``: and if there is a hash at all.

        Returns:
            Whether it was written.

        Raises:
            DisplacedError: another process has taken over the connector.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        key = self._keys.instrument(self._exchange, pair)
        with about(key):
            there: dict[str, str] = await self._client.hgetall(key)
            if (only_known and not there) or fields.items() <= there.items():
                return False
            await self._lease.write(key, partial(_put, key, fields))
        return True


def _put(key: str, fields: Mapping[str, str], pipe: Pipeline) -> None:
    pipe.hset(key, mapping=dict(fields))  # type: ignore[arg-type]
