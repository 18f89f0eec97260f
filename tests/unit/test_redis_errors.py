"""What redis-py raises, told apart; each kind by a real server or a real socket where there is one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import islice

import pytest
from redis import exceptions
from redis.asyncio import Redis

from bridge.errors import RedisRefusedError, RedisUnavailableError
from bridge.redis.errors import about, explained, is_passing, is_wrong_type, refuses_client, refuses_key, said
from bridge.redis.retries import retries
from tests.servers import RedisServer, free_port


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


async def raised(call) -> BaseException:
    with pytest.raises((exceptions.RedisError, OSError)) as caught:
        await call
    return caught.value


def verdict(error: BaseException) -> set[str]:
    looks = (is_passing, is_wrong_type, refuses_client, refuses_key)
    return {look.__name__ for look in looks if look(error)}


class TestKinds:
    async def test_a_key_of_another_type(self, client):
        await client.set("k", "text")
        assert verdict(await raised(client.xlen("k"))) == {"is_wrong_type", "refuses_key"}

    async def test_in_a_pipeline(self, client):
        await client.set("k", "text")
        async with client.pipeline(transaction=False) as pipe:
            error = await raised(pipe.xlen("k").execute())
        assert verdict(error) == {"is_wrong_type", "refuses_key"}
        assert said(error).startswith("WRONGTYPE")

    async def test_no_right_to_a_key(self, client, redis_server):
        await client.acl_setuser("few", enabled=True, nopass=True, keys=["a*"], commands=["+@all"])
        async with Redis.from_url(redis_server.url.replace("//", "//few:x@"), decode_responses=True) as few:
            assert verdict(await raised(few.get("b"))) == {"refuses_key"}
        await client.acl_deluser("few")

    async def test_a_wrong_password(self, redis_server):
        async with Redis.from_url(redis_server.url.replace("//", "//nobody:x@")) as refused:
            assert verdict(await raised(refused.ping())) == {"refuses_client"}

    async def test_no_memory(self, own_server):
        async with Redis.from_url(own_server.url) as client:
            await client.config_set("maxmemory", 1)
            error = await raised(client.set("k", "v"))
            assert verdict(error) == {"is_passing"}
            async with client.pipeline() as pipe:
                assert verdict(await raised(pipe.set("k", "v").execute())) == {"is_passing"}

    async def test_no_replica(self, own_server):
        async with Redis.from_url(own_server.url) as client:
            await client.config_set("min-replicas-to-write", 1)
            assert verdict(await raised(client.set("k", "v"))) == {"is_passing"}

    async def test_nobody_there(self):
        async with Redis(port=free_port()) as nobody:
            assert verdict(await raised(nobody.ping())) == {"is_passing"}

    async def test_a_command_that_makes_no_sense(self, client):
        assert verdict(await raised(client.execute_command("XADD", "k"))) == set()


class TestExplained:
    async def test_away(self):
        port = free_port()
        async with Redis(port=port) as nobody:
            said_so = pytest.raises(RedisUnavailableError, match=r"^Redis at redis://h: the connection was refused")
            with said_so as caught, explained("redis://h"):
                await nobody.ping()
        assert not isinstance(caught.value, RedisRefusedError)

    async def test_refused(self, client):
        await client.set("k", "text")
        with pytest.raises(RedisRefusedError, match=r"^Redis at redis://h: WRONGTYPE"), explained("redis://h"):
            await client.xlen("k")

    async def test_full_is_not_refused(self, own_server):
        async with Redis.from_url(own_server.url) as client:
            await client.config_set("maxmemory", 1)
            with pytest.raises(RedisUnavailableError) as caught, explained("redis://h"):
                await client.set("k", "v")
        assert not isinstance(caught.value, RedisRefusedError)

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"])
    async def test_another_protocol(self, answer):
        async def answers(reader, writer):
            await reader.read(1)
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answers, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Redis(port=port) as other:
            said_so = pytest.raises(RedisUnavailableError, match="not in the Redis protocol; is this the right port")
            with said_so, explained("redis://h"):
                await other.ping()
        server.close()

    def test_what_is_not_of_redis_is_left_alone(self):
        with pytest.raises(KeyError), explained("redis://h"):
            raise KeyError("x")


class TestRetries:
    def test_none_at_first_then_ever_longer_up_to_the_cap(self):
        assert list(islice(retries(1, 8, lambda: 1.0), 7)) == [0, 1, 2, 4, 8, 8, 8]

    def test_by_chance_half_of_it_at_least(self):
        assert list(islice(retries(1, 8, lambda: 0.0), 5)) == [0, 0.5, 1, 2, 4]

    def test_a_first_one_above_the_cap(self):
        assert list(islice(retries(5, 2, lambda: 1.0), 3)) == [0, 2, 2]

    def test_a_crowd_is_spread_out(self):
        waits = [list(islice(retries(rand=random.Random(seed).random), 9))[-1] for seed in range(50)]
        assert len(set(waits)) == 50
        assert all(1 <= wait <= 2 for wait in waits)


class TestAbout:
    """A refusal that concerns a key names it."""

    async def test_another_type(self, client):
        await client.set("k", "text")
        refused = pytest.raises(RedisRefusedError, match="the key k has the wrong type")
        with refused as caught, explained("redis://h"), about("k"):
            await client.hgetall("k")
        assert "WRONGTYPE" in str(caught.value)

    async def test_no_right(self, client, redis_server):
        await client.acl_setuser("few", enabled=True, nopass=True, keys=["a*"], commands=["+@all"])
        async with Redis.from_url(redis_server.url.replace("//", "//few:x@"), decode_responses=True) as few:
            refused = pytest.raises(RedisRefusedError, match="has no right to the key b: ")
            with refused, explained("redis://h"), about("b"):
                await few.get("b")
        await client.acl_deluser("few")

    async def test_what_has_nothing_to_do_with_it(self, client):
        with pytest.raises(RedisRefusedError, match="wrong number of arguments"), explained("redis://h"), about("k"):
            await client.execute_command("XADD", "k")
