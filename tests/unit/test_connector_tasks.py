"""Every task of a connector is watched: one that is dead ends the connector, which says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.config import Settings, load_settings
from bridge.connector import run as connector
from bridge.connector.connections import Connections
from bridge.connector.leaseholder import Leaseholder
from bridge.connector.pairs import PairKeeper
from bridge.connector.reload import Reloader
from bridge.errors import TaskEndedError
from bridge.feed.clock import ClockKeeper
from bridge.feed.latency import FeedLatency
from bridge.observe.monitor import Monitor
from bridge.publish.publisher import Publisher
from bridge.redis.holding import Holding
from bridge.redis.presence import Presence
from bridge.redis.rejects import Rejects
from tests.servers import RedisServer, free_port
from tests.unit.publishing import until

TASKS = {
    "publisher": (Publisher, "run"),
    "heartbeat": (Leaseholder, "run"),
    "lease": (Holding, "watch"),
    "memory": (Presence, "watch_memory"),
    "latency": (FeedLatency, "run"),
    "rejects": (Rejects, "write"),
    "clock": (ClockKeeper, "run"),
    "feed": (Connections, "run"),
    "pairs": (PairKeeper, "run"),
}


def settings_for(server: RedisServer, pair: str = "BTC-USD") -> Settings:
    """Of a connector whose exchange is away, which ends nothing."""
    address = f"127.0.0.1:{free_port()}"
    one = f"{{name: cb, exchange: coinbase, pairs: [{pair}], url: ws://{address}, rest_url: http://{address}}}"
    environment = {
        "TICKBRIDGE_REDIS__URL": server.url,
        "TICKBRIDGE_HTTP__PORT": "off",
        "TICKBRIDGE_SHUTDOWN_TIMEOUT": "1s",
        "TICKBRIDGE_CONNECTORS__0": one,
    }
    return load_settings(None, environment)


async def run(server: RedisServer) -> None:
    settings = settings_for(server)
    async with asyncio.timeout(20):
        await connector.run(settings, settings.connectors)


@pytest.mark.parametrize("task", TASKS)
async def test_one_that_fails(task: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        await asyncio.sleep(0)
        raise KeyError(task)

    monkeypatch.setattr(*TASKS[task], fail)
    with pytest.raises(KeyError, match=task):
        await run(redis_server)


@pytest.mark.parametrize("task", sorted(TASKS.keys() - {"clock"}))
async def test_one_that_just_ends(task: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(*_: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(*TASKS[task], end)
    with pytest.raises(TaskEndedError, match=f"cb-{task}"):
        await run(redis_server)


async def test_a_connector_that_begins_again_has_the_settings_of_now(redis_server: RedisServer) -> None:
    settings = settings_for(redis_server)
    [before] = settings.connectors
    reloader = Reloader(settings, [before.name], lambda: settings_for(redis_server, "ETH-USD"))
    reloader.reload()
    stop = asyncio.Event()
    async with Monitor(settings.http, {before.name: before.exchange}) as monitor:
        running = asyncio.create_task(connector._run_one(settings, before, stop, monitor, reloader))
        with redis_server.client() as client:
            await until(lambda: running.done() or client.hkeys("bridge:catalog"))
            pairs = {key.partition("}")[0] for key in client.hkeys("bridge:catalog")}
        stop.set()
        await running
    assert pairs == {"md:{coinbase:ETH-USD"}
