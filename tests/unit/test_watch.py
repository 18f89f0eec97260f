"""What somebody else does to our streams is noticed, also where nothing is written: no reply says so then."""

from __future__ import annotations

import time

import pytest

from bridge.model import BookDelta, BookSnapshot, Channel
from bridge.publish.connection import open_connection
from bridge.publish.watch import examine
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.core import stream
from tests.unit.publishing import Desk, desk, hurry, raw, until


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


def snapshot(d: Desk, stream) -> None:
    d.put_event(stream, BookSnapshot("BTC-EUR", None, time.time_ns(), "", [("1", "1")], [("2", "1")]))


def delta(d: Desk, stream) -> None:
    d.put_event(stream, BookDelta("BTC-EUR", None, time.time_ns(), "", [("1", "2")], []))


async def watched(d: Desk, stream, count: int = 5) -> None:
    """So many entries stand there, and the publisher knows it."""
    d.put(stream, count) if not stream.is_book else snapshot(d, stream)
    for _ in range(count - 1 if stream.is_book else 0):
        delta(d, stream)
    await d.drained()


DEEDS = {
    "one is added": (lambda c, k: c.xadd(k, {"hello": "world"}), "wrote to this stream: 1 entry", None),
    "one ahead is added": (lambda c, k: c.xadd(k, {"a": "b"}, id=f"{2**42}-0"), "wrote to this stream: 1 entry", None),
    "one is deleted": (lambda c, k: c.xdel(k, c.xrange(k)[2][0]), "deleted from this stream: 1 entry", 1),
    "the last is deleted": (lambda c, k: c.xdel(k, c.xrevrange(k, count=1)[0][0]), "deleted", 1),
    "all are trimmed": (lambda c, k: c.xtrim(k, maxlen=0, approximate=False), "deleted from this stream: 5 entries", 5),
    "the key is deleted": (lambda c, k: c.delete(k), "deleted from this stream: 5 entries", 5),
    "the key is renamed": (lambda c, k: c.rename(k, "elsewhere"), "deleted from this stream: 5 entries", 5),
}


@pytest.mark.parametrize("channel", [Channel.TRADES, Channel.BOOK])
@pytest.mark.parametrize("deed", DEEDS)
async def test_what_is_done_to_a_quiet_stream_is_noticed_and_said_once(any_server, deed, channel) -> None:
    do, words, count = DEEDS[deed]
    async with desk(any_server) as d:
        stream, other = await d.stream(channel), await d.stream(subject="ETH-EUR")
        await watched(d, stream)
        await watched(d, other)
        with raw(any_server) as client:
            do(client, stream.key)
        await until(lambda: d.events.disturbances)
        d.put(stream) if not stream.is_book else delta(d, stream)
        d.put(other)
        await d.drained()
        rounds = d.pipeline.upkeep.watch.rounds
        await until(lambda: d.pipeline.upkeep.watch.rounds > rounds + 2)
        [(changed, reason, deleted)] = d.events.disturbances
        assert changed is stream
        assert words in reason
        assert deleted == count
        assert d.events.conflicts == []
        assert d.seqs(stream)[-1] == 6, "the numbers go on"
        assert d.seqs(other) == list(range(1, 7))


async def test_what_is_trimmed_from_the_old_end_harms_nobody(any_server) -> None:
    async with desk(any_server) as d:
        trades, book = await d.stream(), await d.stream(Channel.BOOK)
        await watched(d, trades, 10)
        await watched(d, book)
        snapshot(d, book)
        delta(d, book)
        await d.drained()
        with raw(any_server) as client:
            client.xtrim(trades.key, maxlen=3, approximate=False)
            client.xtrim(book.key, maxlen=2, approximate=False)
        await until(lambda: trades.gone == 7 and book.gone == 5)
        assert d.events.disturbances == []
        with raw(any_server) as client:
            client.xtrim(book.key, maxlen=1, approximate=False)
        await until(lambda: d.events.disturbances)
        assert d.events.disturbances[0][0] is book, "deltas without their snapshot are of no use to who comes later"


