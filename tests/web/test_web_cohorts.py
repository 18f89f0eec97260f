"""Clients that have everything: an array for all of them, and each by itself as soon as it does not take one."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import aiohttp
import pytest

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.items import Hole, Raw
from consumers.web.client import Client
from consumers.web.cohort import text_frame
from consumers.web.hub import Hub
from consumers.web.subscription import Wish
from consumers.web.tokens import Access, Tokens
from tests.consumers.streams import MAIN, Stream
from tests.patience import PATIENCE
from tests.web.gateways import Sleeper, browser, gateway, seqs

TRADES, OTHERS = (MAIN.stream("limitlex", pair, Channel.TRADES) for pair in ("BTC-EUR", "ETH-EUR"))


class _Redis:
    """Streams without entries."""

    async def xrevrange(self, *_: Any, **__: Any) -> list[Any]:
        return []


class _Reader:
    """Reads nothing: the test gives the hub what it reads."""

    redis = _Redis()
    on_outage = None

    async def outlive(self, call: Any) -> Any:
        return await call()

    async def add(self, key: str, start: str) -> None:
        pass


class World:
    """A hub that reads what the test gives it, and its clients."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.hub = Hub(cast("Any", _Reader()), Keys(""), memory=8 << 20, entries=100)
        self._group = group
        self._next: dict[str, int] = {}

    async def client(self, *keys: str, types: frozenset[str] | None = None) -> Watcher:
        watcher = Watcher(self.hub)
        for key in keys:
            await watcher.client.subscribe(key, Wish(types=types), conflate=None, depth=None)
        self._group.create_task(watcher.run(), name="a client")
        await watcher.settled()
        return watcher

    async def write(self, key: str, count: int = 1, kind: str = "trade", text: str = "") -> None:
        """As if the stream had got so many entries."""
        stream = cast("StreamKey", self.hub.keys.parse(key))
        items = []
        for _ in range(count):
            seq = self._next[key] = self._next.get(key, 0) + 1
            items.append(Raw(key, stream, Stream.id(seq), seq, ["type", kind, "text", text]))
        await self.hub._take(items)


class Watcher:
    """A client whose socket is the test."""

    def __init__(self, hub: Hub) -> None:
        self.takes = True
        self.frames: list[bytes] = []
        self.items: list[dict[str, Any]] = []
        access = cast("Access", Tokens().access(None))
        self.client = Client(hub, Tokens(), access, most_streams=10, push=self._push)

    def _push(self, frame: bytes) -> bool:
        if self.takes:
            self.frames.append(frame)
            self.items += json.loads(frame[4:] if frame[1] == 126 else frame[2:])
        return self.takes

    async def run(self) -> None:
        """Take arrays in the client's own way, until the gateway ends."""
        while not self.client.ended:
            self.items += json.loads(await self.client.next_array() or "[]")

    async def settled(self) -> None:
        """Wait until it has everything."""
        async with asyncio.timeout(PATIENCE):
            while not self.client.in_cohort:
                await asyncio.sleep(0)

    def seqs(self, key: str) -> list[int]:
        return seqs([item for item in self.items if item["stream"] == key])


@pytest.fixture
async def world():
    async with asyncio.TaskGroup() as group:
        made = World(group)
        yield made
        made.hub.end()


async def test_one_array_is_made_for_all_who_watch_the_same(world) -> None:
    one, two = await world.client(TRADES, OTHERS), await world.client(OTHERS, TRADES)
    other = await world.client(TRADES)
    await world.write(TRADES, 2)
    await world.write(OTHERS)
    assert one.frames == two.frames
    assert all(mine is yours for mine, yours in zip(one.frames, two.frames, strict=True))
    assert (one.seqs(TRADES), one.seqs(OTHERS), other.seqs(TRADES), other.seqs(OTHERS)) == ([1, 2], [1], [1, 2], [])


async def test_types_make_a_difference_and_nothing_is_sent_for_nothing(world) -> None:
    every, control = await world.client(TRADES), await world.client(TRADES, types=frozenset({"control"}))
    await world.write(TRADES, 3)
    assert (every.seqs(TRADES), control.frames) == ([1, 2, 3], [])
    await world.write(TRADES, kind="control")
    await world.write(TRADES)
    assert (every.seqs(TRADES), control.seqs(TRADES)) == ([1, 2, 3, 4, 5], [4])


