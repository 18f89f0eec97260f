"""A Coinbase account, from a server that speaks as the exchange does to the streams: tokens, cuts, catching up, refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.coinbase_accounts import CoinbaseAccounts
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.observing import controls
from tests.e2e.played import Played, Venue
from tests.servers import RedisServer
from tests.unit import coinbase_account_frames as frames

CHANNELS = ("orders", "fills", "balances", "positions")
KEYS = [f"acct:{{coinbase:main}}:{channel}" for channel in CHANNELS]
ORDERS, FILLS, BALANCES, POSITIONS = KEYS
BOOK = "md:{coinbase:BTC-USD}:book"


COINBASE = Venue(
    name="coinbase",
    credentials={"api_key": frames.KEY, "api_secret": frames.SECRET},
    secrets=(frames.SECRET, "eyJ", "Bearer"),
    connector={"pairs": ["BTC-USD"], "channels": [], "account": "main"},
)
Play = Callable[..., Played]


@pytest.fixture
def exchange() -> Iterator[CoinbaseAccounts]:
    with CoinbaseAccounts() as served:
        yield served


@pytest.fixture
def prepare(run: Run, redis_server: RedisServer, tmp_path: Path, exchange: CoinbaseAccounts) -> Play:
    """A config, and nothing that runs yet."""
    return lambda **changes: Played(COINBASE, run, redis_server, tmp_path, exchange, **changes)


@pytest.fixture
def play(prepare: Play) -> Play:
    """A connector whose account is live."""

    def start(**changes: Any) -> Played:
        played = prepare(**changes).start()
        played.live(*KEYS)
        return played

    return start


def by_id(entries: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Order → its newest status, and how far it is filled."""
    return {entry["order_id"]: (entry["status"], entry["filled"]) for entry in entries}


def test_frames_to_the_digit(play: Play, exchange: CoinbaseAccounts) -> None:
    exchange.wallets = {"BTC": ("1.23456789", "0.00500000"), "USD": ("7.10", "0")}
    exchange.positions = [frames.POSITION]
    exchange.fills.append((0.0, {**frames.FILL, "trade_time": exchange.now(), "sequence_timestamp": exchange.now()}))
    played = play()
    exchange.say("user", {"type": "update", "orders": [frames.ORDER], "positions": frames.NO_POSITIONS})
    [order] = played.wait(ORDERS, 1)
    assert {name: value for name, value in order.items() if name not in ("recv", "ts")} == {
        "type": "order",
        "order_id": "YYY",
        "client_id": "XXX",
        "pair": "BTC-USD",
        "kind": "limit",
        "side": "buy",
        "price": "50000",
        "size": "0.01",
        "filled": "0.01",
        "status": "filled",
        "contracts": "",
    }
    [fill] = played.wait(FILLS, 1)
    wanted = {"fill_id": "22222-2222222-22222222", "size": "0.005", "fee": "1.14", "fee_currency": "USD"}
    assert {name: fill[name] for name in wanted} == wanted
    balances = {entry["currency"]: (entry["available"], entry["reserved"]) for entry in played.wait(BALANCES, 2)}
    assert balances == {"BTC": ("1.23456789", "0.00500000"), "USD": ("7.10", "0")}
    [position] = played.wait(POSITIONS, 1)
    assert (position["pair"], position["side"], position["size"]) == ("BIP-20DEC30-CDE", "long", "0.02")
    assert (position["contracts"], position["unrealised_pnl"]) == ("2", "20.00")
    assert exchange.asked == ["heartbeats", "user", "futures_balance_summary"]
    played.finished()


@pytest.mark.parametrize("count", [50, 120])
def test_a_snapshot_in_pages_of_orders_without_prices(play: Play, exchange: CoinbaseAccounts, count: int) -> None:
    exchange.page, exchange.priced = 60, False
    for number in range(count):
        exchange.place(f"o{number}", "0.01", f"{number + 1}.5")
    played = play()
    played.wait(ORDERS, count)
    exchange.tell(exchange.place("last", "0.01", "7"))
    entries = played.wait(ORDERS, count + 1)
    prices = {entry["order_id"]: entry["price"] for entry in entries}
    assert prices == {**{f"o{number}": f"{number + 1}.5" for number in range(count)}, "last": "7"}
    assert len(entries) == count + 1
    played.finished()


def test_an_order_that_is_filled_in_three_parts(play: Play, exchange: CoinbaseAccounts) -> None:
    """One of them REST shows late; and after a cut none of them comes again."""
    played = play()
    exchange.tell(exchange.place("o", "0.03", "45000"))
    exchange.tell(exchange.fill("o", "f-1", "0.01"))
    played.wait(FILLS, 1)
    exchange.tell(exchange.fill("o", "f-2", "0.01", late=3.0))
    exchange.tell(exchange.fill("o", "f-3", "0.01"))
    assert {fill["fill_id"] for fill in played.wait(FILLS, 3)} == {"f-1", "f-2", "f-3"}
    exchange.cut()
    eventually(lambda: controls(played.client, FILLS) == ["live", "down", "live"], "the fills are live again")
    exchange.place("p", "0.01", "45000")
    exchange.tell(exchange.fill("p", "f-4", "0.01"))
    found = played.wait(FILLS, 4)
    assert [fill["fill_id"] for fill in found].count("f-4") == len(found) - 3 == 1
    assert sum(Decimal(fill["size"]) for fill in found if fill["order_id"] == "o") == Decimal("0.03")
    assert by_id(played.entries(ORDERS))["o"] == ("filled", "0.03")
    played.finished()


