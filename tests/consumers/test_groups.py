"""Consumer groups against real servers."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bridge.model import Channel
from consumers.groups import GroupReader
from consumers.items import Entry, GroupLost, Hole, PendingGone, Trimmed, Unknown
from consumers.reader import Position
from tests.consumers.streams import Stream, gather, until
from tests.servers import RedisServer


def member(server: RedisServer, stream: Stream, name: str = "a", **options) -> GroupReader:
    return GroupReader(server.url, {stream.key: Position.START}, group="g", consumer=name, **options)


@pytest.fixture
def trades(any_server: RedisServer):
    with any_server.client() as client:
        yield Stream(client, Channel.TRADES)


def seqs(items: list) -> list[int]:
    return [item.seq for item in items]


async def test_members_share_the_entries_and_acknowledge(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(6)
    async with member(any_server, trades, "a", count=4) as one, member(any_server, trades, "b") as two:
        first = await gather(one, 4)
        second = await gather(two, 2)
        assert (seqs(first), seqs(second)) == ([1, 2, 3, 4], [5, 6])
        assert await one.ack(first[:3]) == 3
        assert await one.ack(first[:3]) == 0
        assert await two.ack(second) == 2
    assert trades.client.xpending(trades.key, "g")["pending"] == 1


async def test_a_restarted_consumer_gets_its_own_pending_entries_first(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(5)
    async with member(any_server, trades, count=2) as reader:
        items = await gather(reader, 4)
        await reader.ack(items[:1])
    async with member(any_server, trades, count=2) as reader:
        items = await gather(reader, 4)
        assert [(item.seq, item.again) for item in items] == [(2, True), (3, True), (4, True), (5, False)]
        await reader.ack(items)
    assert trades.client.xpending(trades.key, "g")["pending"] == 0


async def test_what_the_caller_has_in_hand_does_not_come_again(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(2)
    async with member(any_server, trades) as reader:
        assert seqs(await gather(reader, 2)) == [1, 2]
        trades.trade()
        assert seqs(await gather(reader, 1)) == [3]


async def test_a_dead_consumers_entries_are_taken_over(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(700)
    async with member(any_server, trades, "dead") as dead:
        await gather(dead, 700)
    async with member(any_server, trades, "heir", takeover=0.001, block=0.01) as heir:
        items = await gather(heir, 700)
        assert seqs(items) == list(range(1, 701))
        assert all(item.again for item in items)
        assert await heir.ack(items) == 700


async def test_entries_wait_their_time_before_they_are_taken(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(2)
    async with member(any_server, trades, "slow") as slow, member(any_server, trades, "b", takeover=60) as other:
        await gather(slow, 2)
        trades.trade()
        assert seqs(await gather(other, 1)) == [3]


async def test_an_undecodable_entry_is_acknowledged_like_any_other(any_server: RedisServer, trades: Stream) -> None:
    trades.client.xadd(trades.key, {"type": "nonsense"}, id=trades.id(1))
    async with member(any_server, trades) as reader:
        (item,) = await gather(reader, 1)
        assert isinstance(item, Unknown)
        assert await reader.ack([item]) == 1


@pytest.mark.parametrize("heir", ["dead", "heir"], ids=["own history", "takeover"])
async def test_pending_entries_that_were_trimmed_are_told(any_server: RedisServer, trades: Stream, heir: str) -> None:
    trades.trades(4)
    async with member(any_server, trades, "dead") as dead:
        await gather(dead, 4)
    trades.client.xtrim(trades.key, maxlen=2, approximate=False)
    async with member(any_server, trades, heir, takeover=0.001, block=0.01) as reader:
        gone, *rest = await gather(reader, 3)
    assert isinstance(gone, PendingGone)
    assert gone.ids == (trades.id(1), trades.id(2))
    assert seqs(rest) == [3, 4]
    assert trades.client.xpending(trades.key, "g")["pending"] == 2


async def test_a_vanished_group_is_made_again_where_it_stood(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(6)
    async with member(any_server, trades, block=0.05) as reader:
        items = await gather(reader, 6)
        await reader.ack([items[0], items[1], items[3], items[5]])
        trades.client.xgroup_destroy(trades.key, "g")
        lost, *rest = await gather(reader, 5)
        assert lost == GroupLost(trades.key, lost.stream, "g", f"{items[2].ms}-{items[2].seq - 1}")
        assert seqs(rest) == [3, 4, 5, 6]
        await reader.ack(rest)
        trades.client.xgroup_destroy(trades.key, "g")
        trades.trade()
        lost, entry = await gather(reader, 2)
        assert (lost.resumed, entry.seq) == (trades.id(6), 7)


async def test_a_flush_under_a_blocked_member_is_told_and_it_reads_on(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(2)
    async with member(any_server, trades, block=20) as reader:
        await reader.ack(await gather(reader, 2))
        waiting = asyncio.create_task(gather(reader, 2), name="blocked")
        await until(lambda: trades.client.info("clients")["blocked_clients"])
        trades.client.flushall()
        await until(lambda: trades.client.exists(trades.key) and trades.client.xinfo_groups(trades.key))
        trades.trade()
        lost, entry = await waiting
    assert isinstance(lost, GroupLost)
    assert entry.seq == 3


async def test_a_restart_of_redis_loses_nothing_and_repeats_only_what_was_unacknowledged(
    own_server: RedisServer,
) -> None:
    with own_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(3)
        async with member(own_server, trades, block=20) as reader:
            items = await gather(reader, 3)
            waiting = asyncio.create_task(gather(reader, 1), name="blocked")
            await until(lambda: client.info("clients")["blocked_clients"])
            own_server.kill()
            await asyncio.to_thread(own_server.start)
            acknowledging = asyncio.create_task(reader.ack(items), name="ack")
            trades.trade()
            assert seqs(await waiting) == [4]
            assert await acknowledging == 3


@pytest.mark.parametrize("takeover", [60.0, 0.001], ids=["own history", "takeover"])
async def test_what_is_acknowledged_while_pending_entries_are_asked_for_does_not_come_again(
    redis_server: RedisServer, takeover: float
) -> None:
    """Redis lists the entries as pending, and learns right afterwards that they are done with."""
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(3)
        async with member(redis_server, trades, takeover=takeover, block=0.01) as reader:
            items = await gather(reader, 3)
            call, acknowledged = reader._call, []

            async def then_acknowledge(*command, key):
                reply = await call(*command, key=key)
                if not acknowledged:
                    acknowledged.append(await reader.ack(items))
                return reply

            reader._call = then_acknowledge
            reader._claim_at = 0.0
            asked = asyncio.create_task(gather(reader, 1), name="asked")
            await until(lambda: acknowledged)
            trades.trade()
            assert seqs(await asked) == [4]
            assert acknowledged == [3]


async def test_holes_and_trimming_are_told_but_not_what_others_took(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(2)
    async with member(any_server, trades, "a", count=2) as one, member(any_server, trades, "b", count=2) as two:
        await gather(one, 2)
        trades.trades(4)
        assert seqs(await gather(two, 2)) == [3, 4]
        assert seqs(await gather(one, 2)) == [5, 6]
        trades.trade(9)
        hole, entry = await gather(one, 2)
        assert isinstance(hole, Hole)
        assert (hole.expected, hole.found, entry.seq) == (7, 9, 9)
        trades.trades(4)
        trades.client.xtrim(trades.key, maxlen=1, approximate=False)
        trimmed, entry = await gather(one, 2)
        assert isinstance(trimmed, Trimmed)
        assert (trimmed.count, entry.seq) == (3, 13)


async def test_an_existing_groups_place_counts_not_the_start(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(3)
    trades.client.xgroup_create(trades.key, "g", trades.id(2))
    async with member(any_server, trades) as reader:
        (item,) = await gather(reader, 1)
    assert isinstance(item, Entry)
    assert item.seq == 3


async def test_wrong_arguments_are_refused(any_server: RedisServer) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await GroupReader(any_server.url, {}, group="g", consumer="c").__aenter__()
    with pytest.raises(ValueError, match="not a data stream"):
        await GroupReader(any_server.url, {"k": "0"}, group="g", consumer="c").__aenter__()


async def test_what_one_loop_leaves_the_next_one_gets(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(5)
    seen = []
    async with member(any_server, trades) as reader:
        for _ in range(2):
            async with contextlib.aclosing(aiter(reader)) as items:
                seen.append((await anext(items)).seq)
        seen += seqs(await gather(reader, 3))
    assert seen == [1, 2, 3, 4, 5]


async def test_the_newer_protocol_gives_the_same(any_server: RedisServer, trades: Stream) -> None:
    trades.trades(5)
    start = {trades.key: Position.START}
    for _ in range(2):  # the second finds the group, and what is pending in it
        async with GroupReader(f"{any_server.url}?protocol=3", start, group="g", consumer="a") as reader:
            assert seqs(await gather(reader, 5)) == [1, 2, 3, 4, 5]
    async with GroupReader(
        f"{any_server.url}?protocol=3", start, group="g", consumer="b", takeover=0.001, block=0.01
    ) as reader:
        taken = await gather(reader, 5)
        assert all(item.again for item in taken)
        assert await reader.ack(taken) == 5
        trades.client.xgroup_destroy(trades.key, "g")
        trades.trade()
        lost, entry = await gather(reader, 2)
        assert isinstance(lost, GroupLost)
        assert entry.seq == 6


@pytest.mark.parametrize("start", ["start", "end", "middle"])
async def test_redis_knows_how_far_a_group_is_behind(any_server: RedisServer, trades: Stream, start: str) -> None:
    """Also of one that starts in the middle, from its first moment on: scalers read Redis' own figure."""
    trades.trades(6)
    given = {"start": Position.START, "end": Position.NOW, "middle": trades.id(4)}[start]
    async with GroupReader(any_server.url, {trades.key: given}, group="g", consumer="a") as reader:
        behind = {"start": 6, "end": 0, "middle": 2}[start]
        [group] = trades.client.xinfo_groups(trades.key)
        assert (group["entries-read"], group["lag"]) == (6 - behind, behind)
        trades.trade()
        await gather(reader, behind + 1)
        [group] = trades.client.xinfo_groups(trades.key)
        assert (group["entries-read"], group["lag"]) == (7, 0)