async def test_who_does_not_take_an_array_goes_on_alone_and_comes_back(world) -> None:
    quick, slow = await world.client(TRADES, OTHERS), await world.client(TRADES, OTHERS)
    await world.write(TRADES)
    slow.takes = False
    await world.write(TRADES, 2)
    await world.write(OTHERS, 2)
    await world.write(TRADES, 2)
    slow.takes = True
    assert slow.seqs(TRADES) == [1]
    await slow.settled()
    alone = len(slow.frames)
    await world.write(TRADES)
    assert len(slow.frames) == alone + 1, "it is in the cohort again"
    for client in (quick, slow):
        assert (client.seqs(TRADES), client.seqs(OTHERS)) == ([1, 2, 3, 4, 5, 6], [1, 2])


async def test_subscriptions_may_change_at_any_time(world) -> None:
    one, two = await world.client(TRADES), await world.client(TRADES)
    await world.write(TRADES)
    await one.client.subscribe(OTHERS, Wish(), conflate=None, depth=None)
    await world.write(TRADES)
    await world.write(OTHERS)
    await one.settled()
    await one.client.handle(json.dumps({"op": "unsubscribe", "stream": TRADES}))
    await world.write(TRADES)
    await one.settled()
    await world.write(OTHERS)
    assert (one.seqs(TRADES), two.seqs(TRADES)) == ([1, 2], [1, 2, 3])
    # What came before the subscription began is not part of it.
    assert one.seqs(OTHERS) == [2]
    one.client.end()
    two.client.end()
    one.client.close()
    two.client.close()
    assert not world.hub.clients
    assert all(not feed.users for feed in world.hub.feeds.values())
    frames = len(one.frames)
    await world.write(OTHERS)
    assert len(one.frames) == frames


async def test_notices_come_although_nothing_else_does(world) -> None:
    one = await world.client(TRADES)
    world.hub._tell_outage("Redis is away")
    await one.settled()
    assert one.items[-1]["notice"] == "away"
    stream = one.client._subscriptions[TRADES].feed.stream
    await world.hub._take([Hole(TRADES, stream, Stream.id(5), 2, 5)])
    assert one.items[-1]["notice"] == "hole"


@pytest.mark.parametrize(("count", "text"), [(3, "x" * 30_000), (1, "x" * 70_000)])
async def test_more_than_an_array_is_taken_in_parts(world, count: int, text: str) -> None:
    one = await world.client(TRADES)
    await world.write(TRADES)
    await world.write(TRADES, count, text=text)
    assert len(one.frames) == 1
    await one.settled()
    assert one.seqs(TRADES) == list(range(1, count + 2))
    await world.write(TRADES)
    assert len(one.frames) == 2


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
async def test_frames_are_those_of_the_protocol(length: int) -> None:
    protocol = aiohttp.base_protocol.BaseProtocol(cast("Any", None))
    written = bytearray()

    class Transport:
        def write(self, data: bytes) -> None:
            written.extend(data)

        def is_closing(self) -> bool:
            return False

    writer = aiohttp.http.WebSocketWriter(protocol, cast("Any", Transport()))
    await writer.send_frame(b"x" * length, aiohttp.WSMsgType.TEXT)
    assert text_frame(b"x" * length) == bytes(written)


async def test_a_sleeper_beside_browsers_gets_everything_in_order(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        stream = Stream(client, Channel.TRADES)
        sleeper = Sleeper(at)
        sleeper.subscribe(stream.key)
        async with browser(at) as one, browser(at) as two:
            await one.subscribe(stream.key)
            await two.subscribe(stream.key)
            for round_ in range(1, 6):
                for _ in range(400):
                    stream.add("trade", id="x" * 400, side="buy", price="1", size="1")
                for each in (one, two):
                    await each.upto(stream.id(400 * round_))
        assert seqs(one.items) == seqs(two.items) == list(range(1, 2001))
        assert seqs(sleeper.read_to(stream.id(2000))) == list(range(1, 2001))
        sleeper.close()
