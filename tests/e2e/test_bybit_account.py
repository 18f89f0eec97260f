"""A Bybit account, from a server that speaks as the exchange does to the streams: log-in, cuts, refusals, catching up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.bybit_exchange import LINEAR, PRIVATE, BybitExchange
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.observing import controls
from tests.e2e.played import Played
from tests.e2e.test_bybit import BYBIT, md
from tests.servers import RedisServer
from tests.unit import bybit_frames as frames

CHANNELS = ("orders", "fills", "balances", "positions")
KEYS = [f"acct:{{bybit:main}}:{channel}" for channel in CHANNELS]
ORDERS, FILLS, BALANCES, POSITIONS = KEYS
OPEN = "/v5/order/realtime?openOnly=0&category=linear&settleCoin=USDT"
ENDED = "/v5/order/realtime?openOnly=1&category=linear&settleCoin=USDT"
EXECUTIONS = "/v5/execution/list?category=linear"
Play = Callable[..., Played]


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, bybit_exchange: BybitExchange) -> Play:
    def start(**connector: Any) -> Played:
        given = {"pairs": ["BTC-USDT-PERP"], "channels": [], **connector}
        return Played(BYBIT, run, redis_server, tmp_path, bybit_exchange, **given).start()

    return start


def now() -> str:
    return str(int(time.time() * 1000))


def execution(ident: str, **more: str) -> dict[str, Any]:
    return frames.row(frames.EXECUTION, execId=ident, execTime=now(), **more)


def message(topic: str, *rows: dict[str, Any]) -> bytes:
    return json.dumps({"id": "m", "topic": topic, "creationTime": 1672364262474, "data": list(rows)}).encode()


def synchronised(played: Played, times: int = 1) -> None:
    """Wait until the last call of a fetch was answered so often."""
    wallet = "/v5/account/wallet-balance?accountType=UNIFIED"
    eventually(lambda: played.exchange.called.count(wallet) >= times, f"{times} fetches")


def test_frames_to_the_digit(play: Play, bybit_exchange: BybitExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    funding = frames.row(frames.EXECUTION, execId="x", execType="Funding")
    leg = frames.row(frames.POSITION, positionIdx=2, side="Sell", size="3")
    bybit_exchange.say(PRIVATE, frames.ORDER, message("execution", frames.row(frames.EXECUTION), funding))
    bybit_exchange.say(PRIVATE, frames.POSITION, frames.POSITION, message("position", leg), frames.WALLET)
    [order] = played.wait(ORDERS, 1)
    del order["recv"]
    assert order == {
        "type": "order",
        "ts": "1672364262457000000",
        "order_id": "5cf98598-39a7-459e-97bf-76ca765ee020",
        "client_id": "mine-1",
        "pair": "BTC-USDT-PERP",
        "kind": "limit",
        "side": "sell",
        "price": "72.5",
        "size": "1",
        "filled": "0.5",
        "status": "partially_filled",
    }
    [fill] = played.wait(FILLS, 1)
    assert (fill["fill_id"], fill["fee"]) == ("0ab1bdf7-4219-438b-b30a-32ec863018f7", "26.3725275")
    legs = [(entry["leg"], entry["side"], entry["size"]) for entry in played.wait(POSITIONS, 2)]
    assert legs == [("", "long", "0.012"), ("short", "short", "3")]
    [balance] = played.wait(BALANCES, 1)
    assert (balance["currency"], balance["available"], balance["reserved"]) == ("BTC", "0.00100964", "0.00002")
    eventually(lambda: PRIVATE in bybit_exchange.pings or time.sleep(0.5), "a ping after the log-in")
    assert bybit_exchange.wrong == []
    played.finished()
    assert [len(played.entries(key)) for key in KEYS] == [1, 1, 1, 2]


def test_a_drop_in_the_middle_of_a_fill(play: Play, bybit_exchange: BybitExchange) -> None:
    """The first execution of an order comes, then the connection ends; the rest happens while nobody listens."""
    played = play()
    played.live(*KEYS)
    synchronised(played)
    order = frames.row(frames.ORDER, cumExecQty="0.5")
    first, second = execution("f-1"), execution("f-2")
    bybit_exchange.say(PRIVATE, message("order", order), message("execution", first))
    bybit_exchange.say(PRIVATE, frames.POSITION, frames.WALLET, message("order", order | {"orderId": "o-lost"}))
    played.wait(FILLS, 1)
    played.wait(ORDERS, 2)
    bybit_exchange.lists = {
        ENDED: [order | {"orderStatus": "Filled", "cumExecQty": "1"}],
        "/v5/order/history?orderId=o-lost": [order | {"orderId": "o-lost", "orderStatus": "Cancelled"}],
        EXECUTIONS: pages([second, execution("x", execType="Funding")], [first]),
        "/v5/account/wallet-balance": [frames.wallet(coin="USDT", walletBalance="50", locked="0")],
    }
    bybit_exchange.cut(PRIVATE)
    assert [fill["fill_id"] for fill in played.wait(FILLS, 2)] == ["f-1", "f-2"]
    ended = {entry["order_id"]: (entry["status"], entry["filled"]) for entry in played.wait(ORDERS, 4)[2:]}
    assert ended == {order["orderId"]: ("filled", "1"), "o-lost": ("cancelled", "0.5")}
    flat = played.wait(POSITIONS, 2)[-1]
    assert (flat["pair"], flat["side"], flat["size"]) == ("BTC-USDT-PERP", "", "0")
    balances = [(entry["currency"], entry["available"]) for entry in played.wait(BALANCES, 3)[1:]]
    assert sorted(balances) == [("BTC", "0"), ("USDT", "50")]
    assert all(controls(played.client, key) == ["live", "down", "live"] for key in KEYS)
    assert any("cursor=1%3A0%2C2" in called for called in bybit_exchange.called)
    assert bybit_exchange.wrong == []
    bybit_exchange.say(PRIVATE, message("execution", second), message("execution", execution("f-3")))
    assert [fill["fill_id"] for fill in played.wait(FILLS, 3)] == ["f-1", "f-2", "f-3"]
    played.finished()


def pages(*many: list[dict[str, Any]]) -> Callable[[dict[str, str]], bytes]:
    """A list of several pages, whose cursors have to be quoted as the exchange quotes them."""
    cursors = ["", *(f"{number}:0,2" for number in range(1, len(many)))]
    quoted = [cursor.replace(":", "%3A").replace(",", "%2C") for cursor in (*cursors[1:], "")]

    def answer(query: dict[str, str]) -> bytes:
        place = cursors.index(query.get("cursor", ""))
        return frames.answer(many[place], quoted[place])

    return answer


def test_a_restart_goes_on_where_the_streams_end(play: Play, bybit_exchange: BybitExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    bybit_exchange.say(PRIVATE, message("execution", known := execution("f-1")), frames.ORDER, frames.WALLET)
    for key in (ORDERS, FILLS, BALANCES):
        played.wait(key, 1)
    played.finished()
    bybit_exchange.lists = {
        EXECUTIONS: [execution("f-2"), known],
        ENDED: [frames.row(frames.ORDER, orderStatus="Cancelled")],
    }
    again = play()
    assert [fill["fill_id"] for fill in again.wait(FILLS, 2)] == ["f-1", "f-2"]
    assert again.wait(ORDERS, 2)[-1]["status"] == "cancelled"
    assert [entry["available"] for entry in again.wait(BALANCES, 2)] == ["0.00100964", "0"]
    again.finished()


@pytest.mark.parametrize("ahead", [-90_000, 3_000])
def test_a_clock_that_is_off_still_logs_in(play: Play, bybit_exchange: BybitExchange, ahead: int) -> None:
    bybit_exchange.clock = ahead
    played = play()
    played.live(*KEYS)
    synchronised(played)
    assert bybit_exchange.wrong == []
    played.finished()


def test_a_log_in_that_is_refused_is_tried_once_more_and_then_left_for_long(
    play: Play, bybit_exchange: BybitExchange
) -> None:
    """The public side goes on."""
    bybit_exchange.login_refusals = ["Params Error", "Your api key has expired"]
    played = play(channels=["book"])
    played.book_is_the_exchanges("BTC-USDT-PERP")
    eventually(lambda: bybit_exchange.handshakes.count(PRIVATE) == 2, "two attempts")
    output = played.process.wait_for("Your api key has expired")
    lost = eventually(
        lambda: [
            line for line in played.process.output.splitlines() if '"connection_lost"' in line and "expired" in line
        ],
        "the connection is given up",
    )
    assert '"login_refused"' in output
    assert json.loads(lost[0])["retry_in"] >= 60
    for key in KEYS:
        [*_, last] = [fields for _, fields in played.client.xrange(key)]
        assert (last["event"], "the log-in is refused" in last["reason"]) == ("down", True)
    bybit_exchange.change(LINEAR, "BTCUSDT", "3")
    played.book_is_the_exchanges("BTC-USDT-PERP")
    assert controls(played.client, md("BTC-USDT-PERP", "book")) == ["live"]
    played.finished()


def test_a_key_that_rest_refuses_takes_the_account_down(play: Play, bybit_exchange: BybitExchange) -> None:
    bybit_exchange.lists = {"/v5/position/list?": b'{"retCode":10005,"retMsg":"Permission denied","result":{}}'}
    played = play()
    for key in KEYS:
        eventually(lambda key=key: controls(played.client, key)[-1:] == ["down"], f"{key} down")
        [*_, last] = [fields for _, fields in played.client.xrange(key)]
        assert "10005 Permission denied" in last["reason"]
    played.finished()


def test_too_many_calls_are_made_again_when_the_exchange_says(play: Play, bybit_exchange: BybitExchange) -> None:
    times: list[float] = []

    def limited(query: dict[str, str]) -> Any:
        del query
        times.append(time.monotonic())
        if len(times) > 1:
            return frames.answer([execution("f-1")])
        reset = str(int(time.time() * 1000) + 8_000)
        body = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": int(time.time() * 1000)}
        return web.json_response(body, headers={"X-Bapi-Limit-Reset-Timestamp": reset})

    bybit_exchange.lists = {EXECUTIONS: limited}
    played = play()
    played.live(*KEYS)
    [fill] = played.wait(FILLS, 1)
    assert fill["fill_id"] == "f-1"
    assert times[1] - times[0] >= 7.5
    assert "rest_rate_limited" in played.process.output
    assert all(controls(played.client, key) == ["live"] for key in KEYS)
    played.finished()


def test_403_by_rest_is_left_alone(play: Play, bybit_exchange: BybitExchange) -> None:
    """What the connection tells goes on."""
    forbidden = web.Response(status=403, text="access too frequent")
    bybit_exchange.lists = {"/v5/order/realtime?": lambda _: web.Response(status=403, text=forbidden.text)}
    played = play()
    played.live(*KEYS)
    said = played.process.wait_for("rest_rate_limited")
    [line] = [json.loads(line) for line in said.splitlines() if "rest_rate_limited" in line]
    assert line["retry_after"] == 600
    bybit_exchange.say(PRIVATE, message("execution", execution("f-1")))
    played.wait(FILLS, 1)
    assert len([called for called in bybit_exchange.called if "/v5/order/realtime" in called]) == 1
    played.finished()


def test_check_tries_the_account_too(
    run: Run, redis_server: RedisServer, tmp_path: Path, bybit_exchange: BybitExchange
) -> None:
    played = Played(BYBIT, run, redis_server, tmp_path, bybit_exchange, pairs=["BTC-USDT", "BTC-USDT-PERP"])
    process = played.check()
    assert process.ended() == 0, process.output
    for name in ("spot-1", "linear-1", "account:main"):
        assert f"{name}: first frame after" in process.output
    bybit_exchange.login_refusals = ["API key is invalid"] * 2
    refused = played.check()
    assert refused.ended() == 1
    assert "the log-in is refused (API key is invalid)" in refused.output
