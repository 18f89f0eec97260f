"""A Kraken account, from a server that speaks as the exchange does to the streams: tokens, cuts, refusals, catching up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.kraken_exchange import KrakenExchange, stamp
from tests.e2e.observing import controls
from tests.e2e.played import Played
from tests.e2e.test_kraken import KRAKEN, md
from tests.servers import RedisServer
from tests.unit import kraken_frames as frames

ORDERS, FILLS, BALANCES = KEYS = [f"acct:{{kraken:main}}:{channel}" for channel in ("orders", "fills", "balances")]
Play = Callable[..., Played]


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, kraken_exchange: KrakenExchange) -> Play:
    def start(**connector: Any) -> Played:
        given = {"pairs": ["BTC-USD"], "channels": [], **connector}
        return Played(KRAKEN, run, redis_server, tmp_path, kraken_exchange, **given).start()

    return start


def row(frame: bytes, **fields: Any) -> dict[str, Any]:
    """The first row of a frame, of now, with other values."""
    found: dict[str, Any] = json.loads(frame)["data"][0]
    return found | {"timestamp": stamp()} | fields


def fill(ident: str, **fields: Any) -> dict[str, Any]:
    return row(frames.TRADED, exec_id=ident, **fields)


def synchronised(played: Played, times: int = 1) -> None:
    """Wait until the account's state was fetched so often."""
    eventually(lambda: played.exchange.called.count("TradesHistory") >= times, f"{times} fetches")
    eventually(lambda: played.entries(BALANCES), "balances")


def test_frames_to_the_digit(play: Play, kraken_exchange: KrakenExchange) -> None:
    """An order's events say little: what they leave out is completed; it is filled only once the exchange says so."""
    played = play()
    played.live(*KEYS)
    synchronised(played)
    kraken_exchange.execute(*(json.loads(frame)["data"][0] for frame in (frames.PENDING, frames.NEW)))
    for frame in (frames.TRADED, frames.FILLED):
        kraken_exchange.execute(*json.loads(frame)["data"])
    orders = played.wait(ORDERS, 4)
    assert [(order["status"], order["filled"]) for order in orders] == [
        ("open", "0"),
        ("open", "0"),
        ("partially_filled", "0.005"),
        ("filled", "0.005"),
    ]
    whole = {
        "type": "order",
        "order_id": "OK4GJX-KSTLS-7DZZO5",
        "client_id": "",
        "pair": "BTC-USD",
        "kind": "limit",
        "side": "sell",
        "price": "26500.0",
        "size": "0.005",
    }
    for order in orders:
        assert {name: order[name] for name in whole} == whole
    [traded] = played.wait(FILLS, 1)
    del traded["recv"]
    assert traded == {
        "type": "fill",
        "ts": "1695378785709993000",
        "fill_id": "TGBB7L-HT5LX-J3BZ4A",
        "order_id": "OK4GJX-KSTLS-7DZZO5",
        "pair": "BTC-USD",
        "side": "sell",
        "price": "26599.9",
        "size": "0.005",
        "fee": "0.3458",
        "fee_currency": "USD",
        "fees": "0.3458:USD",
    }
    [balance] = played.entries(BALANCES)
    assert (balance["currency"], balance["available"], balance["reserved"]) == ("USD", "80.25", "20.25")
    [asked] = kraken_exchange.asked("subscribe", "executions")
    assert (asked["snap_orders"], asked["snap_trades"]) == (True, True)
    assert kraken_exchange.wrong == []
    played.finished()


def test_a_resting_order_moves_what_is_available(play: Play, kraken_exchange: KrakenExchange) -> None:
    """The channel of balances tells totals only, and nothing when an order reserves."""
    played = play()
    synchronised(played)
    kraken_exchange.results["BalanceEx"] = {
        "ZUSD": {"balance": "100.50", "hold_trade": "50.5"},
        "XXBT": {"balance": "2"},
    }
    kraken_exchange.execute(row(frames.PENDING))
    found = played.wait(BALANCES, 3)[1:]
    assert {(entry["currency"], entry["available"], entry["reserved"]) for entry in found} == {
        ("USD", "50", "50.5"),
        ("BTC", "2", "0"),
    }
    kraken_exchange.results["BalanceEx"] = {
        "ZUSD": {"balance": "99", "credit": "10", "credit_used": "1", "hold_trade": "9"}
    }
    kraken_exchange.balance()
    found = played.wait(BALANCES, 5)[3:]
    assert {(entry["currency"], entry["available"], entry["reserved"]) for entry in found} == {
        ("USD", "99", "9"),
        ("BTC", "0", "0"),
    }
    played.finished()


