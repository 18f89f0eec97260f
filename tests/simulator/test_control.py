"""The control paths, the pump, TLS, and the simulator as a whole."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import aiohttp
import pytest

from bridge.errors import ConfigError
from bridge.simulator import AccountSpec, Simulator, SimulatorConfig, market_config
from bridge.simulator.pump import Pump
from tests.patience import PATIENCE
from tests.simulator.helpers import Clock, Follower, running, true_levels


async def test_state_counts_what_was_sent() -> None:
    async with running() as rig, rig.open("BTC-EUR") as one, rig.open("BTC-EUR", "ETH-EUR") as two:
        await rig.simulator.step(200)
        got = await one.drain() + await two.drain()
        state = await rig.look("state")
        sent = {kind: sum(counts.values()) for kind, counts in state["sent"].items()}
        assert sent == {kind: sum(message["t"] == kind for message in got) for kind in sent}
        assert [socket["sent"] for socket in state["sockets"]] == [one.socket.sent, two.socket.sent]
        assert [socket["pairs"] for socket in state["sockets"]] == [["BTC-EUR"], ["BTC-EUR", "ETH-EUR"]]
        assert (state["seed"], state["paused"], state["steps"]) == (7, True, 200)


async def test_pause_under_load_hands_over_everything() -> None:
    """However fast the market runs: after ``pause`` the messages on their way make the book of ``/sim/book``."""
    async with running(paused=False, rate=4000) as rig, rig.open("BTC-EUR") as feed:
        follower = Follower()
        for _ in range(5):
            follower.take([await feed.recv() for _ in range(200)])
            status, answer = await rig.tell("pause")
            assert (status, answer["paused"]) == (200, True)
            follower.take(await feed.drain())
            assert follower.levels() == true_levels(await rig.look("book", pair="BTC-EUR"))
            events = answer["events"]
            assert (await rig.look("state"))["events"] == events
            await rig.tell("resume")


async def test_step_and_rate() -> None:
    async with running() as rig, rig.open("BTC-EUR", "ETH-EUR") as feed:
        hello = len(await feed.drain())
        _, answer = await rig.tell("step", steps=50)
        assert answer["steps"] == 50
        assert len(await feed.drain()) == answer["made"] > 0 < hello
        assert (await rig.tell("rate", rate=123))[1]["rate"] == 123


@pytest.mark.parametrize("path", ["pause", "resume", "rate", "step", "faults", "order", "cancel"])
async def test_no_web_page_disturbs_it(path: str) -> None:
    async with running() as rig, aiohttp.ClientSession() as session:
        for origin in ("https://evil.example.com", "null"):
            headers = {"Origin": origin, "Content-Type": "text/plain"}
            async with session.post(f"{rig.urls.control}/{path}", data='{"fault":"cut"}', headers=headers) as answer:
                assert (answer.status, (await answer.json())["error"]) == (403, "web pages may not do this")
        assert not (await rig.look("state"))["faults_active"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("rate", {"rate": -1}, "not negative"),
        ("rate", {}, "must be a number"),
        ("rate", {"rate": "fast"}, "must be a number"),
        ("step", {"steps": 1.5}, "whole number"),
        ("step", {"steps": 10**9}, "whole number"),
    ],
)
async def test_mistakes_are_explained(path: str, body: dict[str, Any], said: str) -> None:
    async with running() as rig:
        status, answer = await rig.tell(path, **body)
        assert (status, said in answer["error"]) == (400, True), answer


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("book", "say which pair"),
        ("book?pair=XRP-EUR", "known: BTC-EUR, ETH-EUR"),
        ("trades?pair=x", "known"),
        ("trades?pair=BTC-EUR&limit=x", "must be a number"),
        ("account?account=x", "known: main"),
    ],
)
async def test_questions_about_nothing(path: str, said: str) -> None:
    async with running() as rig, rig.http.get(f"{rig.urls.control}/{path}") as response:
        assert response.status == 400
        assert said in (await response.json())["error"]


async def test_body_that_is_no_json() -> None:
    async with running() as rig, rig.http.post(f"{rig.urls.control}/rate", data=b"rate=3") as response:
        assert response.status == 400
        assert "JSON object" in (await response.json())["error"]


async def test_account_tells_wallets_orders_and_fills() -> None:
    async with running(activity=0) as rig:
        order = rig.simulator.place("main/savings", "BTC-EUR", "buy", "0.01", "50000")
        rig.simulator.place("main", "BTC-EUR", "sell", "0.0001")
        answer = await rig.look("account", account="main")
        savings = answer["subaccounts"]["savings"]
        assert savings["open_orders"][0]["order_id"] == order.id
        assert float(savings["wallets"]["EUR"]["reserved"]) == 500
        assert (answer["fill_count"], len(answer["fills"])) == (1, 1)
        newest = (await rig.look("trades", pair="BTC-EUR", limit="1"))["trades"][0]
        assert {name: answer["fills"][0][name] for name in ("price", "size")} == {
            name: newest[name] for name in ("price", "size")
        }
        assert answer["subaccounts"]["savings"]["uuid"] != answer["uuid"]


async def test_orders_by_the_control_path() -> None:
    async with running(activity=0) as rig:
        order = {
            "account": "main",
            "pair": "BTC-EUR",
            "side": "buy",
            "size": "0.01",
            "price": "50000",
            "client_id": "x",
        }
        status, placed = await rig.tell("order", **order)
        assert (status, placed["status"]) == (200, "open")
        (row,) = (await rig.look("account", account="main"))["open_orders"]
        assert (row["order_id"], row["client_id"]) == (placed["order_id"], "x")
        assert (await rig.tell("order", **order | {"price": None, "size": 0.0001}))[1]["status"] == "filled"
        cancel = {"account": "main", "order_id": placed["order_id"]}
        expected = {"order_id": placed["order_id"], "status": "cancelled"}
        assert await rig.tell("cancel", **cancel) == (200, expected)
        assert (await rig.look("account", account="main"))["open_orders"] == []
        for path, wrong, said in (
            ("order", order | {"size": "much"}, "size must be a number"),
            ("order", order | {"size": "100"}, "insufficient funds"),
            ("order", order | {"pair": "X-EUR"}, "known: BTC-EUR"),
            ("cancel", cancel, "order not found"),
        ):
            status, answer = await rig.tell(path, **wrong)
            assert (status, said in answer["error"]) == (400, True), answer


async def test_accounts_of_ones_own() -> None:
    accounts = (AccountSpec("desk", ("a", "b")), AccountSpec("other"))
    simulator = Simulator(SimulatorConfig("limitlex", market=market_config(["BTC-EUR"], accounts=accounts)))
    assert [access.account for access in simulator.dialect.accesses()] == ["desk", "other"]
    assert list(simulator.account("desk")["subaccounts"]) == ["a", "b"]


class Steps:
    """A market of one event per step, on a clock that ``asyncio.sleep`` doesn't know."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made = 0
        self.flushed = 0

    def step(self) -> int:
        self.made += 1
        return 1

    def flush(self) -> None:
        self.flushed = self.made


