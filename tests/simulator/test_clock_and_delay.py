"""Messages that come late, and clocks that are wrong."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from bridge.simulator import Simulator, SimulatorConfig
from bridge.simulator.faults import Fault
from tests.patience import PATIENCE
from tests.simulator.helpers import NOW, Clock, running


def books(messages: list[Any]) -> list[Any]:
    return [message for message in messages if message["t"] == "order_book"]


def publish(rig: Any, steps: int) -> None:
    """Let the market go on, and hand to the sockets what isn't held back."""
    for _ in range(steps):
        rig.simulator.market.step()
    rig.simulator.hub.flush()


async def test_delay_lets_messages_come_later_in_their_order() -> None:
    now = asyncio.get_running_loop().time
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        await whole.drain()
        await feed.drain()
        rig.simulator.hub.sockets[-1].filter(Fault("delay", type="order_book", seconds=1.5))
        begun = now()
        publish(rig, 200)
        sent = await whole.drain()
        got = await feed.drain()
        assert got == [message for message in sent if message["t"] != "order_book"]
        late = [await feed.recv() for _ in books(sent)]
        assert late == books(sent)
        assert now() - begun >= 1.5
        assert rig.simulator.hub.done["delay"] == len(late) > 20


async def test_delay_grows_and_ends_and_nothing_overtakes() -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        await whole.drain()
        await feed.drain()
        rig.simulator.hub.sockets[-1].filter(Fault("delay", seconds=0.2, ramp=0.1, duration=0.15))
        sent = []
        async with asyncio.timeout(PATIENCE):
            while feed.socket.faults:
                publish(rig, 20)
                sent += await whole.drain()
                await rig.look("state")
        assert sent
        assert await feed.drain() == sent


async def test_clear_gives_out_what_delay_holds() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await feed.drain()
        await rig.fault("delay", seconds=3600)
        publish(rig, 100)
        assert await feed.drain() == []
        await rig.fault("clear")
        assert await feed.drain()
        assert feed.socket.faults == []


async def test_a_clock_that_is_ahead() -> None:
    async with running(clock_offset=100.0) as rig, rig.open("BTC-EUR") as feed:
        publish(rig, 300)
        trades = [message for message in await feed.drain() if message["t"] == "last_trade"]
        assert {trade["createdAt"] for trade in trades} == {NOW + 100}
        async with rig.http.head(f"{rig.urls.rest}/public/currencies") as answer:
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOW + 100


async def test_lmex_tells_that_time() -> None:
    simulator = Simulator(SimulatorConfig("lmex", paused=True, clock_offset=-100.0), Clock())
    async with (
        simulator.serve() as urls,
        aiohttp.ClientSession() as http,
        http.get(f"{urls.rest}/spot/api/v3.2/time") as answer,
    ):
        assert (await answer.json())["epoch"] == NOW - 100
