"""How far the consumer groups of a connector's streams are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct
from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import NoPermissionError, ResponseError

from bridge.redis.errors import FAILURES

__all__ = ["GroupLag", "GroupLags", "Numbered"]

_EVERY = 15.0
"""Seconds between two looks, as Prometheus scrapes by default."""
_REFUSED = 300.0
_AT_ONCE = 100
"""Streams that are asked about in one go, so that neither Redis nor the event loop is held up."""
_TIMEOUT = 10.0
_MOST_GROUPS = 100
"""Names of groups that are shown: anybody may create groups, and each name is a time series."""


class Numbered(Protocol):
    """A stream that this connector writes: its key, the last number given out, and how many of those are on their way."""

    key: str
    seq: int
    flying: int


class GroupLag(Struct, frozen=True):
    """A group of a stream: entries not delivered to it (``None``: unknown), and those delivered and not acknowledged."""

    name: str
    lag: int | None
    pending: int


class GroupLags:
    """Asks Redis about groups; ``client`` returns text. It only reads, and may fail."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._names: set[str] = set()
        """Those that are shown."""
        self.found: Mapping[str, Sequence[GroupLag]] = {}
        """Stream key → its groups, of streams that have any."""

    async def watch(self, streams: Callable[[], Sequence[Numbered]]) -> None:
        """Ask every few seconds, endlessly. If this user may not ask, the next attempt is much later."""
        while True:
            pause = _EVERY
            try:
                self.found = await self.look(streams())
            except NoPermissionError:
                self.found, pause = {}, _REFUSED
            except FAILURES:
                self.found = {}
            await asyncio.sleep(pause)

    async def look(self, streams: Sequence[Numbered]) -> dict[str, list[GroupLag]]:
        """The groups of these streams now.

        Raises:
            NoPermissionError: this user may not ask.
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
        """
        found: dict[str, list[GroupLag]] = {}
        for first in range(0, len(streams), _AT_ONCE):
            some = streams[first : first + _AT_ONCE]
            pipe = self._client.pipeline(transaction=False)
            for stream in some:
                # Undecoded: whoever made a group may have named it with any bytes.
                pipe.execute_command("XINFO GROUPS", stream.key, **{NEVER_DECODE: True})
            async with asyncio.timeout(_TIMEOUT):
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            for stream, answer in zip(some, answers, strict=True):
                if isinstance(answer, NoPermissionError):
                    raise answer
                if isinstance(answer, ResponseError):  # no such key yet, or no stream: reported elsewhere
                    continue
                if isinstance(answer, Exception):
                    raise answer
                if answer:
                    found[stream.key] = [
                        GroupLag(_text(group["name"]), _lag(stream, group), int(group["pending"])) for group in answer
                    ]
        return self._limited(found)

    def _limited(self, found: Mapping[str, Sequence[GroupLag]]) -> dict[str, list[GroupLag]]:
        """With names of so many groups only. A group keeps its name as long as it is there, on any stream."""
        there = dict.fromkeys(group.name for groups in found.values() for group in groups)
        known = [name for name in there if name in self._names]
        self._names = {*known, *[name for name in there if name not in self._names][: _MOST_GROUPS - len(known)]}
        return {
            key: [
                group if group.name in self._names else GroupLag("others", group.lag, group.pending) for group in groups
            ]
            for key, groups in found.items()
        }


def _lag(stream: Numbered, group: Mapping[str, Any]) -> int | None:
    """The number of the newest entry less that of the newest one delivered.

    Numbers have no hole, so this is exact however the group was created; Redis' own ``lag`` need not be. Only a
    position in time (``<ms>-0``) has no number.
    """
    ms, _, seq = _text(group["last-delivered-id"]).partition("-")
    if seq == "0" and ms != "0":
        lag = group.get("lag")
        return None if lag is None else max(0, int(lag))
    return max(0, stream.seq - stream.flying - int(seq))


def _text(value: str | bytes) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
