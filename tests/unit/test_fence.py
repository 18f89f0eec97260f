"""The fence around every batch: who is displaced writes nothing more, however late its batches arrive."""

from __future__ import annotations

import asyncio

import hiredis
import pytest

from bridge.publish.fence import Fence, FenceState
from bridge.publish.state import State
from bridge.publish.wire import command
from tests.unit.proxy import Proxy
from tests.unit.publishing import check_sums, desk, hurry, numbers, raw, until

FENCE = Fence("bridge:connector:test:fence", "3-aaaa", "test")
NEXT = "4-bbbb"


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
def server(any_server):
    with raw(any_server) as client:
        client.set(FENCE.key, FENCE.token)
    return any_server


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (b"3-aaaa", FenceState.OURS),
        (b"3-bbbb", FenceState.FOREIGN),
        (b"4-aaaa", FenceState.FOREIGN),
        (b"2-cccc", FenceState.MISSING),
        (b"no token", FenceState.MISSING),
        (b"4-", FenceState.MISSING),
        (b"\xff-\xff", FenceState.MISSING),
        (None, FenceState.MISSING),
        (
            hiredis.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value"),
            FenceState.UNREADABLE,
        ),
    ],
)
def test_what_the_key_says(reply, state):
    assert FENCE.judge(reply) is state


def test_what_is_asked_of_a_fence_that_does_not_change_and_how_it_is_put_back():
    assert FENCE.watch == [command("WATCH", FENCE.key), command("GET", FENCE.key)]
    assert FENCE.restore == [command("MULTI"), command("SET", FENCE.key, FENCE.token), command("EXEC")]
    with pytest.raises(AttributeError):
        FENCE.token = NEXT


async def test_behind_its_own_token_everything_flows(server):
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        for _ in range(20):
            d.put(stream, 3)
            await d.drained()
        assert d.ids(stream) == numbers(1, 60)
        assert d.events.displacements == []


async def test_a_connection_made_after_a_takeover_writes_nothing(server):
    with raw(server) as client:
        client.set(FENCE.key, NEXT)
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await until(lambda: d.events.displacements)
        await d.drained()
        assert d.pipeline.state is State.DISPLACED
        assert d.entries(stream) == []
        assert d.publisher.waiting == 5


async def test_a_takeover_between_two_batches(server):
    """The token was ours when the last batch was answered, and isn't any more: Redis refuses the next one by itself."""
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await d.drained()
        d.pipeline.look_around = lambda *_, **__: None  # nothing that would tell before
        with raw(server) as client:
            client.set(FENCE.key, NEXT)
        d.put(stream, 5)
        await until(lambda: d.events.displacements)
        d.put(stream, 5)
        await d.drained()
        assert d.ids(stream) == numbers(1, 5)
        [reason] = d.events.displacements
        assert reason == "connector 'test' ends and writes nothing more: another process has taken over"
        assert d.publisher.published == 5
        assert [line["log_level"] for line in d.said("displaced")] == ["error"]


async def test_a_quiet_writer_notices_too(server):
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        with raw(server) as client:
            client.set(FENCE.key, NEXT)
        await until(lambda: d.events.displacements)
        assert d.ids(stream) == numbers(1, 1)


