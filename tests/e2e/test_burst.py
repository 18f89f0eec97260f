"""More than Redis takes at once, or all that comes while it is away: it costs time, never an event."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from bridge.feed.transport import has_picows
from tests.e2e.conftest import Run
from tests.e2e.harness import Process, eventually, fetch
from tests.e2e.observing import connect
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

TRADES = 120_000
BUFFER = "4MiB"
"""A tenth of what the burst takes in the buffer, if all of it waits there."""
KEY = "md:{coinbase:BTC-USD}:trades"


def frame(number: int, channel: str, **event: object) -> str:
    return json.dumps({"channel": channel, "timestamp": "", "sequence_num": number, "events": [event]})


def trade(number: int) -> str:
    one = {
        "product_id": "BTC-USD",
        "trade_id": str(number),
        "price": "65083.67",
        "size": "0.01034361",
        "time": "2026-08-09T21:05:48.167634Z",
        "side": "SELL",
    }
    return frame(number, "market_trades", type="update", trades=[one])


@cache
def encode() -> list[bytes]:
    """All frames, in chunks as large as sockets like them."""
    frames = [Frame(Opcode.TEXT, trade(number).encode()).serialize(mask=False) for number in range(1, TRADES + 1)]
    return [b"".join(frames[start : start + 300]) for start in range(0, TRADES, 300)]


async def burst(encoded: list[bytes], begin: asyncio.Event, peer: ServerConnection) -> None:
    """All trades as fast as the socket takes them, once the subscription is acknowledged and it is time."""
    async for text in peer:
        if json.loads(text)["channel"] == "market_trades":
            break
    await peer.send(frame(0, "subscriptions", subscriptions={"market_trades": ["BTC-USD"]}))
    await begin.wait()
    for part in encoded:  # past the library, which sends more slowly than a connector reads
        peer.transport.write(part)
        while peer.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
    await peer.wait_closed()


@contextlib.asynccontextmanager
async def exchange(begin: asyncio.Event) -> AsyncIterator[int]:
    """A Coinbase that sends the burst at this time; gives its port."""
    handler = partial(burst, encode(), begin)
    async with serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


def config(directory: Path, redis_url: str, port: int, **more: Any) -> str:
    connector = {
        "name": "cb",
        "exchange": "coinbase",
        "pairs": ["BTC-USD"],
        "channels": ["trades"],
        "url": f"ws://127.0.0.1:{port}",
        "transport": more.pop("transport", "auto"),
    }
    path = directory / "burst.yaml"
    path.write_text(yaml.safe_dump({"redis": {"url": redis_url}, "connectors": [connector], **more}))
    return str(path)


async def last_trade(client: redis.Redis, process: Process) -> None:
    """Wait until it is in Redis."""
    async with asyncio.timeout(2 * PATIENCE):
        while not (newest := client.xrevrange(KEY, count=1)) or newest[0][1].get("id") != str(TRADES):
            assert process.running, process.output
            await asyncio.sleep(0.05)


def check_trades(client: redis.Redis) -> None:
    """Every trade once, in order, and no hole."""
    [key] = client.scan_iter("*}:*", _type="stream")
    entries = client.xrange(key)
    ids = [fields["id"] for _, fields in entries if fields["type"] == "trade"]
    assert ids == [str(number) for number in range(1, TRADES + 1)]
    assert [int(ident.split("-")[1]) for ident, _ in entries] == list(range(1, len(entries) + 1))


@pytest.mark.parametrize("transport", ["websockets", "picows"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_burst_loses_nothing(
    run: Run, redis_server: RedisServer, tmp_path: Path, transport: str, loop: str
) -> None:
    if transport == "picows" and not has_picows():
        pytest.skip("picows is not installed")
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    begin = asyncio.Event()
    begin.set()
    async with exchange(begin) as port:
        settings = {"loop": loop, "buffer": {"max_bytes": BUFFER}, "transport": transport}
        process = run("run", "--config", config(tmp_path, redis_server.url, port, **settings))
        client = connect(redis_server)
        await last_trade(client, process)
        beat = client.hgetall("bridge:connector:cb")
        code = await asyncio.to_thread(process.stop)
    assert code == 0
    check_trades(client)
    assert (beat["lost"], beat["reconnects"]) == ("0", "0")
    assert float(beat["paused"]) >= 0


async def test_a_burst_while_redis_is_away_loses_nothing(run: Run, own_server: RedisServer, tmp_path: Path) -> None:
    """It fits the default buffer; and while it comes, whoever asks the connector is answered."""
    begin, http = asyncio.Event(), free_port()
    async with exchange(begin) as port:
        settings = config(tmp_path, own_server.url, port)
        process = run("run", "--config", settings, TICKBRIDGE_HTTP__PORT=str(http))
        client = connect(own_server)
        await asyncio.to_thread(eventually, lambda: client.exists(KEY), "the stream")
        own_server.stop()
        await asyncio.to_thread(process.wait_for, '"redis_lost"')
        begin.set()
        waiting = await asyncio.to_thread(watched, f"http://127.0.0.1:{http}")
        assert [count for count in waiting if 0 < count < TRADES], "nobody was answered meanwhile"
        own_server.start()
        await last_trade(client, process)
        code = await asyncio.to_thread(process.stop)
    assert code == 0
    check_trades(client)
    assert "events_dropped" not in process.output


def watched(url: str) -> list[int]:
    """Ask whether it lives, and how much waits, until all trades do; the answers."""
    found: list[int] = []

    def look() -> bool:
        assert fetch(f"{url}/livez")["alive"]
        found.append(int(fetch(f"{url}/status")["connectors"][0]["buffer"]["entries"]))
        return found[-1] >= TRADES

    eventually(look, "all trades in the buffer")
    return found
