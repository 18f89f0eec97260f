"""The publisher's hard cases, against real servers and through a proxy with faults."""

from __future__ import annotations

import asyncio
import time
from itertools import repeat

import pytest

from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Trade
from bridge.publish.buffer import Budget
from bridge.publish.recovery import History
from tests.unit.core import quote
from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, hurry, raw, until


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


def numbers(first, last):
    return [str(n) for n in range(first, last + 1)]


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


async def test_a_lost_reply_leads_to_no_repeat(any_server):
    async with Proxy(any_server.port) as proxy, desk(any_server, proxy.url) as d:
        stream = await d.stream()
        d.put(stream, 5)
        await d.drained()
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
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, patience=0.2) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        proxy.swallow = True
        d.put(stream, 3)
        await until(lambda: proxy.connections >= 3)
        proxy.swallow = False
        d.put(stream, 3)
        await d.drained()
        assert d.ids(stream) == numbers(1, 7)


async def test_silence_during_recovery_is_noticed(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, patience=0.3) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        original = d.publisher._resume

        async def resume(line):
            proxy.swallow = proxy.connections == 2
            await original(line)

        d.publisher._resume = resume
        proxy.cut()
        d.put(stream, 2)
        await until(lambda: proxy.connections >= 3)
        proxy.swallow = False
        await d.drained()
        assert d.ids(stream) == numbers(1, 3)


async def test_commands_that_never_arrived_go_again(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, patience=0.2) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        proxy.deaf = True
        d.put(stream, 10)
        await asyncio.sleep(0.05)
        proxy.deaf = False
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

        original, d.publisher._resume = d.publisher._resume, broken
        d.publisher._backoff = backoff
        before = proxy.connections
        proxy.cut()
        await until(lambda: proxy.connections >= before + 5)
        assert series == 0, "a new series of waits only after a connection that was of use"
        d.publisher._resume = original
        d.put(stream)
        await d.drained()
        assert series


async def test_forgotten_entries_go_in_again_under_their_ids(own_server):
    """A server that comes back without its last seconds, as after a failover."""
    async with desk(own_server) as d:
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
        d.publisher._history = History(most=1)
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


async def test_what_goes_again_has_the_ids_it_had(own_server):
    """A connection that was given up may still have the first copies on their way to the server."""
    async with desk(own_server) as d:
        stream = await d.stream()
        d.put(stream, 2)
        await d.drained()
        first: list[str] = []
        pack = d.publisher._pack

        def packed(entries):
            batch = pack(entries)
            if len(entries) == 30:
                first.extend(f"{entry.ms}-{entry.seq}" for entry in entries)
            return batch

        d.publisher._pack = packed
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
            started = time.monotonic()
            for _ in range(20):
                d.put(stream, 5)
                d.put(blocked, 5)
                await asyncio.sleep(0.005)
            await until(lambda: client.xlen(stream.key) == 100, 5)
            assert time.monotonic() - started < 5
            assert client.get(blocked.key) == "not a stream"
            await until(lambda: blocked.blocked.startswith("WRONGTYPE"))  # it is tried again now and then
            client.delete(blocked.key)
        await until(lambda: not blocked.blocked and not blocked.unsent)
        d.put(blocked, 2)
        await d.drained()
        ids = d.ids(blocked)
        assert ids[0] == "lost 600"
        assert len(ids) == 3
        assert d.seqs(blocked) == [1, 2, 3]
        assert d.publisher.published + d.publisher.lost == 100 + 600 + 2
        assert d.seqs(stream) == list(range(1, 101))


async def test_a_book_that_was_blocked_starts_anew(redis_server):
    async with desk(redis_server) as d:
        book = await d.stream(Channel.BOOK)
        await until(lambda: d.publisher.connected)
        with raw(redis_server) as client:
            client.set(book.key, "not a stream")
            d.put_event(book, BookSnapshot("BTC-EUR", None, time.time_ns(), "", [("1", "1")], []))
            await until(lambda: book.blocked)
            drops = len(d.events.drops)
            # The router fetches a snapshot, and it vanishes in the block.
            d.put_event(book, BookSnapshot("BTC-EUR", None, time.time_ns(), "", [("1", "1")], []))
            client.delete(book.key)
        await until(lambda: not book.blocked)
        await d.drained()
        assert d.ids(book) == ["lost 2"]
        assert d.events.drops[drops:], "deltas would have no snapshot to continue"


async def test_what_somebody_else_wrote_is_stepped_over(any_server):
    async with desk(any_server) as d:
        stream = await d.stream()
        d.put(stream, 3)
        await d.drained()
        with raw(any_server) as client:
            ahead = client.xadd(stream.key, {"who": "me"}, id=f"{stream.ms + 5000}-77")
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
        with raw(redis_server) as client:
            client.xadd(stream.key, {"who": "me"}, id=f"{stream.ms + 100}-1")
        line = d.publisher._line
        request, asked = line.request, []

        async def interrupted(commands):
            asked.append(commands)
            if "XINFO" in "".join(commands):
                proxy.cut()
            return await request(commands)

        line.request = interrupted
        d.put(stream, 10)
        await d.drained()
        assert any("XINFO" in "".join(commands) for commands in asked)
        assert d.ids(stream) == numbers(1, 13)
        assert d.seqs(stream) == list(range(1, 14))


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


async def test_entries_that_are_too_old_are_shed(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, Budget(10**8, 0.3)) as d:
        stream = await d.stream()
        await until(lambda: d.publisher.connected)
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not d.publisher.connected)
        d.put(stream, 50)
        await until(lambda: d.events.drops)
        proxy.refuse = False
        d.put(stream, 2)
        await d.drained()
        assert d.ids(stream) == ["lost 50", "51", "52"]


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