async def test_our_own_trimming_is_no_disturbance(any_server) -> None:
    async with desk(any_server) as d:
        by_count, by_age = await d.stream(entries=50), await d.stream(subject="ETH-EUR", age=0.05)
        for _ in range(30):
            d.put(by_count, 40)
            d.put(by_age, 40)
            await d.drained()
            await until(lambda: not d.pipeline.upkeep.looks)
        await until(lambda: not d.entries(by_age))
        rounds = d.pipeline.upkeep.watch.rounds
        await until(lambda: d.pipeline.upkeep.watch.rounds > rounds + 2)
        assert d.events.disturbances == []
        assert d.events.drops == []
        assert (by_age.gone, d.publisher.lost) == (1200, 0)


async def test_another_thing_in_the_streams_place_is_noticed_and_so_is_its_end(any_server) -> None:
    async with desk(any_server) as d:
        stream, other = await d.stream(), await d.stream(subject="ETH-EUR")
        await watched(d, stream)
        with raw(any_server) as client:
            client.set(stream.key, "a string")
            await until(lambda: stream.blocked.startswith("WRONGTYPE"))
            d.put(other, 3)
            await d.drained()
            client.delete(stream.key)
        await until(lambda: d.events.disturbances)
        assert d.events.disturbances[0][0] is stream
        d.put(stream)
        await d.drained()
        assert d.seqs(stream) == [6]
        assert d.seqs(other) == [1, 2, 3]


async def test_a_flush_is_no_disturbance_of_each_stream(any_server) -> None:
    """Redis forgot: it is told again, as after a restart."""
    async with desk(any_server) as d:
        streams = [await d.stream(subject=f"{base}-EUR") for base in ("BTC", "ETH", "LTC")]
        for stream in streams:
            await watched(d, stream)
        with raw(any_server) as client:
            client.flushall()
        await until(lambda: all(len(d.entries(stream)) == 5 for stream in streams))
        assert d.events.disturbances == []
        for stream in streams:
            d.put(stream)
        await d.drained()
        assert [d.seqs(stream) for stream in streams] == [list(range(1, 7))] * 3
        assert d.publisher.lost == 0


async def test_somebody_who_keeps_writing_to_a_quiet_stream_is_a_conflict(redis_server) -> None:
    async with desk(redis_server) as d:
        stream = await d.stream()
        await watched(d, stream)
        with raw(redis_server) as client:
            for count in range(1, 12):
                client.xadd(stream.key, {"who": "me"})
                await until(lambda count=count: len(d.events.disturbances) == count)
        await until(lambda: d.events.conflicts)
        assert d.events.conflicts[0] is stream


async def test_a_few_streams_are_examined_at_a_time(redis_server) -> None:
    """Each may begin with a snapshot of a megabyte."""
    streams = [stream(Channel.BOOK, f"{number}-EUR") for number in range(9)]
    connection = await open_connection(redis_server.url, "test", PATIENCE)
    request, asked = connection.request, []
    connection.request = lambda commands: (asked.append(commands), request(commands))[1]
    with raw(redis_server) as client:
        for number, one in enumerate(streams):
            one.ms, one.seq, one.gone = 5, 3, number
            client.xadd(one.key, {"type": "snapshot"}, id="5-3")
    found = await examine(connection, streams)
    connection.abort("done")
    assert [len(commands) // 3 for commands in asked] == [8, 1]
    key = streams[8].key
    assert asked[1] == [
        command("XLEN", key),
        command("XRANGE", key, "-", "+", "COUNT", 1),
        command("XREVRANGE", key, "+", "-", "COUNT", 1),
    ]
    assert [one.stream for one in found] == streams
    assert [(one.deleted, one.added) for one in found] == [(2, 0), (1, 0), (0, 0), *((0, n) for n in range(1, 7))]


@pytest.mark.parametrize("right", ["xlen", "xrange", "xrevrange"])
async def test_what_may_not_be_looked_at_is_left_alone(own_server, right) -> None:
    with raw(own_server) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">p", "~*", "+@all", f"-{right}")
    connection = await open_connection(own_server.url.replace("//", "//few:p@"), "test", PATIENCE)
    one = stream(Channel.TRADES)
    one.gone = 5
    assert await examine(connection, [one]) == []
    connection.abort("done")
    assert one.gone == 5
