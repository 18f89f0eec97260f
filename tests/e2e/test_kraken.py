"""Kraken's market data, from a server that speaks as the exchange does to the streams: checksums, cuts, refusals, states."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import book_of
from tests.e2e.kraken_exchange import KEY, KrakenExchange
from tests.e2e.observing import controls
from tests.e2e.played import Played, ShownBook, Venue
from tests.servers import RedisServer
from tests.unit import kraken_frames as frames

PAIRS = ["BTC-USD", "MATIC-USD", "ALGO-USD"]
PUBLIC = ("book", "trades", "quotes", "ticker")
Play = Callable[..., Played]


def shown(exchange: KrakenExchange, pair: str, depth: int = 100) -> ShownBook:
    return None, exchange.books[pair.replace("-", "/")].seen(depth)


KRAKEN = Venue(
    name="kraken",
    credentials={"api_key": KEY, "api_secret": frames.SECRET},
    secrets=(frames.SECRET, KEY, "token-"),
    connector={"pairs": PAIRS, "account": "main"},
    shown=shown,
)
md = KRAKEN.md


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, kraken_exchange: KrakenExchange) -> Play:
    def start(**connector: Any) -> Played:
        return Played(KRAKEN, run, redis_server, tmp_path, kraken_exchange, **{"account": None, **connector}).start()

    return start


@pytest.mark.parametrize("zeros", [True, False])
def test_all_channels_to_the_digit(play: Play, kraken_exchange: KrakenExchange, *, zeros: bool) -> None:
    """Numbers with and without trailing zeros; fewer than ten levels; the precisions come late."""
    kraken_exchange.zeros, kraken_exchange.instruments_wait = zeros, [0.5]
    kraken_exchange.trade("MATIC/USD", 10, 11)
    played = play()
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
        played.live(*(md(pair, channel) for channel in PUBLIC))
        assert controls(played.client, md(pair, "book")) == ["live"]
    kraken_exchange.say(
        frames.TICKER, frames.TICKER, frames.changed(frames.TICKER, bid=0, ask=frames.number("1.2e-07"))
    )
    kraken_exchange.trade("MATIC/USD", 12)
    trades = played.wait(md("MATIC-USD", "trades"), 3)
    assert [(trade["id"], trade["side"], trade["price"], trade["size"]) for trade in trades] == [
        (ident, "sell", "0.5117", "40.0") for ident in ("10", "11", "12")
    ]
    quotes = [tuple(quote.values())[3:] for quote in played.wait(md("ALGO-USD", "quotes"), 2)]
    assert quotes == [("0.10025", "740.0", "0.10035", "740.0"), ("", "", "0.00000012", "740.0")]
    [ticker] = played.wait(md("ALGO-USD", "ticker"), 1)
    del ticker["recv"]
    assert ticker == {
        "type": "ticker",
        "ts": "1695632671742648000",
        "window": "86400",
        "open": "",
        "high": "0.10285",
        "low": "0.09979",
        "last": "0.10035",
        "change": "-0.00017",
        "change_pct": "-0.17",
        "volume": "997038.98383185",
    }
    [asked] = kraken_exchange.asked("subscribe", "book")
    assert (asked["depth"], asked["symbol"]) == (100, ["BTC/USD", "MATIC/USD", "ALGO/USD"])
    assert {params["event_trigger"] for params in kraken_exchange.asked("subscribe", "ticker")} == {"bbo"}
    played.finished()


def test_a_book_of_ten_levels_is_the_exchanges_after_every_change(play: Play, kraken_exchange: KrakenExchange) -> None:
    """What falls out behind the tenth level does so without a word, and comes back with its size of then."""
    played = play(pairs=["BTC-USD"], channels=["book"], options={"depth": 10})
    played.book_is_the_exchanges("BTC-USD", 10)
    book = kraken_exchange.books["BTC/USD"]
    best_bid, best_ask, step = max(book.bids), min(book.asks), Decimal("0.1")
    changes = [
        ({best_bid: Decimal(0)}, {}),
        ({best_bid: Decimal("0.00000001")}, {best_ask: Decimal(0), best_ask + step: Decimal(3)}),
        ({}, {best_ask: Decimal("1e-8"), best_ask - step / 2 + step / 2: Decimal("7.5")}),
        ({best_bid - 3 * step: Decimal(0), best_bid - 20 * step: Decimal(9)}, {best_ask + 5 * step: Decimal(0)}),
    ]
    for bids, asks in changes:
        kraken_exchange.change("BTC/USD", bids, asks)
        played.book_is_the_exchanges("BTC-USD", 10)
    levels = [len(side) for side in book_of(played.client.xrange(md("BTC-USD", "book"))) or ()]
    assert levels == [10, 10]
    assert controls(played.client, md("BTC-USD", "book")) == ["live"]
    played.finished()


@pytest.mark.parametrize("fault", ["a wrong checksum", "a lost update", "a crossed book"])
def test_a_wrong_book_is_mended_for_its_pair_alone(play: Play, kraken_exchange: KrakenExchange, fault: str) -> None:
    played = play(channels=["book"])
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
    before, bids = len(kraken_exchange.requests), kraken_exchange.books["BTC/USD"].bids
    best = max(bids)
    if fault == "a wrong checksum":
        kraken_exchange.change("BTC/USD", {best: Decimal(7)}, wrong=True)
    elif fault == "a lost update":
        kraken_exchange.change("BTC/USD", {best: Decimal(7)}, lose=True)
        kraken_exchange.change("BTC/USD", {best - Decimal("0.1"): Decimal(8)})
    else:
        crossed = json.loads(frames.UPDATE)
        crossed["data"][0] |= {"symbol": "BTC/USD", "bids": [{"price": 45000.1, "qty": 1}]}
        kraken_exchange.say(json.dumps(crossed).encode())
    events = played.says(md("BTC-USD", "book"), "live", "gap", "lost")
    played.book_is_the_exchanges("BTC-USD")
    assert ("crossed" if fault == "a crossed book" else "the checksum is") in events[1]["reason"]
    asked = [(request["method"], request["params"]) for request in kraken_exchange.requests[before:]]
    params = {"channel": "book", "symbol": ["BTC/USD"], "depth": 100}
    assert asked == [("unsubscribe", params), ("subscribe", params)]
    for pair in PAIRS:
        book = kraken_exchange.books[pair.replace("-", "/")]
        kraken_exchange.change(pair.replace("-", "/"), {max(book.bids): Decimal(11)})
        played.book_is_the_exchanges(pair)
        assert pair == "BTC-USD" or controls(played.client, md(pair, "book")) == ["live"]
    played.finished()


@pytest.mark.parametrize("bare", [False, True])
def test_a_pair_that_is_refused_is_down_alone(play: Play, kraken_exchange: KrakenExchange, *, bare: bool) -> None:
    """The exchange answers each symbol of a request; a refusal may name its pair only at the end of its words."""
    kraken_exchange.bare = bare
    kraken_exchange.refused = {f"{channel}:MATIC/USD" for channel in ("book", "trade", "ticker")}
    played = play()
    for channel in PUBLIC:
        [down] = played.says(md("MATIC-USD", channel), "down")
        assert down["reason"] == "Currency pair not supported MATIC/USD"
    for pair in ("BTC-USD", "ALGO-USD"):
        played.book_is_the_exchanges(pair)
        played.live(*(md(pair, channel) for channel in PUBLIC))
    assert '"unknown_market"' in played.process.output
    played.finished()


def test_a_cut_repeats_no_trade_and_says_how_many_are_missing(play: Play, kraken_exchange: KrakenExchange) -> None:
    kraken_exchange.trade("BTC/USD", *range(1, 61))
    played = play(pairs=["BTC-USD"], channels=["trades", "book"])
    key = md("BTC-USD", "trades")
    played.wait(key, 50)
    kraken_exchange.trade("BTC/USD", 61)
    played.wait(key, 51)
    kraken_exchange.trade("BTC/USD", *range(62, 70), heard=False)
    kraken_exchange.cut("trade")
    played.wait(key, 59)
    kraken_exchange.trade("BTC/USD", *range(70, 130), heard=False)
    kraken_exchange.cut("trade", 1011)
    played.wait(key, 109)
    assert [int(entry["id"]) for entry in played.entries(key)] == [*range(11, 70), *range(80, 130)]
    events = played.says(key, "live", "down", "live", "down", "live", "gap")
    assert (events[-1]["count"], events[-1]["reason"]) == ("10", "trade 80 does not follow the one before it")
    played.book_is_the_exchanges("BTC-USD")
    played.finished()


def test_a_restart_goes_on_where_the_trades_end(play: Play, kraken_exchange: KrakenExchange) -> None:
    kraken_exchange.trade("BTC/USD", 1, 2)
    played = play(pairs=["BTC-USD"], channels=["trades"])
    key = md("BTC-USD", "trades")
    played.wait(key, 2)
    played.finished()
    kraken_exchange.trade("BTC/USD", *range(3, 60), heard=False)
    again = play(pairs=["BTC-USD"], channels=["trades"])
    assert [int(entry["id"]) for entry in again.wait(key, 52)] == [1, 2, *range(10, 60)]
    assert again.says(key, "live", "stop", "live", "gap")[-1]["count"] == "7"
    again.finished()


@pytest.mark.parametrize("state", ["maintenance", "cancel_only"])
def test_a_maintenance_pauses_all_streams(play: Play, kraken_exchange: KrakenExchange, state: str) -> None:
    played = play(channels=["book", "trades"])
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
    kraken_exchange.set_system(state)
    for pair in PAIRS:
        for channel in ("book", "trades"):
            entries = played.says(md(pair, channel), "live", "down")
            assert entries[-1]["reason"] == f"the exchange has its system in the state '{state}'"
    kraken_exchange.set_system(state)  # it is said about every second
    best = max(kraken_exchange.books["BTC/USD"].bids)
    kraken_exchange.change("BTC/USD", {best: Decimal(7)}, lose=True)
    kraken_exchange.set_system("online")
    for pair in PAIRS:
        played.says(md(pair, "book"), "live", "down", "live")
        played.says(md(pair, "trades"), "live", "down", "live")
        played.book_is_the_exchanges(pair)
    assert kraken_exchange.handshakes == 1
    played.finished()


def test_a_pair_that_stands_still_pauses_alone(play: Play, kraken_exchange: KrakenExchange) -> None:
    played = play(channels=["book"])
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
    kraken_exchange.set_pair("ALGO/USD", "cancel_only")
    entries = played.says(md("ALGO-USD", "book"), "live", "down")
    assert entries[-1]["reason"] == "the exchange has ALGO-USD in the state 'cancel_only'"
    kraken_exchange.set_pair("ALGO/USD", "online")
    played.says(md("ALGO-USD", "book"), "live", "down", "live")
    played.book_is_the_exchanges("ALGO-USD")
    assert controls(played.client, md("BTC-USD", "book")) == ["live"]
    played.finished()


def test_who_comes_too_often_stays_away(play: Play, kraken_exchange: KrakenExchange) -> None:
    kraken_exchange.handshake_status = 429
    played = play(channels=["book"])
    output = played.process.wait_for("connect_failed")
    line = json.loads(next(line for line in output.splitlines() if "connect_failed" in line))
    assert (line["kind"], line["retry_in"] >= 600) == ("blocked", True)
    assert played.process.stop() == 0


def test_a_misspelt_pair_is_refused_by_name(play: Play, kraken_exchange: KrakenExchange) -> None:
    """The spelling of the API's first version is one, too."""
    del kraken_exchange
    played = play(pairs=["XBT-USD", "BTC-USD"], channels=["book"])
    played.book_is_the_exchanges("BTC-USD")
    assert "did you mean BTC-USD" in played.process.wait_for("XBT-USD")