def test_a_drop_in_the_middle_of_a_fill(play: Play, kraken_exchange: KrakenExchange) -> None:
    """A part of an order is filled, then the connection ends; the rest happens while nobody listens."""
    played = play()
    synchronised(played)
    kraken_exchange.execute(row(frames.PENDING, order_qty=0.01), fill("f-1", cum_qty=0.005))
    played.wait(FILLS, 1)
    played.wait(ORDERS, 2)
    kraken_exchange.fills.append(fill("f-2"))
    ended = frames.ORDER_ROW | {"status": "closed", "vol_exec": "0.01000000", "closetm": 1688667796.5}
    kraken_exchange.results["QueryOrders"] = {"OK4GJX-KSTLS-7DZZO5": ended}
    kraken_exchange.cut("executions")
    assert [entry["fill_id"] for entry in played.wait(FILLS, 2)] == ["f-1", "f-2"]
    last = played.wait(ORDERS, 3)[-1]
    assert (last["order_id"], last["status"], last["filled"]) == ("OK4GJX-KSTLS-7DZZO5", "filled", "0.01000000")
    synchronised(played, 2)
    kraken_exchange.execute(fill("f-2"), fill("f-3"))
    assert [entry["fill_id"] for entry in played.wait(FILLS, 3)] == ["f-1", "f-2", "f-3"]
    assert all(controls(played.client, key) == ["live", "down", "live"] for key in KEYS)
    assert len({form["nonce"] for _, form in kraken_exchange.forms}) == len(kraken_exchange.forms)
    assert kraken_exchange.wrong == []
    played.finished()


def test_more_fills_are_missed_than_a_snapshot_has(play: Play, kraken_exchange: KrakenExchange) -> None:
    played = play()
    synchronised(played)
    kraken_exchange.execute(fill("f-0"))
    played.wait(FILLS, 1)
    kraken_exchange.fills += [fill(f"f-{number}") for number in range(1, 121)]
    kraken_exchange.cut("executions")
    found = [entry["fill_id"] for entry in played.wait(FILLS, 121)]
    assert sorted(found, key=lambda ident: int(ident[2:])) == [f"f-{number}" for number in range(121)]
    offsets = [form["ofs"] for method, form in kraken_exchange.forms if method == "TradesHistory"]
    assert offsets[-3:] == ["0", "50", "100"]
    assert kraken_exchange.wrong == []
    played.finished()


def test_a_hole_in_the_sequence_is_a_gap_and_a_fresh_snapshot(play: Play, kraken_exchange: KrakenExchange) -> None:
    played = play()
    synchronised(played)
    kraken_exchange.execute(fill("f-1"), lose=True)
    kraken_exchange.execute(row(frames.PENDING, order_id="o-2"))
    for key in (ORDERS, FILLS):
        assert played.says(key, "live", "gap")[-1]["reason"] == "message 3 does not follow the one before it"
    assert [entry["fill_id"] for entry in played.wait(FILLS, 1)] == ["f-1"]
    eventually(lambda: len(kraken_exchange.asked("subscribe", "executions")) == 2, "another snapshot")
    assert len(kraken_exchange.asked("unsubscribe", "executions")) == 1
    kraken_exchange.execute(fill("f-2"))
    played.wait(FILLS, 2)
    assert controls(played.client, BALANCES) == ["live"]
    assert controls(played.client, FILLS) == ["live", "gap"]
    played.finished()


def test_a_token_that_expires_in_the_middle_of_a_fill(play: Play, kraken_exchange: KrakenExchange) -> None:
    """It is refused when a snapshot is asked for; the socket stays open, and a new token needs a new one."""
    played = play()
    synchronised(played)
    kraken_exchange.execute(row(frames.PENDING), fill("f-1"))
    played.wait(FILLS, 1)
    kraken_exchange.expire_tokens()
    kraken_exchange.execute(fill("f-2"), lose=True)
    kraken_exchange.execute(row(frames.NEW))
    assert [entry["fill_id"] for entry in played.wait(FILLS, 2)] == ["f-1", "f-2"]
    eventually(lambda: kraken_exchange.called.count("GetWebSocketsToken") == 2, "another token")
    eventually(lambda: controls(played.client, FILLS) == ["live", "gap", "down", "live"], "another connection")
    assert '"session_expired"' in played.process.output
    kraken_exchange.execute(fill("f-3"))
    played.wait(FILLS, 3)
    played.finished(forgiven=["token"])