def test_a_drop_in_the_middle_of_a_fill(play: Play, exchange: CoinbaseAccounts) -> None:
    """The rest of the order, a cancellation and an expiry happen while nobody listens."""
    played = play()
    for ident in ("filled", "cancelled", "expired", "open"):
        exchange.tell(exchange.place(ident, "0.02", "45000"))
    exchange.tell(exchange.fill("filled", "f-1", "0.01"))
    played.wait(FILLS, 1)
    played.wait(ORDERS, 5)
    exchange.fill("filled", "f-2", "0.01")
    exchange.fill("expired", "f-3", "0.01")
    exchange.end("expired", "EXPIRED")
    exchange.end("cancelled", "CANCELLED")
    exchange.cut()
    assert [fill["fill_id"] for fill in played.wait(FILLS, 3)] == ["f-1", "f-2", "f-3"]
    played.live(*KEYS)
    assert by_id(played.wait(ORDERS, 8)) == {
        "filled": ("filled", "0.02"),
        "cancelled": ("cancelled", "0"),
        "expired": ("cancelled", "0.01"),
        "open": ("open", "0"),
    }
    assert all(controls(played.client, key) == ["live", "down", "live"] for key in KEYS)
    exchange.tell(exchange.told("filled"), exchange.told("open"), {**exchange.told("filled"), "status": "OPEN"})
    exchange.tell(exchange.fill("open", "f-4", "0.01"))
    played.wait(FILLS, 4)
    assert len(played.entries(ORDERS)) == 9
    played.finished()


def test_a_restart_goes_on_where_the_streams_end(play: Play, exchange: CoinbaseAccounts) -> None:
    exchange.wallets = {"BTC": ("1", "0")}
    played = play()
    exchange.tell(exchange.place("o", "0.02", "45000"))
    exchange.tell(exchange.fill("o", "f-1", "0.01"))
    played.wait(FILLS, 1)
    played.wait(BALANCES, 1)
    played.finished()
    exchange.fill("o", "f-2", "0.01")
    exchange.wallets = {"USD": ("5", "0")}
    again = play()
    assert [fill["fill_id"] for fill in again.wait(FILLS, 2)] == ["f-1", "f-2"]
    assert by_id(again.entries(ORDERS)) == {"o": ("filled", "0.02")}
    balances = [(entry["currency"], entry["available"]) for entry in again.wait(BALANCES, 3)]
    assert balances == [("BTC", "1"), ("USD", "5"), ("BTC", "0")]
    again.finished()


def test_a_resting_order_moves_what_is_free_to_what_is_held(play: Play, exchange: CoinbaseAccounts) -> None:
    exchange.wallets = {"USD": ("1000.00", "0")}
    played = play()
    played.wait(BALANCES, 1)
    exchange.wallets = {"USD": ("550.00", "450.00")}
    exchange.tell(exchange.place("o", "0.01", "45000"))
    [before, after] = played.wait(BALANCES, 2)
    assert (before["available"], after["available"], after["reserved"]) == ("1000.00", "550.00", "450.00")
    [order] = played.wait(ORDERS, 1)
    assert int(after["recv"]) - int(order["recv"]) < 15 * 10**9, "it was not the poll of every twenty seconds"
    played.finished()


def test_a_hole_is_one_gap_of_each_stream_and_one_look_at_everything(play: Play, exchange: CoinbaseAccounts) -> None:
    played = play()
    exchange.tell(exchange.place("o", "0.02", "45000"))
    played.wait(ORDERS, 1)
    exchange.fill("o", "f-1", "0.01")
    exchange.say("heartbeats", {"heartbeat_counter": 1}, skip=1)
    played.wait(FILLS, 1)
    assert by_id(played.wait(ORDERS, 2)) == {"o": ("partially_filled", "0.01")}
    for key in KEYS:
        assert controls(played.client, key) == ["live", "gap"]
    exchange.again(0, exchange.end("o", "CANCELLED"))
    exchange.tell(exchange.told("o"))
    assert [entry["status"] for entry in played.wait(ORDERS, 3)] == ["open", "partially_filled", "cancelled"]
    played.finished()


def test_a_refused_token_takes_the_account_down_and_nothing_else(prepare: Play, exchange: CoinbaseAccounts) -> None:
    """The connection would stay open, and silent. One more attempt, then a minute's rest."""
    exchange.refuse = ["authentication failure"] * 9
    played = prepare(channels=["book"]).start()
    process = played.process
    played.live(BOOK)
    eventually(lambda: exchange.asked.count("user") == 2, "two attempts")
    lost = eventually(
        lambda: [line for line in process.output.splitlines() if '"connection_lost"' in line][1:],
        "it is given up twice",
    )
    assert json.loads(lost[0])["retry_in"] >= 60
    for key in KEYS:
        last = eventually(lambda key=key: played.client.xlen(key) and played.last(key), f"{key} is down")
        assert (last["event"], last["reason"]) == ("down", "the log-in is refused: authentication failure")
    assert controls(played.client, BOOK) == ["live"]
    assert exchange.users == 0
    played.finished()
    checked = played.check()
    assert checked.ended() == 1
    assert "the log-in is refused (authentication failure)" in checked.output


