"""The publisher's raw connection in the newer protocol: maps, and messages that nobody asked for."""

from __future__ import annotations

import pytest

from bridge.publish.line import Line, open_line
from bridge.publish.recovery import last_id
from bridge.publish.stream import StreamId
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.publishing import until


@pytest.fixture
async def line(any_server):
    line = await open_line(f"{any_server.url}?protocol=3", "test", PATIENCE)
    yield line
    line.abort("the test is over")


async def test_maps_come_as_flat_lists(any_server, line: Line):
    with any_server.client() as client:
        client.xadd("s", {"a": "b"}, id="5-7")
    [reply, missing] = await line.request([command("XINFO", "STREAM", "s"), command("XINFO", "STREAM", "none")])
    assert isinstance(reply, list)
    assert last_id(reply) == StreamId(5, 7)
    assert "no such key" in str(missing)


async def test_what_nobody_asked_for_is_no_reply(any_server, line: Line):
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
