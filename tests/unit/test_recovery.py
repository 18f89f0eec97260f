"""The publisher's hard cases, against real servers and through a proxy with faults."""

from __future__ import annotations

import asyncio
import time
from itertools import repeat

import pytest

from bridge.model import BookDelta, BookSnapshot, Channel, Position
from bridge.publish.batch import History
from bridge.publish.pending import Budget
from tests.unit.core import T0, quote
from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, hurry, numbers, raw, until


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


async def test_entries_stand_in_order_and_numbered(any_server):
    async with desk(any_server) as d:
        stream, other = await d.stream(), await d.stream(subject="ETH-EUR")
        for _ in range(50):
            d.put(stream, 40)
            d.put(other, 1)
            await asyncio.sleep(0)
        await d.drained()
        assert len(d.ids(stream)) == 2000
        assert d.seqs(stream) == list(range(1, 2001))
        assert d.seqs(other) == list(range(1, 51))
        assert (d.publisher.published, d.publisher.lost, d.publisher.confirmed) == (2050, 0, 0)
        assert d.publisher.latency.count == 2050


@pytest.mark.parametrize("contracts", [None, "3"])
@pytest.mark.parametrize("leg", [None, "", "short"])
async def test_an_entry_may_have_any_of_its_further_fields(redis_server, contracts, leg):
    async with desk(redis_server) as d:
        stream = await d.stream(Channel.POSITIONS)
        event = Position("main", None, T0, "BTC-PERP", "short", "0.3", "1", "2", "-0.1", contracts, leg)
        for _ in range(2):
            d.put_event(stream, event)
        await d.drained()
        more = {name: value for name, value in {"contracts": contracts, "leg": leg}.items() if value is not None}
        found = [fields for _, fields in d.entries(stream)]
        assert [{name: fields[name] for name in ("contracts", "leg") if name in fields} for fields in found] == [
            more
        ] * 2
        assert found[0]["unrealised_pnl"] == "-0.1"


async def test_numbering_goes_on_after_a_restart_and_a_trim(redis_server):
    async with desk(redis_server) as d:
        stream = await d.stream()
        d.put(stream, 10)
        await d.drained()
    with raw(redis_server) as client:
        client.xtrim(stream.key, maxlen=0)
    async with desk(redis_server) as d:
        stream = await d.stream()
        d.put(stream, 3)
        await d.drained()
        assert d.seqs(stream) == [11, 12, 13]


@pytest.mark.parametrize("query", ["", "?protocol=3"])
async def test_a_lost_reply_leads_to_no_repeat(any_server, query):
    async with Proxy(any_server.port) as proxy, desk(any_server, proxy.url + query) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await d.drained()
        await d.nothing_under_way()
        proxy.swallow = True
        d.put(stream, 100)
        with raw(any_server) as client:
            await until(lambda: client.xlen(stream.key) == 105)
        proxy.swallow = False
        proxy.cut()
        await d.drained()
        assert d.ids(stream) == numbers(1, 105)
        assert d.seqs(stream) == list(range(1, 106))
        assert d.publisher.confirmed == 100
        assert (d.publisher.published, d.publisher.lost) == (105, 0)


async def test_a_server_that_falls_silent_is_left(redis_server):
    """Replies that never come, in every phase: with entries on their way, and while recovering."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        await d.nothing_under_way()
        proxy.swallow = True
        d.wait_for_answers(0.2)
        d.put(stream, 3)
        await until(lambda: proxy.connections >= 3)
        proxy.swallow = False
        d.wait_for_answers()
        d.put(stream, 3)
        await d.drained()
        assert d.ids(stream) == numbers(1, 7)


async def test_silence_during_recovery_is_noticed(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        original = d.pipeline._recover

        async def resume(line):
            if proxy.connections == 2:
                proxy.swallow = True
                d.wait_for_answers(0.3)
            await original(line)

        d.pipeline._recover = resume
        proxy.cut()
        d.put(stream, 2)
        await until(lambda: proxy.connections >= 3)
        proxy.swallow = False
        d.wait_for_answers()
        await d.drained()
        assert d.ids(stream) == numbers(1, 3)


async def test_commands_that_never_arrived_go_again(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        proxy.deaf = True
        d.put(stream, 10)
        await until(lambda: proxy.unheard)
        proxy.deaf = False
        d.wait_for_answers(0.2)
        await until(lambda: proxy.connections == 2)
        d.wait_for_answers()
        await d.drained()
        assert d.ids(stream) == numbers(1, 10)
        assert d.publisher.confirmed == 0


async def test_a_server_that_lets_in_and_hangs_up_is_not_stormed(redis_server):
    """The waits grow as long as no connection has been of use."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        series = 0

        def backoff():
            nonlocal series
            series += 1
            return repeat(0.01)

        async def broken(line):
            raise ConnectionError("as if it had hung up")

        original, d.pipeline._recover = d.pipeline._recover, broken
        d.pipeline._backoff = backoff
        before = proxy.connections
        proxy.cut()
        await until(lambda: proxy.connections >= before + 5)
        assert series == 0, "a new series of waits only after a connection that was of use"
        d.pipeline._recover = original
        d.put(stream)
        await d.drained()
        assert series


