"""The demo with recordings of real traffic, and what `replay --compare` says that streams should hold."""

from __future__ import annotations

import re

import aiohttp
import pytest

from bridge.demo.differences import TradeCheck, check_trades
from bridge.demo.embedded import find_server
from bridge.demo.recorded import RECORDED, recorded_pairs
from bridge.errors import BridgeError, ConfigError
from bridge.model import Trade
from bridge.recordings.replay import MAX_SPEED, serve_replay
from tests.demo.running import RunningDemo


@pytest.mark.parametrize("exchange", sorted(RECORDED))
def test_the_streams_are_the_recording(tmp_path, exchange):
    try:
        find_server()
    except BridgeError as error:
        pytest.skip(str(error))
    arguments = ("--exchange", exchange, "--duration", "8")
    with RunningDemo(tmp_path, *arguments, env={"TMPDIR": str(tmp_path)}) as demo:
        assert demo.end() == 0, demo.output
    for pair in recorded_pairs(exchange):
        assert re.search(rf"^  book +{pair} +equal: yes  \(\d+ bids, \d+ asks\)$", demo.output, re.MULTILINE), pair
    trades = r"^  trades +read [1-9][\d,]*, duplicates 0, missing 0, out of order 0$"
    assert re.search(trades, demo.output, re.MULTILINE)
    assert f"{exchange}: books equal to the exchange's true books: yes\n" in demo.output
    assert "wallets" not in demo.output.split("tickbridge demo: ")[1]


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
        http.ws_connect(f"{server.url}/v5/public/linear") as socket,
    ):
        await socket.send_str("{}")
        await server.finished()
        for pair in pairs:
            async with http.get(f"{server.rest_url}/sim/streams/trades", params={"pair": pair}) as answer:
                trades = (await answer.json())["trades"]
            mine = [Trade(pair, int(t["time"]) * 10**9, 1, t["id"], t["side"], t["price"], t["size"]) for t in trades]
            assert len(mine) > 1
            assert check_trades(mine, trades, 0) == TradeCheck(len(mine), 0, 0, 0)
            assert check_trades(mine[1:], trades, 0).missing == 1


async def test_what_a_recording_does_not_have_is_a_mistake():
    with pytest.raises(ConfigError, match="the recording does not have them"):
        async with serve_replay(RECORDED["bybit"], truth=("bybit", ["ADA-USDT-PERP"])):
            pass
