"""What a good engineer writes in an afternoon: ``websockets``, typed ``msgspec``, ``redis-py``'s pipelines, on uvloop.

Same entries as Tickbridge's, batches of what has come meanwhile (500 at most), and a bounded queue, so that nothing is
dropped. No control entries, no IDs of its own, no repeats recognised, no reconnect.

    python -m benchmarks.handwritten EXCHANGE_PORT REDIS_URL KEY_PREFIX CHANNELS PAIR ...
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime
from typing import Any

import msgspec
import uvloop
from redis.asyncio import Redis
from websockets.asyncio.client import connect

_MOST_WAITING = 10_000
_BATCH = 500
_TAKER = {"BUY": "sell", "SELL": "buy"}
Row = tuple[str, dict[str, str | int]]


class TradeRow(msgspec.Struct):
    """A trade; ``side`` is the maker's."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class Level(msgspec.Struct):
    """A level of a book and its new size."""

    side: str
    event_time: str
    price_level: str
    new_quantity: str


class TickerRow(msgspec.Struct):
    """Best prices and the last 24 hours."""

    product_id: str
    price: str
    volume_24_h: str
    low_24_h: str
    high_24_h: str
    price_percent_chg_24_h: str
    best_bid: str
    best_ask: str
    best_bid_quantity: str
    best_ask_quantity: str


class Content(msgspec.Struct):
    """One event of a message, of whichever channel."""

    type: str = ""
    product_id: str = ""
    trades: list[TradeRow] = []
    updates: list[Level] = []
    tickers: list[TickerRow] = []


class Message(msgspec.Struct):
    """What every message has."""

    channel: str
    timestamp: str
    sequence_num: int
    events: list[Content] = []


_decode = msgspec.json.Decoder(Message).decode


def main() -> None:
    port, url, prefix, channels, *pairs = sys.argv[1:]
    uvloop.run(_bridge(f"ws://127.0.0.1:{port}", url, prefix, channels.split(","), pairs))


async def _bridge(exchange: str, url: str, prefix: str, channels: list[str], pairs: list[str]) -> None:
    waiting: asyncio.Queue[Row] = asyncio.Queue(_MOST_WAITING)
    async with Redis.from_url(url) as redis, connect(exchange, compression=None, max_size=None) as socket:
        writer = asyncio.create_task(_write(redis, waiting), name="writer")
        for channel in channels:
            await socket.send(json.dumps({"type": "subscribe", "channel": channel, "product_ids": pairs}))
        expected = 0
        async for frame in socket:
            recv = time.time_ns()
            message = _decode(frame)
            if message.sequence_num != expected:
                raise RuntimeError(f"message {expected} is missing")
            expected += 1
            for row in _rows(message, recv, prefix):
                await waiting.put(row)
        await writer


async def _write(redis: Redis, waiting: asyncio.Queue[Row]) -> None:
    while True:
        batch = [await waiting.get()]
        while len(batch) < _BATCH and not waiting.empty():
            batch.append(waiting.get_nowait())
        pipe = redis.pipeline(transaction=False)
        for key, fields in batch:
            pipe.xadd(key, fields)  # type: ignore[arg-type]
        await pipe.execute()


def _rows(message: Message, recv: int, prefix: str) -> list[Row]:
    found: list[Row] = []
    for event in message.events:
        for trade in reversed(event.trades):
            fields: dict[str, Any] = {
                "type": "trade", "ts": _ns(trade.time), "recv": recv, "id": trade.trade_id,
                "side": _TAKER[trade.side], "price": trade.price, "size": trade.size,
            }  # fmt: skip
            found.append((f"{prefix}:{trade.product_id}:trades", fields))
        if event.updates:
            found.append((f"{prefix}:{event.product_id}:book", _book(event, message, recv)))
        for ticker in event.tickers:
            ts = _ns(message.timestamp)
            quote: dict[str, Any] = {
                "type": "quote", "ts": ts, "recv": recv, "bid": ticker.best_bid, "bid_size": ticker.best_bid_quantity,
                "ask": ticker.best_ask, "ask_size": ticker.best_ask_quantity,
            }  # fmt: skip
            day: dict[str, Any] = {
                "type": "ticker", "ts": ts, "recv": recv, "window": "86400", "open": "", "high": ticker.high_24_h,
                "low": ticker.low_24_h, "last": ticker.price, "change": "", "change_pct": ticker.price_percent_chg_24_h,
                "volume": ticker.volume_24_h,
            }  # fmt: skip
            found.append((f"{prefix}:{ticker.product_id}:quotes", quote))
            found.append((f"{prefix}:{ticker.product_id}:ticker", day))
    return found


def _book(event: Content, message: Message, recv: int) -> dict[str, Any]:
    bids = " ".join([f"{level.price_level}:{level.new_quantity}" for level in event.updates if level.side == "bid"])
    asks = " ".join([f"{level.price_level}:{level.new_quantity}" for level in event.updates if level.side != "bid"])
    kind = "snapshot" if event.type == "snapshot" else "delta"
    ts = _ns(event.updates[-1].event_time)
    return {"type": kind, "ts": ts, "recv": recv, "xseq": message.sequence_num, "bids": bids, "asks": asks}


def _ns(text: str) -> int:
    """``2026-08-09T21:05:48.228568804Z`` as nanoseconds since the epoch."""
    fraction = text[20:-1]
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


if __name__ == "__main__":
    main()