async def test_a_batch_that_arrives_late_is_not_applied(server):
    """As from a frozen process or out of a cut link's buffers: sent before the takeover, delivered after it."""
    async with Proxy(server.port) as proxy, desk(server, proxy.url, patience=5.0, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await d.drained()
        await d.nothing_under_way()
        proxy.up.clear()
        d.put(stream, 5)
        await until(lambda: d.pipeline.sender.transfer)
        with raw(server) as client:
            client.set(FENCE.key, NEXT)
            client.xadd(stream.key, {"type": "trade", "id": "theirs"}, id=f"{stream.ms + 1000}-6")
        proxy.up.set()
        await until(lambda: d.events.displacements)
        assert d.ids(stream) == [*numbers(1, 5), "theirs"]


async def test_a_batch_that_was_taken_before_the_takeover_is_the_last(server):
    """The reply to the look that travels behind it already holds the other token."""
    async with Proxy(server.port) as proxy, desk(server, proxy.url, patience=5.0, fence=FENCE) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        await d.nothing_under_way()
        proxy.flow.clear()
        d.put(stream, 5)
        with raw(server) as client:
            await until(lambda: client.xlen(stream.key) == 5)
            client.set(FENCE.key, NEXT)
        d.put(stream, 5)
        proxy.flow.set()
        await until(lambda: d.events.displacements)
        assert d.ids(stream) == numbers(1, 5)


async def test_a_fence_that_redis_has_lost_is_set_again(own_server):
    """With all else that it has forgotten."""
    with raw(own_server) as client:
        client.set(FENCE.key, FENCE.token)
        async with desk(own_server, fence=FENCE) as d:
            streams = [await d.stream(), await d.stream(subject="ETH-EUR")]
            for stream in streams:
                d.put(stream, 5)
            await d.drained()
            client.flushall()
            await until(lambda: all(len(d.entries(stream)) == 5 for stream in streams))
            d.put(streams[0])
            await d.drained()
            assert client.get(FENCE.key) == FENCE.token
            assert d.seqs(streams[0]) == list(range(1, 7))
            assert d.events.displacements == []


async def test_who_sets_a_lost_fence_first_has_it(own_server):
    with raw(own_server) as client:
        client.set(FENCE.key, FENCE.token)
        async with Proxy(own_server.port) as proxy, desk(own_server, proxy.url, patience=5.0, fence=FENCE) as d:
            stream = await d.stream()
            d.put(stream)
            await d.drained()
            client.flushall()
            client.set(FENCE.key, NEXT)
            await until(lambda: d.events.displacements)
            assert client.get(FENCE.key) == NEXT
            assert d.entries(stream) == []


async def test_a_fence_that_cannot_be_read_keeps_everything_waiting(server):
    """It may be a right that is missing: better late than unguarded."""
    with raw(server) as client:
        client.delete(FENCE.key)
        client.lpush(FENCE.key, "not a token")
        async with desk(server, fence=FENCE) as d:
            stream = await d.stream()
            d.put(stream, 3)
            await until(lambda: d.said("redis_unavailable"))
            assert "can't be read" in d.said("redis_unavailable")[0]["error"]
            assert d.entries(stream) == []
            client.delete(FENCE.key)
            await d.drained()
            assert d.ids(stream) == numbers(1, 3)


async def test_a_refused_batch_is_still_behind_the_fence(own_server):
    """While Redis is full, the takeover: nothing goes in when there is room again."""
    with raw(own_server) as client:
        client.set(FENCE.key, FENCE.token)
        async with desk(own_server, fence=FENCE) as d:
            stream = await d.stream()
            await until(lambda: d.publisher.connected)
            client.config_set("maxmemory", 1)
            d.put(stream, 5)
            await until(lambda: d.pipeline.state is State.WAITING)
            client.config_set("maxmemory", 0)
            client.set(FENCE.key, NEXT)
            await until(lambda: d.events.displacements)
            assert d.entries(stream) == []


async def test_standing_by_holds_everything_until_this_process_may_write(server):
    async with desk(server, fence=None, standing_by=True) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await until(lambda: d.pipeline.state is State.STANDING_BY)
        assert d.entries(stream) == []
        assert d.publisher.waiting == 5
        d.publisher.may_write(FENCE)
        await d.drained()
        assert d.ids(stream) == numbers(1, 5)
        d.publisher.stand_by()
        d.put(stream, 5)
        await asyncio.sleep(0)
        assert d.pipeline.state is State.STANDING_BY
        d.publisher.may_write(FENCE)
        await d.drained()
        assert d.ids(stream) == numbers(1, 10)
        assert len(d.events.disturbances) == 0
        assert d.states.count("recovering") == 1, "the same connection went on"


async def test_another_token_is_another_connection(server):
    """As when a lease was lost and taken again."""
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        d.publisher.stand_by()
        with raw(server) as client:
            client.set(FENCE.key, NEXT)
        d.put(stream)
        d.publisher.may_write(Fence(FENCE.key, NEXT, FENCE.connector))
        await d.drained()
        assert d.ids(stream) == numbers(1, 2)
        assert d.events.displacements == []


async def test_what_was_on_its_way_counts_though_the_process_stands_by_now(server):
    async with Proxy(server.port) as proxy, desk(server, proxy.url, patience=5.0, fence=FENCE) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        await d.nothing_under_way()
        proxy.flow.clear()
        d.put(stream, 5)
        with raw(server) as client:
            await until(lambda: client.xlen(stream.key) == 5)
        d.publisher.stand_by()
        d.put(stream, 5)
        proxy.flow.set()
        await until(lambda: d.publisher.published == 5)
        assert d.publisher.waiting == 5
        check_sums(d.publisher)
        assert d.ids(stream) == numbers(1, 5)


async def test_displaced_by_what_the_lease_says(server):
    async with desk(server, fence=FENCE) as d:
        stream = await d.stream()
        d.put(stream, 2)
        await d.drained()
        d.publisher.displace()
        d.put(stream, 5)
        await d.drained()
        await until(lambda: not d.publisher.connected)
        assert d.ids(stream) == numbers(1, 2)
        assert d.pipeline.state is State.DISPLACED
        d.publisher.may_write(FENCE)
        d.publisher.renew("whatever")
        d.publisher.stand_by()
        assert d.pipeline.state is State.DISPLACED
