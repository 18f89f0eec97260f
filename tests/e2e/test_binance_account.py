"""Binance's accounts, spot and USD-M futures, from a server that checks signatures and plays what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.e2e.binance_exchange import PRIVATE, WS_API, BinanceExchange
from tests.e2e.binance_played import BinancePlayed
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.servers import RedisServer
from tests.unit import binance_frames as frames

PAIRS = {"spot": ["BTC-USDT", "ETH-USDT"], "usdm": ["BTC-USDT-PERP", "ETH-USDT-PERP"]}
PATHS = {"spot": WS_API, "usdm": PRIVATE}
Play = Callable[..., BinancePlayed]
both = pytest.mark.parametrize("market", ["spot", "usdm"])


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, binance_exchange: BinanceExchange) -> Play:
    def start(market: str, **connector: Any) -> BinancePlayed:
        settings = {"pairs": PAIRS[market], "channels": [], "account": "main", **connector}
        return BinancePlayed(run, redis_server, tmp_path, binance_exchange, market, **settings)

    return start


def now() -> int:
    return int(time.time() * 1000)


def report(market: str, symbol: str, **values: Any) -> bytes:
    """An order's event of now."""
    if market == "spot":
        message = json.loads(frames.REPORT)
        message["event"].update({"s": symbol, "T": now(), **values})
    else:
        message = json.loads(frames.UPDATE)
        message["o"].update({"s": symbol, "T": now(), **values})
    return json.dumps(message).encode()


def row(market: str, kind: str, symbol: str, **values: Any) -> dict[str, Any]:
    known = {
        ("spot", "fill"): frames.SPOT_FILL,
        ("usdm", "fill"): frames.USDM_FILL,
        ("spot", "order"): frames.SPOT_ORDER,
        ("usdm", "order"): frames.USDM_ORDER,
    }[market, kind]
    return known | {"symbol": symbol, "time": now(), "updateTime": now(), **values}


def keys(played: BinancePlayed) -> list[str]:
    channels = ["orders", "fills", "balances"] + (["positions"] if played.market == "usdm" else [])
    return [played.acct(channel) for channel in channels]


def fetches(exchange: BinanceExchange, call: str = "openOrders") -> int:
    return sum(f"/{call}?" in called for called in exchange.called)


def synchronised(played: BinancePlayed, times: int = 1) -> None:
    """Wait until the fills of the last symbol were answered so often."""
    fills = "myTrades?symbol=ETHUSDT" if played.market == "spot" else "userTrades?symbol=ETHUSDT"

    def answered() -> bool:
        return sum(fills in called for called in played.exchange.called) >= times

    eventually(answered, f"{times} fetches")


def test_spot_to_the_digit(play: Play, binance_exchange: BinanceExchange) -> None:
    binance_exchange.lists["account"] = [{"asset": "BTC", "free": "2.50000000", "locked": "0.50000000"}]
    played = play("spot")
    played.live(*keys(played))
    [balance] = played.wait(played.acct("balances"), 1)
    assert (balance["currency"], balance["available"], balance["reserved"]) == ("BTC", "2.50000000", "0.50000000")
    binance_exchange.tell(WS_API, report("spot", "BTCUSDT"), frames.POSITIONS)
    [order] = played.wait(played.acct("orders"), 1)
    del order["recv"], order["ts"]
    assert order == {
        "type": "order",
        "order_id": "4293153",
        "client_id": "mUvoqJxFIILMdfAW5iGSOW",
        "pair": "BTC-USDT",
        "kind": "limit",
        "side": "buy",
        "price": "0.10264410",
        "size": "1.00000000",
        "filled": "0.50000000",
        "status": "partially_filled",
    }
    [fill] = played.wait(played.acct("fills"), 1)
    assert (fill["fill_id"], fill["price"], fill["fee"]) == ("28457", "0.10264400", "0.00010000")
    before = fetches(binance_exchange)
    binance_exchange.tell(WS_API, frames.DEPOSIT)
    eventually(lambda: fetches(binance_exchange) > before, "the state is fetched after a deposit")
    assert played.entries(played.acct("balances"))[-1]["currency"] == "ETH"
    assert binance_exchange.wrong == []
    played.finished()


