"""Streams over the WebSocket: everything once and in order, whatever is restarted, trimmed or deleted."""

from __future__ import annotations

import asyncio
import signal

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.e2e.harness import eventually
from tests.patience import PATIENCE
from tests.web.gateways import browser, gateway, get, seqs


@pytest.fixture
def stream(redis_server):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


async def test_an_entry_comes_with_all_its_fields_as_text(redis_server, stream) -> None:
    with gateway(redis_server) as at:
        async with browser(at) as one:
            assert (await one.subscribe(stream.key))["id"] == "0-0"
            stream.trade()
            stream.control("gap", "x", "3")
            stream.add("trade", id="t", side="buy", price="1", size="2", contracts="7")
            stream.add("nonsense", stream="s", notice="n")
            trade, control, extended, unknown = await one.upto(stream.id(4))
    assert trade == {
        "stream": stream.key,
        "id": stream.id(1),
        "type": "trade",
        "ts": "",
        "recv": "1786309548001000000",
        "event_id": "t1",
        "side": "buy",
        "price": "7994.50",
        "size": "0.10",
    }
    assert (control["event"], control["reason"], control["count"]) == ("gap", "x", "3")
    assert (extended["contracts"], extended["event_id"]) == ("7", "t")
    assert (unknown["type"], unknown["event_stream"], unknown["event_notice"]) == ("nonsense", "s", "n")


async def test_where_a_subscription_begins(redis_server, stream) -> None:
    stream.trades(3)
    with gateway(redis_server) as at:
        for after, begins, expected in (
            ("now", stream.id(3), [4]),
            ("start", "0-0", [1, 2, 3, 4, 5]),
            (stream.id(2), stream.id(2), [3, 4, 5, 6]),
        ):
            async with browser(at) as one:
                assert (await one.subscribe(stream.key, after=after))["id"] == begins
                stream.trade()
                items = await one.upto(stream.id(stream.seq))
            assert seqs(items) == expected
            assert all("type" in item for item in items)


async def test_old_entries_are_joined_to_new_ones_without_a_hole_or_a_duplicate(redis_server, stream) -> None:
    stream.trades(3_000)
    with gateway(redis_server) as at:
        async with browser(at) as one, browser(at) as other:
            await other.subscribe(stream.key)

            def write() -> None:
                for _ in range(300):
                    stream.trades(10)

            writing = asyncio.get_running_loop().run_in_executor(None, write)
            await one.subscribe(stream.key, after="start")
            await one.upto(stream.id(3_500))
            await one.send(op="unsubscribe", stream=stream.key)
            await one.notice("unsubscribed")
            seen = [item for item in one.items if "type" in item]
            one.items.clear()
            await one.subscribe(stream.key, after=seen[-1]["id"])
            await writing
            seen += await one.upto(stream.id(6_000))
            assert seqs(seen) == list(range(1, 6_001))
            assert seqs(await other.upto(stream.id(6_000)))[-1] == 6_000


async def test_a_client_goes_on_after_a_restart_of_the_gateway(redis_server, stream) -> None:
    stream.trades(10)
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(stream.key, after="start")
            seen = await one.upto(stream.id(10))
            at.process.send_signal(signal.SIGTERM)
            assert await one.close_code() == 1001
            assert at.process.wait(PATIENCE) == 0
    stream.trades(1_000)
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(stream.key, after=seen[-1]["id"])
            stream.trades(10)
            seen += await one.upto(stream.id(1_020))
    assert seqs(seen) == list(range(1, 1_021))


async def test_each_stream_is_read_once_however_many_clients_there_are(redis_server) -> None:
    def readers() -> int:
        return len([row for row in client.client_list() if row["cmd"] == "xread"])

    with redis_server.client() as client:
        streams = [Stream(client, Channel.TRADES, f"A{number}-EUR") for number in range(5)]
        with gateway(redis_server) as at:
            async with browser(at) as first:
                for one in streams:
                    await first.subscribe(one.key)
                eventually(lambda: readers() == 1, "the reader")
                others = []
                for _ in range(20):
                    other = browser(at)
                    others.append((other, await other.__aenter__()))
                for _, other in others:
                    for one in streams:
                        await other.subscribe(one.key)
                for one in streams:
                    one.trades(3)
                for _, other in others:
                    for one in streams:
                        assert seqs(await other.upto(one.id(3), one.key)) == [1, 2, 3]
                assert readers() == 1
                assert await metric(at, "tickbridge_gateway_clients") == 21
                assert await metric(at, "tickbridge_gateway_feeds") == 5
                assert await metric(at, "tickbridge_gateway_subscriptions") == 105
                for manager, _ in others:
                    await manager.__aexit__(None, None, None)
            async with asyncio.timeout(PATIENCE):  # a stream is read for ten seconds more
                while await metric(at, "tickbridge_gateway_feeds"):
                    await asyncio.sleep(0.1)
            assert await metric(at, "tickbridge_gateway_clients") == 0
            async with browser(at) as again:
                await again.subscribe(streams[0].key, after=streams[0].id(2))
                assert seqs(await again.upto(streams[0].id(3))) == [3]