@pytest.mark.parametrize("words", ["EAPI:Invalid key", "EGeneral:Permission denied", "EGeneral:Temporary lockout"])
def test_a_key_that_is_refused_takes_the_account_down(play: Play, kraken_exchange: KrakenExchange, words: str) -> None:
    """The public side goes on; asking on and on would lock the key out."""
    kraken_exchange.errors["GetWebSocketsToken"] = [words]
    played = play(channels=["book"])
    played.book_is_the_exchanges("BTC-USD")
    output = played.process.wait_for("connect_failed")
    [line] = [json.loads(line) for line in output.splitlines() if "connect_failed" in line]
    assert (line["kind"], line["retry_in"] >= (900 if "lockout" in words else 60)) == ("rest_login_refused", True)
    for key in KEYS:
        [down] = played.says(key, "down")
        assert words in down["reason"]
    assert controls(played.client, md("BTC-USD", "book")) == ["live"]
    played.finished()


def test_a_nonce_that_is_refused_is_followed_by_a_fresh_one(play: Play, kraken_exchange: KrakenExchange) -> None:
    kraken_exchange.errors["GetWebSocketsToken"] = ["EAPI:Invalid nonce", ""]
    played = play()
    played.live(*KEYS)
    assert kraken_exchange.called.count("GetWebSocketsToken") == 2
    played.finished()


def test_too_many_calls_are_made_again_later(play: Play, kraken_exchange: KrakenExchange) -> None:
    """What the connection tells goes on."""
    kraken_exchange.errors["OpenOrders"] = ["EService:Unavailable", ""]
    played = play()
    played.live(*KEYS)
    played.process.wait_for("EService:Unavailable")
    kraken_exchange.execute(fill("f-1"))
    played.wait(FILLS, 1)
    synchronised(played)
    eventually(lambda: kraken_exchange.called.count("OpenOrders") == 2, "the one that failed is made again")
    assert all(controls(played.client, key) == ["live"] for key in KEYS)
    played.finished()


def test_a_restart_goes_on_where_the_streams_end(play: Play, kraken_exchange: KrakenExchange) -> None:
    played = play()
    synchronised(played)
    kraken_exchange.execute(row(frames.PENDING), fill("f-1"))
    played.wait(FILLS, 1)
    played.wait(ORDERS, 2)
    played.finished()
    kraken_exchange.fills.append(fill("f-2"))
    ended = frames.ORDER_ROW | {"status": "canceled", "closetm": 1688667796.5}
    kraken_exchange.results["QueryOrders"] = {"OK4GJX-KSTLS-7DZZO5": ended}
    again = play()
    assert [entry["fill_id"] for entry in again.wait(FILLS, 2)] == ["f-1", "f-2"]
    assert again.wait(ORDERS, 3)[-1]["status"] == "cancelled"
    again.finished()


class TestCheck:
    """A wrong pair, a wrong key and a missing permission are told apart."""

    def check(self, play: Play, **connector: Any) -> tuple[int, str]:
        played = play(**connector)
        played.process.kill()
        played.exchange.called.clear()
        process = played.check()
        return process.ended(), process.output

    def test_all_is_well(self, play: Play, run: Run) -> None:
        code, output = self.check(play, channels=["book", "trades"])
        assert code == 0, output
        for name in ("public-1", "account:main"):
            assert f"{name}: first frame after" in output

    def test_a_wrong_pair(self, play: Play, run: Run) -> None:
        code, output = self.check(play, pairs=["BTC-UDS"], channels=["book"])
        assert (code, "no pair BTC-UDS at this exchange; did you mean" in output) == (1, True)

    @pytest.mark.parametrize(
        ("method", "error", "said"),
        [
            ("GetWebSocketsToken", "EAPI:Invalid key", "EAPI:Invalid key"),
            ("GetWebSocketsToken", "EGeneral:Permission denied", "the key lacks the permission 'WebSocket interface'"),
            ("BalanceEx", "EGeneral:Permission denied", "the key lacks the permission 'Query funds'"),
            ("OpenOrders", "EGeneral:Permission denied", "the key lacks the permission 'Query open orders & trades'"),
            ("OpenOrders", "EAPI:Invalid nonce", "does another program use the key?"),
        ],
    )
    def test_a_wrong_key_or_a_missing_permission(
        self, play: Play, run: Run, kraken_exchange: KrakenExchange, *, method: str, error: str, said: str
    ) -> None:
        kraken_exchange.errors[method] = [error]
        code, output = self.check(play)
        assert (code, said in output) == (1, True), output

    def test_a_secret_that_is_none(self, play: Play, run: Run) -> None:
        played = play()
        played.process.kill()
        played.config.write_text(played.config.read_text().replace(frames.SECRET, "no secret"))
        process = run("check", "--config", str(played.config))
        assert (process.ended(), "api_secret is not Base64" in process.output) == (1, True), process.output
