"""Binance's market data, spot and USD-M futures, from a server that keeps the exchange's limits and has its traps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.binance_exchange import MARKET, PUBLIC, SPOT, BinanceExchange
from tests.e2e.binance_played import BinancePlayed
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.servers import RedisServer
from tests.unit import binance_frames as frames

PAIRS = {
    "spot": {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT", "NKN-USDT": "NKNUSDT"},
    "usdm": {
        "BTC-USDT-PERP": "BTCUSDT",
        "ETH-USDT-PERP": "ETHUSDT",
        "BTC-USDC-PERP": "BTCUSDC",
        "BTC-USDT-261225": "BTCUSDT_261225",
    },
}
CHANNELS = ["trades", "book", "quotes", "ticker"]
Play = Callable[..., BinancePlayed]


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, binance_exchange: BinanceExchange) -> Play:
    def start(market: str, **connector: Any) -> BinancePlayed:
        settings = {"pairs": list(PAIRS[market]), "channels": CHANNELS, **connector}
        return BinancePlayed(run, redis_server, tmp_path, binance_exchange, market, **settings)

    return start


def test_spot_to_the_digit(play: Play, binance_exchange: BinanceExchange) -> None:
    played = play("spot")
    for pair, symbol in PAIRS["spot"].items():
        played.live(*(played.md(pair, channel) for channel in CHANNELS))
        played.book_is_the_exchanges(pair, symbol)
        binance_exchange.change("spot", symbol, "2.500")
        played.book_is_the_exchanges(pair, symbol)
        assert played.controls(played.md(pair, "book")) == ["live"]
    nkn = {"s": "NKNUSDT"}
    stream = b"nknusdt@"
    for frame in (frames.TRADE, frames.BEST, frames.DAY):
        binance_exchange.say(SPOT, frames.changed(frame.replace(b"bnbbtc@", stream), **nkn))
    [trade] = played.wait(played.md("NKN-USDT", "trades"), 1)
    assert (trade["id"], trade["side"], trade["price"], trade["size"]) == ("12345", "sell", "0.001", "100")
    assert trade["ts"] == "1672515782136000000"
    [quote] = played.wait(played.md("NKN-USDT", "quotes"), 1)
    assert (quote["bid"], quote["ask_size"], quote["ts"]) == ("25.35190000", "40.66000000", "")
    [day] = played.wait(played.md("NKN-USDT", "ticker"), 1)
    assert (day["last"], day["change_pct"], day["window"]) == ("0.0025", "250.00", "86400")
    assert binance_exchange.handshakes == ["/stream?timeUnit=MICROSECOND"]
    assert binance_exchange.wrong == []
    played.finished()


def test_usdm_to_the_digit(play: Play, binance_exchange: BinanceExchange) -> None:
    """Two paths; ids that skip; events of COIN-M, which come over the same streams."""
    played = play("usdm")
    for pair, symbol in PAIRS["usdm"].items():
        played.live(*(played.md(pair, channel) for channel in CHANNELS))
        binance_exchange.change("usdm", symbol, "2.500")
        played.book_is_the_exchanges(pair, symbol)
        assert played.controls(played.md(pair, "book")) == ["live"]
    binance_exchange.say(PUBLIC, frames.USDM_BEST)
    binance_exchange.say(MARKET, frames.changed(frames.AGGREGATED, st=2), frames.AGGREGATED, frames.USDM_DAY)
    [trade] = played.wait(played.md("BTC-USDT-PERP", "trades"), 1)
    assert (trade["id"], trade["side"], trade["ts"]) == ("5933014", "sell", "1679851564486000000")
    [quote] = played.wait(played.md("BTC-USDT-PERP", "quotes"), 1)
    assert (quote["bid"], quote["ts"]) == ("25.35190000", "1679851564486000000")
    [day] = played.wait(played.md("BTC-USDT-PERP", "ticker"), 1)
    assert (day["change"], day["change_pct"]) == ("-1.5", "-2.50")
    assert sorted(binance_exchange.handshakes) == [MARKET, PUBLIC]
    assert binance_exchange.wrong == []
    played.finished()


def test_what_only_derivatives_have(play: Play, binance_exchange: BinanceExchange) -> None:
    channels = ["mark", "funding", "liquidations", "interest"]
    played = play("usdm", pairs=["BTC-USDT-PERP"], channels=channels)
    played.live(*(played.md("BTC-USDT-PERP", channel) for channel in channels))
    binance_exchange.say(MARKET, frames.FORCED)
    [forced] = played.wait(played.md("BTC-USDT-PERP", "liquidations"), 1)
    assert (forced["side"], forced["price"], forced["size"]) == ("sell", "9911", "0.013")
    mark = played.wait(played.md("BTC-USDT-PERP", "mark"), 2)[0]
    assert (mark["mark"], mark["index"]) == ("200.1", "200.2")
    funding = played.wait(played.md("BTC-USDT-PERP", "funding"), 1)[0]
    assert (funding["rate"], funding["interval"]) == ("0.0001", "")
    [interest] = played.wait(played.md("BTC-USDT-PERP", "interest"), 1)
    assert (interest["size"], interest["value"]) == ("10659.509", "")
    instrument = eventually(lambda: played.client.hgetall(played.md("BTC-USDT-PERP", "instrument")), "the instrument")
    assert (instrument["base"], instrument["quote"], instrument["settle"], instrument["tick_size"]) == (
        "BTC",
        "USDT",
        "USDT",
        "0.10",
    )
    assert binance_exchange.handshakes == [MARKET]
    played.finished()


def test_each_trade_of_futures_without_the_prints_of_the_insurance_fund(
    play: Play, binance_exchange: BinanceExchange
) -> None:
    """Ids rise by one, prints included: only what is missing is a gap."""
    played = play("usdm", pairs=["BTC-USDT-PERP"], channels=["trades"], options={"trades": "each"})
    key = played.md("BTC-USDT-PERP", "trades")
    played.live(key)
    later = [frames.changed(frames.USDM_TRADE, t=3493102749 + number) for number in (2, 5)]
    binance_exchange.say(PUBLIC, frames.USDM_TRADE, frames.INSURANCE, *later)
    assert [trade["id"] for trade in played.wait(key, 3)] == ["3493102749", "3493102751", "3493102754"]
    [gap] = [fields for _, fields in played.client.xrange(key) if fields.get("event") == "gap"]
    assert gap["count"] == "2"
    assert binance_exchange.handshakes == [PUBLIC]
    played.finished()


def test_few_levels_need_no_snapshot(play: Play, binance_exchange: BinanceExchange) -> None:
    played = play("spot", pairs=["BTC-USDT"], channels=["book"], options={"depth": 20})
    key = played.md("BTC-USDT", "book")
    played.live(key)
    for number in (160, 161):
        frame = frames.FEW.replace(b"bnbbtc", b"btcusdt")
        binance_exchange.say(SPOT, frames.changed(frame, lastUpdateId=number))
    assert [(entry["type"], entry["xseq"]) for entry in played.wait(key, 2)] == [
        ("snapshot", "160"),
        ("snapshot", "161"),
    ]
    assert binance_exchange.fetched == []
    played.finished()


@pytest.mark.parametrize(
    ("market", "pair", "symbol"), [("spot", "BTC-USDT", "BTCUSDT"), ("usdm", "BTC-USDT-PERP", "BTCUSDT")]
)
def test_a_lost_delta_is_one_gap_and_one_snapshot(
    play: Play, binance_exchange: BinanceExchange, market: str, pair: str, symbol: str
) -> None:
    played = play(market, pairs=[pair], channels=["book"])
    played.live(played.md(pair, "book"))
    binance_exchange.change(market, symbol, "2.000")
    played.book_is_the_exchanges(pair, symbol)
    fetched = len(binance_exchange.fetched)
    binance_exchange.change(market, symbol, "3.000", lose=True)
    binance_exchange.change(market, symbol, "4.000")
    played.book_is_the_exchanges(pair, symbol)
    assert played.controls(played.md(pair, "book"))[:2] == ["live", "gap"]
    assert played.controls(played.md(pair, "book")).count("gap") == 1
    assert len(binance_exchange.fetched) == fetched + 1
    played.finished()


def test_snapshots_that_are_older_than_the_deltas_are_of_no_use(play: Play, binance_exchange: BinanceExchange) -> None:
    for number in range(12):
        binance_exchange.change("spot", "BTCUSDT", f"1.{number:03}")
    binance_exchange.stale_books = 2
    binance_exchange.book_delay = 0.3
    played = play("spot", pairs=["BTC-USDT"], channels=["book"])
    played.live(played.md("BTC-USDT", "book"))
    eventually(lambda: "btcusdt@depth@100ms" in binance_exchange.subscribed(SPOT), "subscribed")
    binance_exchange.change("spot", "BTCUSDT", "5.000")
    eventually(lambda: len(binance_exchange.fetched) >= 3, "asked until one is new enough")
    binance_exchange.change("spot", "BTCUSDT", "6.000")
    played.book_is_the_exchanges("BTC-USDT", "BTCUSDT")
    entries = played.entries(played.md("BTC-USDT", "book"))
    assert [entry["type"] for entry in entries[:1]] == ["snapshot"]
    assert int(entries[0]["xseq"]) > 1_000 + 3 * 10
    played.finished()


def test_a_wrong_path_acknowledges_and_says_nothing(play: Play, binance_exchange: BinanceExchange) -> None:
    """Nothing is live; the other path goes on; and ``check`` says the same."""
    binance_exchange.mute = {MARKET}
    played = play("usdm", pairs=["BTC-USDT-PERP"])
    played.book_is_the_exchanges("BTC-USDT-PERP", "BTCUSDT")
    key = played.md("BTC-USDT-PERP", "trades")
    eventually(lambda: played.controls(key)[:1] == ["down"], "trades down")
    reason = played.last_control(key)["reason"]
    assert "acknowledged, but nothing came within 8 s" in reason
    assert "/market/stream the right path?" in reason
    assert "live" not in played.controls(key)
    assert played.controls(played.md("BTC-USDT-PERP", "book")) == ["live"]
    process = played.check()
    assert process.ended() != 0
    assert "market-1: acknowledged, but nothing came" in process.output


def test_what_is_refused_or_swallowed_is_down_alone(play: Play, binance_exchange: BinanceExchange) -> None:
    """A refusal is of a whole request; one that is acknowledged, and isn't in the list of subscriptions, is none."""
    binance_exchange.refused = {"ethusdt@trade"}
    binance_exchange.swallowed = {"nknusdt@ticker"}
    played = play("spot")
    bad = {
        played.md("ETH-USDT", "trades"): "no such stream",
        played.md("NKN-USDT", "ticker"): "not among the subscriptions",
    }
    good = {played.md(pair, channel) for pair in PAIRS["spot"] for channel in CHANNELS} - set(bad)
    played.live(*good)
    for key, words in bad.items():
        eventually(lambda key=key: played.controls(key)[-1:] == ["down"], f"{key} down")
        assert words in played.last_control(key)["reason"]
    assert binance_exchange.wrong == []
    played.finished()


