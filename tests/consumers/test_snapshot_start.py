"""Late join: from the hash, or by walking back to the newest snapshot entry."""

from __future__ import annotations

import pytest

from bridge.keys import Keys
from bridge.model import BookDelta, BookSnapshot, Channel, Control
from consumers.items import Entry, Hole, Trimmed
from consumers.reader import Position, Reader
from tests.consumers.streams import BASE, NS, Stream, gather
from tests.servers import RedisServer

HASH = Keys().snapshot("limitlex", "BTC-EUR")


def save_hash(stream: Stream, seq: int, **fields: str) -> None:
    stored = {"id": stream.id(seq), "xseq": "77", "recv": str(BASE * NS), "bids": "10:1 9:2", "asks": "11:3"}
    stream.client.hset(HASH, mapping={**stored, **fields})


async def join(server: RedisServer, stream: Stream, count: int) -> list:
    async with Reader(server.url, {stream.key: Position.SNAPSHOT}) as reader:
        return await gather(reader, count)


@pytest.fixture
def book(any_server: RedisServer):
    with any_server.client() as client:
        yield Stream(client, Channel.BOOK)


async def test_the_hash_comes_first_then_what_follows_it(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("10:1", "11:1")
    for _ in range(3):
        book.delta(bids="9:1")
    save_hash(book, 3)
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        (first,) = await gather(reader, 1)
        (second,) = await gather(reader, 1)
    assert isinstance(first, Entry)
    assert (first.id, first.seq) == (book.id(3), 3)
    assert first.event == BookSnapshot("BTC-EUR", None, BASE * NS, "77", [("10", "1"), ("9", "2")], [("11", "3")])
    assert (second.seq, type(second.event)) == (4, BookDelta)


@pytest.mark.parametrize("left", [3, 2, 0], ids=["its entry is left", "the next entry is left", "nothing came after"])
async def test_a_hash_joined_to_a_trimmed_stream_is_used(any_server: RedisServer, book: Stream, left: int) -> None:
    book.snapshot("10:1", "11:1")
    for _ in range(4):
        book.delta(bids="9:1")
    save_hash(book, 3 if left else 5)
    book.client.xtrim(book.key, maxlen=left, approximate=False)
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        (first,) = await gather(reader, 1)
        book.delta(asks="12:1")
        rest = await gather(reader, 3 if left else 1)
    assert first.event.xseq == "77"
    assert [item.seq for item in rest] == ([4, 5, 6] if left else [6])


async def test_a_hash_that_the_stream_has_left_behind_is_not_used(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("10:1", "11:1")
    for _ in range(4):
        book.delta(bids="9:1")
    save_hash(book, 2)
    book.client.xtrim(book.key, maxlen=2, approximate=False)
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        book.snapshot("8:1", "9:1")
        (first,) = await gather(reader, 1)
    assert (first.seq, first.event.bids) == (6, [("8", "1")])


async def test_a_hash_of_an_earlier_or_later_stream_is_not_used(any_server: RedisServer, book: Stream) -> None:
    book.client.xadd(
        book.key,
        {"type": "snapshot", "ts": "", "recv": "1", "xseq": "", "bids": "1:1", "asks": ""},
        id=f"{BASE + 900}-4",
    )
    for seq in (3, 5000):
        save_hash(book, seq)
        (first,) = await join(any_server, book, 1)
        assert first.event.bids == [("1", "1")]


@pytest.mark.parametrize("broken", [{"bids": "10"}, {"id": "soon"}, {"recv": ""}])
async def test_a_broken_hash_is_not_used(any_server: RedisServer, book: Stream, broken: dict[str, str]) -> None:
    book.snapshot("10:1", "11:1")
    save_hash(book, 1, **broken)
    (first,) = await join(any_server, book, 1)
    assert first.event.xseq == ""


async def test_a_snapshot_entry_newer_than_the_hash_wins(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("10:1", "11:1")
    book.delta(bids="9:1")
    save_hash(book, 2)
    book.control("down", "cut")
    book.control("live")
    book.snapshot("20:1", "21:1", xseq="5")
    book.delta(bids="19:1")
    first, second = await join(any_server, book, 2)
    assert (first.seq, first.event.xseq, second.seq) == (5, "5", 6)


async def test_without_a_hash_the_reader_walks_back_over_many_pages(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("1:1", "2:1")
    book.snapshot("10:1", "11:1")
    for _ in range(1200):
        book.delta(bids="9:1")
    items = await join(any_server, book, 1201)
    assert [item.seq for item in items] == list(range(2, 1203))
    assert items[0].event.bids == [("10", "1")]


async def test_a_snapshot_with_the_smallest_seq_is_found(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("1:1", "2:1", xseq="first")
    (first,) = await join(any_server, book, 1)
    assert (first.seq, first.event.xseq) == (1, "first")


async def test_with_no_snapshot_at_all_the_reader_waits_for_the_next(any_server: RedisServer, book: Stream) -> None:
    book.control("live")
    book.delta(bids="9:1")
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        book.snapshot("10:1", "11:1")
        (first,) = await gather(reader, 1)
    assert (first.seq, type(first.event)) == (3, BookSnapshot)


async def test_trimming_between_the_hash_and_the_first_read_is_told(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("10:1", "11:1")
    save_hash(book, 1)
    book.control("live")
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        assert len(await gather(reader, 1)) == 1
        book.control("stop")
        book.client.xtrim(book.key, maxlen=1, approximate=False)
        trimmed, entry = await gather(reader, 2)
    assert isinstance(trimmed, Trimmed)
    assert trimmed.count == 1
    assert isinstance(entry.event, Control)


async def test_a_hole_behind_the_hash_is_told(any_server: RedisServer, book: Stream) -> None:
    book.snapshot("10:1", "11:1")
    save_hash(book, 1)
    book.delta(bids="9:1", seq=3)
    async with Reader(any_server.url, {book.key: Position.SNAPSHOT}) as reader:
        _, hole, entry = await gather(reader, 1) + await gather(reader, 2)
    assert isinstance(hole, Hole)
    assert (hole.expected, entry.seq) == (2, 3)
