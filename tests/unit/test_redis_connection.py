"""The publisher's raw connection: a reply belongs to the pipeline that asked for it, or to none."""

from __future__ import annotations

import asyncio

from bridge.publish.connection import RedisConnection
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.publishing import until


async def test_a_reply_between_two_pipelines_ends_the_connection():
    peers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: peers.put_nowait(writer), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        line = RedisConnection(writer, PATIENCE)
        peer = await peers.get()
        pipeline = [command("PING")] * 3
        for replies in (b"+A\r\n+B\r\n+C\r\n", b"+D\r\n+E\r\n+F\r\n"):
            asked = asyncio.create_task(line.request(pipeline))
            await asyncio.sleep(0)  # it has been sent
            peer.write(replies)
            assert b"".join(await asked) == replies.replace(b"+", b"").replace(b"\r\n", b"")
        peer.write(b"+STRAY\r\n")  # fewer than the pipelines before had
        await until(line.lost.done)
        assert "nobody asked for" in line.lost.result()
        peer.close()
