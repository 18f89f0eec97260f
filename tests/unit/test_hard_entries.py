"""Entries that Redis never takes, links that are slow, and a server that is full again and again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from bridge.model import BookDelta, BookSnapshot, Channel
from bridge.publish.blocking import _MOST_BREAKS, _MOST_REFUSALS
from bridge.publish.pending import Budget
from bridge.publish.publisher import OneServer
from bridge.publish.state import State
from bridge.publish.transfer import Mode
from tests.clusters import wait
from tests.unit.proxy import Particular, Proxy
from tests.unit.publishing import desk, hurry, numbers, raw, until

LARGE = [("1", "x" * 1_200_000)]


@contextlib.contextmanager
def small_bulks(server):
    """The server hangs up at an argument of more than a mebibyte."""
    with raw(server) as client:
        client.config_set("proto-max-bulk-len", "1mb")
        try:
            yield
        finally:
            client.config_set("proto-max-bulk-len", "512mb")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


def snapshot(levels, now=0):
    return BookSnapshot("BTC-EUR", None, now or time.time_ns(), "", levels, [])


async def test_an_entry_at_which_the_server_hangs_up_is_found_and_declared(any_server):
    """``proto-max-bulk-len``: the connection breaks, whatever else is in the batch."""
    with small_bulks(any_server):
        await _hangs_up(any_server)


async def _hangs_up(server):
    async with desk(server) as d:
        book, trades, other = await d.stream(Channel.BOOK), await d.stream(), await d.stream(subject="ETH-EUR")
        await until(lambda: d.publisher.connected)
        d.put(trades, 300)
        d.put_event(book, snapshot([("1", "1")]))
        d.put_event(book, snapshot(LARGE))
        d.put_event(book, BookDelta("BTC-EUR", None, time.time_ns(), "", [("1", "2")], []))
        d.put_event(book, snapshot([("3", "3")]))
        d.put(other, 300)
        await until(lambda: d.publisher.waiting == 2 + 1)  # only the large one, and what continues it
        assert len(d.ids(trades)) == len(d.ids(other)) == 300

        def flow():
            d.put(trades)
            return d.said("entry_given_up")

        await until(flow)
        await d.drained()
        await until(lambda: d.publisher.waiting == 0)
        rows = [fields.get("event") or fields["bids"] for _, fields in d.entries(book)]
        assert rows == ["1:1", "lost", "3:3"]
        assert d.entries(book)[1][1]["count"] == "2"
        assert "the connection breaks" in d.entries(book)[1][1]["reason"]
        assert d.seqs(book) == [1, 2, 3]
        assert d.events.drops == [book]
        assert d.seqs(trades) == list(range(1, len(d.ids(trades)) + 1))
        assert d.publisher.lost == 2
        breaks = d.said("redis_lost")
        assert any("rotocol error" in line["reason"] for line in breaks), breaks
        assert _MOST_BREAKS <= len(breaks) < 40


async def test_an_entry_alone_with_a_server_that_hangs_up_is_given_up_in_the_end(redis_server):
    """There is nothing else that Redis could take: it takes longer to be sure."""
    with small_bulks(redis_server):
        async with desk(redis_server) as d:
            book = await d.stream(Channel.BOOK)
            d.put_event(book, snapshot(LARGE))
            await until(lambda: d.said("entry_given_up"))
            await until(lambda: d.publisher.waiting == 0)
            assert d.ids(book) == ["lost 1"]


async def test_breaks_that_have_another_cause_cost_nothing(redis_server):
    """The connection breaks again and again with the same single entry on its way; then it doesn't."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, patience=5.0) as d:
        stream, other = await d.stream(), await d.stream(subject="ETH-EUR")
        await until(lambda: d.publisher.connected)
        recovered = d.events.recovered

        def deaf_again():
            recovered()
            proxy.deaf = d.events.recoveries < 5

        d.events.recovered = deaf_again
        # A look at the streams that is on its way would wait for its answer, and the entry for the look.
        await until(lambda: d.pipeline.sender.transfer is None)
        proxy.deaf = True
        d.put(stream)
        for count in range(2, 5):
            await until(lambda: d.pipeline.sender.transfer and d.pipeline.sender.transfer.batch.entries)
            proxy.deaf = False
            proxy.cut()
            await until(lambda: d.events.recoveries >= count)  # noqa: B023
        await until(lambda: stream.blocked)
        proxy.deaf = False
        d.put(other)
        await until(lambda: d.publisher.waiting == 0)
        assert (d.ids(stream), d.ids(other)) == (["1"], ["2"])
        assert d.publisher.lost == 0