def test_usdm_to_the_digit(play: Play, binance_exchange: BinanceExchange) -> None:
    binance_exchange.lists["balance"] = [frames.USDM_BALANCE]
    binance_exchange.lists["positionRisk"] = [frames.USDM_POSITION]
    played = play("usdm")
    played.secrets.append("listenkey")
    played.live(*keys(played))
    [balance] = played.wait(played.acct("balances"), 1)
    assert (balance["available"], balance["reserved"]) == ("23.72469206", "122583.62668697")
    [position] = played.wait(played.acct("positions"), 1)
    assert (position["side"], position["size"], position["mark_price"], position["leg"]) == (
        "long",
        "0.0180",
        "9000.5",
        "",
    )
    hedged = json.loads(frames.ACCOUNT)
    hedged["a"]["P"] = [hedged["a"]["P"][0] | {"ps": leg, "pa": pa} for leg, pa in (("LONG", "2"), ("SHORT", "-3"))]
    coin = json.loads(frames.ACCOUNT)
    coin["a"]["P"][0] |= {"s": "BTCUSD_PERP"}
    wallets = fetches(binance_exchange, "balance")
    binance_exchange.tell(
        PRIVATE, frames.LITE, report("usdm", "BTCUSDT"), json.dumps(coin).encode(), json.dumps(hedged).encode()
    )
    [order] = played.wait(played.acct("orders"), 1)
    assert (order["order_id"], order["pair"], order["status"]) == ("8886774", "BTC-USDT-PERP", "partially_filled")
    [fill] = played.wait(played.acct("fills"), 1)
    assert (fill["fill_id"], fill["size"], fill["fee"], fill["fee_currency"]) == ("77", "0.004", "0.0158", "USDT")
    legs = [(entry["leg"], entry["side"], entry["size"]) for entry in played.wait(played.acct("positions"), 3)[1:]]
    assert legs == [("long", "long", "2"), ("short", "short", "3")]
    eventually(lambda: fetches(binance_exchange, "balance") > wallets, "the wallets are fetched after a change")
    assert binance_exchange.wrong == []
    played.finished()
    assert len(played.entries(played.acct("fills"))) == 1


@both
def test_a_drop_in_the_middle_of_a_fill(play: Play, binance_exchange: BinanceExchange, market: str) -> None:
    """Two symbols with equal ids; the rest happens while nobody listens: each fill once, each order at its end."""
    played = play(market)
    played.live(*keys(played))
    synchronised(played)
    ids = {"i": 5, "t": 7}
    binance_exchange.tell(PATHS[market], *(report(market, symbol, **ids) for symbol in ("BTCUSDT", "ETHUSDT")))
    played.wait(played.acct("fills"), 2)
    same = {"orderId": 5, "id": 7}
    fills = "myTrades" if market == "spot" else "userTrades"
    for symbol in ("BTCUSDT", "ETHUSDT"):
        known, new = row(market, "fill", symbol, **same), row(market, "fill", symbol, **same | {"id": 8})
        binance_exchange.lists[f"{fills}?{symbol}"] = [known, new]
    ended = row(market, "order", "BTCUSDT", orderId=5, status="CANCELED", executedQty="0.7")
    binance_exchange.lists["openOrders"] = []
    binance_exchange.lists["order?5"] = [ended]
    binance_exchange.cut(PATHS[market], 1008, "Pong timeout")
    found = [(fill["pair"], fill["fill_id"]) for fill in played.wait(played.acct("fills"), 4)]
    first, second = PAIRS[market]
    assert sorted(found) == [(first, "7"), (first, "8"), (second, "7"), (second, "8")]
    last = played.wait(played.acct("orders"), 3)[2:]
    assert (first, "cancelled") in [(order["pair"], order["status"]) for order in last]
    for key in [key for key in keys(played) if not key.endswith("balances")]:
        _, down, _ = played.says(key, "live", "down", "live")
        assert down["reason"] == "closed by the exchange: 1008 Pong timeout"
    assert "closed by the exchange: 1008 Pong timeout" in played.process.output
    assert binance_exchange.wrong == []
    played.finished()


def test_a_subscription_that_the_exchange_ends(play: Play, binance_exchange: BinanceExchange) -> None:
    """The connection stands: there is a gap, another subscription, and what was missed by REST."""
    played = play("spot")
    played.live(*keys(played))
    synchronised(played)
    binance_exchange.lists["myTrades?BTCUSDT"] = [row("spot", "fill", "BTCUSDT", id=9)]
    binance_exchange.tell(WS_API, frames.TERMINATED)
    [fill] = played.wait(played.acct("fills"), 1)
    assert fill["fill_id"] == "9"
    assert all(played.controls(key) == ["live", "gap"] for key in keys(played))
    assert len(binance_exchange.handshakes) == 1
    binance_exchange.tell(WS_API, report("spot", "ETHUSDT", t=10))
    assert [fill["fill_id"] for fill in played.wait(played.acct("fills"), 2)] == ["9", "10"]
    played.finished()


def test_a_listen_key_that_expires_in_the_middle_of_a_fill(play: Play, binance_exchange: BinanceExchange) -> None:
    played = play("usdm")
    played.secrets.append("listenkey")
    played.live(*keys(played))
    synchronised(played)
    binance_exchange.tell(PRIVATE, report("usdm", "BTCUSDT", t=1))
    played.wait(played.acct("fills"), 1)
    binance_exchange.lists["userTrades?BTCUSDT"] = [row("usdm", "fill", "BTCUSDT", id=number) for number in (1, 2)]
    binance_exchange.expire()
    assert [fill["fill_id"] for fill in played.wait(played.acct("fills"), 2)] == ["1", "2"]
    assert played.controls(played.acct("fills")) == ["live", "down", "live"]
    assert played.last_control(played.acct("orders"))["reason"] in ("", "the listen key has expired")
    assert binance_exchange.handshakes == ["/private/ws/listenkey0001", "/private/ws/listenkey0002"]
    assert binance_exchange.kept == ["POST", "POST"]
    played.finished()


