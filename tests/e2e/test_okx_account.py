"""An OKX account, from a server that speaks as the exchange does to the streams: log-in, cuts, refusals, catching up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.observing import controls
from tests.e2e.okx_exchange import PRIVATE, OkxExchange
from tests.e2e.played import Played
from tests.e2e.test_okx import OKX
from tests.servers import RedisServer
from tests.unit import okx_frames as frames

KEYS = [f"acct:{{okx:main}}:{channel}" for channel in ("orders", "fills", "balances", "positions")]
ORDERS, FILLS, BALANCES, POSITIONS = KEYS
PENDING, ONE_ORDER, FILLED = "/api/v5/trade/orders-pending", "/api/v5/trade/order", "/api/v5/trade/fills"
BALANCE = "/api/v5/account/balance"
Play = Callable[..., Played]


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, okx_exchange: OkxExchange) -> Play:
    def start(**connector: Any) -> Played:
        given = {"pairs": ["BTC-USDT-PERP"], "channels": [], **connector}
        return Played(OKX, run, redis_server, tmp_path, okx_exchange, **given).start()

    return start


def now() -> str:
    return str(int(time.time() * 1000))


def orders(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"arg": {"channel": "orders", "instType": "SWAP", "uid": "1"}, "data": list(rows)}).encode()


def filled(ident: str, **more: str) -> dict[str, Any]:
    """An order's message because of a fill, now."""
    return frames.row(frames.FILLED, tradeId=ident, fillTime=now(), uTime=now(), **more)


def fill(ident: str, **more: str) -> dict[str, Any]:
    """The same by REST."""
    return frames.FILL | {"tradeId": ident, "billId": f"9{ident}", "fillTime": now()} | more


def synchronised(played: Played, times: int = 1) -> None:
    """Wait until the last call of a fetch was answered so often."""
    eventually(lambda: played.exchange.called.count(BALANCE) >= times, f"{times} fetches")