async def metric(at, name: str) -> float:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(f"{at.url}/metrics") as answer:
        text = await answer.text()
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_types_are_filtered(redis_server, stream) -> None:
    stream.trades(2)
    stream.control("gap")
    with gateway(redis_server) as at:
        async with browser(at) as one, browser(at) as other:
            await one.subscribe(stream.key, after="start", types=["control"])
            await other.subscribe(stream.key, types=["control"])
            stream.trades(300)
            stream.control("live")
            assert seqs(await one.upto(stream.id(304))) == [3, 304]
            assert seqs(await other.upto(stream.id(304))) == [304]


async def test_what_is_missing_is_told(redis_server, stream) -> None:
    stream.trades(2)
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(stream.key)
            stream.trade()
            await one.upto(stream.id(3))
            stream.trade(6)
            items = await one.upto(stream.id(6))
            assert items[-2] == {"stream": stream.key, "notice": "hole", "count": "2", "before": stream.id(6)}
        async with browser(at) as one:  # the same from Redis
            await one.subscribe(stream.key, after="start")
            items = await one.upto(stream.id(6))
            assert items[-2] == {"stream": stream.key, "notice": "hole", "count": "2", "before": stream.id(6)}
        stream.client.xtrim(stream.key, minid=stream.id(6), approximate=False)
        async with browser(at) as one:
            await one.subscribe(stream.key, after=stream.id(2))
            stream.trade()
            items = await one.upto(stream.id(7))
            assert seqs(items)[-2:] == [6, 7]
            assert sum(int(item["count"]) for item in items if item.get("notice")) == 3 - (3 in seqs(items))
    with gateway(redis_server) as at:  # one that has nothing of it in memory
        async with browser(at) as one:
            await one.subscribe(stream.key, after=stream.id(2))
            items = await one.upto(stream.id(7))
            assert items[0] == {"stream": stream.key, "notice": "trimmed", "count": "3", "before": stream.id(6)}
            assert seqs(items) == [6, 7]
            await one.send(op="unsubscribe", stream=stream.key)
            await one.notice("unsubscribed")
            stream.client.xtrim(stream.key, maxlen=0, approximate=False)
            one.items.clear()
        async with browser(at) as one:
            await one.subscribe(stream.key, after="9786309548003-99")
            assert (await one.notice("reset"))["before"] == ""


async def test_a_stream_that_is_created_again_is_told(redis_server, stream) -> None:
    stream.trades(5)
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(stream.key)
            stream.client.delete(stream.key)
            stream.client.xadd(stream.key, {"type": "trade", "ts": "", "recv": "1"}, id="1786309549000-1")
            assert (await one.notice("reset"))["before"] == "1786309549000-1"
            assert seqs(await one.upto("1786309549000-1")) == [1]


async def test_a_stream_that_does_not_exist_yet_is_waited_for(redis_server, stream) -> None:
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await one.subscribe(stream.key, after="start")
            stream.trades(2)
            assert seqs(await one.upto(stream.id(2))) == [1, 2]


async def test_a_namespace_and_an_exchange_limit_what_is_served(redis_server) -> None:
    keys = Keys("prod")
    with redis_server.client() as client:
        inside, outside = Stream(client, Channel.TRADES, keys=keys), Stream(client, Channel.TRADES)
        with gateway(redis_server, "--namespace", "prod") as at:
            async with browser(at) as one:
                await one.subscribe(inside.key)
                inside.trades(1)
                assert seqs(await one.upto(inside.id(1))) == [1]
                assert (await one.subscribe(outside.key))["notice"] == "error"
        with gateway(redis_server, "--exchange", "other") as at:
            async with browser(at) as one:
                assert (await one.subscribe(outside.key))["notice"] == "error"
            assert (await get(at, f"/api/entries?key={outside.key}"))[0] == 404
