"""Candles that Redis has lost are written again."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.bars import ClosedBar, Interval
from consumers.candle_series import read_series
from consumers.candle_writer import CandleWriter
from tests.consumers.candle_items import Items, bars, run
from tests.servers import RedisServer

STREAM = StreamKey("limitlex", "BTC-EUR", Channel.TRADES)


def closed(count: int) -> list[ClosedBar]:
    """So many candles of a minute."""
    items = Items()
    for minute in range(count + 1):
        items.trade(60 * minute + 1)
    return run(items, bars())


async def test_what_a_failover_has_taken_back_is_written_again_and_told_once(redis_server: RedisServer) -> None:
    told: list[str] = []
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        writer = CandleWriter(redis, keep=100, written=lambda _, candle: told.append(candle.id))
        series = await read_series(redis, Keys(), STREAM, Interval.parse("1m"), grace=0, keep=100)
        candles = closed(30)
        writer.add(series, candles)
        await writer.write()
        whole: Any = await redis.xrange(series.key)
        assert [entry_id for entry_id, _ in whole] == told == [candle.id for candle in candles]
        await writer.look()
        await writer.write()
        assert writer.writes == 30, "nothing is lost"

        await redis.delete(series.key)
        for entry_id, fields in whole[:-4]:
            await redis.xadd(series.key, fields, id=entry_id)
        await writer.look()
        await writer.write()
        assert await redis.xrange(series.key) == whole
        assert len(told) == 30

        await redis.delete(series.key)
        await writer.look()
        await writer.write()
        assert await redis.xrange(series.key) == whole[-20:], "as many as are remembered"

        await redis.delete(series.key)
        await redis.set(series.key, "no stream")
        await writer.look()
        await writer.write()
        assert not writer.refused, "it has nothing to write"
