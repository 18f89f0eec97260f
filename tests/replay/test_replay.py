"""The replay over real sockets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.book import Book
from bridge.recordings.recording import HeaderRow, RecordingError, RecvRow, read_recording
from bridge.recordings.replay import MAX_SPEED, Pacer, ReplayError, serve_replay
from bridge.recordings.writer import RecordingWriter
from tests.patience import PATIENCE

SMALL = Path(__file__).parents[1] / "fixtures" / "coinbase-small.jsonl"
REAL = Path(__file__).parents[3] / "shared" / "recordings" / "coinbase-2026-08.jsonl.zst"


def frames_of(path: Path) -> list[str]:
    return [row.data for row in read_recording(path) if isinstance(row, RecvRow)]


def record(path: Path, *conns: tuple[str, str, list[str]], close: bool = False) -> Path:
    """A recording of these connections (name, address, frames) one after the other, one frame each 10 ms."""
    ts = 100.0
    with RecordingWriter(path, "test", clock=lambda: 100.0) as writer:
        for name, addr, frames in conns:
            writer.connected(name, addr, ts)
            for frame in frames:
                ts += 0.01
                writer.received(name, frame.encode(), ts)
            if close:
                writer.closed(name, "end", ts)
    return path


async def read(url: str, count: int, *, say: str = "") -> list[str]:
    async with connect(url, max_size=None) as client:
        if say:
            await client.send(say)
        return [str(await client.recv()) for _ in range(count)]


@pytest.mark.parametrize("path", [SMALL, REAL], ids=["small", "real"])
async def test_every_frame_in_order(path):
    if not path.exists():
        pytest.skip("the shared recordings are not on this machine")
    frames = frames_of(path)
    said: list[str] = []
    async with serve_replay(path, speed=MAX_SPEED, report=said.append) as server:
        assert await read(server.url, len(frames), say='{"type":"subscribe"}') == frames
        await server.finished()
        assert server.frames_sent == len(frames)
        assert server.connections_served == 1
    assert said == [f"COINBASE.ws.2: {len(frames)} frames sent, the recorded connection is complete"]


async def test_stays_open_after_the_last_frame_and_answers_pings(tmp_path):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1"]))
    async with serve_replay(path, speed=MAX_SPEED) as server, connect(server.url) as client:
        assert await client.recv() == "1"
        await server.finished()
        await (await client.ping())
        await client.send("further messages are ignored")
        await (await client.ping())


async def test_close_after_the_last_frame(tmp_path):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1", "2"]))
    async with serve_replay(path, speed=MAX_SPEED, close=True) as server, connect(server.url) as client:
        assert [message async for message in client] == ["1", "2"]
        assert client.close_code == 1000


async def test_end_of_the_server_goes_away(tmp_path):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1"]))
    async with serve_replay(path, speed=MAX_SPEED) as server:
        client = await connect(server.url)
        await client.recv()
        receiving = asyncio.create_task(client.recv(), name="receiving")
    with pytest.raises(ConnectionClosed):
        await receiving
    assert client.close_code == 1001


@pytest.mark.parametrize(("speed", "least"), [(1.0, 0.3), (3.0, 0.1)])
async def test_pace(tmp_path, speed, least):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", [str(number) for number in range(31)]))
    started = time.monotonic()
    async with serve_replay(path, speed=speed) as server, connect(server.url) as client:
        seen = [await client.recv() for _ in range(31)]
        took = time.monotonic() - started
    assert seen == [str(number) for number in range(31)]
    assert took >= least * 0.9


def test_pacer_counts_from_its_start_and_makes_up_for_lateness():
    now = 50.0
    pacer = Pacer(2.0, clock=lambda: now)
    assert pacer.wait(1000.0) == 0
    assert pacer.wait(1001.0) == 0.5
    now = 50.4
    assert pacer.wait(1001.0) == pytest.approx(0.1)
    now = 51.0
    assert pacer.wait(1001.0) == 0
    assert pacer.wait(1003.0) == pytest.approx(0.5)
    pacer.start(2000.0)
    assert pacer.wait(2001.0) == 0.5
    assert Pacer(MAX_SPEED).wait(1e9) == 0


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
async def test_impossible_speeds(speed):
    with pytest.raises(ValueError, match="speed"):
        async with serve_replay(SMALL, speed=speed):
            pass


async def test_waits_for_the_subscription_and_says_so():
    warned: asyncio.Queue[str] = asyncio.Queue()
    frames = frames_of(SMALL)
    async with (
        serve_replay(SMALL, speed=MAX_SPEED, subscribe_timeout=0.05, warn=warned.put_nowait) as server,
        connect(server.url) as client,
    ):
        assert "first message" in await warned.get()
        assert server.frames_sent == 0
        await client.send("{}")
        assert [await client.recv() for _ in frames] == frames


async def test_slow_client_holds_the_server_back(tmp_path):
    frames = [str(number) + "x" * 20_000 for number in range(2000)]
    path = record(tmp_path / "a.jsonl.zst", ("c", "wss://h", frames))
    async with serve_replay(path, speed=MAX_SPEED) as server:
        # max_queue 1: the client stops reading from its socket after a frame or two
        async with connect(server.url, max_size=None, max_queue=1) as client:
            got = [await client.recv()]
            await stuck(server)
            assert server.frames_sent < 1500  # socket buffers and one batch, of 40 MB
            got += [await client.recv() for _ in frames[1:]]
        assert got == frames


async def stuck(server) -> None:
    """Return when the server has not sent a frame for a while of turns and time."""
    last = -1
    while server.frames_sent != last:
        last = server.frames_sent
        await asyncio.sleep(0.2)


async def raw_client(server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    writer.write(
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b"101" in await reader.readline()
    return reader, writer


async def test_client_that_breaks_the_protocol(tmp_path):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1"]))
    warned: list[str] = []
    async with serve_replay(path, speed=MAX_SPEED, warn=warned.append) as server:
        reader, writer = await raw_client(server)
        writer.write(b"\xff\xff\xff\xff")
        await reader.read()
        writer.close()
        assert await read(server.url, 1) == ["1"]
    assert len(warned) == 1
    assert "broke the WebSocket protocol" in warned[0]


async def test_client_that_never_reads_does_not_hold_up_the_end(tmp_path):
    path = record(tmp_path / "a.jsonl.zst", ("c", "wss://h", ["x" * 100_000] * 300))
    async with asyncio.timeout(PATIENCE), serve_replay(path, speed=MAX_SPEED) as server:
        _, writer = await raw_client(server)
        await stuck(server)
    writer.close()


async def test_binary_and_large_frames(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    with RecordingWriter(path, "test") as writer:
        writer.connected("c", "wss://h", 1.0)
        for data in (b"\xff\x00", b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536, b"x" * 6_000_000):
            writer.received("c", data, 1.0)
    async with serve_replay(path) as server, connect(server.url, max_size=None) as client:
        assert await client.recv() == b"\xff\x00"
        assert [await client.recv() for _ in range(5)] == ["x" * n for n in (125, 126, 65_535, 65_536, 6_000_000)]


async def test_connections_of_one_address_in_turn_then_the_first_again(tmp_path):
    path = record(tmp_path / "a.jsonl", ("a", "wss://h/ws", ["1"]), ("b", "wss://h/ws", ["2"]))
    async with serve_replay(path, speed=MAX_SPEED) as server:
        assert [await read(f"{server.url}/ws", 1) for _ in range(3)] == [["1"], ["2"], ["1"]]


async def test_connections_by_address(tmp_path):
    path = record(
        tmp_path / "a.jsonl",
        ("a", "wss://h/ws/?p=x:1", ["x"]),
        ("b", "wss://h/ws/?p=y:1&t=***", ["y"]),
        ("c", "wss://h/other", ["other"]),
    )
    warned: list[str] = []
    async with serve_replay(path, speed=MAX_SPEED, warn=warned.append) as server:
        assert await read(f"{server.url}/ws/?p=y%3A1&t=secret-token", 1) == ["y"]
        assert await read(f"{server.url}/other", 1) == ["other"]
        assert await read(f"{server.url}/ws/?p=y:1&t=another-token", 1) == ["y"]
        assert await read(f"{server.url}/?p=x:1", 1) == ["x"]
        assert warned == []
        assert await read(f"{server.url}/ws/?p=z:1&t=secret-token", 1) in (["x"], ["y"])
    assert len(warned) == 1
    assert "p=z:1&t=***" in warned[0]


async def test_reconnect_as_recorded(tmp_path):
    """Where the recording shows the next connection, the one before it ends; the last one stays."""
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1", "2"]), ("c", "wss://h", ["3"]))
    async with serve_replay(path, speed=MAX_SPEED) as server:
        got = []
        async for client in connect(server.url):
            got.append([message async for message in client] if not got else [await client.recv()])
            if len(got) == 2:
                await (await client.ping())
                await client.close()
                break
        assert got == [["1", "2"], ["3"]]
        await server.finished()


async def test_client_that_leaves_early(tmp_path):
    path = record(tmp_path / "a.jsonl", ("c", "wss://h", ["1", "2"] * 50))
    said: asyncio.Queue[str] = asyncio.Queue()
    async with serve_replay(path, report=said.put_nowait) as server:
        assert await read(server.url, 1) == ["1"]
        assert "of 100 frames sent, then the client left" in await said.get()
        assert await read(server.url, 2) == ["1", "2"]


async def test_once_refuses_further_clients():
    frames = frames_of(SMALL)
    async with serve_replay(SMALL, speed=MAX_SPEED, once=True) as server:
        async with connect(server.url):
            pass  # looks in, subscribes to nothing
        assert len(await read(server.url, len(frames), say="{}")) == len(frames)
        with pytest.raises(InvalidStatus, match="410"):
            await read(server.url, 1)
        await server.exhausted()


async def test_rest_answers(tmp_path):
    path = tmp_path / "a.jsonl"
    with RecordingWriter(path, "test") as writer:
        writer.http("r", "https://h/api/public/pairs", '{"n":1.10}', 1.0)
        writer.http("r", "https://h/api/public/pairs", '{"n":2}', 2.0)
        writer.http("r", "https://h/api/book?pair=a:b", "A", 2.0)
        writer.http("r", "https://h/api/book?pair=c:d", "C", 2.0)
    async with serve_replay(path) as server, aiohttp.ClientSession(server.rest_url) as session:
        await server.finished()

        async def get(target: str) -> tuple[int, str]:
            async with session.get(target) as response:
                return response.status, await response.text()

        texts = [(await get("/api/public/pairs"))[1] for _ in range(3)]
        assert texts == ['{"n":1.10}', '{"n":2}', '{"n":2}']
        assert await get("/public/pairs") == (200, '{"n":2}')
        assert await get("/api/book?pair=c%3Ad") == (200, "C")
        assert (await get("/api/book?pair=e:f"))[0] == 404
        status, text = await get("/nothing")
        assert status == 404
        assert "/api/public/pairs\n" in text
        assert "/api/book?pair=a:b\n" in text
        async with session.post("/api/public/pairs", data="nonce=1") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
        with pytest.raises(InvalidStatus, match="410"):
            await read(server.url, 1)


async def test_broken_recording_is_refused_before_anything_is_served(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"t":"header"}\n{"t":"recv"}\n')
    with pytest.raises(RecordingError, match="line 2"):
        async with serve_replay(path):
            pass


async def test_port_in_use(tmp_path):
    async with serve_replay(SMALL) as server:
        with pytest.raises(ReplayError, match="cannot listen"):
            async with serve_replay(SMALL, port=int(server.url.rsplit(":", 1)[1])):
                pass


def test_fixture_has_what_tests_rely_on():
    """Contiguous numbers, all channels, a frame of several trades, newest first, and books that never cross."""
    import json

    messages = [json.loads(frame) for frame in frames_of(SMALL)]
    assert [message["sequence_num"] for message in messages] == list(range(len(messages)))
    assert {message["channel"] for message in messages} == {
        "market_trades",
        "candles",
        "ticker",
        "l2_data",
        "heartbeats",
        "subscriptions",
    }
    updates = [
        [int(trade["trade_id"]) for trade in event["trades"]]
        for message in messages
        if message["channel"] == "market_trades"
        for event in message["events"]
        if event["type"] == "update"
    ]
    assert any(len(ids) > 1 for ids in updates)
    assert all(ids == sorted(ids, reverse=True) for ids in updates)
    books = {"BTC-USD": Book(), "ETH-USD": Book()}
    unknown = 0
    for message in messages:
        for event in message["events"] if message["channel"] == "l2_data" else ():
            book = books[event["product_id"]]
            for level in event["updates"]:
                side = book.bids if level["side"] == "bid" else book.asks
                unknown += not float(level["new_quantity"]) and not side.size(level["price_level"])
                side.set(level["price_level"], level["new_quantity"])
            assert not book.crossed()
    assert unknown > 0
    assert isinstance(next(read_recording(SMALL)), HeaderRow)
