from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.clock import CLOCK
from bridge.config import HeartbeatSettings
from bridge.keys import Keys
from bridge.redis.catalog import Writer
from bridge.redis.lease import Lease, new_instance
from bridge.redis.presence import Presence
from tests.servers import RedisServer

CATALOG = {f"md:{{x:{pair}}}:trades": {"pair": pair, "state": "live"} for pair in ("A-B", "C-D", "E-F")}
ACCOUNT = {"acct:{x:main}:fills": {"account": "main", "state": "live"}}
CHANGED = {key: {**entry, "state": "down"} for key, entry in CATALOG.items()}


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


@pytest.fixture
async def presence(client: Redis) -> Presence:
    keys = Keys()
    presence = Presence(client, Lease(client, keys, "x", 2.0, new_instance()), keys, "x", HeartbeatSettings())
    await presence.claim([], {})
    return presence


async def test_a_standby_has_a_higher_number_than_the_writer_that_it_saw(client, presence):
    """Also when Redis has lost the fence, and the Redis that there is now has a clock that is behind."""
    presence.lease.epoch = ahead = presence.lease.epoch + 3_600_000
    await presence.beat({"epoch": ahead})
    standby = Presence(client, Lease(client, Keys(), "x", 2.0, new_instance()), Keys(), "x", HeartbeatSettings())
    seen = asyncio.Event()
    standing_by = asyncio.create_task(standby.succeed(list, dict, lambda _: seen.set()))
    await asyncio.wait_for(seen.wait(), 10)
    await client.flushall()
    await asyncio.wait_for(standing_by, 30)
    assert standby.lease.epoch == ahead + 1


async def test_a_heartbeat_shows_a_clock_that_cannot_be_set(client, presence, monkeypatch):
    monkeypatch.setattr("bridge.redis.presence.time.time_ns", lambda: 5)
    presence.ids_ahead = lambda: -3
    before = CLOCK.now()
    await presence.beat({})
    shown = await client.hgetall("bridge:connector:x")
    assert (shown["at"], shown["ids_ahead"]) == ("5", "-3")
    assert before <= int(shown["steady"]) <= CLOCK.now()


class TestCatalog:
    async def test_it_is_written_once_and_then_what_changes(self, client, presence):
        assert await presence.show(CATALOG) is False
        assert set(await client.hkeys("bridge:catalog")) == set(CATALOG)
        assert await presence.show(CATALOG) is False

    @pytest.mark.parametrize("again", [CATALOG, CHANGED], ids=["as before", "changed"])
    async def test_a_redis_that_has_forgotten_it(self, again, client, presence):
        await presence.show(CATALOG)
        await client.flushall()
        assert await presence.show(again) is True
        assert set(await client.hkeys("bridge:catalog")) == set(CATALOG)
        assert await presence.show(again) is False

    async def test_what_a_failover_has_set_back_is_written_again(self, client, presence):
        """Of many entries some are looked at each time; the newest may be lost, or as they were before."""

        def entry(number: int, **more: str) -> dict[str, str]:
            return {"connector": "x", "instance": presence.instance, "number": str(number), **more}

        catalog = {f"md:{{x:P{number}}}:book": entry(number) for number in range(120)}
        older = {**catalog, "md:{x:P7}:book": entry(7, state="down")}
        foreign = '{"connector": "y", "instance": "other"}'
        await presence.show(older)
        await presence.show(catalog)
        whole = await client.hgetall("bridge:catalog")
        await client.hset("bridge:catalog", "md:{x:P7}:book", msgspec.json.encode(older["md:{x:P7}:book"]))
        await client.hset("bridge:catalog", "md:{x:P8}:book", "no entry")
        await client.hset("bridge:catalog", "md:{x:P9}:book", foreign)
        await client.hdel("bridge:catalog", "md:{x:P119}:book")
        assert [await presence.show(catalog) for _ in range(3)] == [False] * 3
        assert await client.hgetall("bridge:catalog") == {**whole, "md:{x:P9}:book": foreign}

    async def test_a_write_that_fails_behind_the_look_hides_nothing(self, client, presence, monkeypatch):
        await presence.show(CATALOG)
        await client.flushall()
        with failing(monkeypatch, presence), pytest.raises(RedisConnectionError):
            await presence.show(CATALOG)
        assert await presence.show(CATALOG) is True
        assert set(await client.hkeys("bridge:catalog")) == set(CATALOG)


class TestAccountsCatalog:
    async def test_accounts_stand_apart(self, client, presence):
        await presence.show({**CATALOG, **ACCOUNT})
        assert set(await client.hkeys("bridge:catalog")) == set(CATALOG)
        assert set(await client.hkeys("bridge:catalog:accounts")) == set(ACCOUNT)

    @pytest.mark.parametrize("gone", ["bridge:catalog", "bridge:catalog:accounts"])
    async def test_either_one_forgotten(self, gone, client, presence):
        await presence.show({**CATALOG, **ACCOUNT})
        await client.delete(gone)
        assert await presence.show({**CATALOG, **ACCOUNT}) is True
        assert set(await client.hkeys("bridge:catalog")) == set(CATALOG)
        assert set(await client.hkeys("bridge:catalog:accounts")) == set(ACCOUNT)

    async def test_what_an_earlier_version_wrote_is_moved(self, client, presence):
        old = {**dict.fromkeys(CATALOG, "{}"), "acct:{x:main}:fills": "old", "acct:{y:other/1}:orders": "old"}
        await client.hset("bridge:catalog", mapping={**old, "odd": "stays"})
        await client.hset("bridge:catalog:accounts", "acct:{x:main}:fills", "newer")
        await presence.catalog.separate()
        await presence.catalog.separate()
        assert set(await client.hkeys("bridge:catalog")) == {*CATALOG, "odd"}
        moved = await client.hgetall("bridge:catalog:accounts")
        assert moved == {"acct:{x:main}:fills": "newer", "acct:{y:other/1}:orders": "old"}

    async def test_another_connectors_account_is_found_there(self, client, presence):
        stream = "acct:{x:main}:fills"
        await client.hset("bridge:catalog:accounts", stream, '{"connector":"y","instance":"i"}')
        assert await presence.catalog.owners([*CATALOG, stream]) == {"y": {stream: Writer("i", "")}}

    async def test_the_pairs_of_a_connector_are_those_that_it_was_the_last_to_write(self, client, presence):
        own, others = '{"connector":"y","instance":"i","state":"stop"}', '{"connector":"z","instance":"i"}'
        entries = {
            "md:{x:BTC-EUR}:trades": own,
            "md:{x:BTC-EUR}:book": own,
            "md:{x:ETH-EUR}:book": own,
            "md:{x:LTC-EUR}:book": others,
            "md:{w:ADA-EUR}:book": own,
            "md:{x:DOT-EUR}:book": "no entry",
            "odd": own,
        }
        await client.hset("bridge:catalog", mapping=entries)
        assert await presence.catalog.pairs("x", "y") == {"BTC-EUR", "ETH-EUR"}
        assert await presence.catalog.pairs("x", "nobody") == set()


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, presence: Presence) -> Iterator[None]:
    """Nothing comes through after the first transaction."""
    write = presence.lease.write

    async def once(*arguments):
        monkeypatch.setattr(presence.lease, "write", fail)
        return await write(*arguments)

    async def fail(*_arguments):
        raise RedisConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(presence.lease, "write", once)
        yield
    monkeypatch.setattr(presence.lease, "write", write)
