"""Books, and other streams that have a state, over the WebSocket."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from bridge.book import Book
from bridge.entries import parse_levels
from bridge.keys import StreamKey
from bridge.model import Channel
from consumers.items import Raw
from consumers.web.depth import DepthSubscription
from consumers.web.feed import Feed
from consumers.web.records import Batch
from consumers.web.subscription import Wish
from tests.consumers.streams import MAIN, Stream
from tests.web.gateways import browser, gateway, get, seqs

if TYPE_CHECKING:
    from consumers.web.hub import Hub


@pytest.fixture
def book(redis_server):
    with redis_server.client() as client:
        yield Stream(client, Channel.BOOK)


def built(items: list[dict]) -> dict[str, Book]:
    """The books that these entries make, by ID."""
    book, found = Book(), {}
    for item in items:
        if item.get("type") in ("snapshot", "delta"):
            levels = parse_levels(item["bids"]), parse_levels(item["asks"])
            (book.replace if item["type"] == "snapshot" else book.apply)(*levels)
            found[item["id"]] = (dict(book.bids.numbers()), dict(book.asks.numbers()))
    return found


@pytest.mark.parametrize("start", ["an entry", "the hash"])
async def test_a_late_joiner_gets_the_book_and_goes_on(redis_server, book, start) -> None:
    book.snapshot("10:1 9:2", "11:1 12:5", xseq="1")
    book.delta("10:3", "11:0", xseq="2")
    if start == "the hash":
        fields = {"id": book.id(2), "xseq": "2", "recv": "1", "bids": "10:3 9:2", "asks": "12:5"}
        book.client.hset(MAIN.snapshot("limitlex", "BTC-EUR"), mapping=fields)
        book.client.xdel(book.key, book.id(1))
    book.delta("9:0", xseq="3")
    with gateway(redis_server) as at:
        async with browser(at) as one, browser(at) as other:
            await one.subscribe(book.key, after="snapshot")
            first = await one.first(lambda item: item.get("type") == "snapshot")
            assert (first["id"], first["xseq"], first["bids"], first["asks"]) == (book.id(3), "3", "10:3", "12:5")
            book.delta("8:1")
            await other.subscribe(book.key, after="snapshot")
            book.delta("7:1")
            seen = await one.upto(book.id(5)), await other.upto(book.id(5))
    assert built(seen[0])[book.id(5)] == built(seen[1])[book.id(5)] == ({10: 3, 8: 1, 7: 1}, {12: 5})
    assert [item.get("type") for item in seen[0]] == ["snapshot", "delta", "delta"]


async def test_an_invalid_book_says_why(redis_server, book) -> None:
    book.snapshot("10:1", "11:1")
    book.control("gap", "something was lost")
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(book.key, after="snapshot")
            notice = await one.notice("invalid")
            assert (notice["id"], notice["message"]) == (book.id(2), "gap: something was lost")
            book.snapshot("9:1", "11:1")
            assert seqs(await one.upto(book.id(3)))[-1] == 3
            status, page = await get(at, f"/api/book?key={book.key}")
    assert (status, page["valid"], page["bids"], page["id"]) == (200, True, [["9", "1"]], book.id(3))


async def test_the_best_levels_alone(redis_server, book) -> None:
    book.snapshot("10:1 9:1 8:1", "11:1 12:1 13:1")
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(book.key, depth=2)

            async def shown(**levels: str) -> dict:
                return await one.first(lambda item: levels.items() <= item.items())

            await shown(bids="10:1 9:1", asks="11:1 12:1")
            book.delta("7:1")  # beyond what is shown
            book.delta("10:0")
            await shown(bids="9:1 8:1", id=book.id(3))
            book.control("down", "broken")
            assert (await one.notice("invalid"))["message"] == "down: broken"
            assert await one.first(lambda item: item.get("event") == "down")
            book.snapshot("5:1", "6:1")
            await shown(bids="5:1", asks="6:1")
            kinds = [item["type"] for item in one.items if "type" in item]
            assert "delta" not in kinds
            assert (await one.subscribe(book.key.replace("BTC", "ETH"), depth=2, after="start"))["notice"] == "error"


async def test_quotes_begin_with_the_newest(redis_server) -> None:
    with redis_server.client() as client:
        quotes = Stream(client, Channel.QUOTES)
        for number in range(3):
            quotes.add("quote", bid=str(number), bid_size="", ask="9", ask_size="")
        with gateway(redis_server) as at:
            async with browser(at) as one:
                await one.subscribe(quotes.key, after="snapshot")
                assert (await one.first(lambda item: item.get("type") == "quote"))["bid"] == "2"
                quotes.add("quote", bid="3", bid_size="", ask="9", ask_size="")
                assert seqs(await one.upto(quotes.id(4))) == [3, 4]


LONGEST = 100
"""Entries that the feed of these tests keeps in memory."""


class BestLevels:
    """A client's subscription to the best levels, of a feed that is given its entries here."""

    def __init__(self, types: frozenset[str] | None = None) -> None:
        stream = StreamKey("limitlex", "BTC-EUR", Channel.BOOK)
        self.feed = Feed("md:{limitlex:BTC-EUR}:book", stream, most_bytes=1 << 20, most_entries=LONGEST)
        self.feed.begin("0-0", "0-0", None)
        self.seq = 0
        hub = SimpleNamespace(now=lambda: float(self.seq))
        self.subscription = DepthSubscription(cast("Hub", hub), self.feed, Wish(depth=1, types=types))

    def add(self, kind: str, **fields: str) -> None:
        self.seq += 1
        flat = [part for pair in {"type": kind, "ts": "", "recv": "1", **fields}.items() for part in pair]
        self.feed.take(Raw(self.feed.key, self.feed.stream, Stream.id(self.seq), self.seq, flat), float(self.seq))

    def snapshots(self, count: int) -> None:
        for _ in range(count):
            self.add("snapshot", xseq="", bids=f"{self.seq + 1}:1", asks="9999:1")

    async def events(self) -> list[str]:
        """The control entries that the client is sent next."""
        batch = Batch(1 << 20)
        await self.subscription.take(batch)
        return [item["event"] for item in json.loads(batch.json() or "[]") if item.get("type") == "control"]


async def test_the_newest_control_entry_outlives_what_is_in_memory() -> None:
    client = BestLevels()
    client.snapshots(1)
    assert await client.events() == []
    client.add("control", event="gap", reason="x", count="")
    client.snapshots(2 * LONGEST)
    assert await client.events() == ["gap"]


async def test_a_control_entry_that_the_client_has_is_not_sent_again() -> None:
    client = BestLevels()
    client.snapshots(1)
    assert await client.events() == []
    client.add("control", event="gap", reason="x", count="")
    client.snapshots(1)
    assert await client.events() == ["gap"]
    client.snapshots(2 * LONGEST)
    assert await client.events() == []


async def test_a_control_entry_from_before_the_subscription_is_not_sent() -> None:
    client = BestLevels()
    client.add("control", event="gap", reason="x", count="")
    client.snapshots(1)
    assert await client.events() == []
    client.snapshots(2 * LONGEST)
    assert await client.events() == []


async def test_who_wants_no_control_entries_gets_none_that_left_memory_either() -> None:
    client = BestLevels(frozenset({"snapshot"}))
    client.snapshots(1)
    assert await client.events() == []
    client.add("control", event="gap", reason="x", count="")
    client.snapshots(2 * LONGEST)
    assert await client.events() == []
