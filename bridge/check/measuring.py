"""Measures streams of a running Redis: entries per second, and bytes per entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from bridge.check.load import Measured

__all__ = ["measure_streams"]

_PAGE = 50
_LEAST_ENTRIES = 100
"""Entries from which on bytes per entry are more than those of a stream's beginning."""
_LEAST_SECONDS = 1.0


async def measure_streams(client: Redis, keys: Sequence[str], window: float) -> tuple[dict[str, Measured], list[str]]:
    """What there is of these streams, over the last ``window`` seconds, and notes about what could not be read.

    Entries are numbered without a hole, so two of them give a rate.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
    """
    found: dict[str, Measured] = {}
    refused: dict[str, None] = {}
    for first in range(0, len(keys), _PAGE):
        some = keys[first : first + _PAGE]
        pipe = client.pipeline(transaction=False)
        for key in some:
            pipe.xrevrange(key, count=1)
            pipe.xlen(key)
            pipe.memory_usage(key, samples=0)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        rows = list(zip(some, answers[::3], answers[1::3], answers[2::3], strict=True))
        begins = await _begins(client, rows, window)
        for key, newest, length, size in rows:
            if isinstance(size, NoPermissionError):
                refused["this user may not run MEMORY USAGE: bytes per entry are those of the table"] = None
            if isinstance(newest, Exception) or isinstance(length, Exception) or not newest:
                continue
            known = not isinstance(size, Exception) and size is not None and length >= _LEAST_ENTRIES
            found[key] = Measured(_rate(begins.get(key), newest[0][0]), size / length if known else None)
    return found, list(refused)


async def _begins(client: Redis, rows: Sequence[tuple[str, Any, Any, Any]], window: float) -> dict[str, str]:
    """The first entry of each stream within the window before its newest one."""
    pipe = client.pipeline(transaction=False)
    asked = [(key, _ms(newest[0][0])) for key, newest, _, _ in rows if newest and not isinstance(newest, Exception)]
    for key, ms in asked:
        pipe.xrange(key, min=str(max(0, ms - int(window * 1000))), count=1)
    answers: list[Any] = await pipe.execute(raise_on_error=False) if asked else []
    return dict(_firsts(asked, answers))


def _firsts(asked: Sequence[tuple[str, int]], answers: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for (key, _), answer in zip(asked, answers, strict=True):
        if answer and not isinstance(answer, Exception):
            yield key, answer[0][0]


def _rate(first: str | None, newest: str) -> float | None:
    if first is None:
        return None
    seconds = (_ms(newest) - _ms(first)) / 1000
    if seconds < _LEAST_SECONDS:
        return None
    return max(0, int(newest.partition("-")[2]) - int(first.partition("-")[2])) / seconds


def _ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