def test_an_ed25519_key_signs_as_well(play: Play, binance_exchange: BinanceExchange) -> None:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = Ed25519PrivateKey.generate().private_bytes(*form).decode()
    binance_exchange.secret = pem
    played = play("spot", credentials={"api_secret": pem})
    played.secrets += pem.splitlines()[1:-1]
    played.live(*keys(played))
    synchronised(played)
    assert binance_exchange.wrong == []
    played.finished()


@both
@pytest.mark.parametrize("ahead", [-90_000, 30_000])
def test_a_clock_that_is_off(play: Play, binance_exchange: BinanceExchange, market: str, ahead: int) -> None:
    binance_exchange.clock = ahead
    played = play(market)
    synchronised(played)
    played.live(*keys(played))
    played.finished(forgiven=["-1021"])


def test_a_key_that_is_revoked_takes_the_account_down(play: Play, binance_exchange: BinanceExchange) -> None:
    """The public side goes on."""
    played = play("spot", channels=["book"])
    played.live(*keys(played))
    synchronised(played)
    binance_exchange.tell(WS_API, frames.REVOKED)
    for key in keys(played):
        eventually(lambda key=key: played.controls(key) == ["live", "down"], f"{key} down")
        assert "-2015: Invalid API-key" in played.last_control(key)["reason"]
    log = played.process.wait_for('"connection_lost"')
    line = next(line for line in log.splitlines() if '"connection_lost"' in line)
    assert json.loads(line)["retry_in"] >= 60
    binance_exchange.change("spot", "BTCUSDT", "3.000")
    played.book_is_the_exchanges("BTC-USDT", "BTCUSDT")
    played.finished()


def test_a_ban_over_the_connection_is_waited_for(play: Play, binance_exchange: BinanceExchange) -> None:
    """How long is the difference of two of the exchange's times."""
    error = {
        "code": -1003,
        "msg": "Way too much request weight used",
        "data": {"serverTime": 1_000, "retryAfter": 91_000},
    }
    binance_exchange.refusals = [{"status": 418, "error": error}]
    played = play("spot")
    line = next(
        line for line in played.process.wait_for('"connection_lost"').splitlines() if '"connection_lost"' in line
    )
    assert json.loads(line)["retry_in"] >= 90
    assert '"too_many_requests"' in played.process.output
    played.finished()


@both
def test_check_finds_nothing_wrong(play: Play, binance_exchange: BinanceExchange, market: str) -> None:
    played = play(market, channels=["book"])
    played.process.kill()
    process = played.check()
    assert process.ended() == 0, process.output
    assert "account:main: first frame after" in process.output
    assert binance_exchange.wrong == []


FORBIDDEN = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
"""Of three reasons, which another call tells apart."""


@both
def test_check_tells_a_wrong_pair_a_wrong_key_and_a_missing_permission_apart(
    play: Play, binance_exchange: BinanceExchange, market: str
) -> None:
    played = play(market, channels=["book"])
    played.process.kill()
    text = played.config.read_text()
    refused: dict[str, dict[str, Any]] = {
        "permission": {},
        "address": {"apiRestrictions": FORBIDDEN},
        "unknown": {"apiRestrictions": {"code": -2008, "msg": "Invalid Api-Key ID."}},
    }
    binance_exchange.lists["apiRestrictions"] = {"enableReading": False, "enableFutures": False}
    found = {}
    for case, old, new in (
        ("pair", "BTC-USDT", "BTC-USTD"),
        ("key", frames.KEY, "another-key"),
        ("secret", frames.SECRET, "another-secret"),
        ("permission", "", ""),
        ("address", "", ""),
        ("unknown", "", ""),
    ):
        binance_exchange.rest_refusals = {"openOrders": FORBIDDEN, **refused[case]} if case in refused else {}
        played.config.write_text(text.replace(old, new) if old else text)
        process = played.check()
        assert process.ended() != 0, case
        found[case] = process.output
    assert "did you mean BTC-USDT" in found["pair"]
    assert "this is no key of the exchange's" in found["key"]
    assert "the secret is not the key's" in found["secret"]
    assert "the key lacks the permission to read" in found["permission"]
    assert ("the permission for futures" in found["permission"]) == (market == "usdm")
    assert "does not allow it from this address" in found["address"]
    assert "the exchange does not know the key" in found["unknown"]


def test_the_reason_of_a_refused_subscription_is_in_the_streams(play: Play, binance_exchange: BinanceExchange) -> None:
    binance_exchange.refusals = [{"status": 401, "error": FORBIDDEN}] * 5
    binance_exchange.lists["apiRestrictions"] = {"enableReading": False}
    played = play("spot", channels=[])
    for key in keys(played):
        eventually(lambda key=key: "down" in played.controls(key), f"{key} down")
        assert "(the key lacks the permission to read)" in played.last_control(key)["reason"]
    played.finished()