class Slow(Proxy):
    """A link of 0.4 MB/s with small buffers: what has left this machine has all but arrived."""

    async def __aenter__(self):
        await super().__aenter__()
        self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        return self

    async def _up(self, reader, writer):
        writer.transport.set_write_buffer_limits(high=65536)
        while data := await reader.read(20_000):
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(len(data) / 400_000)
        raise ConnectionResetError


async def test_an_entry_that_is_too_large_for_something_in_front_of_redis(redis_server):
    """It keeps the transaction going, which is no transaction any more; only that entry is lost."""

    def refuses(words):
        return b"-ERR max request size exceeded\r\n" if words[0] == b"XADD" and len(words[-3]) > 10**6 else b""

    async with Particular(redis_server.port, refuses) as front, desk(redis_server, front.url, patience=5.0) as d:
        book, trades = await d.stream(Channel.BOOK), await d.stream()
        await until(lambda: d.publisher.connected)
        d.put_event(book, snapshot([("1", "1")]))
        d.put_event(book, snapshot(LARGE))
        d.put(trades, 5)
        await until(lambda: d.said("entry_given_up"))
        await until(lambda: d.publisher.waiting == 0)
        d.put_event(book, snapshot([("2", "2")]))
        d.put(trades, 5)
        await d.drained()
        assert d.ids(trades) == numbers(1, 10)
        rows = [fields.get("event") or fields["bids"] for _, fields in d.entries(book)]
        assert rows == ["1:1", "lost", "2:2"]
        assert d.seqs(book) == [1, 2, 3]
        assert len(d.said("redis_refused")) == 1
        assert _MOST_REFUSALS == 3


async def test_a_key_that_is_refused_in_words_that_nobody_knows(redis_server):
    def refuses(words):
        return b"-ERR this key is not allowed here\r\n" if words[0] == b"XADD" and b"ETH-EUR" in words[1] else b""

    async with Particular(redis_server.port, refuses) as front, desk(redis_server, front.url, patience=5.0) as d:
        stream, refused = await d.stream(), await d.stream(subject="ETH-EUR")
        await until(lambda: d.publisher.connected)
        d.put(refused, 3)
        for count in range(1, 11):
            d.put(stream, 2)
            await until(lambda: len(d.ids(stream)) == 2 * count)  # noqa: B023
        assert "not allowed here" in refused.blocked


async def test_a_slow_link_carries_everything(redis_server):
    """Each transfer takes longer than a reply may: what counts is that something moves."""

    async with Slow(redis_server.port) as link, desk(redis_server, link.url, patience=1.5) as d:
        book = await d.stream(Channel.BOOK)
        for _ in range(3):
            d.put_event(book, snapshot([("1", "x" * 700_000)]))
        await d.drained()
        assert d.said("redis_lost") == []
        assert d.seqs(book) == [1, 2, 3]
        assert d.publisher.lost == 0


@pytest.mark.parametrize("mode", Mode)
async def test_a_server_that_is_full_ten_times_leaves_no_hole(own_server, monkeypatch, mode):
    monkeypatch.setattr(OneServer, "mode", mode)
    async with desk(own_server) as d:
        streams = [await d.stream(subject=f"{base}-EUR") for base in ("BTC", "ETH", "SOL")]
        await until(lambda: d.publisher.connected)
        with raw(own_server) as client:
            for _ in range(10):
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 30_000)
                async with asyncio.timeout(10):
                    while d.pipeline.state is not State.WAITING:
                        d.put(streams[d.count % 3], 20)
                        await until(lambda: not d.publisher.waiting or d.pipeline.state is State.WAITING)
                client.config_set("maxmemory", 0)
                await d.drained()
        for stream in streams:
            assert d.seqs(stream) == list(range(1, len(d.ids(stream)) + 1))
        assert (d.publisher.published, d.publisher.lost) == (d.count, 0)


