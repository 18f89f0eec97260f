"""What an exchange lists of a pair: tick size, lot size, contract size, status and so on."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from bridge.keys import Keys

__all__ = ["instrument"]


async def instrument(redis: Redis, exchange: str, pair: str, *, namespace: str = "") -> dict[str, str]:
    """The instrument hash of a pair, all values as text; empty as long as no connector has written it.

    ``redis`` is a client with decoded replies, such as a `Reader`'s:

        figures = await instrument(reader.redis, "bybit", "BTC-USDT-PERP")
        tick = Decimal(figures["tick_size"])

    Raises:
        redis.exceptions.RedisError, OSError: any error of redis-py.
    """
    found: Any = await redis.hgetall(Keys(namespace).instrument(exchange, pair))
    return dict(found)
