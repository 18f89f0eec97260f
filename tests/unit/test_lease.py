"""The lease against a real server: two processes of one name, and only one that writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bridge.errors import AlreadyRunningError, DisplacedError
from bridge.keys import Keys
from bridge.redis.connections import connection_name, end_connections, may_end_connections
from bridge.redis.holding import LeaseState
from bridge.redis.lease import Lease, new_instance
from bridge.redis.tokens import epoch_of, instance_of, token_of
from tests.servers import RedisServer
from tests.unit.proxy import Proxy

FENCE = "bridge:connector:x:fence"
HEARTBEAT = "bridge:connector:x"
Make = Callable[[], Lease]


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


@pytest.fixture
def make(client: Redis) -> Make:
    return lambda: Lease(client, Keys(), "x", 2.0, new_instance())


def beat(lease: Lease):
    return lambda pipe: pipe.hset(HEARTBEAT, mapping={"instance": lease.instance, "host": "h", "pid": 7})


async def taken(make: Make, last: str | None = None) -> Lease:
    lease = make()
    await lease.take(await lease.look(), last, beat(lease))
    return lease


def mark(text: str):
    return lambda pipe: pipe.rpush("written", text)


async def test_a_heartbeat_that_expires_at_that_moment_is_no_rival(redis_server: RedisServer, make: Make) -> None:
    first, second = await taken(make), make()
    looked = await second.look()
    with redis_server.client() as server:

        def put(pipe):
            server.delete(HEARTBEAT)  # between the look and the step, as when its time is up
            beat(second)(pipe)

        await second.take(looked, first.instance, put)
        assert server.get(FENCE) == second.token
        assert server.hget(HEARTBEAT, "instance") == second.instance


class TestTokens:
    @pytest.mark.parametrize(
        ("text", "epoch", "instance"),
        [
            ("7-abc", 7, "abc"),
            ("12-a-b", 12, "a-b"),
            ("", 0, ""),
            ("7", 0, ""),
            ("7-", 0, ""),
            ("-abc", 0, ""),
            ("x-abc", 0, ""),
            ("\u0667-abc", 0, ""),
            ("9" * 5000 + "-abc", 0, ""),
        ],
    )
    def test_one_taken_apart(self, text, epoch, instance):
        assert (epoch_of(text), instance_of(text)) == (epoch, instance)

    def test_one_put_together(self):
        assert token_of(7, "abc") == "7-abc"


class TestTaking:
    async def test_the_first_one(self, client, make):
        before = time.time_ns() // 1_000_000
        lease = await taken(make)
        assert before < lease.epoch <= time.time_ns() // 1_000_000 + 1
        assert await client.get(FENCE) == f"{lease.epoch}-{lease.instance}" == lease.token
        assert await client.hget(HEARTBEAT, "instance") == lease.instance
        assert lease.holding.state is LeaseState.HELD

    async def test_the_first_number_is_of_the_clock_that_all_share(self, make, monkeypatch):
        """The clock of a host may be wrong; that of an hour ago would be too low for a process that came before."""
        before = time.time_ns() // 1_000_000
        monkeypatch.setattr("bridge.redis.lease.time.time_ns", lambda: (before - 3_600_000) * 1_000_000)
        assert (await taken(make)).epoch > before

    async def test_whoever_may_not_ask_for_it_has_the_clock_of_the_host(self, redis_server, client):
        await client.execute_command("ACL", "SETUSER", "timeless", "on", "nopass", "~*", "+@all", "-time")
        before = time.time_ns() // 1_000_000
        async with Redis.from_url(redis_server.url, username="timeless", decode_responses=True) as other:
            assert (await taken(lambda: Lease(other, Keys(), "x", 2.0, new_instance()))).epoch > before
        await client.execute_command("ACL", "DELUSER", "timeless")

    @pytest.mark.parametrize("seen", [[], ["", "x", "9" * 5000, "-1"]])
    async def test_a_number_that_was_seen_is_passed_when_redis_has_lost_it(self, seen, client, make):
        """Redis may be another one by now, whose clock is behind."""
        ahead = time.time_ns() // 1_000_000 + 3_600_000
        lease = make()
        for epoch in [str(ahead), *seen, "7"]:
            lease.saw(epoch)
        await lease.take(None, None, beat(lease))
        assert await client.get(FENCE) == f"{ahead + 1}-{lease.instance}"

    async def test_the_next_one_counts_on(self, client, make):
        first = await taken(make)
        second = await taken(make, first.instance)
        assert await client.get(FENCE) == f"{first.epoch + 1}-{second.instance}"

    @pytest.mark.parametrize("odd", ["", "garbage", "x-y"])
    async def test_over_what_is_no_token(self, odd, client, make):
        await client.set(FENCE, odd)
        lease = await taken(make)
        assert await client.get(FENCE) == f"{lease.epoch}-{lease.instance}"

    async def test_of_many_at_the_same_moment_one_gets_it(self, client, make):
        leases = [make() for _ in range(6)]
        looked = await leases[0].look()
        done = await asyncio.gather(
            *(lease.take(looked, None, beat(lease)) for lease in leases), return_exceptions=True
        )
        [winner] = [lease for lease, result in zip(leases, done, strict=True) if result is None]
        assert sum(isinstance(result, AlreadyRunningError) for result in done) == 5
        assert await client.get(FENCE) == winner.token
        assert await client.hget(HEARTBEAT, "instance") == winner.instance

    async def test_somebody_has_taken_it_since_the_look(self, client, make):
        late = make()
        looked = await late.look()
        first = await taken(make)
        await client.delete(HEARTBEAT)
        with pytest.raises(AlreadyRunningError, match="at the same time"):
            await late.take(looked, None, beat(late))
        assert await client.get(FENCE) == first.token
        assert late.holding.state is LeaseState.FREE

    async def test_somebody_elses_heartbeat_is_there(self, client, make):
        await client.hset(HEARTBEAT, "instance", "alive")
        late = make()
        with pytest.raises(AlreadyRunningError):
            await late.take(None, "dead", beat(late))
        assert await client.get(FENCE) is None


class TestDisplaced:
    """Nothing that the older process does has any effect."""

    async def test_a_write(self, client, make):
        old = await taken(make)
        await taken(make, old.instance)
        with pytest.raises(DisplacedError, match="on host h, pid 7"):
            await old.write("written", mark("old"))
        assert await client.llen("written") == 0
        assert old.holding.state is LeaseState.LOST

    async def test_a_write_under_way(self, client, make, redis_server):
        """The takeover falls between the look at the fence and the write."""
        old = await taken(make)
        newer = f"{old.epoch + 1}-other"

        def overtaken(pipe):
            pipe.rpush("written", "old")
            with redis_server.client() as other:
                other.set(FENCE, newer)

        with pytest.raises(DisplacedError):
            await old.write("written", overtaken)
        assert await client.llen("written") == 0
        assert await client.get(FENCE) == newer

    async def test_a_fence_that_is_put_back_under_way_displaces_nobody(self, client, make, redis_server):
        lease = await taken(make)
        times = []

        def put_back(pipe):
            pipe.rpush("written", "once")
            times.append(1)
            if len(times) == 1:
                with redis_server.client() as other:
                    other.set(FENCE, lease.token)

        assert await lease.write("written", put_back) == [1]
        assert await client.lrange("written", 0, -1) == ["once"]

    async def test_a_heartbeat(self, client, make):
        old = await taken(make)
        new = await taken(make, old.instance)
        with pytest.raises(DisplacedError):
            await old.renew(beat(old))
        assert await client.hget(HEARTBEAT, "instance") == new.instance

    async def test_a_new_connection(self, make):
        old = await taken(make)
        await taken(make, old.instance)
        with pytest.raises(DisplacedError):
            await old.assure()

    async def test_its_end(self, client, make):
        old = await taken(make)
        new = await taken(make, old.instance)
        with pytest.raises(DisplacedError):
            await old.give_back()
        await old.give_back()
        assert await client.hget(HEARTBEAT, "instance") == new.instance

    async def test_for_ever(self, client, make):
        old = await taken(make)
        await taken(make, old.instance)
        with pytest.raises(DisplacedError):
            await old.assure()
        await client.delete(FENCE)
        with pytest.raises(DisplacedError):
            await old.write("written", mark("old"))
        assert await client.get(FENCE) is None

    async def test_an_earlier_version_knows_no_fence(self, client, make):
        old = await taken(make)
        await client.hset(HEARTBEAT, "instance", "earlier")
        with pytest.raises(DisplacedError):
            await old.renew(beat(old))


class TestForgotten:
    """Redis has lost the newest token: the process that has it puts it back."""

    @pytest.mark.parametrize("older", [None, "1-older", "garbage"])
    async def test_by_a_write(self, older, client, make):
        await taken(make)
        lease = await taken(make, (await client.hgetall(HEARTBEAT))["instance"])
        await (client.set(FENCE, older) if older else client.flushall())
        assert (await lease.write("written", mark("a")))[0] == 1
        assert await client.get(FENCE) == lease.token

    @pytest.mark.parametrize("older", [None, "1-older"])
    async def test_by_a_new_connection(self, older, client, make):
        first = await taken(make)
        lease = await taken(make, first.instance)
        await (client.set(FENCE, older) if older else client.flushall())
        await lease.assure()
        assert await client.get(FENCE) == lease.token

    @pytest.mark.parametrize("by", [0, 1])
    async def test_a_token_as_new_or_newer_is_another_process(self, by, client, make):
        first = await taken(make)
        lease = await taken(make, first.instance)
        newer = f"{lease.epoch + by}-other"
        await client.set(FENCE, newer)
        with pytest.raises(DisplacedError, match="instance other"):
            await lease.assure()
        assert await client.get(FENCE) == newer

    async def test_whoever_takes_an_emptied_redis_first_has_it(self, client, make):
        """The other one had it for long, and was cut off meanwhile."""
        first = await taken(make)
        lease = await taken(make, first.instance)
        await client.flushall()
        while time.time_ns() // 1_000_000 <= lease.epoch:  # the two were taken within one millisecond
            await asyncio.sleep(0.001)
        other = await taken(make)
        with pytest.raises(DisplacedError, match=f"instance {other.instance}|on host"):
            await lease.assure()
        assert await client.get(FENCE) == other.token


class TestRenewing:
    async def test_it_holds_on(self, client, make):
        lease = await taken(make)
        lease.holding.patience = -1
        assert lease.holding.look() is LeaseState.LAPSED
        lease.holding.patience = 2
        await lease.renew(beat(lease))
        assert lease.holding.state is LeaseState.HELD

    async def test_a_server_that_refuses_the_heartbeat_is_one_that_was_asked(self, client, make):
        lease = await taken(make)
        lease.holding.patience = -1
        lease.holding.look()
        lease.holding.patience = 2
        with pytest.raises(ResponseError):
            await lease.renew(lambda pipe: pipe.lpush(HEARTBEAT, "not a hash"))
        assert lease.holding.state is LeaseState.HELD

    async def test_a_server_that_does_not_answer_is_not(self, redis_server, client):
        async with (
            Proxy(redis_server.port) as proxy,
            Redis.from_url(proxy.url, decode_responses=True, socket_timeout=0.2) as slow,
        ):
            lease = Lease(slow, Keys(), "x", 0.1, new_instance())
            await lease.take(None, None, beat(lease))
            proxy.swallow = True
            with pytest.raises(RedisError):
                await lease.renew(beat(lease))
            assert lease.holding.look() is LeaseState.LAPSED

    async def test_given_back_the_next_one_need_not_wait(self, client, make):
        lease = await taken(make)
        await lease.give_back()
        assert not await client.exists(HEARTBEAT)
        assert await client.get(FENCE) == lease.token
        assert lease.holding.state is LeaseState.FREE


class TestOthersStreams:
    """A pair has moved from connector y to x, and y's process is frozen."""

    async def test_it_is_kept_from_writing(self, client, make):
        other = Lease(client, Keys(), "y", 2.0, new_instance())
        await other.take(None, None, lambda pipe: pipe.hset("bridge:connector:y", "instance", other.instance))
        lease = await taken(make)
        assert await lease.fence_off("y", await lease.look("y")) is True
        with pytest.raises(DisplacedError):
            await other.write("written", mark("y"))
        assert await client.llen("written") == 0

    async def test_it_has_begun_anew_meanwhile(self, client, make):
        lease = await taken(make)
        looked = await lease.look("y")
        other = Lease(client, Keys(), "y", 2.0, new_instance())
        await other.take(None, None, lambda pipe: pipe.hset("bridge:connector:y", "instance", other.instance))
        assert await lease.fence_off("y", looked) is False
        await other.write("written", mark("y"))

    async def test_it_may_begin_anew_afterwards(self, client, make):
        lease = await taken(make)
        await lease.fence_off("y", await lease.look("y"))
        other = Lease(client, Keys(), "y", 2.0, new_instance())
        await other.take(await other.look(), None, lambda pipe: pipe.hset("bridge:connector:y", "instance", "i"))
        assert other.epoch > lease.epoch
        await other.write("written", mark("y"))


