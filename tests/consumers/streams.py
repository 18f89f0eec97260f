"""Writes streams as a connector would, with IDs of the test's own choice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import redis

from bridge.keys import Keys
from bridge.model import Channel
from tests.patience import PATIENCE

__all__ = ["BASE", "MAIN", "NS", "Stream", "gather", "until"]

BASE = 1_786_309_548_000
"""Milliseconds: an entry's ID is ``<BASE + seq>-<seq>``."""

NS = 1_000_000
MAIN = Keys()


class Stream:
    """One stream to write to."""

    def __init__(self, client: redis.Redis, channel: Channel, subject: str = "BTC-EUR", keys: Keys = MAIN) -> None:
        self.client = client
        self.key = keys.stream("limitlex", subject, channel)
        self.seq = 0

    @staticmethod
    def id(seq: int) -> str:
        return f"{BASE + seq}-{seq}"

    def add(self, kind: str, seq: int | None = None, /, **fields: str) -> str:
        self.seq = self.seq + 1 if seq is None else seq
        recv = str((BASE + self.seq) * NS)
        entry = {"type": kind, "ts": "", "recv": recv, **fields}
        return str(self.client.xadd(self.key, entry, id=self.id(self.seq)))

    def trade(self, seq: int | None = None) -> str:
        number = self.seq + 1 if seq is None else seq
        return self.add("trade", seq, id=f"t{number}", side="buy", price="7994.50", size="0.10")

    def trades(self, count: int) -> None:
        for _ in range(count):
            self.trade()

    def control(self, event: str, reason: str = "", count: str = "") -> str:
        return self.add("control", event=event, reason=reason, count=count)

    def snapshot(self, bids: str, asks: str, xseq: str = "") -> str:
        return self.add("snapshot", xseq=xseq, bids=bids, asks=asks)

    def delta(self, bids: str = "", asks: str = "", xseq: str = "", seq: int | None = None) -> str:
        return self.add("delta", seq, xseq=xseq, bids=bids, asks=asks)


async def gather(source, count: int, seconds: float = PATIENCE) -> list:
    """The next ``count`` items, or more if they come at once; fails when they don't come."""
    items: list = []
    batches: AsyncIterator = source.batches()
    async with asyncio.timeout(seconds), contextlib.aclosing(batches):
        async for batch in batches:
            items += batch
            if len(items) >= count:
                break
    return items


async def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Give way to the other tasks until something is so; fails when it never is."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.001)
