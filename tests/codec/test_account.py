"""An OKX account through CCXT: a log-in by message, orders, fills and balances, and its state by REST."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.codec.fake_accounts import Okx
from tests.codec.needs import needs_ccxt
from tests.codec.playing import KEY, PASSPHRASE, SECRET, Played
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.servers import RedisServer

pytestmark = needs_ccxt
ORDERS, FILLS, BALANCES = (f"acct:{{ccxt.okx:main}}:{channel}" for channel in ("orders", "fills", "balances"))
BOOK = "md:{ccxt.okx:BTC-USDT-PERP}:book"


@pytest.fixture
def okx() -> Iterator[Okx]:
    with Okx() as exchange:
        yield exchange


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, okx: Okx) -> Callable[..., Played]:
    def start(**more: Any) -> Played:
        return Played(run, redis_server, tmp_path, okx, "okx", pairs=["BTC-USDT-PERP"], account="main", **more)

    return start


def told(channel: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instType": "ANY", "uid": "1"}, "data": list(rows)}


def subscribed(okx: Okx) -> bool:
    return sum(said["op"] == "subscribe" for path, said in okx.said if "private" in path and said != "ping") >= 3


def test_an_account_that_trades(play: Callable[..., Played], okx: Okx) -> None:
    """Sizes in coins and contracts; what was there before comes by REST."""
    okx.orders = [okx.order("before", "live")]
    played = play()
    assert played.wait(ORDERS, 1)[0] == {
        "type": "order",
        "ts": "1786309548228000000",
        "recv": played.entries(ORDERS)[0]["recv"],
        "kind": "limit",
        "order_id": "before",
        "client_id": "mine",
        "pair": "BTC-USDT-PERP",
        "side": "buy",
        "price": "65000.10",
        "size": "0.07",
        "filled": "0",
        "status": "open",
        "contracts": "7",
    }
    eventually(lambda: subscribed(okx), "the subscriptions")
    fill = {"fillSz": "3", "fillPx": "65000.10", "tradeId": "77", "fillTime": "1786309548228", "execType": "M"}
    fill |= {"fillFee": "-0.52", "fillFeeCcy": "USDT"}
    okx.push(told("orders", okx.order("1", "live")), to="private")
    okx.push(told("orders", okx.order("1", "partially_filled", "3", **fill)), to="private")
    okx.push(
        {"arg": {"channel": "account", "uid": "1"}, "data": [okx.balance("90.50000000", "10.00000000")]}, to="private"
    )
    orders = played.wait(ORDERS, 3)
    assert [(entry["order_id"], entry["status"], entry["filled"]) for entry in orders[1:]] == [
        ("1", "open", "0"),
        ("1", "partially_filled", "0.03"),
    ]
    [found] = played.wait(FILLS, 1)
    assert (found["fill_id"], found["order_id"], found["size"], found["contracts"]) == ("77", "1", "0.03", "3")
    assert (found["fee"], found["fee_currency"]) == ("0.52", "USDT")
    assert played.wait(BALANCES, 2)[-1]["available"] == "90.50000000"
    assert played.wait(BOOK, 1)[0]["bids"] == "65000.10:0.05"
    assert not [secret for secret in (KEY, SECRET, PASSPHRASE) if secret in played.process.output]


def test_what_happened_during_a_cut_comes_by_rest(play: Callable[..., Played], okx: Okx) -> None:
    """An order that was open and is no longer has an unknown status; a fill of the time between comes once."""
    okx.orders = [okx.order("1", "live")]
    played = play()
    played.wait(ORDERS, 1)
    okx.orders = []
    okx.fills = [
        {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "ordId": "1",
            "tradeId": "78",
            "billId": "9",
            "side": "buy",
            "fillPx": "65000.10",
            "fillSz": "7",
            "fee": "-0.10",
            "feeCcy": "USDT",
            "ts": str(time.time_ns() // 1_000_000),  # of the last day: fills from before that are not asked for
            "execType": "T",
        }
    ]
    okx.cut()
    assert played.wait(ORDERS, 2)[1]["status"] == ""
    assert [(entry["fill_id"], entry["fee"]) for entry in played.wait(FILLS, 1)] == [("78", "0.1")]


def test_a_refused_log_in_is_told_and_does_not_touch_the_market_data(play: Callable[..., Played], okx: Okx) -> None:
    okx.refuse_login = True
    played = play()
    played.process.wait_for("login_refused")
    eventually(lambda: "down" in played.controls(ORDERS), "the account is down")
    played.wait(BOOK, 1)
    assert not [secret for secret in (KEY, SECRET, PASSPHRASE) if secret in played.process.output]


def test_a_missing_credential_is_named_before_anything_is_asked(
    run: Run, redis_server: RedisServer, tmp_path: Path, okx: Okx
) -> None:
    played = Played(run, redis_server, tmp_path, okx, "okx", pairs=["BTC-USDT-PERP"], account="main", passphrase=False)
    assert played.process.ended() == 1
    assert "ccxt.okx also needs api_passphrase" in played.process.output
    assert okx.asked == []
