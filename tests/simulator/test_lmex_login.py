"""LMEX's log-in, and how long it lasts."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from bridge.simulator import Simulator, SimulatorConfig
from bridge.simulator.lmex.auth import signature
from bridge.simulator.lmex.markets import market_config
from bridge.simulator.lmex.options import LmexConfig
from tests.patience import PATIENCE
from tests.simulator.helpers import NOW, Clock
from tests.simulator.lmex_helpers import FUTURES, MS, OK, SPOT, LmexRig, running_lmex, trade

SECRET = "848db84ac252b6726e5f6e7a711d9c96d9fd77d020151b45839a5b59c37203bx"
NONCE = "1624985375123"
VECTORS = {
    "/ws/spot": "c410d38c681579adb335885800cff24c66171b7cc8376cfe43da1408c581748156b89bcc5a115bb496413bda481139fb",
    "/ws/futures": "bd8afb8bee58ba0a2c67f84dcfe6e64d0274f55d064bb26ea84a0fe6dd8c621b541b511982fb0c0b8c244e9521a80ea1",
    "/ws/otc": "971798b32585d7e63a1c2cafd261170c56caf17ff1d32a58fc2e9842292fa8ff2dbcf4fda7b4d6aed4a737c3c2930cf1",
}
FAILED = {"event": "login", "success": False}


# Log-in


@pytest.mark.parametrize("path", VECTORS)
def test_signatures_are_those_of_the_sheet(path: str) -> None:
    assert signature(SECRET, path + NONCE) == VECTORS[path]


@pytest.mark.parametrize("path", [SPOT, FUTURES])
async def test_the_sheets_vectors_over_a_socket(path: str, tmp_path: Path) -> None:
    (tmp_path / "main.secret").write_text(SECRET + "\n")
    async with running_lmex(key_dir=tmp_path) as rig, rig.wire(path) as wire:
        rig.clock.now = int(NONCE) / 1000
        await wire.send("authKeyExpires", rig.access.api_key, NONCE, VECTORS[path])
        assert await wire.recv() == OK
    assert rig.access.secret.decode() == SECRET


@pytest.mark.parametrize("op", ["authKeyExpires", "login"])
async def test_both_operations_log_in(op: str) -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        assert await wire.login(op=op) == OK
        assert (await rig.look("state"))["sockets"][0]["account"] == "main"


async def test_an_operation_can_be_left_out() -> None:
    async with running_lmex(lmex=LmexConfig(login_ops=("login",))) as rig, rig.wire(SPOT) as wire:
        assert await wire.ask("authKeyExpires", rig.access.api_key, str(MS), "x") == []
        assert await wire.login(op="login") == OK, "the other one is still possible"


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": b"not the secret"},
        {"path": "/ws/futures"},
        {"path": "ws://127.0.0.1/ws/spot"},
        {"nonce": str(MS - 61_000)},
        {"nonce": str(MS + 61_000)},
        {"nonce": str(MS // 1000)},
        {"nonce": "now"},
        {"nonce": "9" * 5000},
    ],
)
async def test_wrong_logins_fail(wrong: dict[str, Any]) -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        assert await wire.login(**wrong) == FAILED
        assert await wire.login() == OK


async def test_unknown_key_and_missing_arguments_fail() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        assert await wire.ask("authKeyExpires", "nobody", str(MS), "x") == [FAILED]
        assert await wire.ask("authKeyExpires", rig.access.api_key) == [FAILED]


async def test_login_must_come_before_anything_else() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        await wire.ask("subscribe", "tradeHistoryApi:BTC-USD")
        assert await wire.login() == FAILED


async def test_without_a_login_private_topics_are_acked_and_silent() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        assert await wire.ask("subscribe", "fills", "notificationApiV3") == [
            {"event": "subscribe", "channel": ["notificationApiV3", "fills"]}
        ]
        trade(rig, "BTC-USD", "buy", "0.01")
        assert await wire.drain() == []


async def test_a_login_is_for_one_market() -> None:
    async with (
        running_lmex() as rig,
        rig.logged_in(SPOT, "fills") as spot,
        rig.logged_in(FUTURES, "fillsV2") as futures,
    ):
        trade(rig, "BTC-USD", "buy", "0.01")
        trade(rig, "BTC-PERP", "buy", "10")
        assert {row["symbol"] for message in await spot.drain() for row in message["data"]} == {"BTC-USD"}
        assert {row["symbol"] for message in await futures.drain() for row in message["data"]} == {"BTC-PERP"}


# Sessions


async def test_session_ends_in_silence_and_can_be_renewed() -> None:
    async with running_lmex() as rig, rig.logged_in(SPOT, "fills") as wire:
        await rig.wait(wire, 86_399)
        trade(rig, "BTC-USD", "buy", "0.01")
        assert await wire.drain()
        rig.passes(2)
        trade(rig, "BTC-USD", "buy", "0.01")
        assert await wire.drain() == []
        assert await wire.login() == OK
        trade(rig, "BTC-USD", "buy", "0.01")
        assert {message["topic"] for message in await wire.drain()} == {"fills"}


async def test_renewing_ahead_of_time_goes_unnoticed() -> None:
    """48 hours, a new log-in every 20: each trade is told once."""
    async with running_lmex() as rig, rig.logged_in(SPOT, "fills") as wire:
        heard = 0
        for hour in range(48):
            if hour % 20 == 19:
                assert await wire.login() == OK
            trade(rig, "BTC-USD", "buy" if hour % 2 else "sell", "0.001")
            heard += len(await wire.drain())
            assert heard == rig.simulator.account("main")["fill_count"]
            await rig.wait(wire, 3600)
        assert rig.simulator.hub.done["session_end"] == 0
        assert len(rig.simulator.hub.sockets) == 1


async def test_session_ends_with_an_error() -> None:
    options = LmexConfig(session_lifetime=60, session_end="error")
    async with running_lmex(lmex=options) as rig, rig.logged_in(SPOT, "fills") as wire:
        rig.passes(30)
        await wire.drain()
        rig.passes(31)
        expired = {
            "status": 400,
            "errorCode": 10002,
            "message": "User session is expired. Please login again",
            "extraData": None,
        }
        assert await wire.drain() == [expired]
        trade(rig, "BTC-USD", "buy", "0.01")
        assert await wire.drain() == []
        assert await wire.ask("subscribe", "fills") == [{"event": "subscribe", "channel": ["fills"]}, expired]


async def test_session_ends_with_the_socket() -> None:
    options = LmexConfig(session_lifetime=30, session_end="close")
    async with running_lmex(lmex=options) as rig, rig.logged_in(FUTURES, "fills") as wire, rig.wire(SPOT) as public:
        rig.passes(31)
        assert (await wire.ended()).rcvd is not None
        assert await public.drain() == []


@pytest.mark.parametrize("cut", [False, True])
async def test_sessions_end_on_request(cut: bool) -> None:
    async with running_lmex() as rig, rig.logged_in(SPOT, "fills") as wire:
        await rig.fault("expire_tokens", cut=cut)
        if cut:
            await wire.ended()
        else:
            trade(rig, "BTC-USD", "buy", "0.01")
            assert await wire.drain() == []
            assert await wire.login() == OK


async def test_48_hours_on_a_fast_clock() -> None:
    """Clocks that run 50,000 times faster: sessions end by themselves, and nothing is left of them."""
    began = time.monotonic()

    def passed() -> float:
        return (time.monotonic() - began) * 50_000

    # What is shorter than the 20 real milliseconds between two looks at the clock can't be simulated at this speed.
    slow = {"idle_close": 1e9, "pong_patience": 1e9, "nonce_window": 1e9}
    options = LmexConfig(session_end="close", session_lifetime=6 * 3600, **slow)
    config = SimulatorConfig(exchange="lmex", market=market_config(activity=0.1), rate=500, options=options)
    simulator = Simulator(config, lambda: NOW + passed(), passed)
    async with simulator.serve() as urls, aiohttp.ClientSession() as http:
        rig = LmexRig(simulator, urls, http, Clock())
        tasks, logins, heard = len(asyncio.all_tasks()), 0, 0
        # On a busy machine a log-in takes hours of this clock.
        while passed() < 48 * 3600 or logins < 4 or heard <= 50:
            rig.clock.now = NOW + passed()
            async with rig.logged_in(FUTURES, "fillsV2", "notificationApiV4") as wire:
                logins += 1
                with suppress(ConnectionClosed):
                    while True:
                        heard += bool(await wire.recv())
        assert simulator.hub.done["session_end"] == logins
        assert logins <= passed() / (6 * 3600) + 1
        async with asyncio.timeout(PATIENCE):
            while simulator.hub.sockets or len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0)
        assert simulator.dialect._endpoints[1].clients == simulator.dialect._main[True]._sessions == {}
