"""More than Redis takes at once: it costs time, never an event."""

from __future__ import annotations

import asyncio
import json
from functools import cache, partial
from pathlib import Path

import pytest
import redis
import yaml
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from bridge.feed.transport import has_picows
from tests.e2e.conftest import Run
from tests.patience import PATIENCE
from tests.servers import RedisServer

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


async def burst(encoded: list[bytes], peer: ServerConnection) -> None:
    """All trades as fast as the socket takes them, once the subscription is acknowledged."""
    async for text in peer:
        if json.loads(text)["channel"] == "market_trades":
            break
    await peer.send(frame(0, "subscriptions", subscriptions={"market_trades": ["BTC-USD"]}))
    for part in encoded:  # past the library, which sends more slowly than a connector reads
        peer.transport.write(part)
        while peer.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
    await peer.wait_closed()


@pytest.mark.parametrize("transport", ["websockets", "picows"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_burst_loses_nothing(
    run: Run, redis_server: RedisServer, tmp_path: Path, transport: str, loop: str
) -> None:
    if transport == "picows" and not has_picows():
        pytest.skip("picows is not installed")
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    async with serve(partial(burst, encode()), "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connector = {
            "name": "cb",
            "exchange": "coinbase",
            "pairs": ["BTC-USD"],
            "channels": ["trades"],
            "url": f"ws://127.0.0.1:{port}",
            "transport": transport,
        }
        settings = {
            "redis": {"url": redis_server.url},
            "loop": loop,
            "buffer": {"max_bytes": BUFFER},
            "connectors": [connector],
        }
        config = tmp_path / "burst.yaml"
        config.write_text(yaml.safe_dump(settings))
        process = run("run", "--config", str(config))
        client = redis.Redis.from_url(redis_server.url, decode_responses=True)
        async with asyncio.timeout(2 * PATIENCE):
            while not (newest := client.xrevrange(KEY, count=1)) or newest[0][1].get("id") != str(TRADES):
                assert process.running, process.output
                await asyncio.sleep(0.05)
        beat = client.hgetall("bridge:connector:cb")
        code = await asyncio.to_thread(process.stop)
    assert code == 0
    [key] = client.scan_iter("*}:*", _type="stream")
    entries = client.xrange(key)
    ids = [fields["id"] for _, fields in entries if fields["type"] == "trade"]
    assert ids == [str(number) for number in range(1, TRADES + 1)]
    assert [int(ident.split("-")[1]) for ident, _ in entries] == list(range(1, len(entries) + 1))
    assert (beat["lost"], beat["reconnects"]) == ("0", "0")
    assert float(beat["paused"]) >= 0