async def test_pump_keeps_the_rate_and_flushes() -> None:
    steps = Steps()
    pump = Pump(steps.step, steps.flush, lambda: steps.now, rate=5000)
    task = asyncio.create_task(pump.run(), name="pump under test")
    await asyncio.sleep(0)
    for tick in range(1, 101):
        steps.now = tick / 100
        async with asyncio.timeout(PATIENCE):
            while steps.flushed < tick * 50:
                await asyncio.sleep(0)
        assert tick * 50 <= steps.made <= tick * 50 + 1  # a rounded time may begin one early
    pump.rate = 100
    async with asyncio.timeout(PATIENCE):
        while pump._changed.is_set():
            await asyncio.sleep(0)
    steps.now += 0.25
    async with asyncio.timeout(PATIENCE):
        while steps.flushed < 5000 + 25:
            await asyncio.sleep(0)
    assert 5000 + 25 <= steps.made <= 5000 + 27
    assert pump.forgiven == 0
    task.cancel()


async def test_pump_forgives_a_long_stall() -> None:
    steps = Steps()
    pump = Pump(steps.step, steps.flush, lambda: steps.now, rate=1000)
    task = asyncio.create_task(pump.run(), name="pump under test")
    await asyncio.sleep(0)
    steps.now = 100.0
    async with asyncio.timeout(PATIENCE):
        while not pump.forgiven:
            await asyncio.sleep(0)
    assert steps.made < 1000
    task.cancel()


async def test_rate_over_a_real_socket() -> None:
    async with running(paused=False, rate=5000) as rig, rig.open("BTC-EUR", "ETH-EUR"):
        loop = asyncio.get_running_loop()
        began, before = loop.time(), rig.simulator.market.public_events
        async with asyncio.timeout(PATIENCE):
            while rig.simulator.market.public_events - before < 5000:
                await asyncio.sleep(0.01)
        # A busy machine may be slower for a while; faster than asked it must never be.
        assert loop.time() - began > 0.9


async def test_tls_with_the_ca_that_it_made(tmp_path) -> None:
    async with running(tls=True, tls_dir=tmp_path, clock=Clock(time.time())) as rig:
        assert rig.urls.ca_file == tmp_path / "ca.pem"
        assert (tmp_path / "server.pem").stat().st_mode & 0o077 == 0
        rig.ssl = ssl.create_default_context(cafile=rig.urls.ca_file)
        assert rig.urls.ws.startswith("wss://127.0.0.1")
        async with rig.open("BTC-EUR") as feed:
            await rig.simulator.step(200)
            follower = Follower().take(await feed.drain())
        assert follower.levels() == true_levels(rig.simulator.book("BTC-EUR"))
        for host in ("127.0.0.1", "localhost"):
            url = f"https://{host}:{rig.urls.port}/api/public/pairs"
            async with rig.http.get(url, ssl=rig.ssl) as response:
                assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            async with rig.http.get(rig.urls.rest + "/public/pairs"):
                pass


async def test_port_in_use() -> None:
    async with running() as rig:
        with pytest.raises(OSError, match="already in use"):
            async with Simulator(SimulatorConfig("limitlex")).serve(port=rig.urls.port):
                pass


def test_unknown_exchange() -> None:
    with pytest.raises(ConfigError, match="known: limitlex"):
        Simulator(SimulatorConfig(exchange="limitex"))


async def test_end_closes_sockets_cleanly_and_frees_the_port() -> None:
    async with running() as rig:
        feed_of = rig.open("BTC-EUR")
        feed = await feed_of.__aenter__()
        port = rig.urls.port
    closed = await feed.ended()
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1001
    await feed_of.__aexit__(None, None, None)
    async with Simulator(SimulatorConfig("limitlex")).serve(port=port) as urls:
        assert urls.port == port


async def test_a_task_that_fails_is_heard() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with running() as rig:

        def broken(_: object) -> None:
            msg = "broken on purpose"
            raise RuntimeError(msg)

        rig.simulator.market.subscribe(broken)
        rig.simulator.set_rate(1000)
        rig.simulator.resume()
        async with asyncio.timeout(PATIENCE):
            while not said:
                await asyncio.sleep(0)
    assert said[0]["message"] == "simulator pump failed"
