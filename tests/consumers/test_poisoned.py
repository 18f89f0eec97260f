"""One key that holds something else, one field or entry that makes no sense, one name that isn't there: each harms only itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bridge.keys import Keys
from bridge.model import Channel
from consumers.books import Books
from consumers.groups import GroupReader
from consumers.items import Entry, Unreadable
from consumers.reader import Position as Where
from consumers.reader import Reader
from consumers.service import discover
from consumers.wallets import Wallets
from tests.consumers.streams import MAIN, Stream, gather, until
from tests.e2e.harness import Process, eventually, fetch
from tests.servers import RedisServer


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.refused._RETRY_AFTER", 0.05)


def listed(client: redis.Redis, *streams: Stream) -> None:
    for stream in streams:
        catalog = MAIN.catalog() if stream.key.startswith("md:") else MAIN.accounts_catalog()
        client.hset(catalog, stream.key, "{}")


@pytest.mark.parametrize("kind", ["reader", "group"])
@pytest.mark.parametrize("when", ["before", "while reading"])
async def test_a_stream_that_becomes_a_string_stops_only_itself(any_server: RedisServer, kind: str, when: str) -> None:
    with any_server.client() as client:
        good, bad = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        start = {good.key: Where.START, bad.key: Where.START}
        if when == "before":
            client.set(bad.key, "a string")
        made: Reader | GroupReader = (
            Reader(any_server.url, start, block=0.05)
            if kind == "reader"
            else GroupReader(any_server.url, start, group="g", consumer="c", block=0.05)
        )
        async with made as reader:
            if when != "before":
                bad.trade()
                assert [item.seq for item in await gather(reader, 1)] == [1]
                client.delete(bad.key)
                client.set(bad.key, "a string")
            good.trade()
            items = await gather(reader, 2)
            assert {type(item) for item in items} == {Entry, Unreadable}
            [unreadable] = [item for item in items if isinstance(item, Unreadable)]
            assert unreadable.key == bad.key
            assert unreadable.error.startswith("WRONGTYPE")
            for _ in range(3):
                good.trade()
                assert [item.key for item in await gather(reader, 1)] == [good.key]
            client.delete(bad.key)
            bad.trade()
            entries: list[Entry] = []
            while not entries:  # a group that was there before says that it had gone
                entries = [item for item in await gather(reader, 1) if isinstance(item, Entry)]
            assert [(item.key, item.seq) for item in entries] == [(bad.key, bad.seq)]


async def test_a_reader_of_nothing_but_a_string_waits_for_a_stream(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        client.set(stream.key, "a string")
        async with Reader(redis_server.url, {stream.key: Where.START}, block=0.05) as reader:
            assert isinstance((await gather(reader, 1))[0], Unreadable)
            client.delete(stream.key)
            stream.trade()
            assert [item.seq for item in await gather(reader, 1)] == [1]


async def test_books_go_on_beside_a_hash_and_a_stream_that_are_none(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        books = {pair: Stream(client, Channel.BOOK, pair) for pair in ("BTC-EUR", "ETH-EUR", "LTC-EUR")}
        books["BTC-EUR"].snapshot("1:1", "2:1")
        books["LTC-EUR"].snapshot("5:1", "6:1")
        client.set(books["ETH-EUR"].key, "a string")
        client.set(MAIN.snapshot("limitlex", "LTC-EUR"), "a string")
        listed(client, *books.values())
        async with Reader(redis_server.url, block=0.05) as reader:
            kept = Books(reader, Keys())
            tasks = [
                asyncio.create_task(kept.follow(), name="follow"),
                asyncio.create_task(discover(reader.redis, Keys(), kept.found, 0.05), name="discover"),
            ]
            name = ("limitlex", "BTC-EUR")
            await until(lambda: len(kept.keepers) == 3 and kept.keepers[name].valid)
            await until(lambda: kept.keepers["limitlex", "LTC-EUR"].valid)
            await until(lambda: "WRONGTYPE" in kept.keepers["limitlex", "ETH-EUR"].reason)
            await kept.keep_hashes_once()
            assert client.hget(MAIN.snapshot(*name), "bids") == "1:1"
            assert MAIN.snapshot("limitlex", "LTC-EUR") in kept.trouble
            client.delete(books["ETH-EUR"].key, MAIN.snapshot("limitlex", "LTC-EUR"))
            books["ETH-EUR"].snapshot("3:1", "4:1")
            await until(lambda: kept.keepers["limitlex", "ETH-EUR"].valid)
            books["LTC-EUR"].delta("5:2")
            await until(lambda: kept.keepers["limitlex", "LTC-EUR"].top()[0] == [("5", "2")])
            await kept.keep_hashes_once()
            assert client.hget(MAIN.snapshot("limitlex", "LTC-EUR"), "bids") == "5:2"
            assert kept.trouble == ""
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()


async def test_what_a_book_does_not_know(redis_server: RedisServer) -> None:
    """A type of a newer version leaves it as it is; a control event of one does not, as no control entry does."""
    with redis_server.client() as client:
        stream = Stream(client, Channel.BOOK)
        stream.snapshot("1:1", "2:1")
        async with Reader(redis_server.url, block=0.05) as reader:
            books = Books(reader, Keys(), ["limitlex:BTC-EUR"])
            await books.start()
            following = asyncio.create_task(books.follow(), name="follow")
            keeper = books.keepers["limitlex", "BTC-EUR"]
            stream.add("imbalance", value="0.7")
            stream.delta(bids="1:5")
            await until(lambda: keeper.id == stream.id(3))
            assert (keeper.valid, keeper.top()[0]) == (True, [("1", "5")])
            stream.control("auction")
            await until(lambda: not keeper.valid)
            assert "auction" in keeper.reason
            stream.snapshot("1:1", "2:1")
            await until(lambda: keeper.valid)
            following.cancel()


async def test_wallets_go_on_beside_one_whose_hash_is_spoilt(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        accounts = {name: Stream(client, Channel.ORDERS, name) for name in ("a", "b", "c", "d")}
        for name, stream in accounts.items():
            order = {"order_id": "1", "client_id": "", "pair": "", "kind": "limit", "side": "buy", "price": "1"}
            stream.add("order", **order, size="1", filled="0", status="open")
            stream.control("party", "a new event")
            stream.add("order", **{**order, "order_id": name}, size="1", filled="0", status="open")
        listed(client, *accounts.values())
        client.set(MAIN.wallet("limitlex", "a"), "a string")
        client.hset(
            MAIN.wallet("limitlex", "b"), mapping={"order:x": "no JSON", "order:y": "[1]", "gaps:orders": "many"}
        )
        client.hset(MAIN.wallet("limitlex", "c"), "id:orders", "no id")
        async with Reader(redis_server.url, block=0.05) as reader:
            wallets = Wallets(reader, Keys())
            tasks = [
                asyncio.create_task(wallets.follow(), name="follow"),
                asyncio.create_task(discover(reader.redis, Keys(), wallets.found, 0.05), name="discover"),
            ]
            await until(lambda: client.hget(MAIN.wallet("limitlex", "d"), "id:orders") == accounts["d"].id(3))
            await until(lambda: client.hget(MAIN.wallet("limitlex", "b"), "id:orders") == accounts["b"].id(3))
            fields = client.hgetall(MAIN.wallet("limitlex", "b"))
            assert json.loads(fields["order:1"])["unconfirmed"] is True
            assert fields["state:orders"] == "party: a new event"
            assert fields["gaps:orders"] == "many"
            client.delete(MAIN.wallet("limitlex", "a"), MAIN.wallet("limitlex", "c"))
            for name in ("a", "c"):
                await until(lambda name=name: client.hget(MAIN.wallet("limitlex", name), "id:orders"))
            client.delete(MAIN.wallet("limitlex", "d"))
            client.set(MAIN.wallet("limitlex", "d"), "a string")
            accounts["d"].control("live")
            await until(lambda: wallets.refused)
            client.delete(MAIN.wallet("limitlex", "d"))
            accounts["b"].control("live")
            await until(lambda: client.hget(MAIN.wallet("limitlex", "d"), "state:orders") == "live")
            assert client.hexists(MAIN.wallet("limitlex", "d"), "order:d"), "whole"
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()


async def test_a_catalog_that_is_none_is_waited_for(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    async def found(key: str, _: object) -> None:
        seen.append(key)

    with redis_server.client() as client:
        stream = Stream(client, Channel.BOOK)
        client.set(MAIN.catalog(), "a string")
        async with Reader(redis_server.url) as reader:
            looking = asyncio.create_task(discover(reader.redis, Keys(), found, 0.02), name="discover")
            said: list[str] = []

            def heard() -> bool:
                said.append(capsys.readouterr().err)
                return "WRONGTYPE" in "".join(said)

            await until(heard)
            client.delete(MAIN.catalog())
            listed(client, stream)
            await until(lambda: stream.key in seen)
            looking.cancel()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()


@pytest.mark.parametrize(
    ("service", "asked", "nearest", "channel"),
    [
        ("books", "limitlex:BTC-EUT", "limitlex:BTC-EUR", Channel.BOOK),
        ("wallets", "mian", "main", Channel.ORDERS),
    ],
)
def test_a_service_says_what_is_not_there_and_takes_it_when_it_comes(
    request: pytest.FixtureRequest, service: str, asked: str, nearest: str, channel: Channel
) -> None:
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    tmp_path: Path = request.getfixturevalue("tmp_path")
    started: list[Process] = request.getfixturevalue("started")
    with redis_server.client() as client:
        other = Stream(client, channel, nearest.rpartition(":")[2])
        listed(client, other)
        arguments = (asked, "--redis", redis_server.url, "--http", "127.0.0.1:0")
        process = Process(tmp_path / "service.log", *arguments, module=f"consumers.{service}")
        started.append(process)
        process.wait_for(f"there is no {asked} yet, waiting for it; did you mean {nearest}?")
        stream = Stream(client, channel, asked.rpartition(":")[2])
        stream.control("live")
        listed(client, stream)
        process.wait_for(f"{asked} is there now")
        url = process.wait_for("metrics and health at").partition("metrics and health at ")[2].split()[0]
        eventually(lambda: [row["key"] for row in fetch(f"{url}/status")["streams"]] == [stream.key], "its stream")
        assert process.output.count("there is no") == 1
