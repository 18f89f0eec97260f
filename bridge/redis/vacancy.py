"""Waits until a connector's name is free, for a standby that takes it then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from bridge.keys import Keys
from bridge.redis.connected import Connected
from bridge.redis.rivals import PATIENCE, is_gone

__all__ = ["LOOK_EVERY", "Vacancy", "await_vacancy"]

LOOK_EVERY = 0.1
"""Seconds between two looks at the writer's heartbeat."""
_TO_CONNECT = 0.5
"""Heartbeat intervals without a connection to Redis after which a process counts as gone: a live one connects again."""


class Vacancy(Struct, frozen=True):
    """A name that is free: its fence, and the instance of a dead heartbeat if there is one."""

    fence: str | None
    last: str | None


async def await_vacancy(
    client: Redis,
    keys: Keys,
    name: str,
    interval: float,
    seen: Callable[[Mapping[str, str]], None],
    *,
    connected: Connected | None = None,
) -> Vacancy:
    """Wait until no live process has the name; ``seen`` gets each new heartbeat of its process.

    The name is free once its process has given it back, is found dead on this machine, has lost its connections to Redis
    for half an interval (if ``connected`` is given), or has been silent for as long as `Rivals` wait. A heartbeat that is
    missing from the beginning may be one that Redis has lost: that is silence.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py; what was seen
            before it counts no more.
    """
    asked: Any = client
    fence: str | None = None
    beat: tuple[str | None, ...] | None = None
    since = time.monotonic()
    ended: float | None = None
    """Since when its process has had no connection."""
    while True:
        heartbeat: dict[str, str] = await asked.hgetall(keys.connector(name))
        now = time.monotonic()
        before, beat = beat, tuple(map(heartbeat.get, ("instance", "epoch", "beat")))
        if before is None or before[:2] != beat[:2]:  # a process may take a name again that it has given back
            if before is not None and before[0] and not heartbeat and await asked.get(keys.fence(name)) == fence:
                return Vacancy(fence, None)
            fence = await asked.get(keys.fence(name))
        if before != beat:
            since = now
            if heartbeat:
                seen(heartbeat)
        if heartbeat and is_gone(heartbeat):
            return Vacancy(fence, beat[0])
        if before != beat or connected is None or not await connected.ended(beat[0] or ""):
            ended = None
        elif now - (ended := ended or now) >= _TO_CONNECT * interval:
            return Vacancy(fence, beat[0])
        if now - since >= PATIENCE * interval:
            return Vacancy(fence, beat[0])
        await asyncio.sleep(LOOK_EVERY)