def test_a_storm_of_snapshots_is_paced_and_a_ban_is_waited_for(play: Play, binance_exchange: BinanceExchange) -> None:
    """The weight is over after two books: 429, and nobody asks before that is over."""
    binance_exchange.weight_left = 2 * 50
    played = play("spot", channels=["book"])
    for symbol in PAIRS["spot"].values():
        binance_exchange.change("spot", symbol, "2.000")
    eventually(lambda: binance_exchange.banned_until > 0, "too many")
    for pair, symbol in PAIRS["spot"].items():
        played.book_is_the_exchanges(pair, symbol)
    assert binance_exchange.wrong == []
    assert "429: -1003 Too much request weight used" in played.process.output
    played.finished()


def test_a_shutdown_that_is_announced_leaves_no_hole(play: Play, binance_exchange: BinanceExchange) -> None:
    played = play("spot", pairs=["NKN-USDT"], channels=["trades", "book"])
    key, book = played.md("NKN-USDT", "trades"), played.md("NKN-USDT", "book")
    played.live(key, book)
    frame = frames.changed(frames.TRADE.replace(b"bnbbtc", b"nknusdt"), s="NKNUSDT")
    binance_exchange.say(SPOT, frame)
    played.wait(key, 1)
    binance_exchange.shut_down(SPOT)
    eventually(
        lambda: len(binance_exchange.handshakes) == 2 and binance_exchange.sockets(SPOT) == 1, "another connection"
    )
    for number in (12346, 12347):
        binance_exchange.say(SPOT, frames.changed(frame, t=number))
        binance_exchange.change("spot", "NKNUSDT", f"{number}")
    assert [trade["id"] for trade in played.wait(key, 3)] == ["12345", "12346", "12347"]
    played.book_is_the_exchanges("NKN-USDT", "NKNUSDT")
    assert (played.controls(key), played.controls(book)) == (["live"], ["live"])
    played.finished()


