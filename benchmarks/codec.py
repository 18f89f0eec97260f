"""What a frame costs through CCXT's module as a codec, and what CCXT's own loop makes of the same burst.

A Kraken of the tests sends trades as fast as they are taken. CCXT's documented loop (``await exchange.watch_trades(…)``)
and a session of ``ccxt.kraken`` read them, each over a real socket; and recorded frames of Coinbase go through
``ccxt.coinbase`` and through our own module. Needs the extra ``ccxt``:

    python -m benchmarks.codec [TRADES]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import ccxt.pro
from aiohttp import ClientSession

from bridge.exchanges.api import Send, Session
from bridge.exchanges.coinbase import CoinbaseSession
from bridge.model import Channel, Trade
from tests.codec.fakes import Kraken
from tests.codec.markets import market
from tests.codec.sessions import session_of

_FRAMES = Path(__file__).parents[1] / "tests" / "fixtures" / "coinbase-small.jsonl"
_QUIET = 2.0
"""Seconds without a trade after which a loop has had all that it will get."""
_ROUNDS = 20


async def stock(fake: Kraken, count: int) -> tuple[int, float]:
    """Trades that CCXT's own loop delivers, and its CPU-seconds."""
    exchange = ccxt.pro.kraken({"newUpdates": True})
    exchange.set_markets([market(exchange, "BTC/USD", "BTCUSD")])
    exchange.urls["api"]["ws"]["publicV2"] = f"{fake.url}/ws.kraken.com/v2"
    found = 0
    begun = time.process_time()
    try:
        pushing: asyncio.Future[Any] | None = None
        while found < count:
            work = asyncio.ensure_future(exchange.watch_trades("BTC/USD"))
            if pushing is None:
                while not fake.said:  # noqa: ASYNC110 - the fake is in another thread
                    await asyncio.sleep(0.01)
                begun = time.process_time()
                pushing = asyncio.get_running_loop().run_in_executor(None, burst, fake, count)
            found += len(await asyncio.wait_for(work, _QUIET))
    except TimeoutError:
        pass
    used = time.process_time() - begun
    await exchange.close()
    return found, used


async def codec(fake: Kraken, count: int) -> tuple[int, float]:
    """The same through a session of ours."""
    session = session_of("kraken", {"BTC/USD": "BTCUSD"}, frozenset({Channel.TRADES}), now=time.time_ns())
    found = 0
    async with ClientSession() as client, client.ws_connect(f"{fake.url}/ws.kraken.com/v2") as socket:
        for output in session.connected(time.time_ns()):
            if isinstance(output, Send):
                await socket.send_str(output.text)
        while not fake.said:  # noqa: ASYNC110 - the fake is in another thread
            await asyncio.sleep(0.01)
        begun = time.process_time()
        pushing = asyncio.get_running_loop().run_in_executor(None, burst, fake, count)
        while found < count:
            frame = await asyncio.wait_for(socket.receive_str(), _QUIET)
            found += sum(isinstance(event, Trade) for event in session.receive(frame.encode(), time.time_ns()))
        used = time.process_time() - begun
        await pushing
    return found, used


def burst(fake: Kraken, count: int) -> None:
    """Trades, as fast as they are taken."""
    fake.push(*(fake.trade(number) for number in range(1, count + 1)))


def per_frame(session: Session) -> float:
    """Microseconds of CPU for a recorded frame."""
    rows = [json.loads(line) for line in _FRAMES.read_text().splitlines()]
    frames = [row["data"].encode() for row in rows if row["t"] == "recv"]
    begun = time.process_time()
    for frame in frames:
        session.receive(frame, time.time_ns())
    return (time.process_time() - begun) / len(frames) * 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.TICKER})
    pairs = {"BTC/USD": "BTC-USD", "ETH/USD": "ETH-USD"}
    ours = min(per_frame(CoinbaseSession("wss://x", tuple(pairs.values()), channels)) for _ in range(_ROUNDS))

    def through() -> float:
        session = session_of("coinbase", pairs, channels, now=time.time_ns())
        session.connected(time.time_ns())
        return per_frame(session)

    theirs = min(through() for _ in range(_ROUNDS))
    print(
        f"a recorded Coinbase frame: {ours:.1f} µs native, {theirs:.1f} µs through the codec, {theirs / ours:.1f} times as much"
    )
    for name, run in (("CCXT's watch_trades loop", stock), ("the codec", codec)):
        with Kraken() as fake:
            found, used = asyncio.run(run(fake, count))
        print(f"{name}: {found} of {count} trades delivered, {used:.2f} s of CPU (the sender's included)")


if __name__ == "__main__":
    main()