@pytest.mark.parametrize("query", ["", "?protocol=3"])
async def test_forgotten_entries_go_in_again_under_their_ids(own_server, query):
    """A server that comes back without its last seconds, as after a failover."""
    async with desk(own_server, own_server.url + query) as d:
        stream, quiet = await d.stream(), await d.stream(subject="ETH-EUR")
        d.put(stream, 20)
        d.put(quiet, 5)
        await d.drained()
        before = d.entries(stream), d.entries(quiet)
        with raw(own_server) as client:
            client.flushall()
            client.client_kill_filter(_type="normal", skipme=True)
        d.put(stream, 2)
        await d.drained()
        await until(lambda: d.entries(quiet))
        assert d.entries(stream)[:20] == before[0]
        assert d.entries(quiet) == before[1]
        assert d.seqs(stream) == list(range(1, 23))
        assert d.publisher.lost == 0


async def test_what_nobody_remembers_is_declared(own_server):
    async with desk(own_server) as d:
        stream = await d.stream()
        d.put(stream, 20)
        await d.drained()
        d.put(stream, 3)
        await d.drained()
        d.pipeline.ledger.history = History(most=500)
        d.put(stream, 1)
        await d.drained()
        d.put(stream, 1)
        await d.drained()
        with raw(own_server) as client:
            client.delete(stream.key)
            client.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: d.events.recoveries == 2)
        d.put(stream)
        await d.drained()
        assert d.ids(stream) == ["25", "lost 24", "26"]
        assert d.seqs(stream) == [25, 26, 27]
        assert stream in d.events.drops


async def test_a_full_buffer_sheds_and_declares(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, Budget(100_000, 300)) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not d.publisher.connected)
        for _ in range(100):
            d.put(stream, 20)
            assert d.publisher.waiting_bytes <= 100_000
        assert d.events.drops
        proxy.refuse = False
        await d.drained()
        ids = d.ids(stream)
        lost = int(ids[1].split()[1])
        assert ids == ["1", f"lost {lost}", *numbers(lost + 2, 2001)]
        assert d.publisher.published + d.publisher.lost == 2001


async def test_what_is_too_old_is_summed_up_and_trades_stay(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, Budget(10**8, 0.3)) as d:
        trades, quotes = await d.stream(), await d.stream(Channel.QUOTES)
        await until(lambda: d.publisher.connected)
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not d.publisher.connected)
        d.put(trades, 50)
        for price in range(30):
            d.put_event(quotes, quote(str(price), "99", time.time_ns()))
        await until(lambda: d.events.drops)
        assert set(d.events.drops) == {quotes}
        proxy.refuse = False
        d.put(trades, 2)
        await d.drained()
        assert d.ids(trades) == numbers(1, 52)
        rows = [fields for _, fields in d.entries(quotes)]
        assert [row.get("count") or row["bid"] for row in rows] == ["29", "29"]
        assert (d.publisher.published, d.publisher.lost) == (53, 29)


async def test_a_server_with_data_that_restarts(own_server):
    async with desk(own_server) as d:
        stream = await d.stream()
        d.put(stream, 10)
        await d.drained()
        own_server.kill()
        d.put(stream, 10)
        own_server.start()
        await d.drained()
        assert d.ids(stream) == numbers(1, 20)
        assert d.seqs(stream) == list(range(1, 21))


async def test_quiet_streams_are_trimmed_too(redis_server):
    async with desk(redis_server) as d:
        stream = await d.stream(entries=10, age=0.3)
        d.put(stream, 5)
        await d.drained()
        await until(lambda: not d.entries(stream), 3)


async def test_lost_entries_declared_by_the_sequencer(redis_server):
    async with desk(redis_server) as d:
        stream = await d.stream(Channel.QUOTES)
        d.publisher.declare_lost(stream, time.time_ns(), 5, "because")
        d.put_event(stream, quote("1", "2", time.time_ns()))
        await d.drained()
        rows = [fields for _, fields in d.entries(stream)]
        assert (rows[0]["event"], rows[0]["reason"], rows[0]["count"]) == ("lost", "because", "5")
        assert (d.publisher.published, d.publisher.lost) == (1, 5)


async def test_deltas_and_snapshots_keep_their_order(redis_server):
    async with desk(redis_server) as d:
        stream = await d.stream(Channel.BOOK)
        now = time.time_ns()
        for number in range(100):
            kind = BookSnapshot if number % 10 == 0 else BookDelta
            d.put_event(stream, kind("BTC-EUR", None, now, str(number), [("1", "1")], []))
        await d.drained()
        assert [fields["xseq"] for _, fields in d.entries(stream)] == [str(n) for n in range(100)]
        assert [i.seq for i in stream.snapshots] == list(range(1, 101, 10))
