"""What a server refuses: for want of memory, or because a key is no stream."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.model import BookDelta, BookSnapshot, Channel, Trade
from bridge.publish import sender as module
from bridge.publish.batch import flat
from bridge.publish.pending import Budget
from tests.unit.publishing import desk, hurry, numbers, raw, until


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


async def test_forgotten_entries_wait_for_a_server_that_takes_them(own_server):
    """Let in behind them first, later entries would close their place for good."""
    async with desk(own_server) as d:
        stream = await d.stream()
        d.put(stream, 20)
        await d.drained()
        with raw(own_server) as client:
            client.flushall()
            client.config_set("maxmemory", 1)
            client.client_kill_filter(_type="normal", skipme=True)
            d.put(stream, 5)
            await until(lambda: client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"] > 40)
            client.config_set("maxmemory", 0)
        await d.drained()
        assert d.ids(stream) == numbers(1, 25)
        assert d.seqs(stream) == list(range(1, 26))


async def test_out_of_memory_loses_nothing(own_server):
    async with desk(own_server) as d:
        stream, other = await d.stream(), await d.stream(subject="ETH-EUR")
        d.put(stream, 5)
        await d.drained()
        with raw(own_server) as client:
            client.config_set("maxmemory", 1)
            for _ in range(10):
                d.put(stream, 3)
                d.put(other, 1)
                await asyncio.sleep(0.02)
            await until(lambda: client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"] > 5)
            assert client.xlen(stream.key) == 5
            client.config_set("maxmemory", 0)
        await d.drained()
        assert d.seqs(stream) == list(range(1, 36))
        assert d.seqs(other) == list(range(1, 11))
        ids = d.ids(stream)
        assert ids == sorted(ids, key=int)
        assert (d.publisher.published, d.publisher.lost) == (45, 0)


async def test_what_goes_again_has_the_ids_it_had(own_server, monkeypatch):
    """A connection that was given up may still have the first copies on their way to the server."""
    async with desk(own_server) as d:
        stream = await d.stream()
        d.put(stream, 2)
        await d.drained()
        first: list[str] = []
        pack = module.pack

        def packed(runs, *times):
            batch = pack(runs, *times)
            if batch.entries == 30:
                first.extend(f"{entry.ms}-{entry.seq}" for _, entry in flat(runs))
            return batch

        monkeypatch.setattr(module, "pack", packed)
        with raw(own_server) as client:
            client.config_set("maxmemory", 1)
            for number in range(30):
                at = time.time_ns() + number * 3_000_000
                d.put_event(stream, Trade("BTC-EUR", None, at, str(number), "buy", "1", "2"))
            await until(lambda: client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"] > 35)
            client.config_set("maxmemory", 0)
        await d.drained()
        assert [ident for ident, _ in d.entries(stream)][2:] == first


async def test_entries_accepted_beside_refused_ones_are_remembered(own_server):
    """A refusal sorts a batch: what was accepted of it can be forgotten by the server later, too."""
    async with desk(own_server) as d:
        stream, broken = await d.stream(), await d.stream(subject="ETH-EUR")
        await until(lambda: d.publisher.connected)
        with raw(own_server) as client:
            client.set(broken.key, "not a stream")
            d.put(broken, 2)
            d.put(stream, 10)
            d.put(broken, 2)
            await d.drained()
            client.flushall()
            client.client_kill_filter(_type="normal", skipme=True)
        d.put(stream, 1)
        await d.drained()
        assert d.seqs(stream) == list(range(1, 12))


async def test_a_key_of_another_type_stops_only_its_stream(any_server):
    async with desk(any_server) as d:
        stream, blocked = await d.stream(), await d.stream(subject="ETH-EUR")
        await until(lambda: d.publisher.connected)
        with raw(any_server) as client:
            client.set(blocked.key, "not a stream")
            d.put(blocked, 500)
            for _ in range(20):
                d.put(stream, 5)
                d.put(blocked, 5)
                await asyncio.sleep(0.005)
            await until(lambda: client.xlen(stream.key) == 100)
            assert client.get(blocked.key) == "not a stream"
            await until(lambda: blocked.blocked.startswith("WRONGTYPE"))  # it is tried again now and then
            client.delete(blocked.key)
        await until(lambda: not blocked.blocked)
        d.put(blocked, 2)
        await d.drained()
        assert len(d.ids(blocked)) == 602
        assert d.seqs(blocked) == list(range(1, 603))
        assert (d.publisher.published, d.publisher.lost) == (100 + 600 + 2, 0)
        assert d.seqs(stream) == list(range(1, 101))


async def test_a_blocked_stream_keeps_its_share_of_the_budget(redis_server):
    """Beyond it, a book starts again with a fresh snapshot, and nothing of the others has to go for it."""
    async with desk(redis_server, budget=Budget(400_000, 300)) as d:
        book, other = await d.stream(Channel.BOOK), await d.stream()
        await until(lambda: d.publisher.connected)
        with raw(redis_server) as client:
            client.set(book.key, "not a stream")
            d.put_event(book, BookSnapshot("BTC-EUR", None, time.time_ns(), "", [("1", "1")], []))
            await until(lambda: book.blocked)
            for _ in range(100):
                d.put_event(book, BookDelta("BTC-EUR", None, time.time_ns(), "", [("1" * 3000, "1")], []))
            await until(lambda: d.events.drops)
            d.put(other, 100)
            client.delete(book.key)
        await until(lambda: not book.blocked)
        await d.drained()
        assert d.ids(book) == ["lost 101"]
        assert d.events.drops == [book]
        assert len(d.ids(other)) == 100
