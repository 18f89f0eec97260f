"""What of the exchanges through CCXT needs no CCXT: the table, coroutines driven by hand, numbers, markets, events."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import pytest

from bridge.errors import ConfigError
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges import all_names, exchange_type, names
from bridge.exchanges.api import HttpRequest, HttpResponse, Profile
from bridge.exchanges.ccxt.calls import Addresses
from bridge.exchanges.ccxt.digits import Digits, decode, text
from bridge.exchanges.ccxt.driving import Machine, Promise, Request, Sleep, gather, race
from bridge.exchanges.ccxt.errors import is_gap, reported, rest_error
from bridge.exchanges.ccxt.markets import Markets
from bridge.exchanges.ccxt.promises import WITNESSES
from bridge.exchanges.ccxt.rows import Rows
from bridge.exchanges.ccxt.session import unpacked
from bridge.model import Channel
from tests.environment import clean_environment

NOW = 1_786_309_548_228_000_000
SPOT = {"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "id": "BTCUSDT", "active": True}
SWAP = {
    **SPOT,
    "symbol": "BTC/USDT:USDT",
    "settle": "USDT",
    "type": "swap",
    "linear": True,
    "contractSize": Decimal("0.01"),
}
INVERSE = {
    **SPOT,
    "symbol": "BTC/USD:BTC",
    "quote": "USD",
    "type": "swap",
    "inverse": True,
    "contractSize": Decimal(100),
}
USDC = {**INVERSE, "symbol": "BTC/USD:USDC", "inverse": False, "linear": True, "contractSize": Decimal(1)}


def of(**row: Any) -> dict[str, Any]:
    return {
        "side": "buy",
        "price": Decimal("27500.10"),
        "amount": Decimal("0.00000010"),
        "timestamp": NOW // 1_000_000,
        **row,
    }


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_registry_knows_the_ids_without_importing_ccxt() -> None:
    """It takes half a second and a hundred megabytes, which no other connector has to pay."""
    assert len(all_names()) - len(names()) == 76
    code = "import sys; from bridge.exchanges import all_names, exchange_type; [exchange_type(n) for n in all_names()]; print('ccxt' in sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    assert run.stdout == "False\n"


@pytest.mark.skipif(find_spec("ccxt") is not None, reason="the extra is installed")
def test_a_missing_extra_is_a_mistake_with_the_line_that_mends_it() -> None:
    exchange = exchange_type("ccxt.kucoin")(Profile(("BTC-USDT",), frozenset({Channel.TRADES})))
    with pytest.raises(ConfigError, match=r"pip install 'tickbridge\[ccxt\]'") as caught:
        exchange.check()
    assert caught.value.exit_code == 1


# --- driving ----------------------------------------------------------------------------------------------------------


def test_a_coroutine_goes_as_far_as_what_it_waits_for() -> None:
    machine, asked, said = Machine(), Promise(["one"]), []

    async def work() -> str:
        said.append(await asked)
        await Sleep(1_000)
        return "end"

    task = machine.start(work())
    machine.run()
    assert (said, task.hashes) == ([], ("one",))
    asked.resolve("value")
    machine.run()
    assert said == ["value"]
    machine.tick(999_000_000)
    machine.run()
    assert not task.result.done()
    machine.tick(1_000_000_000)
    machine.run()
    assert (task.result.result(), machine.ended) == ("end", [task])


def test_the_first_of_several_promises_decides() -> None:
    promises = [Promise([name]) for name in "abc"]
    first = race(promises)
    assert first.hashes == ("a", "b", "c")
    promises[1].resolve(2)
    promises[0].reject(ValueError("late"))
    assert first.result() == 2


def test_rest_calls_of_gathered_coroutines_are_made_one_after_the_other() -> None:
    machine = Machine()

    async def call(path: str) -> bytes:
        return (await Request("GET", path, {}, "")).body

    task = machine.start(gather(call("/1"), call("/2")))
    flow = machine.converse(lambda asked: HttpRequest(asked.method, asked.url))
    assert next(flow).path == "/1"
    assert flow.send(HttpResponse(200, b"one", recv=5)).path == "/2"
    with pytest.raises(StopIteration):
        flow.send(HttpResponse(503, b"two"))
    assert (task.result.result(), task.status, machine.now) == ([b"one", b"two"], 503, 5)


def test_a_failed_rest_call_is_raised_where_it_is_awaited() -> None:
    machine = Machine()

    async def call() -> str:
        try:
            await Request("GET", "/", {}, "")
        except RestError as error:
            return error.message
        return ""

    task = machine.start(call())
    flow = machine.converse(lambda asked: HttpRequest(asked.method, asked.url))
    next(flow)
    with pytest.raises(StopIteration):
        flow.throw(RestError("x", "/", 0, "no answer"))
    assert task.result.result() == "no answer"


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_digits_stay_as_they_are_in_the_frame() -> None:
    row = decode(
        b'{"price": 27500.10, "small": 1E-7, "whole": 5, "text": "0.00000010", "big": 9007199254740993, "no": ""}'
    )
    assert [text(Digits.safe_float(row, key)) for key in ("price", "small", "whole", "text")] == [
        *("27500.10", "0.0000001", "5", "0.00000010")
    ]
    assert Digits.safe_string(row, "price") == "27500.10"
    assert Digits.safe_integer(row, "big") == 9007199254740993
    assert Digits.safe_timestamp({"at": "1.234"}, "at") == 1234
    assert Digits.safe_string_2(row, "no", "text") == "0.00000010"
    assert Digits.safe_float(row, "no", "default") == Digits.safe_float(row, "missing", "default") == "default"
    assert Digits.safe_string({"at": True}, "at") is None
    assert Digits.safe_float({"at": "NaN"}, "at") is None


def test_packed_frames() -> None:
    import gzip

    assert unpacked(gzip.compress(b"{}"), {"gunzip": True}) == b"{}"
    assert unpacked(b"{}", {"gunzip": True}) == b"{}"
    with pytest.raises(ValueError, match="can't be unpacked"):
        unpacked(b"\x1f\x8bnonsense", {"gunzip": True})
    with pytest.raises(ValueError, match="too large"):
        unpacked(gzip.compress(bytes(40_000_000)), {"gunzip": True})


# --- markets and rows -------------------------------------------------------------------------------------------------


def test_pairs_are_named_by_what_a_market_is() -> None:
    future = {**SWAP, "symbol": "BTC/USDT:USDT-261225", "type": "future", "expiry": 1_798_185_600_000}
    option = {**SWAP, "symbol": "BTC/USDT:USDT-261225-1-C", "type": "option"}
    markets = Markets.of([SPOT, SWAP, future, option])
    assert sorted(markets.by_pair) == ["BTC-USDT", "BTC-USDT-261225", "BTC-USDT-PERP"]


def test_a_name_of_several_markets_is_a_mistake_unless_a_symbol_decides() -> None:
    markets = Markets.of([INVERSE, USDC])
    with pytest.raises(ConfigError, match="BTC-USD-PERP may be any of BTC/USD:BTC, BTC/USD:USDC"):
        markets.find("BTC-USD-PERP", {})
    found = markets.find("BTC-USD-PERP", {"BTC-USD-PERP": "BTC/USD:BTC"})
    assert found is not None
    assert found.inverse
    only = Markets.of([{**INVERSE, "active": False}, USDC]).find("BTC-USD-PERP", {})
    assert only is not None
    assert only.symbol == "BTC/USD:USDC"


@pytest.mark.parametrize(
    ("row", "size", "contracts"),
    [(SPOT, "0.00000010", None), (SWAP, "0.000000001", "0.00000010"), (INVERSE, "", "0.00000010")],
)
def test_sizes_are_in_base_coins(row: dict[str, Any], size: str, contracts: str | None) -> None:
    markets = Markets.of([row])
    [market] = markets.by_symbol.values()
    trade = Rows(markets, {}, inverted=False).trade(of(id="1"), market.pair, market, NOW)
    assert (trade.price, trade.size, trade.contracts, trade.side) == ("27500.10", size, contracts, "buy")


def test_makers_sides_are_turned_round_and_fine_times_are_kept() -> None:
    markets = Markets.of([SPOT])
    [market] = markets.by_symbol.values()
    row = of(id=None, datetime="2026-08-09T21:05:48.228568804Z")
    trade = Rows(markets, {}, inverted=True).trade(row, "BTC-USDT", market, NOW)
    assert (trade.side, trade.id, trade.ts) == ("sell", "", 1_786_309_548_228_568_804)


@pytest.mark.parametrize("bad", [{"side": None}, {"price": None}, {"amount": Decimal(-1)}, {"price": "x"}])
def test_a_row_that_is_no_trade(bad: dict[str, Any]) -> None:
    markets = Markets.of([SPOT])
    [market] = markets.by_symbol.values()
    with pytest.raises((ValueError, ArithmeticError)):
        Rows(markets, {}, inverted=False).trade(of(id="1", **bad), "BTC-USDT", market, NOW)


def test_a_position_is_flat_in_one_way_mode() -> None:
    markets = Markets.of([SWAP])
    rows = Rows(markets, {"BTC/USDT:USDT": "BTC-USDT-PERP"}, inverted=False)
    flat = rows.position({"symbol": "BTC/USDT:USDT", "contracts": Decimal(0), "side": "long"}, "main", NOW)
    assert (flat.side, flat.size, flat.contracts, flat.leg) == ("", "0", "0", "")
    held = {"contracts": Decimal(7), "side": "short", "hedged": True, "entryPrice": Decimal("65000.10")}
    leg = rows.position({"symbol": "BTC/USDT:USDT", **held}, "main", NOW)
    assert (leg.side, leg.size, leg.contracts, leg.leg, leg.entry_price) == ("short", "0.07", "7", "short", "65000.10")


# --- promises, errors, addresses --------------------------------------------------------------------------------------


def test_coinbases_witness() -> None:
    look = WITNESSES["coinbase"]()
    assert [look({"sequence_num": number}) for number in (0, 1, 1, 3, 4)] == [None, None, None, "", None]
    assert look("pong") is None


def test_bybits_witness_looks_at_each_book_alone() -> None:
    look = WITNESSES["bybit"]()

    def frame(kind: str, number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
        return {"topic": f"orderbook.50.{symbol}", "type": kind, "data": {"u": number}}

    frames = [
        frame("snapshot", 7),
        frame("delta", 8),
        frame("delta", 3, "ETHUSDT"),
        frame("delta", 10),
        frame("snapshot", 1),
    ]
    assert [look(one) for one in frames] == [None, None, None, "BTCUSDT", None]


class BaseError(Exception):
    """As CCXT's."""


