"""Clients that do not read: they delay nobody, take no memory, and are told what they missed."""

from __future__ import annotations

import asyncio

import pytest

from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.patience import PATIENCE
from tests.web.gateways import Sleeper, browser, gateway, seqs
from tests.web.test_web_books import built
from tests.web.test_web_streams import metric

LARGE = "x" * 20_000


@pytest.fixture
def sleeping():
    """Makes sleepers, and closes them."""
    made: list[Sleeper] = []

    def make(at) -> Sleeper:
        made.append(Sleeper(at))
        return made[-1]

    yield make
    for one in made:
        one.close()


def large_trades(stream: Stream, count: int) -> None:
    for _ in range(count):
        stream.add("trade", id=LARGE, side="buy", price="1", size="1")


async def test_a_client_that_does_not_read_gets_every_trade_later(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, stream.key)
            async with browser(at) as quick:
                await quick.subscribe(stream.key)
                large_trades(stream, 200)
                await quick.upto(stream.id(200))
                before = at.memory_kib
                for _ in range(10):  # 40 MB
                    await asyncio.to_thread(large_trades, stream, 200)
                    await quick.upto(stream.id(stream.seq))
                    quick.items = quick.items[-1:]
                assert at.memory_kib - before < 16 * 1024
            items = await asyncio.to_thread(slow.read_to, stream.id(2_200))
            assert seqs(items) == list(range(1, 2_201))
            assert [item["notice"] for item in items if "notice" in item] == ["subscribed"]
            assert await metric(at, "tickbridge_gateway_reread_entries_total") > 1_000


async def test_what_retention_removes_meanwhile_is_told_exactly(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, stream.key)
            async with browser(at) as quick:
                await quick.subscribe(stream.key)
                await asyncio.to_thread(large_trades, stream, 1_000)
                await quick.upto(stream.id(1_000))
                client.xtrim(stream.key, maxlen=100, approximate=False)
            items = await asyncio.to_thread(slow.read_to, stream.id(1_000))
            [trimmed] = [item for item in items if item.get("notice") == "trimmed"]
            seen = seqs(items)
            assert seen == [*range(1, seen[seen.index(901) - 1] + 1), *range(901, 1_001)]
            assert int(trimmed["count"]) == 1_000 - len(seen)
            assert trimmed["before"] == stream.id(901)


async def test_quotes_are_reduced_to_the_newest_with_a_count(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.QUOTES)
        trades = Stream(client, Channel.TRADES)
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, stream.key)
            await asyncio.to_thread(slow.subscribe, trades.key)

            def write(count: int) -> None:
                for _ in range(count):
                    stream.add("quote", bid="1", bid_size=LARGE, ask="2", ask_size="1")

            await asyncio.to_thread(write, 200)
            stream.control("down", "broken")
            await asyncio.to_thread(write, 200)
            async with browser(at) as quick:
                await quick.subscribe(trades.key)
                trades.trade()
                await quick.upto(trades.id(1))
            await asyncio.to_thread(slow.read_to, stream.id(401))
            while not any("type" in item and item["stream"] == trades.key for item in slow.items):
                await asyncio.to_thread(slow.read)
            items = [item for item in slow.items if item["stream"] == stream.key]
            conflated = [item for item in items if item.get("notice") == "conflated"]
            assert conflated
            assert sum(int(item["count"]) for item in conflated) + len(seqs(items)) == 401
            assert 201 in seqs(items), "the control entry"
            assert seqs(items)[-1] == 401


async def test_a_book_becomes_one_snapshot(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot(" ".join(f"{price}:1" for price in range(1_000, 500, -1)), "2000:1", xseq="1")
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, book.key, after="snapshot")

            def write() -> None:
                for number in range(3_000):
                    book.delta(" ".join(f"{1_000 - (number + step) % 400}:{number + 1}" for step in range(300)))

            async with browser(at) as quick:
                await quick.subscribe(book.key, after="start", conflate=False)
                await asyncio.to_thread(write)
                truth = built(await quick.upto(book.id(3_001)))
            items = await asyncio.to_thread(slow.read_to, book.id(3_001))
            conflated = [place for place, item in enumerate(items) if item.get("notice") == "conflated"]
            assert conflated
            assert all(items[place + 1]["type"] == "snapshot" for place in conflated)
            assert all(items[place + 1]["id"] == items[place]["before"] for place in conflated)
            for entry_id, levels in built(items).items():
                assert levels == truth[entry_id]


async def test_a_client_may_ask_for_every_entry_of_a_book(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, book.key, conflate=False)
            large = " ".join(f"{price}:1" for price in range(1, 2_000))
            for _ in range(400):
                book.snapshot(large, "3000:1")
            items = await asyncio.to_thread(slow.read_to, book.id(400))
            assert seqs(items) == list(range(1, 401))


async def test_a_resumed_book_that_is_far_behind_begins_with_its_state(redis_server) -> None:
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot("10:1", "11:1")
        for number in range(2_500):
            book.delta(f"9:{number}")
        with gateway(redis_server) as at:
            async with browser(at) as one:
                await one.subscribe(book.key, after=book.id(1))
                items = await one.upto(book.id(2_501))
                assert [item.get("notice", item.get("type")) for item in items] == ["conflated", "snapshot"]
                assert (items[0]["count"], items[1]["bids"]) == ("2500", "10:1 9:2499")
            async with browser(at) as one:
                await one.subscribe(book.key, after=book.id(1_000))
                assert seqs(await one.upto(book.id(2_501))) == list(range(1_001, 2_502))
            async with browser(at) as one:  # it asks for all there is
                await one.subscribe(book.key, after="start")
                assert seqs(await one.upto(book.id(2_501))) == list(range(1, 2_502))


async def test_a_client_that_is_gone_without_a_word_is_forgotten(redis_server, sleeping) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        with gateway(redis_server) as at:
            slow = sleeping(at)
            await asyncio.to_thread(slow.subscribe, stream.key)
            assert await metric(at, "tickbridge_gateway_clients") == 1
            slow.close()
            stream.trade()
            async with asyncio.timeout(PATIENCE):
                while await metric(at, "tickbridge_gateway_clients"):
                    await asyncio.sleep(0.05)
