"""Pools of connections to the master that Sentinels name: what they do when it is another one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import exceptions

from bridge.redis import sentinels
from bridge.redis.topology import Topology
from consumers.connection import BlockingConnection
from tests.servers import RedisServer

Address = tuple[str, int]


class Named:
    """Sentinels: what they say is the master, and how often they were asked."""

    def __init__(self, *servers: RedisServer) -> None:
        self.addresses = [("127.0.0.1", server.port) for server in servers]
        self.now = self.addresses[0]
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = 0

    async def discover(self, _: str) -> Address:
        self.asked += 1
        await self.answering.wait()
        return self.now

    def discover_at_once(self, _: str) -> Address:
        self.asked += 1
        if not self.answering.is_set():
            raise exceptions.TimeoutError("no answer")
        return self.now


@pytest.fixture
def named(redis_server: RedisServer, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Named:
    monkeypatch.setattr(sentinels, "_ASK_EVERY", 0.0)
    return Named(redis_server, own_server)


async def test_a_client_moves_to_the_master_that_is_named_now(named: Named) -> None:
    client = Topology("redis+sentinel://a/m").client()
    pool: Any = client.connection_pool
    pool.sentinel_manager.discover_master = named.discover
    moved: list[Address] = []
    pool.moved = moved.append
    assert await port_of(client) == named.addresses[0][1]
    named.now = named.addresses[1]
    while await port_of(client) != named.addresses[1][1]:
        assert named.asked
    assert moved == [named.addresses[1]]
    await client.aclose()


async def test_commands_do_not_wait_for_sentinels(named: Named) -> None:
    client = Topology("redis+sentinel://a/m").client()
    pool: Any = client.connection_pool
    pool.sentinel_manager.discover_master = named.discover
    await client.ping()
    named.answering.clear()
    for _ in range(3):
        await client.ping()
    assert named.asked == 2, "one question at a time"
    await client.aclose()
    assert pool._asking.cancelled()


async def test_a_blocking_read_moves_too(named: Named) -> None:
    connection = BlockingConnection("redis+sentinel://a/m", block=0.01)
    pool: Any = connection._pool
    pool.sentinel_manager.discover_master = named.discover
    command = ("XREAD", "BLOCK", 1, "STREAMS", "s", "$")
    assert await connection.call(*command) is None
    named.now = named.addresses[1]

    async def reads() -> None:
        while True:
            assert await connection.call(*command) is None

    with pytest.raises(exceptions.ConnectionError, match="the Sentinels name another master"):
        await reads()
    assert await connection.call(*command) is None
    assert connection._connection is not None
    assert connection._connection.port == named.addresses[1][1]
    await connection.aclose()


async def test_without_an_event_loop(named: Named) -> None:
    client = Topology("redis+sentinel://a/m").sync_client()
    pool: Any = client.connection_pool
    pool.sentinel_manager.discover_master = named.discover_at_once
    assert client.config_get("port") == {"port": str(named.addresses[0][1])}
    named.now = named.addresses[1]
    pool._ask_at = 0.0
    assert client.config_get("port") == {"port": str(named.addresses[1][1])}
    named.answering.clear()
    pool._ask_at = 0.0
    asked = named.asked
    client.ping()
    client.ping()
    assert named.asked == asked + 1, "none answers: each question would hold up a command"
    client.close()


async def port_of(client: Any) -> int:
    return int((await client.config_get("port"))["port"])
