"""Prints the book of a pair, a JSON line for each entry, as the followers of the other clients do: follow.py URL book EXCHANGE PAIR."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys

from bridge.keys import Keys
from consumers.keeper import BookKeeper
from consumers.reader import Position, Reader


async def main(url: str, exchange: str, pair: str) -> None:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    key = Keys().stream(exchange, pair, "book")
    keeper = BookKeeper(Keys().parse(key))
    async with Reader(url, {key: Position.SNAPSHOT}) as reader:
        async for item in reader:
            keeper.take(item)
            bids, asks = ([{"price": price, "size": size} for price, size in side] for side in keeper.top())
            row = {"id": keeper.id, "why": keeper.why, "bids": bids, "asks": asks}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(sys.argv[1], *sys.argv[3:]))
