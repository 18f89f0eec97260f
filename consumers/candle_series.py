"""A stream of candles: its key, its bars, and where it continues after a restart."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.keys import Keys, StreamKey
from bridge.model import Channel, Trade
from bridge.redis.errors import refuses_key, said
from consumers.bars import Bars, Interval, Resume
from consumers.items import Entry, split_id, to_item

__all__ = ["Series", "read_series"]

_PAGE = 100


class Series(Struct, frozen=True):
    """The candles of one interval of a pair.

    ``begin`` is the ID (as numbers) after which the trades are to be read, so that nothing is missing.
    """

    key: str
    name: str
    interval: Interval
    bars: Bars
    begin: tuple[int, int]


async def read_series(
    redis: Redis, keys: Keys, stream: StreamKey, interval: Interval, *, grace: int, keep: int
) -> Series:
    """The series of a pair, at the end of what its stream already has.

    Raises:
        ValueError: the stream's key holds something else.
        redis.exceptions.RedisError: any error of redis-py.
    """
    key = keys.candles(stream.exchange, stream.subject, interval.name)
    try:
        last: Any = await redis.xrevrange(key, count=1)
    except ResponseError as error:
        if not refuses_key(error):
            raise
        raise ValueError(f"{key}: {said(error)}") from None
    try:
        resume = Resume.of(interval, *last[0]) if last else None
    except ValueError as error:
        raise ValueError(f"{key}: {error}: somebody else wrote to it; rename or delete it") from None
    bars = Bars(interval, grace=grace, keep=keep, resume=resume)
    if resume:
        await _remember(redis, keys.stream(stream.exchange, stream.subject, Channel.TRADES), stream, bars, resume)
    name = f"{stream.exchange}:{stream.subject}"
    return Series(key, name, interval, bars, split_id(resume.after) if resume else (0, 0))


async def _remember(redis: Redis, key: str, stream: StreamKey, bars: Bars, resume: Resume) -> None:
    """Find the newest trade that is not read again: it says how the exchange's clock differs from ours."""
    page: Any = await redis.xrevrange(key, resume.after, "-", count=_PAGE)
    for entry_id, fields in page:
        item = to_item(key, stream, entry_id, [part for pair in fields.items() for part in pair])
        if isinstance(item, Entry) and isinstance(item.event, Trade):
            bars.remember(item)
            return
