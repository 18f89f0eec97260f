"""The reader without asyncio."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from bridge.errors import RedisUnavailableError
from bridge.model import Channel
from consumers.items import Entry, Hole
from consumers.keeper import BookKeeper
from consumers.positions import Position, Saved
from consumers.sync import SyncReader
from tests.consumers.streams import Stream
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


def seqs(items) -> list[int]:
    return [item.seq for item in items]


def take(reader, count: int) -> list:
    """The next items, one by one."""
    return [item for _, item in zip(range(count), reader, strict=False)]


def test_items_come_one_by_one_and_all_at_once(redis_server, trades) -> None:
    trades.trades(3)
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        assert seqs(take(reader, 2)) == [1, 2]
        assert reader.cursors == {trades.key: trades.id(2)}
        assert seqs(reader.read()) == [3]
        trades.trades(2)
        assert seqs(reader.read(timeout=PATIENCE)) == [4, 5]
        assert reader.cursors == {trades.key: trades.id(5)}
        assert reader.streams == [trades.key]
        assert reader.trouble == ""


def test_a_read_without_anything_new_ends_with_its_timeout(redis_server, trades) -> None:
    with SyncReader(redis_server.url, {trades.key: Position.NOW}) as reader:
        assert reader.read(timeout=0.05) == []
        trades.trades(1)
        assert seqs(reader.read(timeout=PATIENCE)) == [1]


def test_a_read_without_a_timeout_gets_what_is_there(redis_server, trades) -> None:
    other = Stream(trades.client, Channel.TRADES, "ETH-EUR")
    with SyncReader(redis_server.url, {trades.key: Position.NOW, other.key: Position.NOW}, block=PATIENCE) as reader:
        assert reader.read(timeout=0) == []
        trades.trades(2)
        other.trades(1)
        assert [(item.key, item.seq) for item in reader.read(timeout=0)] == [
            (trades.key, 1),
            (trades.key, 2),
            (other.key, 1),
        ]
        assert reader.read(timeout=0) == []
        trades.trade(5)
        assert [type(item) for item in reader.read(timeout=0)] == [Hole, Entry]


def test_short_timeouts_get_what_comes_after_them(redis_server, trades) -> None:
    with SyncReader(redis_server.url, {trades.key: Position.START}, block=PATIENCE) as reader:
        for timeout in (0.001, 0.001, 0.001, 0):
            assert reader.read(timeout=timeout) == []
        trades.trades(3)
        assert seqs(take(reader, 3)) == [1, 2, 3]


def test_a_read_without_a_timeout_does_not_wait_for_redis(own_server: RedisServer) -> None:
    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        with SyncReader(own_server.url, {stream.key: Position.START}, block=0.01) as reader:
            own_server.stop()
            assert reader.read(timeout=0) == []
            own_server.start()
            stream.trades(1)
            assert seqs(reader.read(timeout=PATIENCE)) == [1]


def test_a_hole_is_an_item(redis_server, trades) -> None:
    trades.trade(1)
    trades.trade(3)
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        first, hole, last = take(reader, 3)
    assert (type(first), type(hole), type(last)) == (Entry, Hole, Entry)


def test_the_position_that_is_saved_is_that_of_the_caller(redis_server, trades) -> None:
    """Not that of what was read from Redis and not returned yet."""
    trades.trades(3)
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        take(reader, 2)
        reader.save("mine")
    with SyncReader(redis_server.url, {trades.key: Saved("mine")}) as reader:
        assert reader.cursors == {trades.key: trades.id(2)}
        assert seqs(reader.read()) == [3]


def test_streams_are_added_and_removed(redis_server, trades) -> None:
    other = Stream(trades.client, Channel.TRADES, "ETH-EUR")
    trades.trades(2)
    other.trades(2)
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        assert seqs(take(reader, 1)) == [1]
        reader.add(other.key, other.id(1))
        assert reader.cursors == {trades.key: trades.id(1), other.key: other.id(1)}
        reader.remove(trades.key)
        assert [(item.key, item.seq) for item in take(reader, 1)] == [(other.key, 2)]
        assert reader.cursors == {other.key: other.id(2)}
        reader.add(trades.key, trades.id(1))
        assert [(item.key, item.seq) for item in take(reader, 1)] == [(trades.key, 2)]


def test_patterns(redis_server, trades) -> None:
    trades.client.hset("bridge:catalog", trades.key, "{}")
    trades.trades(1)
    with SyncReader(redis_server.url, patterns={"limitlex:* trades": Position.START}) as reader:
        assert seqs(reader.read()) == [1]


def test_a_book(redis_server, trades) -> None:
    book = Stream(trades.client, Channel.BOOK)
    book.snapshot("10:1 9:1", "11:1")
    book.delta("10:0")
    with SyncReader(redis_server.url, {book.key: Position.SNAPSHOT}) as reader:
        items = take(reader, 2)
    keeper = BookKeeper(items[0].stream)
    for item in items:
        keeper.take(item)
    assert keeper.top() == ([("9", "1")], [("11", "1")])


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process in the background may have been started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_an_interrupt_ends_the_wait_and_loses_nothing(redis_server, trades, interruptible) -> None:
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        for _ in range(20):
            interrupted = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                interrupted.start()
                reader.read()
                pytest.fail("there was nothing to read")
            interrupted.join()
        trades.trades(2)
        assert seqs(take(reader, 2)) == [1, 2]


async def test_it_works_where_a_loop_is_running(redis_server, trades) -> None:
    """As in a notebook."""
    assert asyncio.get_running_loop()
    trades.trades(1)
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        assert seqs(reader.read()) == [1]


def test_mistakes_are_reported_at_once(redis_server, trades) -> None:
    with pytest.raises(ValueError, match="'soon' is not a data stream"):
        SyncReader(redis_server.url, {"soon": Position.START})
    with (
        pytest.raises(ValueError, match="only a stream of books has snapshots"),
        SyncReader(redis_server.url, {trades.key: Position.SNAPSHOT}),
    ):
        pytest.fail("unreachable")
    with (
        pytest.raises(RedisUnavailableError, match="refused"),
        SyncReader(f"redis://127.0.0.1:{free_port()}/0", {trades.key: Position.NOW}),
    ):
        pytest.fail("unreachable")
    with pytest.raises(ValueError, match="not open"):
        SyncReader(redis_server.url, {trades.key: Position.NOW}).read()
    assert not [thread for thread in threading.enumerate() if thread.name == "reader"]


def test_it_can_be_closed_twice(redis_server, trades) -> None:
    with SyncReader(redis_server.url, {trades.key: Position.START}) as reader:
        reader.close()
        with pytest.raises(ValueError, match="not open"):
            reader.read()
    reader.close()


def test_it_continues_when_redis_is_back(own_server: RedisServer) -> None:
    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(1)
        with SyncReader(own_server.url, {stream.key: Position.START}) as reader:
            assert seqs(reader.read()) == [1]
            own_server.restart()
            stream.trades(1)
            assert seqs(reader.read()) == [2]