def test_many_pairs_keep_to_the_limits(play: Play, binance_exchange: BinanceExchange) -> None:
    """Requests of at most 100 streams and 4 KB, fewer than 5 in any second, again after a cut."""
    listed = [f"A{number:03}" for number in range(200)]
    binance_exchange.list("spot", listed)
    played = play("spot", pairs=[f"{base}-USDT" for base in listed], channels=["trades", "quotes", "ticker"])
    streams = 3 * len(listed)
    for times in (1, 2):
        eventually(lambda: len(binance_exchange.subscribed(SPOT)) == streams, "all are subscribed")
        asked = [names for _, method, names in binance_exchange.requests if method == "SUBSCRIBE"]
        assert len(asked) == times * streams / 100
        assert max(map(len, asked)) == 100
        binance_exchange.cut(SPOT)
    assert binance_exchange.wrong == []
    played.finished()


def test_a_halted_pair_and_one_that_nobody_lists(play: Play, binance_exchange: BinanceExchange) -> None:
    played = play("spot", pairs=["LUNA-USDT", "BTC-USTD", "BTC-USDT"], channels=["trades"])
    played.live(played.md("BTC-USDT", "trades"))
    halted = played.md("LUNA-USDT", "trades")
    eventually(lambda: played.controls(halted) == ["live", "down"], "the halted pair is down")
    assert played.last_control(halted)["reason"] == "the exchange lists the pair as BREAK"
    assert "did you mean BTC-USDT" in played.process.wait_for("BTC-USTD")
    assert "lunausdt@trade" in binance_exchange.subscribed(SPOT)
    played.finished()


def test_pairs_are_listed_by_their_coins(run: Run, binance_exchange: BinanceExchange) -> None:
    """A name that isn't ASCII is passed over."""
    found = {}
    for name in ("binance", "binance-usdm"):
        process = run("pairs", name, "--rest-url", binance_exchange.rest_url, "--json")
        assert process.ended() == 0, process.output
        found[name] = process.output
    assert '"BTC-USDT"' in found["binance"]
    assert "LUNA-USDT" in found["binance"]
    assert "人生" not in json.dumps(found, ensure_ascii=False)
    for pair in PAIRS["usdm"]:
        assert f'"{pair}"' in found["binance-usdm"]
