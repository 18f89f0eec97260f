"""Whether the process that had a connector's name, or one of its streams, is gone."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.errors import AlreadyRunningError
from bridge.keys import Keys
from bridge.redis.catalog import Catalog
from bridge.redis.errors import about

__all__ = ["PATIENCE", "Rivals", "identity"]

PATIENCE = 2.5
"""Intervals of the heartbeat without one, after which a process counts as gone."""
_GAP_BETWEEN_LOOKS = 0.2


def identity() -> dict[str, str | int]:
    """The fields of a heartbeat by which another process of the same machine can tell whether this one lives."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_space": _pid_space()}


class Rivals:
    """Looks at the heartbeats of others; ``client`` gives text, ``interval`` (seconds) is that of all heartbeats."""

    def __init__(self, client: Redis, keys: Keys, catalog: Catalog, interval: float) -> None:
        self._client: Any = client
        self._keys = keys
        self._catalog = catalog
        self._interval = interval

    async def expect_silence(self, name: str, shown: str) -> str | None:
        """Make sure that no live process has this name.

        A connector that was killed leaves its heartbeat behind for some seconds: if the key is there but doesn't beat, or
        its process is of this machine and gone, the place is free.

        Returns:
            The instance whose dead heartbeat is there, if any.

        Raises:
            AlreadyRunningError: it beats; messages call it ``shown``.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        key = self._keys.connector(name)
        with about(key):
            first: dict[str, str] = await self._client.hgetall(key)
        if not first:
            return None
        instance = first.get("instance", "")
        if _is_gone(first):
            return instance
        patience = time.monotonic() + PATIENCE * self._interval
        while time.monotonic() < patience:
            await asyncio.sleep(_GAP_BETWEEN_LOOKS)
            now: dict[str, str] = await self._client.hgetall(key)
            if not now:
                return None
            if (now.get("instance"), now.get("beat")) != (first.get("instance"), first.get("beat")):
                where = f"on host {now.get('host', '')}, pid {now.get('pid', '')}"
                raise AlreadyRunningError(shown, f"{where}; stop it, or give this one another name")
        return instance

    async def expect_given_up(self, owner: str, streams: Sequence[str]) -> bool:
        """Make sure that another connector is gone, or has begun anew without these streams, as a shard does.

        Returns:
            Whether it is gone: then it may come back, and has to be kept from writing.

        Raises:
            AlreadyRunningError: it lives and writes them.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
        """
        try:
            await self.expect_silence(owner, f"{owner}, which writes {streams[0]}")
        except AlreadyRunningError:
            # It beats; what it writes is in the catalog right after its first beat.
            await asyncio.sleep(self._interval)
            instance = await self._client.hget(self._keys.connector(owner), "instance") or ""
            said = (await self._catalog.owners(streams)).get(owner, {}).values()
            if any(writer in ("", instance) for writer in said):
                raise
            return False
        return True


def _is_gone(heartbeat: Mapping[str, str]) -> bool:
    """Whether it is of a process whose number would mean the same here, and isn't there."""
    host, pid, space = (str(heartbeat.get(name, "")) for name in ("host", "pid", "pid_space"))
    # Containers may share a host name and yet count their processes each from 1. Earlier versions didn't say.
    here = host == socket.gethostname() and space in ("", _pid_space())
    return here and pid.isascii() and pid.isdigit() and not _alive(int(pid))


@functools.cache
def _pid_space() -> str:
    """What tells the process numbers of this machine and container, since its start, from others; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
