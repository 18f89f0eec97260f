"""Finds out whether a process that had a connector's name, or one of its streams, is gone."""

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

__all__ = ["PATIENCE", "Rivals", "identity", "is_gone"]

PATIENCE = 2.5
"""Heartbeat intervals without a heartbeat after which a process counts as gone."""
_GAP_BETWEEN_LOOKS = 0.2


def identity() -> dict[str, str | int]:
    """The fields of a heartbeat that show another process on the same machine whether this one lives."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_space": _pid_space()}


class Rivals:
    """Checks the heartbeats of other processes; ``client`` returns text, ``interval`` is in seconds."""

    def __init__(self, client: Redis, keys: Keys, catalog: Catalog, interval: float) -> None:
        self._client: Any = client
        self._keys = keys
        self._catalog = catalog
        self._interval = interval

    async def expect_silence(self, name: str, shown: str) -> str | None:
        """Check that no live process has this name.

        The heartbeat of a killed connector remains for some seconds. The name is free if the heartbeat is not renewed, or
        if its process was on this machine and is gone.

        Returns:
            The instance of a dead heartbeat, if there is one.

        Raises:
            AlreadyRunningError: the heartbeat is renewed; messages name the connector ``shown``.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        key = self._keys.connector(name)
        with about(key):
            first: dict[str, str] = await self._client.hgetall(key)
        if not first:
            return None
        instance = first.get("instance", "")
        if is_gone(first):
            return instance
        patience = time.monotonic() + PATIENCE * self._interval
        while time.monotonic() < patience:
            await asyncio.sleep(_GAP_BETWEEN_LOOKS)
            now: dict[str, str] = await self._client.hgetall(key)
            if not now:
                return None
            if (now.get("instance"), now.get("beat")) != (first.get("instance"), first.get("beat")):
                where = f"on host {now.get('host', '')}, pid {now.get('pid', '')}"
                raise AlreadyRunningError(shown, f"{where}; stop it, or rename this one")
        return instance

    async def expect_given_up(self, owner: str, streams: Sequence[str]) -> bool:
        """Check that another connector is gone, or goes on without these streams, like a shard.

        Returns:
            Whether it is gone; it may then come back, and must be prevented from writing.

        Raises:
            AlreadyRunningError: it runs and writes these streams.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        try:
            await self.expect_silence(owner, f"{owner}, which writes {streams[0]}")
        except AlreadyRunningError:
            # It lives; its streams are in the catalog right after its first heartbeat.
            await asyncio.sleep(self._interval)
            instance = await self._client.hget(self._keys.connector(owner), "instance") or ""
            said = (await self._catalog.owners(streams)).get(owner, {}).values()
            if any(writer.instance in ("", instance) and not writer.ended for writer in said):
                raise
            return False
        return True


def is_gone(heartbeat: Mapping[str, str]) -> bool:
    """Whether the heartbeat's process would be visible here, and does not exist."""
    host, pid, space = (str(heartbeat.get(name, "")) for name in ("host", "pid", "pid_space"))
    # Containers may share a host name but not process numbers. Earlier versions had no such field.
    here = host == socket.gethostname() and space in ("", _pid_space())
    return here and pid.isascii() and pid.isdigit() and not _alive(int(pid))


@functools.cache
def _pid_space() -> str:
    """Identifies the process numbers of this machine and container since boot; empty if unknown."""
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
