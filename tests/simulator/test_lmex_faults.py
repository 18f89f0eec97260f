"""LMEX's faults, and those of every exchange as LMEX shows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.patience import PATIENCE
from tests.simulator.helpers import running, true_levels
from tests.simulator.lmex_helpers import Follower, running_lmex

BOOKS, MAIN = "/ws/oss/futures", "/ws/futures"
BTC = "update:BTC-PERP_0"


def seqs(messages: list[Any]) -> list[tuple[int, int]]:
    return [(message["data"]["prevSeqNum"], message["data"]["seqNum"]) for message in messages]


async def test_gap_leaves_out_deltas_and_the_chain_goes_on() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        follower = Follower("BTC-PERP").take(await wire.ask("subscribe", BTC, "snapshotL1:BTC-PERP"))
        await rig.fault("gap", pair="BTC-PERP", count=2)
        await rig.simulator.step(100)
        follower.take(await wire.drain())
        assert follower.gaps == 1
        assert rig.simulator.hub.done["gap"] == 2
        follower.take(await wire.ask("subscribe", BTC))
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-PERP"))


async def test_drop_of_the_snapshot_makes_deltas_come_before_it() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        await rig.fault("drop", type="snapshot")
        assert await wire.ask("subscribe", BTC) == [{"event": "subscribe", "channel": [BTC]}]
        await rig.simulator.step(20)
        assert {message["data"]["type"] for message in await wire.drain()} == {"delta"}


async def test_crossed_book_comes_with_an_unbroken_chain() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        follower = Follower("BTC-PERP").take(await wire.ask("subscribe", BTC))
        await rig.fault("crossed", pair="BTC-PERP")
        assert (await rig.look("state"))["faults_active"] == ["crossed"]
        await rig.simulator.step(5)
        follower.take(await wire.drain())
        levels = follower.levels()
        assert follower.gaps == 0
        assert levels["bids"][0][0] > levels["asks"][0][0]
        follower.take(await wire.ask("subscribe", BTC))
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-PERP"))
        assert (await rig.look("state"))["faults_active"] == []


@pytest.mark.parametrize("deltas", [False, True])
async def test_no_snapshot_after_the_ack(deltas: bool) -> None:
    async with running_lmex() as rig, rig.wire(BOOKS) as wire:
        await rig.fault("no_snapshot", pair="BTC-PERP", deltas=deltas)
        both = await wire.ask("subscribe", BTC, "update:ETH-PERP_0")
        assert sorted(both[-1]["channel"]) == [BTC, "update:ETH-PERP_0"]
        assert [message["topic"] for message in both[:-1]] == ["update:ETH-PERP_0"]
        await rig.simulator.step(100)
        kinds = {(message["topic"], message["data"]["type"]) for message in await wire.drain()}
        assert kinds == {("update:ETH-PERP_0", "delta")} | ({(BTC, "delta")} if deltas else set())
        await wire.ask("unsubscribe", BTC)
        follower = Follower("BTC-PERP").take(await wire.ask("subscribe", BTC))
        await rig.simulator.step(100)
        follower.take(await wire.drain())
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-PERP"))


async def test_no_snapshot_for_a_while() -> None:
    async with running_lmex() as rig, rig.wire(BOOKS) as wire:
        await rig.fault("no_snapshot", duration=20)
        for _ in range(3):
            assert len(await wire.ask("subscribe", BTC)) == 1
        rig.passes(21)
        assert (await rig.look("state"))["faults_active"] == []
        assert len(await wire.ask("subscribe", BTC)) == 2


async def test_buffer_full_says_so_and_closes() -> None:
    async with running_lmex() as rig, rig.wire(BOOKS) as struck, rig.wire(BOOKS) as spared, rig.wire(MAIN) as main:
        await struck.ask("subscribe", BTC)
        await spared.ask("subscribe", "update:ETH-PERP_0")
        await rig.fault("buffer_full", pair="BTC-PERP")
        error = await struck.recv()
        assert [row["error"]["code"] for row in error["errors"]] == [1007]
        await struck.ended()
        assert await spared.drain() == await main.drain() == []


async def test_block_answers_400_for_ten_minutes() -> None:
    async with running_lmex() as rig, rig.wire(MAIN) as before:
        await rig.fault("block")
        rig.passes(30)
        await before.drain()
        error = (await rig.refused(url=rig.urls.ws + MAIN)).response
        assert (error.status_code, "Retry-After" in error.headers) == (400, False)
        rig.passes(569)
        await rig.refused(url=rig.urls.ws + BOOKS)
        assert (await rig.look("state"))["faults_active"] == ["block"]
        rig.passes(2)
        async with rig.wire(MAIN):
            pass


async def test_block_for_as_long_as_asked() -> None:
    async with running_lmex() as rig:
        await rig.fault("block", duration=5)
        assert (await rig.refused(url=rig.urls.ws + MAIN)).response.status_code == 400
        rig.passes(6)
        async with rig.wire(MAIN):
            pass


async def test_maintenance_that_says_nothing() -> None:
    async with running_lmex() as rig, rig.wire(BOOKS) as before:
        await before.ask("subscribe", BTC)
        await rig.fault("maintenance")
        await rig.simulator.step(50)
        assert (await rig.get("/spot/api/v3.2/time"))[0] == 200
        async with connected(rig, BOOKS) as during:
            await during.send('{"op":"subscribe","args":["update:BTC-PERP_0"]}')
            await during.send("ping")
            await before.ws.send("ping")
            for _ in range(5):
                await rig.look("state")  # round trips in which an answer would have come
            for ws in (during, before.ws):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ws.recv(), 0.02)
            await rig.fault("clear")
            await during.send("ping")
            assert await asyncio.wait_for(during.recv(), PATIENCE) == "pong"
        async with rig.wire(BOOKS) as after:
            follower = Follower("BTC-PERP").take(await after.ask("subscribe", BTC))
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-PERP"))


def connected(rig: Any, path: str) -> Any:
    from websockets.asyncio.client import connect

    return connect(rig.urls.ws + path, ping_interval=None, close_timeout=0.2)


async def test_maintenance_that_refuses() -> None:
    async with running_lmex() as rig, rig.wire(MAIN) as before:
        await rig.fault("maintenance", mode="refuse", duration=30, code=1012)
        closed = await before.ended()
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1012
        assert (await rig.refused(url=rig.urls.ws + MAIN)).response.status_code == 503
        status, answer = await rig.get("/futures/api/v2.3/market_summary")
        assert (status, answer["status"]) == (503, 503)
        rig.passes(31)
        assert (await rig.get("/futures/api/v2.3/market_summary"))[0] == 200
        async with rig.wire(MAIN):
            pass


async def test_maintenance_of_another_exchange() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("maintenance", mode="refuse")
        await feed.ended()
        assert (await rig.refused("BTC-EUR")).response.status_code == 503
        assert (await rig.public("pairs"))[0] == 503


@pytest.mark.parametrize("name", ["gap", "crossed", "no_snapshot", "buffer_full"])
async def test_faults_of_numbered_books_are_refused_elsewhere(name: str) -> None:
    async with running() as rig:
        status, answer = await rig.tell("faults", fault=name)
        assert (status, "limitlex has no numbered books" in answer["error"]) == (400, True)


@pytest.mark.parametrize("body", [{"fault": "maintenance", "mode": "loud"}, {"fault": "gap", "type": "delta"}])
async def test_mistakes_in_settings(body: dict[str, Any]) -> None:
    async with running_lmex() as rig:
        assert (await rig.tell("faults", **body))[0] == 400


async def test_duplicates_and_freezes() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        await wire.ask("subscribe", BTC)
        await rig.fault("duplicate", type="delta")
        await rig.simulator.step(20)
        chain = seqs(await wire.drain())
        assert chain[0] == chain[1]
        assert len(set(chain)) == len(chain) - 1
        await rig.fault("freeze")
        await rig.simulator.step(20)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.drain(), 0.05)
        await rig.fault("clear")
        await rig.simulator.step(20)
        assert seqs(await wire.drain())[0][0] > chain[-1][1], "what a frozen socket wasn't sent is lost"


async def test_mute_leaves_the_pongs() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        await wire.ask("subscribe", BTC)
        await rig.fault("mute")
        await rig.simulator.step(20)
        assert await wire.drain() == []


async def test_cut_by_kind_of_socket() -> None:
    async with running_lmex() as rig, rig.wire(BOOKS) as public, rig.logged_in(MAIN, "fillsV2") as private:
        await rig.fault("cut", sockets="private")
        assert isinstance(await private.ended(), ConnectionClosed)
        assert await public.drain() == []


async def test_unknown_topic_on_request() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(BOOKS) as wire:
        await wire.ask("subscribe", BTC)
        await rig.fault("unknown")
        await rig.simulator.step(5)
        assert (await wire.drain())[0]["topic"] == "maintenanceNotice"


async def test_after_all_faults_a_new_subscription_is_served_well() -> None:
    pairs = ("BTC-PERP", "ETH-PERP")
    topics = [f"update:{pair}_0" for pair in pairs]
    async with running_lmex(pairs) as rig, rig.wire(BOOKS) as wire:
        followers = {pair: Follower(pair) for pair in pairs}
        await wire.ask("subscribe", *topics)
        for _ in range(20):
            for name in ("gap", "duplicate", "crossed", "no_snapshot", "reorder"):
                await rig.fault(name)
            await rig.simulator.step(50)
            await wire.drain()
            await wire.ask("subscribe", *topics)
        assert all(rig.simulator.hub.done[name] for name in ("gap", "duplicate", "crossed", "no_snapshot", "reorder"))
        await rig.fault("clear")
        for pair, follower in followers.items():
            await wire.ask("unsubscribe", f"update:{pair}_0")
            follower.take(await wire.ask("subscribe", f"update:{pair}_0"))
        await rig.simulator.step(200)
        live = await wire.drain()
        for pair, follower in followers.items():
            assert follower.take(live).gaps == 0
            assert follower.levels() == true_levels(await rig.look("book", pair=pair))