@pytest.mark.parametrize("mode", Mode)
async def test_a_server_that_has_room_again_in_the_middle_of_a_batch_leaves_no_hole(own_server, monkeypatch, mode):
    """It has refused the first entry of a stream, and would take the next ones."""
    monkeypatch.setattr(OneServer, "mode", mode)
    sent = 0

    def watch(words):
        nonlocal sent
        if words[0] == b"XADD":
            sent += 1
            if sent == 5:
                wait(refused_by(own_server), "that the first ones are refused")
                client.config_set("maxmemory", 0)
        return b""

    with raw(own_server) as client:
        async with Particular(own_server.port, watch) as front, desk(own_server, front.url) as d:
            streams = [await d.stream(subject=f"{base}-EUR") for base in ("BTC", "ETH")]
            await until(lambda: d.publisher.connected)
            client.config_set("maxmemory", 1)
            for stream in streams:
                d.put(stream, 10)
            await d.drained()
            for stream in streams:
                assert d.seqs(stream) == list(range(1, 11))
            assert d.said("redis_refused")
            assert (d.publisher.published, d.publisher.lost) == (20, 0)


def refused_by(server):
    def look():
        with raw(server) as client:
            return client.info("commandstats").get("cmdstat_xadd", {}).get("rejected_calls")

    return look


async def test_trimming_that_is_not_allowed_holds_up_nothing(own_server):
    """A transaction that holds a command for which the right is missing is refused as a whole."""
    with raw(own_server) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">p", "~*", "+@all", "-xtrim")
    url = own_server.url.replace("//", "//few:p@")
    async with desk(own_server, url) as d:
        stream = await d.stream(entries=100)
        for _ in range(30):
            d.put(stream, 20)
            await d.drained()
        assert d.seqs(stream) == list(range(1, 601))
        assert any("xtrim" in str(line["errors"]) for line in d.said("redis_refused"))
        assert len(d.said("redis_refused")) == 1


async def test_room_is_made_by_trimming_while_redis_takes_nothing(own_server):
    """A stream that is over its limit, and a server that is full of it: only trimming helps."""
    async with desk(own_server) as d:
        stream = await d.stream(entries=100)
        await until(lambda: d.publisher.connected)
        d.pipeline.look_around = lambda *_, **__: None  # which trims quiet streams
        with raw(own_server) as client:
            for count in (150, 99):
                d.put(stream, count)
                await d.drained()
            assert client.xlen(stream.key) == 199
            client.config_set("maxmemory", 1)
            d.put(stream, 60)
            await until(lambda: client.xlen(stream.key) == 100)
            client.config_set("maxmemory", 0)
        await d.drained()
        assert d.ids(stream)[-1] == "309"
        assert d.publisher.lost == 0


async def test_trades_outlast_what_can_be_summed_up(redis_server):
    """Redis is away, and the budget is full: quotes and books make room, and a book needs a fresh snapshot."""
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url, Budget(200_000, 300)) as d:
        trades, book, quotes = await d.stream(), await d.stream(Channel.BOOK), await d.stream(Channel.QUOTES)
        await until(lambda: d.publisher.connected)
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not d.publisher.connected)
        d.put_event(book, snapshot([("1", "1")]))
        for number in range(400):
            d.put(trades)
            d.put_event(book, BookDelta("BTC-EUR", None, time.time_ns(), "", [("1", str(number))], []))
            assert d.publisher.waiting_bytes <= 200_000
        assert trades not in d.events.drops
        assert book in d.events.drops
        assert quotes not in d.events.drops
        proxy.refuse = False
        await d.drained()
        assert d.ids(trades) == numbers(1, 400)
        lost = [int(fields["count"]) for _, fields in d.entries(book) if fields.get("event") == "lost"]
        assert lost
        assert d.publisher.lost == sum(lost)
        assert d.publisher.published + d.publisher.lost == 801
