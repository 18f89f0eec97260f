"""The overview counts every entry once, also of streams whose entries it takes from the hub."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.items import Item, Raw, Reset
from consumers.web.activity import Activity, StreamActivity
from consumers.web.feed import Feed
from tests.consumers.streams import MAIN, Stream

KEY = MAIN.stream("limitlex", "BTC-EUR", Channel.TRADES)
STREAM = cast("StreamKey", Keys().parse(KEY))


class _Reader:
    """What it reads comes from the test; it remembers which streams it has, and from where on."""

    def __init__(self) -> None:
        self.reads: dict[str, str] = {KEY: "0-0"}
        self.redis = self

    async def add(self, key: str, start: str) -> None:
        self.reads[key] = start

    def remove(self, key: str) -> None:
        self.reads.pop(key, None)

    async def hgetall(self, name: str) -> dict[str, str]:
        return {KEY: "{}"} if name == Keys().catalog() else {}


class World:
    """A stream that both the overview and the hub read."""

    def __init__(self) -> None:
        self.reader = _Reader()
        self.activity = Activity(cast("Any", self.reader), Keys())
        self.row = self.activity.streams[KEY] = StreamActivity(KEY, STREAM)
        self.feed = Feed(KEY, STREAM, most_bytes=1 << 20, most_entries=100)
        self.feed.begin("0-0", "0-0", None)
        self.feed.opened = True

    @staticmethod
    def gaps(first: int, last: int) -> list[Item]:
        flat = ["type", "control", "event", "gap", "reason", "x", "count", ""]
        return [Raw(KEY, STREAM, Stream.id(seq), seq, flat) for seq in range(first, last + 1)]

    async def follows(self, first: int, last: int) -> None:
        """The overview's own reader gets these entries."""
        await self.activity._take(self.gaps(first, last))

    def hub_reads(self, *items: Item) -> None:
        for item in items:
            self.feed.take(item, 0.0)
            self.activity.taken(item)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_hub_s_entries_are_taken_once_both_are_equally_far(world) -> None:
    await world.follows(1, 3)
    world.activity.watched(world.feed)
    world.hub_reads(*world.gaps(1, 5))  # further than the overview: it goes on reading
    assert world.reader.reads
    await world.follows(4, 7)  # further than the hub
    assert world.reader.reads == {}
    assert world.row.gaps == 7
    world.hub_reads(*world.gaps(6, 9))
    assert (world.row.gaps, world.row.last_id) == (9, Stream.id(9))
    world.hub_reads(*world.gaps(10, 12))
    assert world.row.gaps == 12


async def test_it_goes_on_by_itself_when_the_hub_stops(world) -> None:
    world.activity.watched(world.feed)
    world.hub_reads(*world.gaps(1, 2))
    await world.follows(1, 2)
    world.hub_reads(*world.gaps(3, 4))
    world.activity.unwatched(KEY)
    await world.activity._look()
    assert world.reader.reads == {KEY: Stream.id(4)}
    await world.follows(5, 6)
    assert world.row.gaps == 6


async def test_a_hub_that_stops_before_that_changes_nothing(world) -> None:
    world.activity.watched(world.feed)
    world.hub_reads(*world.gaps(1, 2))
    world.activity.unwatched(KEY)
    await world.activity._look()
    assert world.reader.reads == {KEY: "0-0"}
    await world.follows(1, 2)
    assert world.row.gaps == 2


async def test_a_count_that_is_no_number_of_events_is_none(world) -> None:
    for seq, count in enumerate(["7", "", "x", "-1", "٣", "9" * 5_000, "3"], 1):
        flat = ["type", "control", "event", "lost", "reason", "x", "count", count]
        await world.activity._take([Raw(KEY, STREAM, Stream.id(seq), seq, flat)])
    assert world.row.lost == 10


async def test_a_stream_that_is_created_again_is_counted_on(world) -> None:
    world.activity.watched(world.feed)
    world.hub_reads(*world.gaps(1, 9))
    await world.follows(1, 9)
    world.hub_reads(Reset(KEY, STREAM, Stream.id(9), Stream.id(1)), *world.gaps(1, 2))
    assert (world.row.gaps, world.row.last_id) == (11, Stream.id(2))


async def test_a_stream_that_leaves_the_catalog_is_forgotten(world) -> None:
    world.activity.watched(world.feed)
    world.hub_reads(*world.gaps(1, 2))
    await world.follows(1, 2)
    world.reader.hgetall = _nothing
    await world.activity._look()
    assert world.activity.streams == {}
    world.hub_reads(*world.gaps(3, 4))


async def _nothing(_: str) -> dict[str, str]:
    return {}
