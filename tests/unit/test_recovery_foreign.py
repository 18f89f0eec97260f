"""Entries that somebody else wrote, and those that only look as if somebody had."""

from __future__ import annotations

import time

import pytest

from bridge.model import Channel, Control, ControlEvent
from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, hurry, numbers, raw, until


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


async def test_what_somebody_else_wrote_is_stepped_over(any_server):
    async with desk(any_server) as d:
        stream = await d.stream()
        d.put(stream, 3)
        await d.drained()
        with raw(any_server) as client:
            ahead = client.xadd(stream.key, {"who": "me"}, id=f"{stream.ms + 10**6}-77")
        d.put(stream, 4)
        await d.drained()
        d.put(stream, 2)
        await d.drained()
        assert d.seqs(stream) == list(range(1, 10))
        rows = d.entries(stream)
        assert [ident for ident, fields in rows if "who" in fields] == [ahead]
        assert (d.publisher.published, d.publisher.lost, d.publisher.confirmed) == (9, 0, 0)
        assert d.events.conflicts == []


async def test_somebody_who_keeps_writing_is_a_conflict(redis_server):
    async with desk(redis_server) as d:
        stream = await d.stream()
        with raw(redis_server) as client:
            for round_ in range(1, 20):
                client.xadd(stream.key, {"who": "me"}, id=f"{stream.ms + 10**6 * round_}-1")
                d.put(stream)
                await d.drained()
        assert d.events.conflicts
        assert d.events.conflicts[0] is stream


async def test_numbering_goes_on_behind_a_foreign_entry_after_a_restart(redis_server):
    for channel in (Channel.TRADES, Channel.BOOK):
        async with desk(redis_server) as d:
            stream = await d.stream(channel)
            now = time.time_ns()
            for _ in range(3):
                d.put_event(stream, Control("BTC-EUR", None, now, channel, ControlEvent.LIVE))
            await d.drained()
        with raw(redis_server) as client:
            for _ in range(3):
                client.xadd(stream.key, {"who": "me"})
        async with desk(redis_server) as d:
            stream = await d.stream(channel)
            d.put_event(stream, Control("BTC-EUR", None, time.time_ns(), channel, ControlEvent.LIVE))
            await d.drained()
            assert d.seqs(stream) == [1, 2, 3, 4], channel
            assert d.publisher.lost == 0


async def test_trimmed_entries_are_not_somebody_elses(redis_server):
    """A batch whose reply is lost, and of which retention has cut off the beginning."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream(entries=10)
        await until(lambda: d.publisher.connected)
        await d.nothing_under_way()
        proxy.swallow = True
        d.put(stream, 500)
        with raw(redis_server) as client:
            await until(lambda: client.exists(stream.key))
            await until(lambda: client.xinfo_stream(stream.key)["last-generated-id"].endswith("-500"))
        proxy.swallow = False
        proxy.cut()
        await d.drained()
        assert d.publisher.lost == 0
        assert (d.publisher.published, d.publisher.confirmed) == (500, 500)
        assert d.ids(stream) == numbers(491, 500)
        assert d.events.drops == []


async def test_a_break_between_questions_changes_nothing(redis_server):
    """A foreign entry, and the connection breaks when the publisher asks how far it goes."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream()
        d.put(stream, 3)
        await d.drained()
        d.pipeline.upkeep.watch.next = lambda _: []  # by a refusal, not by a look
        with raw(redis_server) as client:
            client.xadd(stream.key, {"who": "me"}, id=f"{stream.ms + 10**6}-1")
        line = d.pipeline._connection
        request, asked = line.request, []

        async def interrupted(commands):
            asked.append(commands)
            if "XREVRANGE" in "".join(commands):
                proxy.cut()
            return await request(commands)

        line.request = interrupted
        d.put(stream, 10)
        await d.drained()
        assert any("XREVRANGE" in "".join(commands) for commands in asked)
        assert d.ids(stream) == numbers(1, 13)
        assert d.seqs(stream) == list(range(1, 14))
