"""Server-sent events: the same arrays, resumed by the browser itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.patience import PATIENCE
from tests.web.gateways import gateway, get, seqs


@contextlib.asynccontextmanager
async def events(at, *parameters: tuple[str, str], last: str = "") -> AsyncIterator[AsyncIterator[tuple[str, list]]]:
    """The events of a request: their ids and arrays."""
    headers = {"Last-Event-ID": last} if last else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None), read_bufsize=1 << 22) as session,
        session.get(f"{at.url}/events", params=list(parameters), headers=headers) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]

        async def each() -> AsyncIterator[tuple[str, list]]:
            last_id = ""
            async for line in answer.content:
                if line.startswith(b"id: "):
                    last_id = line[4:].decode().strip()
                elif line.startswith(b"data: "):
                    yield last_id, json.loads(line[6:])

        yield each()


async def collect(source: AsyncIterator[tuple[str, list]], wanted: dict[str, int]) -> tuple[str, list[dict]]:
    """Everything until each stream has come so far; and the last id."""
    items: list[dict] = []
    async with asyncio.timeout(PATIENCE):
        async for last, array in source:
            items += array
            if all(max(seqs(of(items, key)), default=0) >= seq for key, seq in wanted.items()):
                return last, items
    raise AssertionError(items)


def of(items: list[dict], key: str) -> list[dict]:
    return [item for item in items if item["stream"] == key]


@pytest.fixture
def streams(redis_server):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")


async def test_last_event_id_resumes_every_stream(redis_server, streams) -> None:
    one, other = streams
    one.trades(600)
    other.trades(5)
    keys = [("stream", one.key), ("stream", other.key)]
    with gateway(redis_server) as at:
        async with events(at, *keys, ("after", "start")) as source:
            last, items = await collect(source, {one.key: 600, other.key: 5})
        assert seqs(of(items, one.key)) == list(range(1, 601))
        assert last == f"{one.id(600)},{other.id(5)}"
        one.trades(300)
        other.trades(1)
        async with events(at, *keys, ("after", "start"), last=last) as source:
            one.trades(1)
            last, items = await collect(source, {one.key: 901, other.key: 6})
    assert seqs(of(items, one.key)) == list(range(601, 902))
    assert seqs(of(items, other.key)) == [6]
    with gateway(redis_server) as at:
        other.trades(1)
        async with events(at, *keys, last=last) as source:
            _, items = await collect(source, {other.key: 7})
    assert seqs(items) == [7]


async def test_each_id_fits_what_came_before_it(redis_server, streams) -> None:
    one, _ = streams
    one.trades(2_000)
    with gateway(redis_server) as at:
        async with events(at, ("stream", one.key), ("after", "start"), ("types", "trade")) as source:
            async with asyncio.timeout(PATIENCE):
                async for last, array in source:
                    entries = [item["id"] for item in array if "type" in item]
                    if entries:
                        assert last == entries[-1]
                    if last == one.id(2_000):
                        break


async def test_books_and_trades_of_one_request(redis_server, streams) -> None:
    one, _ = streams
    book = Stream(one.client, Channel.BOOK)
    book.snapshot("10:1 9:1", "11:1")
    with gateway(redis_server) as at:
        keys = [("stream", one.key), ("stream", book.key)]
        async with events(at, *keys, ("after", "snapshot"), ("depth", "1"), ("conflate", "true")) as source:
            one.trade()
            book.delta("9:5")
            book.delta("10:2")
            items = (await collect(source, {one.key: 1, book.key: 3}))[1]
    assert {item["bids"] for item in items if "bids" in item} <= {"10:1", "10:2"}


WRONG = [
    ("", "give the keys"),
    ("?stream=bridge:catalog", "not the key of a stream"),
    ("?stream=md:{a:B-C}:trades&x=1", "no parameter 'x'"),
    ("?stream=md:{a:B-C}:trades&after=x", "after is now"),
    ("?stream=md:{a:B-C}:book&depth=many", "depth is a whole number"),
    ("?stream=md:{a:B-C}:book&conflate=yes", "conflate is true or false"),
    ("?stream=md:{a:B-C}:trades&stream=md:{a:B-C}:trades", "already"),
]


async def test_wrong_parameters(redis_server) -> None:
    with gateway(redis_server) as at:
        for query, words in WRONG:
            status, body = await get(at, f"/events{query}")
            assert (status, words in body["error"]) == (400, True), (query, body)
        for last in ("1-1,2-2", "x", "1-1,", f"1-{2**64}"):
            status, body = await get(at, "/events?stream=md:{a:B-C}:trades", **{"Last-Event-ID": last})
            assert (status, "Last-Event-ID should have 1" in body["error"]) == (400, True)
