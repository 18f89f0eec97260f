"""Instrument hashes against a real server: written when the exchange's list says something new, by who has the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from redis.asyncio import Redis

from bridge.connector.instruments import Instruments, lists_pairs
from bridge.errors import DisplacedError
from bridge.exchange_errors import RestError
from bridge.exchanges import exchange_type, names
from bridge.exchanges.api import ConnectionPlan, Exchange, ListedPair, Profile
from bridge.feed.context import FeedContext
from bridge.keys import Keys
from bridge.redis.instruments import InstrumentHashes
from bridge.redis.lease import Lease, new_instance
from consumers.instruments import instrument
from tests.servers import RedisServer

KEY = "md:{listing:A-B}:instrument"
ONLINE = ListedPair("A-B", "A", "B", "spot", "online", tick_size="0.01", lot_size="0.001")


class Listing(Exchange):
    """Lists what it is told to; an error is raised."""

    name = "listing"
    channels = frozenset()

    def __init__(self, *lists):
        super().__init__(Profile(("A-B", "C-D"), frozenset()))
        self.lists = list(lists)

    def plan(self) -> list[ConnectionPlan]:
        return []

    def list_pairs(self):
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
        yield


class Rest:
    """Drives flows that ask for nothing."""

    async def drive(self, flow):
        try:
            next(flow)
        except StopIteration as stop:
            return stop.value
        pytest.fail("a request")


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


async def leased(client: Redis) -> Lease:
    lease = Lease(client, Keys(), "x", 60.0, new_instance())
    await lease.take(await lease.look(), None, lambda pipe: pipe.hset("bridge:connector:x", "instance", lease.instance))
    return lease


def look(client: Redis, lease: Lease, *lists) -> Instruments:
    context = FeedContext(Listing(*lists), None, Rest(), None, structlog.get_logger())
    pairs = context.exchange.profile.pairs
    return Instruments(context, InstrumentHashes(client, Keys(), lease, "listing"), lambda: pairs)


async def test_all_fields_as_text(client):
    assert await look(client, await leased(client), [ONLINE]).look()
    assert await instrument(client, "listing", "A-B") == {
        "base": "A",
        "quote": "B",
        "kind": "spot",
        "status": "online",
        "settle": "",
        "tick_size": "0.01",
        "lot_size": "0.001",
        "min_size": "",
        "contract_size": "",
        "expiry": "",
    }
    assert await instrument(client, "listing", "C-D") == {}
    assert await instrument(client, "listing", "A-B", namespace="other") == {}


async def test_it_is_written_when_the_list_says_something_new_and_at_no_other_time(client):
    lease = await leased(client)
    halted = ListedPair("A-B", "A", "B", "spot", "cancel_only", tick_size="0.01", lot_size="0.001")
    looks = look(client, lease, [ONLINE], [ONLINE], [halted], [ListedPair("X-Y")], [ListedPair("X-Y")])
    before = await client.info("commandstats")
    statuses, writes = [], []
    for _ in range(5):
        assert await looks.look()
        statuses.append(await client.hget(KEY, "status"))
        stats = await client.info("commandstats")
        writes.append(stats["cmdstat_hset"]["calls"] - before["cmdstat_hset"]["calls"])
    assert statuses == ["online", "online", "cancel_only", "unlisted", "unlisted"]
    assert writes == [1, 1, 2, 3, 3]
    assert await client.hget(KEY, "tick_size") == "0.01"


async def test_what_redis_has_forgotten_is_written_again_and_what_stands_there_is_not(client):
    lease = await leased(client)
    assert await look(client, lease, [ONLINE]).look()
    looks = look(client, lease, [ONLINE], [ONLINE])
    await client.hset(KEY, "mine", "1")
    assert await looks.look()
    assert await client.hget(KEY, "mine") == "1"
    await client.delete(KEY)
    assert await looks.look()
    assert await client.hget(KEY, "status") == "online"


async def test_a_displaced_process_writes_nothing_and_ends(client):
    lease = await leased(client)
    await client.set("bridge:connector:x:fence", f"{lease.epoch + 1}-another")
    with pytest.raises(DisplacedError):
        await asyncio.wait_for(look(client, lease, [ONLINE]).run(), 10)
    assert not await client.exists(KEY)


async def test_trouble_is_logged_once_and_asked_about_again(client):
    away = RestError("listing", "/list", 0, "no answer")
    looks = look(client, await leased(client), away, away, [ONLINE], away)
    with structlog.testing.capture_logs() as logs:
        assert [await looks.look() for _ in range(4)] == [False, False, True, False]
    assert [line["event"] for line in logs] == ["instruments_failed", "instruments_failed"]
    assert "no answer" in logs[0]["error"]


async def test_a_key_that_is_no_hash_is_trouble_of_that_pair(client):
    await client.set(KEY, "1")
    looks = look(client, await leased(client), [ONLINE, ListedPair("C-D", "C", "D")])
    with structlog.testing.capture_logs() as logs:
        assert not await looks.look()
    assert KEY in logs[0]["error"]
    assert (await instrument(client, "listing", "C-D"))["base"] == "C"


@pytest.mark.parametrize("name", names())
def test_every_exchange_has_a_list(name):
    assert lists_pairs(exchange_type(name)(Profile((), frozenset())))


def test_one_without_a_list_is_not_asked():
    class Without(Listing):
        list_pairs = Exchange.list_pairs

    assert not lists_pairs(Without())
