"""Over which connections a connector takes its lease, and reads how far the streams are, and whether they are down."""

from __future__ import annotations

import json

import pytest
import structlog

from bridge.clock import CLOCK
from bridge.config import load_settings
from bridge.connector.store import Store
from bridge.model import Channel
from tests.servers import RedisServer
from tests.unit.publishing import Events

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("url", "same"),
    [("redis://h", True), ("redis+sentinel://a,b/m", True), ("redis+cluster://a,b", False)],
)
def test_the_lease_is_taken_where_the_streams_are_read(url: str, same: bool) -> None:
    """Two sets of connections may be to two masters, of which one was replaced and does not know it."""
    store = Store(load_settings(None, {"TICKBRIDGE_REDIS__URL": url}), "x", "okx", structlog.get_logger())
    assert (store.lease._client is store.client) == same


@pytest.mark.parametrize(
    ("state", "down"), [("live", False), ("down", True), ("stop", True), ("", False), (None, False)]
)
async def test_the_catalog_says_whether_a_stream_is_down(
    redis_server: RedisServer, state: str | None, down: bool
) -> None:
    store = Store(load_settings(None, {"TICKBRIDGE_REDIS__URL": redis_server.url}), "x", "okx", structlog.get_logger())
    stream = store.stream(Channel.FILLS, "main")
    if state is not None:
        row = {"connector": "x", "instance": "i", "state": state}
        await store.client.hset("bridge:catalog:accounts", stream.key, json.dumps(row))  # type: ignore[misc]
    assert await store.is_down(stream) == down
    await store.client.aclose()


async def test_the_heartbeat_shows_how_far_ids_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Redis' clock is known, they have the host's time."""
    monkeypatch.setattr(CLOCK, "shift", 7)
    store = Store(load_settings(None, {}), "x", "okx", structlog.get_logger())
    publisher = store.publisher(Events())
    assert store.presence.ids_ahead() == 7
    now = CLOCK.now()
    [pipeline] = publisher._nodes.pipelines
    pipeline.upkeep.clock.told([str(now // SECOND - 30), "0"], now, now)
    assert store.presence.ids_ahead() == pytest.approx(-30 * SECOND, abs=SECOND)