class AuthenticationError(BaseError):
    """As CCXT's."""


class ChecksumError(BaseError):
    """As CCXT's."""


class NetworkError(BaseError):
    """As CCXT's."""


def test_errors_are_told_apart_by_their_names() -> None:
    assert reported("x", AuthenticationError("no")).kind is ErrorKind.LOGIN_REFUSED
    assert rest_error("x", "p", AuthenticationError("no"), 200).kind is ErrorKind.REST_LOGIN_REFUSED
    assert rest_error("x", "p", NetworkError("no")).kind is ErrorKind.REST_NO_ANSWER
    assert rest_error("x", "p", NetworkError("no"), 502).kind is ErrorKind.REST_FAILED
    assert is_gap(ChecksumError())
    assert not is_gap(NetworkError())


def test_one_server_may_stand_for_all_hosts() -> None:
    asked = Request("GET", "https://api.kraken.com/0/public/Time?a=1&sig=b", {}, "")
    request = Addresses(rest_url="http://127.0.0.1:9", private=True).request(asked)
    assert (request.base, request.path) == ("http://127.0.0.1:9", "/api.kraken.com/0/public/Time?a=1&sig=b")
    assert request.safe_path == "/api.kraken.com/0/public/Time"
    assert Addresses().request(asked).base == "https://api.kraken.com"
    assert Addresses(private=True).target("wss://x.com/ws/a-listen-key", {}).shown == "wss://x.com"
    target = Addresses(url="ws://127.0.0.1:9").target("wss://ws.kraken.com/v2?token=secret", {})
    assert (target.url, target.shown) == (
        *("ws://127.0.0.1:9/ws.kraken.com/v2?token=secret", "ws://127.0.0.1:9/ws.kraken.com/v2"),
    )
