"""Asks a connector's writer to let the process that stands by go on in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from bridge.errors import BridgeError
from bridge.keys import Keys
from bridge.redis.errors import FAILURES, about
from bridge.redis.presence import WANTED

__all__ = ["HandedOver", "HandoverError", "hand_over"]

_LOOK_EVERY = 0.05
_WISH_LASTS = 10_000
"""Milliseconds that the wish is there for at least, if nobody is there to withdraw it."""


class HandoverError(BridgeError):
    """The connector can't be handed over, or was not."""

    exit_code = 1


class HandedOver(Struct, frozen=True):
    """From whom and to whom (host and process), and after how many seconds."""

    before: str
    after: str
    seconds: float


async def hand_over(client: Redis, keys: Keys, name: str, patience: float) -> HandedOver:
    """Have the process that stands by for a connector go on with its streams; ``client`` decodes responses.

    Raises:
        HandoverError: nobody writes, or nobody could go on at once; or it has not happened in so many seconds.
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
    """
    asked: Any = client
    heartbeat, waiting = keys.connector(name), keys.standby(name)
    with about(heartbeat):
        writer: dict[str, str] = await asked.hgetall(heartbeat)
    if not writer:
        raise HandoverError(f"no connector {name!r} is running: {heartbeat} does not exist")
    with about(waiting):
        standby: dict[str, str] = await asked.hgetall(waiting)
    if not standby.get("instance"):
        raise HandoverError(f"no process stands by for {name!r}: start one with this name and standby: true")
    if (state := standby.get("state", "")) != "standby":
        raise HandoverError(f"the standby of {name!r} is not ready ({state}); {_where(standby)}")
    begun = time.monotonic()
    try:
        with about(waiting):
            await _wish(asked, waiting, writer.get("instance", ""))
        while time.monotonic() - begun < patience:
            with about(heartbeat):
                now: dict[str, str] = await asked.hgetall(heartbeat)
            if now and now.get("instance") != writer.get("instance"):
                return HandedOver(_where(writer), _where(now), time.monotonic() - begun)
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        with suppress(*FAILURES):
            await _wish(asked, waiting, "")  # else it would be granted at some later time
    raise HandoverError(
        f"{name!r} was not handed over within {patience:g} s: {_where(writer)} still has it; see its log"
    )


async def _wish(client: Any, key: str, instance: str) -> None:
    if instance or await client.hgetall(key):
        await client.hset(key, WANTED, instance)
        await client.pexpire(key, _WISH_LASTS)


def _where(process: Mapping[str, str]) -> str:
    return f"host {process.get('host', '')}, pid {process.get('pid', '')}"