@pytest.mark.parametrize("ahead", [-600, 600])
def test_a_clock_that_is_off_is_set_by_the_exchanges(play: Play, exchange: CoinbaseAccounts, ahead: int) -> None:
    exchange.clock = ahead
    played = play()
    exchange.tell(exchange.place("o", "0.01", "45000"))
    played.wait(ORDERS, 1)
    played.finished()


@pytest.mark.parametrize("form", ["one line", "key file"])
def test_an_ec_key(play: Play, exchange: CoinbaseAccounts, tmp_path: Path, form: str) -> None:
    exchange.algorithm = "ES256"
    secret = tmp_path / "coinbase.secret"
    one_line = frames.PEM.replace("\n", "\\n")
    secret.write_text(one_line if form == "one line" else json.dumps({"name": frames.KEY, "privateKey": frames.PEM}))
    played = play(credentials={"api_secret_file": str(secret)})
    exchange.tell(exchange.place("o", "0.01", "45000"))
    played.wait(ORDERS, 1)
    played.finished()
    assert frames.PEM.splitlines()[1][:40] not in played.process.output


def test_no_token_is_recorded(prepare: Play, exchange: CoinbaseAccounts, run: Run, tmp_path: Path) -> None:
    played = prepare()
    recording = tmp_path / "coinbase.jsonl"
    process = run("record", "--config", str(played.config), "--out", str(recording), "--duration", "30")
    eventually(lambda: exchange.users == 1 and "futures_balance_summary" in exchange.asked, "the subscriptions")
    assert process.stop() == 0
    rows = [json.loads(line) for line in recording.read_text().splitlines()]
    assert {row["data"] for row in rows if row["t"] == "send"} == {"***"}
    assert any(row["t"] == "http" and frames.PERMISSIONS in row["url"] for row in rows)
    for secret in (frames.SECRET, "eyJ", "Bearer"):
        assert secret not in recording.read_text() + process.output


def limited(times: list[float]) -> Callable[[], web.Response | None]:
    """Too many calls, the first time."""

    def answer() -> web.Response | None:
        times.append(time.monotonic())
        body = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
        return web.json_response(body, status=429, headers={"x-ratelimit-reset": "4"}) if len(times) == 1 else None

    return answer


def test_too_many_calls_are_made_again_when_the_exchange_counts_anew(prepare: Play, exchange: CoinbaseAccounts) -> None:
    times: list[float] = []
    exchange.answers[frames.WALLETS] = limited(times)
    exchange.wallets = {"BTC": ("1", "0")}
    played = prepare()
    played.start()
    played.wait(BALANCES, 1)
    assert times[1] - times[0] >= 4
    assert "rest_rate_limited" in played.process.output
    assert controls(played.client, BALANCES) == ["down", "live"]
    assert controls(played.client, ORDERS) == controls(played.client, FILLS) == ["live"]
    played.finished()


def test_fills_that_the_law_wants_a_proof_for(prepare: Play, exchange: CoinbaseAccounts) -> None:
    exchange.answers[frames.FILLS] = lambda: web.json_response({"error": "proof_token_required"}, status=403)
    played = prepare()
    played.start()
    played.live(ORDERS, BALANCES, POSITIONS)
    assert "proof_token_required" in played.last(FILLS)["reason"]
    played.finished()
    assert sum(called.startswith(frames.FILLS) for called in exchange.called) == 1


def test_check_tells_apart_what_is_wrong_with_a_key(prepare: Play, exchange: CoinbaseAccounts) -> None:
    played = prepare(channels=["trades"], options={"portfolio": "portfolio-001"})
    good = played.check()
    assert good.ended() == 0, good.output
    assert "account main: its key sees the portfolio portfolio-001 (DEFAULT)" in good.output
    assert "account:main: first frame after" in good.output

    def refused(words: str) -> None:
        checked = played.check()
        assert checked.ended() == 1, checked.output
        assert words in checked.output

    exchange.permissions["portfolio_uuid"] = "portfolio-002"
    refused("the key is of the portfolio portfolio-002, not of portfolio-001")
    exchange.permissions = {**exchange.permissions, "portfolio_uuid": "portfolio-001", "can_view": False}
    refused("the key lacks the permission to view")
    scopes = {"error": "PERMISSION_DENIED", "error_details": "Missing required scopes"}
    exchange.answers[frames.PERMISSIONS] = lambda: web.json_response(scopes, status=403)
    refused("403: PERMISSION_DENIED: Missing required scopes")
    exchange.algorithm = "another key's"
    refused("key_permissions: 401: Unauthorized")
    assert exchange.users == 0
