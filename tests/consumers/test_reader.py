"""The typed reader against real servers."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bridge.keys import Keys
from bridge.model import (
    PRIVATE_CHANNELS,
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Fill,
    Order,
    Position,
    Quote,
    Ticker,
    Trade,
)
from consumers.items import Entry, Hole, Reset, Trimmed, Undecodable, Unknown
from consumers.reader import Position as Where
from consumers.reader import Reader, Saved
from tests.consumers.streams import BASE, NS, Stream, gather
from tests.patience import PATIENCE
from tests.servers import RedisServer

SAMPLES = [
    (Channel.TRADES, "trade", {"id": "7", "side": "sell", "price": "7994.50", "size": "0.10"}, Trade),
    (Channel.BOOK, "delta", {"xseq": "9", "bids": "7994.50:1.134 7994.20:0", "asks": ""}, BookDelta),
    (Channel.BOOK, "snapshot", {"xseq": "9", "bids": "", "asks": "8000:1"}, BookSnapshot),
    (Channel.QUOTES, "quote", {"bid": "1", "bid_size": "", "ask": "2", "ask_size": "3"}, Quote),
    (
        Channel.TICKER,
        "ticker",
        dict(zip(Ticker.WIRE, ("86400", "1", "2", "0.5", "1.5", "0.5", "50", "9.0"), strict=True)),
        Ticker,
    ),
    (Channel.ORDERS, "order", {name: f"<{name}>" for name in Order.WIRE}, Order),
    (Channel.FILLS, "fill", {name: f"<{name}>" for name in Fill.WIRE}, Fill),
    (Channel.BALANCES, "balance", {"currency": "EUR", "available": "1.00", "reserved": "0"}, Balance),
    (Channel.POSITIONS, "position", {name: f"<{name}>" for name in Position.WIRE}, Position),
    (Channel.TRADES, "control", {"event": "gap", "reason": "sequence", "count": "3"}, Control),
]


@pytest.mark.parametrize(("channel", "kind", "fields", "struct"), SAMPLES, ids=[sample[1] for sample in SAMPLES])
async def test_every_type_comes_back_as_its_struct(any_server: RedisServer, channel, kind, fields, struct) -> None:
    with any_server.client() as client:
        stream = Stream(client, channel, "main/sub" if channel in PRIVATE_CHANNELS else "BTC-EUR")
        stream.add(kind, **fields)
        stream.add(kind, **fields, contracts="12")
        async with Reader(any_server.url, {stream.key: Where.START}) as reader:
            known, further = await gather(reader, 2)
    assert type(known.event) is struct
    assert (known.id, known.ms, known.seq) == (f"{BASE + 1}-1", BASE + 1, 1)
    assert known.key == stream.key
    assert known.stream.channel is channel
    assert known.event.subject == known.stream.subject
    assert (known.event.ts, known.event.recv) == (None, (BASE + 1) * NS)
    assert type(further.event) is struct
    for event in (known.event, further.event):
        for name, text in fields.items():
            value = getattr(event, name)
            if name in ("bids", "asks"):
                value = " ".join(f"{price}:{size}" for price, size in value)
            assert str(value) == text
    if struct is Control:
        assert known.event == Control("BTC-EUR", None, (BASE + 1) * NS, channel, ControlEvent.GAP, "sequence", 3)


async def test_entries_in_another_field_order_and_with_a_time_are_read(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        fields = {
            "size": "1",
            "ts": "5",
            "type": "trade",
            "new": "x",
            "recv": "6",
            "price": "2",
            "side": "buy",
            "id": "",
        }
        client.xadd(stream.key, fields, id="9-1")
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            (item,) = await gather(reader, 1)
    assert item.event == Trade("BTC-EUR", 5, 6, "", "buy", "2", "1")


BROKEN = [
    ({"type": "trade", "ts": "", "recv": "1", "id": "1", "side": "buy", "price": "1"}, "no field 'size'"),
    ({"what": "ever"}, "no field 'type'"),
    ({"type": "trade", "ts": "", "recv": "soon", "id": "1", "side": "buy", "price": "1", "size": "1"}, "soon"),
    (
        {"type": "quote", "ts": "", "recv": "1", "bid": "1", "bid_size": "", "ask": "2", "ask_size": ""},
        "does not belong",
    ),
    ({"type": "control", "ts": "", "recv": "1", "event": "gap", "reason": "", "count": "some"}, "some"),
]


@pytest.mark.parametrize(("fields", "error"), BROKEN)
async def test_an_entry_that_does_not_decode_is_an_item_and_stops_nothing(redis_server, fields, error) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trade()
        client.xadd(stream.key, fields, id=stream.id(2))
        stream.trade(3)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            before, broken, after = await gather(reader, 3)
    assert isinstance(before, Entry)
    assert isinstance(after, Entry)
    assert isinstance(broken, Undecodable)
    assert (broken.id, broken.seq, broken.fields) == (stream.id(2), 2, fields)
    assert error in broken.error


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"type": "auction", "ts": "", "recv": "1"}, "unknown type 'auction'"),
        ({"type": "control", "ts": "", "recv": "1", "event": "party", "reason": "", "count": ""}, "event 'party'"),
    ],
)
async def test_an_entry_of_a_newer_version_is_an_item_of_its_own_and_nothing_is_missing(
    redis_server, fields, error
) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trade()
        client.xadd(stream.key, fields, id=stream.id(2))
        stream.trade(3)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            before, unknown, after = await gather(reader, 3)
            assert reader.rows()[0].missing == {}
    assert (before.seq, after.seq) == (1, 3)
    assert isinstance(unknown, Unknown)
    assert (unknown.id, unknown.seq, unknown.fields) == (stream.id(2), 2, fields)
    assert error in unknown.error
    assert unknown.is_control == (fields["type"] == "control")


async def test_bytes_that_are_no_text_and_broken_levels_stop_nothing(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.BOOK)
        stream.delta(bids="7994.50")
        stream.delta(bids="1:2:3")
        client.xadd(stream.key, {b"type": b"\xff\xfe"}, id=stream.id(3))
        stream.delta(bids="1:2", seq=4)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            items = await gather(reader, 4)
    assert [type(item) for item in items] == [Undecodable, Undecodable, Unknown, Entry]


async def test_a_hole_stands_before_the_entry_behind_it(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        for seq in (1, 2, 5, 6):
            stream.trade(seq)
        async with Reader(redis_server.url, {stream.key: Where.START}, count=2) as reader:
            items = await gather(reader, 5)
            stream.trade(9)
            later = await gather(reader, 2)
    hole = items[2]
    assert [getattr(item, "seq", None) for item in items] == [1, 2, None, 5, 6]
    assert isinstance(hole, Hole)
    assert (hole.key, hole.id, hole.expected, hole.found, hole.count) == (stream.key, stream.id(5), 3, 5, 2)
    assert isinstance(later[0], Hole)
    assert (later[0].expected, later[0].found, later[1].seq) == (7, 9, 9)


async def test_a_stream_made_anew_is_a_reset(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(3)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            await gather(reader, 3)
            client.delete(stream.key)
            client.xadd(
                stream.key,
                {"type": "control", "ts": "", "recv": "1", "event": "live", "reason": "", "count": ""},
                id=f"{BASE + 50}-1",
            )
            reset, entry = await gather(reader, 2)
    assert reset == Reset(stream.key, entry.stream, stream.id(3), f"{BASE + 50}-1")
    assert entry.seq == 1


async def test_a_trimmed_cursor_is_told_with_its_count(any_server: RedisServer) -> None:
    with any_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(10)
        async with Reader(any_server.url, {stream.key: stream.id(3)}) as reader:
            assert [item.seq for item in await gather(reader, 7)] == [4, 5, 6, 7, 8, 9, 10]
            stream.trades(5)
            client.xtrim(stream.key, maxlen=2, approximate=False)
            trimmed, *rest = await gather(reader, 3)
        assert trimmed == Trimmed(stream.key, rest[0].stream, stream.id(10), stream.id(14), 3)
        assert [item.seq for item in rest] == [14, 15]
        async with Reader(any_server.url, {stream.key: stream.id(3)}) as reader:
            trimmed, *_ = await gather(reader, 3)
    assert trimmed == Trimmed(stream.key, rest[0].stream, stream.id(3), stream.id(14), 10)


async def test_now_is_settled_on_entering_so_nothing_is_missed_after(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        young = Stream(client, Channel.QUOTES)
        stream.trades(3)
        async with Reader(redis_server.url, {stream.key: Where.NOW, young.key: Where.NOW}) as reader:
            stream.trade()
            young.add("quote", bid="1", bid_size="", ask="2", ask_size="")
            items = await gather(reader, 2)
    assert {(item.key, item.seq) for item in items} == {(stream.key, 4), (young.key, 1)}


async def test_a_time_starts_at_that_time_without_claiming_a_hole(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(5)
        async with Reader(redis_server.url, {stream.key: str(BASE + 3)}) as reader:
            items = await gather(reader, 3)
    assert [item.seq for item in items] == [3, 4, 5]


async def test_saved_cursors_go_on_behind_what_was_handed_out(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        keys = Keys("test")
        stream = Stream(client, Channel.TRADES, keys=keys)
        stream.trades(10)
        start = {stream.key: Saved("me", Where.START)}
        async with Reader(redis_server.url, start, namespace="test") as reader:
            async with contextlib.aclosing(reader.__aiter__()) as items:
                async for item in items:
                    if item.seq == 4:
                        break
            await reader.save("me")
        assert client.hgetall("test:bridge:cursor:me") == {stream.key: stream.id(4)}
        async with Reader(redis_server.url, start, namespace="test") as reader:
            assert [item.seq for item in await gather(reader, 6)] == [5, 6, 7, 8, 9, 10]
            assert reader.cursors == {stream.key: stream.id(10)}


async def test_a_saved_cursor_of_an_empty_stream_misses_nothing_of_it(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        async with Reader(redis_server.url, {stream.key: Where.NOW}) as reader:
            await reader.save("me")
        stream.trades(4)
        client.xtrim(stream.key, maxlen=2, approximate=False)
        async with Reader(redis_server.url, {stream.key: Saved("me", Where.NOW)}) as reader:
            trimmed, *rest = await gather(reader, 3)
    assert isinstance(trimmed, Trimmed)
    assert (trimmed.count, [item.seq for item in rest]) == (2, [3, 4])


@pytest.mark.parametrize("odd", ["garbage", "1-2-3", "-5", "\u0661-1", f"{2**64}-1", f"1-{2**64}"])
async def test_a_saved_cursor_that_makes_no_sense_concerns_its_stream_alone(
    redis_server: RedisServer, odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.client() as client:
        spoilt, whole = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        spoilt.trades(2)
        whole.trades(2)
        client.hset("bridge:cursor:me", mapping={spoilt.key: odd, whole.key: whole.id(1)})
        start = dict.fromkeys((spoilt.key, whole.key), Saved("me", Where.START))
        async with Reader(redis_server.url, start) as reader:
            read = {(item.key, item.seq) for item in await gather(reader, 3)}
    assert read == {(spoilt.key, 1), (spoilt.key, 2), (whole.key, 2)}
    assert f"{spoilt.key}: the position saved as me is not an entry ID" in caplog.text


async def test_streams_come_and_go_while_reading(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        first, second = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        async with Reader(redis_server.url, block=0.05) as reader:
            waiting = asyncio.create_task(gather(reader, 1), name="reading")
            await asyncio.sleep(0)
            await reader.add(first.key, Where.NOW)
            first.trade()
            assert [item.key for item in await waiting] == [first.key]
            waiting = asyncio.create_task(gather(reader, 1), name="reading")
            second.trade()
            await reader.add(second.key, Where.START)
            assert [item.key for item in await waiting] == [second.key]
            reader.remove(first.key)
            first.trade()
            second.trade()
            assert [item.key for item in await gather(reader, 1)] == [second.key]
            assert reader.streams == [second.key]


async def test_keys_and_starts_that_make_no_sense_are_refused(redis_server: RedisServer) -> None:
    trades = Keys().stream("limitlex", "BTC-EUR", Channel.TRADES)
    with pytest.raises(ValueError, match="not a data stream"):
        Reader(redis_server.url, {"bridge:catalog": Where.NOW})
    with pytest.raises(ValueError, match="only a stream of books"):
        await Reader(redis_server.url, {trades: Where.SNAPSHOT}).__aenter__()
    with pytest.raises(ValueError, match="neither an entry ID"):
        await Reader(redis_server.url, {trades: "yesterday"}).__aenter__()


async def test_a_cancellation_gets_through_even_under_load(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(200)
        for _ in range(100):
            async with Reader(redis_server.url, {stream.key: Where.START}, count=1) as reader:
                reading = asyncio.create_task(gather(reader, 1_000_000), name="reading")
                while not reader.cursors[stream.key].endswith("-3"):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading], timeout=PATIENCE)
                assert reading.cancelled()


async def test_what_one_loop_leaves_the_next_one_gets(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(5)
        seen = []
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            for _ in range(2):
                async with contextlib.aclosing(aiter(reader)) as items:
                    seen.append((await anext(items)).seq)
            assert reader.cursors == {stream.key: stream.id(2)}
            seen += [item.seq for item in await gather(reader, 3)]
    assert seen == [1, 2, 3, 4, 5]


async def test_a_stream_that_is_removed_and_added_again_comes_from_its_new_start(redis_server: RedisServer) -> None:
    """What was read before and not returned does not come after all."""
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(5)
        async with Reader(redis_server.url, {stream.key: Where.START}) as reader:
            assert (await anext(aiter(reader))).seq == 1
            reader.remove(stream.key)
            await reader.add(stream.key, stream.id(3))
            assert [(await anext(aiter(reader))).seq for _ in range(2)] == [4, 5]
            assert reader.cursors == {stream.key: stream.id(5)}