class TestEndingConnections:
    @pytest.fixture
    async def names(self, redis_server: RedisServer) -> AsyncIterator[dict[str, Redis]]:
        """A connection for each name; the last one in another database."""
        mine, old = "a" * 12, "b" * 12
        wanted = {
            "mine": connection_name("", "x", mine),
            "old": connection_name("", "x", old),
            "old publisher": f"{connection_name('', 'x', old)}:publisher",
            "other connector": connection_name("", "xx", old),
            "other namespace": connection_name("x", "x", old),
            "no process": "tickbridge:x:publisher",
            "stranger": "somebody",
            "other database": connection_name("", "x", old),
        }
        clients = {
            what: Redis.from_url(
                redis_server.url.removesuffix("0") + ("1" if what == "other database" else "0"),
                client_name=name,
                decode_responses=True,
                single_connection_client=True,
            )
            for what, name in wanted.items()
        }
        for one in clients.values():
            await one.ping()
        yield clients
        for one in clients.values():
            await one.aclose()

    async def test_only_those_of_other_processes_end(self, names, client):
        ids = {what: await one.client_id() for what, one in names.items()}
        ended = await end_connections(names["mine"], "", ["x"], "a" * 12)
        left = {int(row["id"]) for row in await client.client_list()}
        assert (ended.count, ended.refused) == (2, "")
        assert {what for what, ident in ids.items() if ident not in left} == {"old", "old publisher"}

    async def test_within_a_namespace(self, names, client):
        ended = await end_connections(client, "x", ["x"], "a" * 12)
        assert ended.count == 1

    @pytest.mark.parametrize("missing", ["client|list", "client|kill"])
    async def test_without_the_right_to(self, missing, redis_server, client):
        await client.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{missing}"])
        url = redis_server.url.replace("redis://", "redis://limited:x@")
        async with Redis.from_url(url, decode_responses=True) as limited:
            assert missing in (await may_end_connections(limited)).replace(" ", "|")
            await client.acl_setuser("limited", commands=["+@all"])
            assert await may_end_connections(limited) == ""
        await client.acl_deluser("limited")
