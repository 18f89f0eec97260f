"""The demo with recordings, and what `replay --compare` says that streams should hold."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp
import pytest

from bridge.demo.differences import TradeCheck, check_trades
from bridge.demo.embedded import find_server
from bridge.demo.recorded import RECORDED, kind_of, recorded_pairs
from bridge.errors import BridgeError, ConfigError
from bridge.model import Trade
from bridge.recordings.recording import ConnectRow, read_recording
from bridge.recordings.replay import MAX_SPEED, serve_replay
from tests.demo.running import RunningDemo

REAL = {"bybit", "coinbase"}
SOURCES = {True: "real traffic of August 2026", False: r"made-up market in .*, not real traffic"}


@pytest.mark.parametrize("exchange", sorted(RECORDED))
def test_the_streams_are_the_recording(tmp_path, exchange):
    try:
        find_server()
    except BridgeError as error:
        pytest.skip(str(error))
    arguments = ("--exchange", exchange, "--duration", "8")
    with RunningDemo(tmp_path, *arguments, env={"TMPDIR": str(tmp_path)}) as demo:
        assert demo.end() == 0, demo.output
    source = SOURCES[exchange in REAL]
    assert re.search(rf"^{exchange}: {source}$", demo.output, re.MULTILINE)
    assert re.search(rf"^  source +{source}$", demo.output, re.MULTILINE)
    for pair in recorded_pairs(exchange):
        assert re.search(rf"^  book +{pair} +equal: yes  \(\d+ bids, \d+ asks\)$", demo.output, re.MULTILINE), pair
    trades = r"^  trades +read [1-9][\d,]*, duplicates 0, missing 0, out of order 0$"
    assert re.search(trades, demo.output, re.MULTILINE)
    assert f"{exchange}: books equal to the recording's: yes\n" in demo.output
    assert "wallets" not in demo.output.split("tickbridge demo: ")[1]


def test_only_what_an_exchange_has_sent_is_called_recorded():
    assert {exchange for exchange in RECORDED if kind_of(exchange) == "recorded"} == REAL
    assert {kind_of(exchange) for exchange in RECORDED.keys() - REAL} == {"made-up"}
    assert kind_of("limitlex") == "simulated"


def test_an_exchange_that_cannot_be_shown(tmp_path):
    with RunningDemo(tmp_path, "--exchange", "kucoin") as demo:
        assert demo.end() == 1
    known = ", ".join(["limitlex", "lmex", *RECORDED, "both"])
    assert f"kucoin cannot be shown; known: {known}" in " ".join(demo.output.split())


def test_pairs_that_the_recording_does_not_have(tmp_path):
    with RunningDemo(tmp_path, "--exchange", "coinbase", "--pairs", "BTC-USD,ADA-USD") as demo:
        assert demo.end() == 1
    assert "the recording of coinbase does not have ADA-USD (it has BTC-USD, ETH-USD)" in demo.output


@pytest.mark.parametrize("exchange", sorted(RECORDED))
async def test_all_trades_of_a_recording_are_expected(exchange):
    """Whatever of it a connector loses is missing at the end of the demo."""
    pairs = recorded_pairs(exchange)
    async with (
        serve_replay(RECORDED[exchange], speed=MAX_SPEED, truth=(exchange, pairs)) as server,
        aiohttp.ClientSession() as http,
        AsyncExitStack() as sockets,
    ):
        for path in _paths(exchange):
            socket = await sockets.enter_async_context(http.ws_connect(server.url + path))
            await socket.send_str("{}")
        await server.finished()
        for pair in pairs:
            async with http.get(f"{server.rest_url}/sim/streams/trades", params={"pair": pair}) as answer:
                trades = (await answer.json())["trades"]
            mine = [Trade(pair, int(t["time"]) * 10**9, 1, t["id"], t["side"], t["price"], t["size"]) for t in trades]
            assert len(mine) > 1
            assert check_trades(mine, trades, 0) == TradeCheck(len(mine), 0, 0, 0)
            assert check_trades(mine[1:], trades, 0).missing == 1


def _paths(exchange):
    """Where the connections of its recording go, with their queries."""
    urls = [urlsplit(row.addr) for row in read_recording(RECORDED[exchange]) if isinstance(row, ConnectRow)]
    return [url.path + f"?{url.query}" * bool(url.query) for url in urls]


@pytest.mark.parametrize("exchange", ["bybit", "binance-usdm"])
async def test_what_a_recording_does_not_have_is_a_mistake(exchange):
    with pytest.raises(ConfigError, match=r"the recording does not have them: .*ADA-USDT-PERP"):
        async with serve_replay(RECORDED[exchange], truth=(exchange, ["BTC-USDT-PERP", "ADA-USDT-PERP"])):
            pass
