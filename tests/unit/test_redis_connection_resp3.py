"""The publisher's raw connection in the newer protocol: maps, and messages that nobody asked for."""

from __future__ import annotations

import pytest

from bridge.model import Channel
from bridge.publish.connection import RedisConnection, open_connection
from bridge.publish.sorting import last_ids
from bridge.publish.stream import Retention, Stream, StreamId
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.publishing import until


@pytest.fixture
async def line(any_server):
    line = await open_connection(f"{any_server.url}?protocol=3", "test", PATIENCE)
    yield line
    line.abort("the test is over")


async def test_maps_come_as_flat_lists(any_server, line: RedisConnection):
    emptied, filled, missing = (Stream(key, Channel.TRADES, "", Retention(1, 1.0)) for key in ("e", "f", "m"))
    with any_server.client() as client:
        client.xadd(emptied.key, {"a": "b"}, id="5-7")
        client.xtrim(emptied.key, maxlen=0)
        client.xadd(filled.key, {"a": "b"}, id="6-1")
    tails = await last_ids(line, [emptied, filled, missing])
    assert tails == {emptied: StreamId(5, 7), filled: StreamId(6, 1), missing: StreamId()}


async def test_what_nobody_asked_for_is_no_reply(any_server, line: RedisConnection):
    await line.request([command("CLIENT", "TRACKING", "ON"), command("GET", "k")])
    seen = []
    received = line.data_received

    def data_received(data: bytes) -> None:
        seen.append(data)
        received(data)

    line.data_received = data_received
    with any_server.client() as client:
        client.set("k", "v")
    assert await line.request([command("GET", "k"), command("PING")]) == [b"v", b"PONG"]
    await until(lambda: b"invalidate" in b"".join(seen))
    assert not line.lost.done()