def test_frames_to_the_digit(play: Play, okx_exchange: OkxExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    again = frames.changed(frames.ORDER, uTime="1597026383090")
    for frame in (frames.ORDER, frames.ORDER, again, frames.FILLED, frames.FILLED, frames.BALANCE, frames.POSITION):
        okx_exchange.say(PRIVATE, frame)
    first, second = played.wait(ORDERS, 2)
    del first["recv"]
    assert first == {
        "type": "order",
        "ts": "1597026383085000000",
        "order_id": "312269865356374016",
        "client_id": "b1",
        "pair": "BTC-USDT",
        "kind": "limit",
        "side": "buy",
        "price": "999",
        "size": "3",
        "filled": "0",
        "status": "open",
        "contracts": "",
    }
    assert (second["pair"], second["size"], second["contracts"], second["status"]) == (
        "BTC-USDT-PERP",
        "0.07",
        "7",
        "filled",
    )
    [entry] = played.wait(FILLS, 1)
    assert (entry["fill_id"], entry["size"], entry["contracts"], entry["fee"]) == ("242589207", "0.04", "4", "0.52")
    [entry] = played.wait(BALANCES, 1)
    assert (entry["currency"], entry["available"], entry["reserved"]) == ("BTC", "0.9", "0.1")
    [entry] = played.wait(POSITIONS, 1)
    assert (entry["side"], entry["leg"], entry["size"], entry["contracts"]) == ("long", "long", "0.01", "1")
    played.finished()
    assert [len(played.entries(key)) for key in KEYS] == [2, 1, 1, 1]


def test_positions_of_both_modes_and_margins(play: Play, okx_exchange: OkxExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    cross = {"mgnMode": "cross", "posSide": "net", "pos": "-5", "avgPx": "26000"}
    isolated = {"mgnMode": "isolated", "posSide": "net", "pos": "2", "avgPx": "25000", "upl": "1.5"}
    short = {"posSide": "short", "pos": "3", "instId": "BTC-USDT-261225", "instType": "FUTURES"}
    for values in (cross, isolated, {**cross, "pos": "0", "uTime": "1619507761463"}, short):
        okx_exchange.say(PRIVATE, frames.changed(frames.POSITION, **values))
    told = [
        (entry["pair"], entry["side"], entry["leg"], entry["contracts"], entry["entry_price"], entry["unrealised_pnl"])
        for entry in played.wait(POSITIONS, 4)
    ]
    assert told == [
        ("BTC-USDT-PERP", "short", "", "5", "26000", "0.3"),
        ("BTC-USDT-PERP", "short", "", "3", "", "1.8"),
        ("BTC-USDT-PERP", "long", "", "2", "25000", "1.5"),
        ("BTC-USDT-261225", "short", "short", "3", "3320", "0.3"),
    ]
    assert "a cross and an isolated position" in played.process.output
    played.finished()


def test_a_drop_in_the_middle_of_a_fill(play: Play, okx_exchange: OkxExchange) -> None:
    """The first fill of an order comes, then the connection ends; the rest happens while nobody listens."""
    played = play()
    played.live(*KEYS)
    synchronised(played)
    partly = filled("1", state="partially_filled", accFillSz="4")
    lost = frames.row(frames.FILLED, ordId="lost", state="live", accFillSz="0", tradeId="", fillSz="0")
    okx_exchange.say(PRIVATE, orders(partly, lost), frames.BALANCE, frames.POSITION)
    played.wait(FILLS, 1)
    played.wait(ORDERS, 2)
    played.wait(POSITIONS, 1)

    def ended(query: dict[str, str]) -> Any:
        if query["ordId"] == "lost":  # cancelled unfilled: forgotten after two hours
            return web.json_response({"code": "51603", "msg": "Order does not exist", "data": []})
        return [partly | {"state": "filled", "accFillSz": "7", "uTime": now()}]

    pages = [[fill(str(number)) for number in range(101, 1, -1)], [fill("1")]]
    okx_exchange.lists = {
        ONE_ORDER: ended,
        FILLED: lambda query: pages[1 if "after" in query else 0],
        BALANCE: [{"details": [frames.COIN | {"ccy": "USDT", "availBal": "50", "frozenBal": "0"}]}],
    }
    okx_exchange.cut(PRIVATE)
    found = [entry["fill_id"] for entry in played.wait(FILLS, 101)]
    assert sorted(map(int, found)) == list(range(1, 102))
    gone = {entry["order_id"]: (entry["status"], entry["filled"]) for entry in played.wait(ORDERS, 4)[2:]}
    assert gone == {partly["ordId"]: ("filled", "0.07"), "lost": ("", "0")}
    flat = played.wait(POSITIONS, 2)[-1]
    assert (flat["pair"], flat["side"], flat["size"], flat["leg"]) == ("BTC-USDT-PERP", "", "0", "long")
    balances = [(entry["currency"], entry["available"]) for entry in played.wait(BALANCES, 3)[1:]]
    assert sorted(balances) == [("BTC", "0"), ("USDT", "50")]
    assert all(controls(played.client, key) == ["live", "down", "live"] for key in KEYS)
    assert any("after=92" in called for called in okx_exchange.called)
    okx_exchange.say(PRIVATE, orders(filled("101"), filled("102")))
    assert [entry["fill_id"] for entry in played.wait(FILLS, 102)][-1] == "102"
    played.finished()


def test_a_restart_goes_on_where_the_streams_end(play: Play, okx_exchange: OkxExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    okx_exchange.say(PRIVATE, orders(filled("1", state="partially_filled")), frames.BALANCE)
    for key in (ORDERS, FILLS, BALANCES):
        played.wait(key, 1)
    played.finished()
    okx_exchange.lists = {FILLED: [fill("2"), fill("1")], ONE_ORDER: [filled("", state="canceled")]}
    again = play()
    assert [entry["fill_id"] for entry in again.wait(FILLS, 2)] == ["1", "2"]
    assert again.wait(ORDERS, 2)[-1]["status"] == "cancelled"
    assert [entry["available"] for entry in again.wait(BALANCES, 2)] == ["0.9", "0"]
    again.finished()


def test_an_upgrade_in_the_middle_of_a_fill_costs_nothing(play: Play, okx_exchange: OkxExchange) -> None:
    played = play()
    played.live(*KEYS)
    synchronised(played)
    okx_exchange.say(PRIVATE, orders(filled("1", state="partially_filled", accFillSz="4")))
    played.wait(FILLS, 1)
    okx_exchange.lists = {
        FILLED: [fill("2"), fill("1")],
        PENDING: [filled("2", accFillSz="6", state="partially_filled")],
    }
    okx_exchange.upgrade(PRIVATE)
    eventually(lambda: okx_exchange.handshakes.count(PRIVATE) == 2, "a second connection")
    eventually(lambda: len(list(okx_exchange.connected())) == 1, "the first connection is given up")
    okx_exchange.say(PRIVATE, orders(filled("2"), filled("3")))
    assert [entry["fill_id"] for entry in played.wait(FILLS, 3)] == ["1", "2", "3"]
    assert all(controls(played.client, key) == ["live"] for key in KEYS)
    played.finished()


@pytest.mark.parametrize("ahead", [-90_000, 90_000])
def test_a_clock_that_is_off_still_logs_in(play: Play, okx_exchange: OkxExchange, ahead: int) -> None:
    okx_exchange.clock = ahead
    played = play()
    played.live(*KEYS)
    synchronised(played)
    played.finished()


def test_a_log_in_that_is_refused_is_tried_once_more_and_then_left_for_long(
    play: Play, okx_exchange: OkxExchange
) -> None:
    """The public side goes on."""
    okx_exchange.login_refusals = [("60009", "Login failed."), ("60032", "API key doesn't exist")]
    played = play(channels=["book"])
    played.book_is_the_exchanges("BTC-USDT-PERP")
    eventually(lambda: okx_exchange.handshakes.count(PRIVATE) == 2, "two attempts")
    output = played.process.wait_for("API key doesn't exist")
    assert '"login_refused"' in output
    lost = eventually(
        lambda: [
            line for line in played.process.output.splitlines() if '"connection_lost"' in line and "60032" in line
        ],
        "the connection is given up",
    )
    assert json.loads(lost[0])["retry_in"] >= 60
    for key in KEYS:
        assert played.last_control(key)["event"] == "down"
        assert "the log-in is refused" in played.last_control(key)["reason"]
    okx_exchange.change("BTC-USDT-SWAP", "3")
    played.book_is_the_exchanges("BTC-USDT-PERP")
    played.finished()


def test_a_channel_with_too_many_connections_is_down_alone(play: Play, okx_exchange: OkxExchange) -> None:
    """The acknowledgement comes first, and means nothing."""
    okx_exchange.crowded = {"account"}
    played = play()
    played.live(ORDERS, FILLS, POSITIONS)
    eventually(lambda: played.last_control(BALANCES)["event"] == "down", "the balances are down")
    assert "too many connections" in played.last_control(BALANCES)["reason"]
    played.finished()


def test_too_many_calls_are_made_again_later(play: Play, okx_exchange: OkxExchange) -> None:
    times: list[float] = []

    def limited(query: dict[str, str]) -> Any:
        del query
        times.append(time.monotonic())
        if len(times) > 1:
            return [fill("1")]
        return web.json_response({"code": "50011", "msg": "Requests too frequent."}, status=429)

    okx_exchange.lists = {FILLED: limited}
    played = play()
    played.live(*KEYS)
    [entry] = played.wait(FILLS, 1)
    assert entry["fill_id"] == "1"
    assert times[1] - times[0] >= 2
    assert "rest_rate_limited" in played.process.output
    assert all(controls(played.client, key) == ["live"] for key in KEYS)
    played.finished()


def check(played: Played, code: int) -> str:
    process = played.check()
    assert process.ended() == code, process.output
    return process.output


def test_check_tells_what_is_wrong_with_an_account(
    run: Run, redis_server: RedisServer, tmp_path: Path, okx_exchange: OkxExchange
) -> None:
    """A wrong pair, a wrong key, a wrong passphrase and a permission that is missing are told apart."""

    def played(**connector: Any) -> Played:
        return Played(OKX, run, redis_server, tmp_path, okx_exchange, **{"pairs": ["BTC-USDT"], **connector})

    good = check(played(), 0)
    assert all(f"{name}: first frame after" in good for name in ("public-1", "account:main"))
    assert "no pair BTC-USTD" in check(played(pairs=["BTC-USTD"], account=None), 1)
    assert "Invalid apiKey" in check(played(credentials={"api_key": "another"}), 1)
    assert "60024: Wrong passphrase" in check(played(credentials={"api_passphrase": "another"}), 1)
    okx_exchange.rest_refusal = ("50120", "This API key doesn't have permission to use this function")
    refused = check(played(), 1)
    assert "doesn't have permission" in refused
    assert "the log-in is refused" not in refused
