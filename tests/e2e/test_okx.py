"""OKX's market data, from a server that speaks as the exchange does to the streams: chains, refusals, upgrades, maintenance."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.observing import controls
from tests.e2e.okx_exchange import BUSINESS, KEY, PASSPHRASE, PUBLIC, OkxExchange, trade
from tests.e2e.played import Played, ShownBook, Venue, side
from tests.servers import RedisServer
from tests.unit import okx_frames as frames

SYMBOLS = {
    "BTC-USDT": "BTC-USDT",
    "ETH-USDT": "ETH-USDT",
    "BTC-USDT-PERP": "BTC-USDT-SWAP",
    "BTC-USDT-261225": "BTC-USDT-261225",
}
PAIRS = list(SYMBOLS)
COINS = {"BTC-USDT-PERP": "0.01", "BTC-USDT-261225": "0.01"}
"""Pair → coins of a contract."""
MARKET = ["trades", "book", "quotes", "ticker"]
Play = Callable[..., Played]


def shown(exchange: OkxExchange, pair: str) -> ShownBook:
    book, worth = exchange.books[SYMBOLS[pair]], COINS.get(pair, "1")
    return book.number, (side(book.bids, worth), side(book.asks, worth))


OKX = Venue(
    name="okx",
    credentials={"api_key": KEY, "api_secret": frames.SECRET, "api_passphrase": PASSPHRASE},
    secrets=(frames.SECRET, KEY, PASSPHRASE),
    connector={"pairs": PAIRS, "account": "main"},
    shown=shown,
)
md = OKX.md


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, okx_exchange: OkxExchange) -> Play:
    def start(**connector: Any) -> Played:
        defaults = {"account": None, "channels": MARKET}
        return Played(OKX, run, redis_server, tmp_path, okx_exchange, **{**defaults, **connector}).start()

    return start


def test_frames_to_the_digit(play: Play, okx_exchange: OkxExchange) -> None:
    played = play()
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
        played.live(*(md(pair, channel) for channel in MARKET))
    okx_exchange.say(
        PUBLIC, frames.TRADE, frames.TRADE_SWAP, frames.QUOTE, frames.QUOTE, frames.TICKER, frames.TICKER_SWAP
    )
    [spot] = played.wait(md("BTC-USDT", "trades"), 1)
    del spot["recv"]
    assert spot == {
        "type": "trade",
        "ts": "1630048897897000000",
        "id": "130639474",
        "side": "buy",
        "price": "42219.9",
        "size": "0.12060306",
    }
    [perp] = played.wait(md("BTC-USDT-PERP", "trades"), 1)
    assert (perp["size"], perp["contracts"]) == ("0.07", "7")
    [quote] = played.wait(md("BTC-USDT", "quotes"), 1)
    assert (quote["bid"], quote["bid_size"], quote["ask"], quote["ask_size"]) == ("111.05", "57745", "111.06", "55154")
    [ticker] = played.wait(md("BTC-USDT", "ticker"), 1)
    assert (ticker["last"], ticker["change"], ticker["change_pct"], ticker["volume"]) == (
        "9999.99",
        "999.99",
        "11.1110",
        "2222",
    )
    [ticker] = played.wait(md("BTC-USDT-PERP", "ticker"), 1)
    assert ticker["volume"] == "81137.755"
    figures = eventually(lambda: played.client.hgetall(md("BTC-USDT-PERP", "instrument")), "the pair's figures")
    assert (figures["contract_size"], figures["lot_size"], figures["tick_size"]) == ("0.01", "0.0001", "0.1")
    eventually(lambda: PUBLIC in okx_exchange.pings or time.sleep(0.5), "a ping as text")
    played.finished()
    assert len(played.entries(md("BTC-USDT", "quotes"))) == 1
    assert not [asked for asked in okx_exchange.requests if asked[0] != PUBLIC]


def test_a_hole_in_the_chain_is_mended_for_this_pair_alone(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(channels=["book"])
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
    before = len(okx_exchange.requests)
    okx_exchange.change("BTC-USDT-SWAP", "2")
    okx_exchange.change("BTC-USDT-SWAP", "3", lose=True)
    okx_exchange.change("BTC-USDT-SWAP", "4")
    played.book_is_the_exchanges("BTC-USDT-PERP")
    topic = ("books.BTC-USDT-SWAP",)
    assert okx_exchange.requests[before:] == [(PUBLIC, "unsubscribe", topic), (PUBLIC, "subscribe", topic)]
    key = md("BTC-USDT-PERP", "book")
    assert controls(played.client, key) == ["live", "gap", "lost"]
    assert [entry["type"] for entry in played.entries(key)] == ["snapshot", "delta", "snapshot"]
    for pair in PAIRS:
        okx_exchange.change(SYMBOLS[pair], "7")
        played.book_is_the_exchanges(pair)
        assert pair == "BTC-USDT-PERP" or controls(played.client, md(pair, "book")) == ["live"]
    played.finished()


def test_numbers_that_begin_again_and_books_that_stand_still_are_no_holes(
    play: Play, okx_exchange: OkxExchange
) -> None:
    played = play(channels=["book"], pairs=["BTC-USDT"])
    played.book_is_the_exchanges("BTC-USDT")
    okx_exchange.still("BTC-USDT")
    okx_exchange.change("BTC-USDT", "2", number=15)
    okx_exchange.change("BTC-USDT", "3", number=3)
    okx_exchange.still("BTC-USDT")
    okx_exchange.change("BTC-USDT", "4")
    played.book_is_the_exchanges("BTC-USDT")
    key = md("BTC-USDT", "book")
    assert [entry["xseq"] for entry in played.entries(key)] == ["1000", "1000", "15", "3", "3", "10"]
    assert controls(played.client, key) == ["live"]
    played.finished()


def test_a_restart_of_the_numbers_that_was_missed_is_a_hole(play: Play, okx_exchange: OkxExchange) -> None:
    """What comes then has a smaller number than the book, and is no repeat."""
    played = play(channels=["book"], pairs=["BTC-USDT"])
    played.book_is_the_exchanges("BTC-USDT")
    okx_exchange.change("BTC-USDT", "2", number=900, lose=True)
    okx_exchange.change("BTC-USDT", "3")
    played.book_is_the_exchanges("BTC-USDT")
    assert controls(played.client, md("BTC-USDT", "book")) == ["live", "gap", "lost"]
    played.finished()


@pytest.mark.parametrize("unnamed", [False, True])
def test_a_topic_that_is_refused_is_down_alone(play: Play, okx_exchange: OkxExchange, *, unnamed: bool) -> None:
    okx_exchange.unnamed, okx_exchange.refused = unnamed, {"trades.ETH-USDT", "books.BTC-USDT-261225"}
    played = play()
    down = {md("ETH-USDT", "trades"), md("BTC-USDT-261225", "book")}
    played.live(*({md(pair, channel) for pair in PAIRS for channel in MARKET} - down))
    for key in down:
        eventually(lambda key=key: controls(played.client, key) == ["down"], f"{key} down")
        assert "60018: Subscribe failed" in played.last_control(key)["reason"]
    played.finished()


def test_an_upgrade_that_is_announced_costs_nothing(play: Play, okx_exchange: OkxExchange) -> None:
    """The successor is there before the connection ends: no gap, no trade twice, none missing."""
    played = play(pairs=["BTC-USDT"], channels=["book", "trades"])
    played.book_is_the_exchanges("BTC-USDT")
    played.live(md("BTC-USDT", "trades"))
    okx_exchange.first_trade = "1"
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "1"))
    okx_exchange.upgrade(PUBLIC)
    eventually(lambda: okx_exchange.handshakes.count(PUBLIC) == 2, "a second connection")
    okx_exchange.change("BTC-USDT", "2")
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "2"))
    played.process.wait_for("replacing_connection")
    eventually(lambda: len(list(okx_exchange.connected())) == 1, "the first connection is given up")
    okx_exchange.change("BTC-USDT", "3")
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "3"))
    played.book_is_the_exchanges("BTC-USDT")
    assert [entry["id"] for entry in played.wait(md("BTC-USDT", "trades"), 3)] == ["1", "2", "3"]
    for channel in ("book", "trades"):
        assert controls(played.client, md("BTC-USDT", channel)) == ["live"]
    played.finished()


def test_trades_that_are_missing_show_by_their_numbers(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(pairs=["BTC-USDT"], channels=["trades"])
    key = md("BTC-USDT", "trades")
    played.live(key)
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "100"), trade("BTC-USDT", "103", 3), trade("BTC-USDT", "110", 2))
    eventually(lambda: controls(played.client, key) == ["live", "gap"], "a gap")
    assert played.last_control(key)["count"] == "5"
    played.finished()


def test_single_trades_come_over_a_connection_of_their_own(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(pairs=["BTC-USDT"], channels=["trades", "quotes"], options={"trades": "all"})
    key = md("BTC-USDT", "trades")
    played.live(key, md("BTC-USDT", "quotes"))
    okx_exchange.say(BUSINESS, frames.TRADE_ALONE)
    [entry] = played.wait(key, 1)
    assert entry["id"] == "130639474"
    assert okx_exchange.subscribed(BUSINESS) == {"trades-all.BTC-USDT"}
    assert okx_exchange.subscribed(PUBLIC) == {"status", "bbo-tbt.BTC-USDT"}
    played.finished()


def test_maintenance_pauses_all_and_says_until_when(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(pairs=["BTC-USDT"], channels=["book"], silence={"book": 1.0})
    key = md("BTC-USDT", "book")
    played.book_is_the_exchanges("BTC-USDT")
    now = int(time.time() * 1000)
    times = {"begin": str(now), "end": str(now + 3_600_000)}
    okx_exchange.say(PUBLIC, frames.changed(frames.STATUS, env="2", **times))
    okx_exchange.say(PUBLIC, frames.changed(frames.STATUS, state="scheduled", **times))
    okx_exchange.say(PUBLIC, frames.changed(frames.STATUS, **times))
    eventually(lambda: played.last_control(key)["event"] == "down", "the maintenance is in the stream")
    assert "WebSocket upgrade" in played.last_control(key)["reason"]
    assert "scheduled" in played.process.output
    okx_exchange.say(PUBLIC, frames.changed(frames.STATUS, state="completed", **times))
    played.book_is_the_exchanges("BTC-USDT")
    eventually(lambda: played.last_control(key)["event"] == "live", "it is over")
    played.finished()


def test_a_cut_begins_anew(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(pairs=["BTC-USDT"])
    played.live(*(md("BTC-USDT", channel) for channel in MARKET))
    okx_exchange.first_trade = "1"
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "1"), frames.TICKER, frames.QUOTE)
    played.wait(md("BTC-USDT", "ticker"), 1)
    okx_exchange.cut(PUBLIC)
    key = md("BTC-USDT", "book")
    eventually(lambda: controls(played.client, key) == ["live", "down", "live"], "a new connection")
    played.book_is_the_exchanges("BTC-USDT")
    played.live(md("BTC-USDT", "trades"), md("BTC-USDT", "ticker"))
    okx_exchange.say(PUBLIC, trade("BTC-USDT", "2"), frames.TICKER)
    assert [entry["id"] for entry in played.wait(md("BTC-USDT", "trades"), 2)] == ["1", "2"]
    assert len(played.entries(md("BTC-USDT", "ticker"))) == 1
    played.finished()


def test_the_channels_of_derivatives(play: Play, okx_exchange: OkxExchange) -> None:
    played = play(pairs=["BTC-USDT-PERP", "BTC-USDT"], channels=["funding", "mark", "interest", "liquidations"])
    keys = [md("BTC-USDT-PERP", channel) for channel in ("funding", "mark", "interest", "liquidations")]
    played.live(*keys)
    okx_exchange.say(PUBLIC, frames.INDEX, frames.FUNDING, frames.MARK, frames.INTEREST, frames.LIQUIDATION)
    [funding], [mark], [interest], [liquidation] = (played.wait(key, 1) for key in keys)
    assert (funding["rate"], funding["next_ts"], funding["interval"]) == (
        "0.0001875391284828",
        "1700726400000000000",
        "28800",
    )
    assert (mark["mark"], mark["index"]) == ("42310.6", "42309.9")
    assert (interest["size"], interest["contracts"]) == ("22161.1301", "2216113.01")
    assert (liquidation["side"], liquidation["price"], liquidation["size"], liquidation["contracts"]) == (
        "buy",
        "26100.1",
        "0.13",
        "13",
    )
    assert not list(played.client.scan_iter(md("BTC-USDT", "*"), _type="stream"))
    played.finished()


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("BTC-USTD-PERP", "did you mean BTC-USDT-PERP"),
        ("BTC-USD-PERP", "inverse contract"),
        ("SOL-USD", "did you mean SOL-USDC"),
    ],
)
def test_a_pair_that_is_not_served_is_refused_by_name(
    play: Play, okx_exchange: OkxExchange, pair: str, words: str
) -> None:
    del okx_exchange
    played = play(pairs=[pair, "BTC-USDT"], channels=["book"])
    played.book_is_the_exchanges("BTC-USDT")
    assert words in played.process.wait_for(pair)
