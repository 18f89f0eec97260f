"""Bybit's market data, from a server that speaks as the exchange does to the streams: order, refusals, holes, restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.e2e.bybit_exchange import KEY, LINEAR, SPOT, BybitExchange
from tests.e2e.conftest import Run
from tests.e2e.harness import book_of, eventually
from tests.e2e.observing import controls
from tests.e2e.played import Played, ShownBook, Venue, side
from tests.servers import RedisServer
from tests.unit import bybit_frames as frames

PAIRS = ["BTC-USDT", "ETH-USDT", "BTC-USDT-PERP", "BTC-USDC-PERP"]
PATHS = {
    "BTC-USDT": (SPOT, "BTCUSDT"),
    "ETH-USDT": (SPOT, "ETHUSDT"),
    "BTC-USDT-PERP": (LINEAR, "BTCUSDT"),
    "BTC-USDC-PERP": (LINEAR, "BTCPERP"),
}
Play = Callable[..., Played]


def shown(exchange: BybitExchange, pair: str) -> ShownBook:
    book = exchange.books[PATHS[pair]]
    return book.u, (side(book.bids), side(book.asks))


BYBIT = Venue(
    name="bybit",
    credentials={"api_key": KEY, "api_secret": frames.SECRET},
    secrets=(frames.SECRET, KEY),
    connector={"pairs": PAIRS, "account": "main"},
    shown=shown,
)
md = BYBIT.md


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, bybit_exchange: BybitExchange) -> Play:
    def start(**connector: Any) -> Played:
        return Played(BYBIT, run, redis_server, tmp_path, bybit_exchange, **{"account": None, **connector}).start()

    return start


def test_spot_and_linear_never_mix_and_all_is_to_the_digit(play: Play, bybit_exchange: BybitExchange) -> None:
    """The same symbol in both; old first snapshots; data before its acknowledgement; pongs in the forms that there are."""
    bybit_exchange.late_acknowledgements, bybit_exchange.age = True, 3_000
    played = play()
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
        played.live(*(md(pair, channel) for channel in ("book", "trades", "quotes", "ticker")))
        assert len(played.entries(md(pair, "book"))) == 7
        assert controls(played.client, md(pair, "book")) == ["live"]
    bybit_exchange.say(SPOT, frames.TRADE_SPOT, frames.TICKER_SPOT)
    bybit_exchange.say(LINEAR, frames.TRADE_LINEAR, frames.TICKER_DELTA, frames.TICKER_LINEAR, frames.TICKER_DELTA)
    for path, symbol in PATHS.values():
        bybit_exchange.quote(path, symbol)
    [spot] = played.wait(md("BTC-USDT", "trades"), 1)
    [perp] = played.wait(md("BTC-USDT-PERP", "trades"), 1)
    assert (spot["id"], spot["side"], spot["price"], spot["size"]) == (
        "2280000001739247417",
        "sell",
        "65140.28",
        "0.04537",
    )
    assert (spot["ts"], perp["ts"]) == ("1786310821917000000", "1672304486865000000")
    assert (perp["id"], perp["price"]) == ("20f43950-d8dd-5b31-9112-a178eb6023af", "16578.50")
    quotes = [played.wait(md(pair, "quotes"), 1)[0]["bid"] for pair in PAIRS]
    assert quotes == ["99", "49", "199", "299"]
    [spot] = played.wait(md("BTC-USDT", "ticker"), 1)
    [perp] = played.wait(md("BTC-USDT-PERP", "ticker"), 1)
    assert (spot["last"], spot["change_pct"], spot["window"]) == ("21109.77", "1.96", "86400")
    assert (perp["last"], perp["change_pct"], perp["volume"]) == ("66666.60", "-15.8315", "73191.3870")
    eventually(lambda: set(bybit_exchange.pings) == {SPOT, LINEAR}, "a ping over each connection")
    assert all(len(topics) <= 10 for path, _, topics in bybit_exchange.requests if path == SPOT)
    assert played.entries(md("BTC-USDC-PERP", "trades")) == []
    played.finished()


def test_what_derivatives_have_and_what_is_listed_of_each_pair(play: Play, bybit_exchange: BybitExchange) -> None:
    """One topic feeds four streams of a perpetual and one of a spot pair; instrument hashes are the list's."""
    played = play()
    pair = "BTC-USDT-PERP"
    own = {"funding": 1, "mark": 1, "interest": 1, "liquidations": 1}
    played.live(*(md(pair, channel) for channel in own))
    bybit_exchange.say(LINEAR, frames.TICKER_LINEAR, frames.TICKER_DELTA, frames.LIQUIDATION, frames.TICKER_LINEAR)
    [funding], [mark], [interest], [liquidation] = (played.wait(md(pair, channel), 1) for channel in own)
    assert (funding["rate"], funding["next_ts"], funding["interval"]) == ("-0.005", "1760342400000000000", "28800")
    assert (mark["mark"], mark["index"]) == ("66666.60", "115418.19")
    assert (interest["size"], interest["value"]) == ("246186.86", "16412440820.27")
    assert [liquidation[name] for name in ("id", "side", "price", "size")] == ["", "buy", "0.04499", "20000"]
    assert not [key for channel in own for key in played.client.scan_iter(f"md:{{bybit:BTC-USDT}}:{channel}")]
    hashes = {name: f"md:{{bybit:{name}}}:instrument" for name in PAIRS}
    for key in hashes.values():
        eventually(lambda key=key: played.client.exists(key), key)
    assert played.client.hmget(hashes[pair], "base", "quote", "kind") == ["BTC", "USDT", "perpetual"]
    assert played.client.hmget(hashes["ETH-USDT"], "base", "status", "kind") == ["ETH", "online", "spot"]
    assert set(map(played.client.type, hashes.values())) == {"hash"}
    played.finished()


def test_the_ten_best_levels_where_the_book_itself_is_not_published(
    play: Play, bybit_exchange: BybitExchange, run: Run
) -> None:
    """The connector subscribes to the book, keeps it, and mends it; nothing of it but its best levels is in Redis."""
    book = bybit_exchange.books[SPOT, "BTCUSDT"]
    book.bids = {str(100 - number): "1" for number in range(1, 31)}
    played = play(channels=["book10"], pairs=["BTC-USDT"])
    key = md("BTC-USDT", "book10")

    def mine() -> dict[float, float]:
        found = book_of(played.client.xrange(key))
        return {float(price): float(size) for price, size in found[0].items()} if found else {}

    def exchanges() -> dict[float, float]:
        return dict(sorted(((float(p), float(s)) for p, s in book.bids.items()), reverse=True)[:10])

    eventually(lambda: mine() == exchanges(), "the first snapshot")
    assert [len(entry["bids"].split()) for entry in played.entries(key)] == [10]
    bybit_exchange.change(SPOT, "BTCUSDT", "5")
    eventually(lambda: mine() == exchanges(), "a change")
    assert played.entries(key)[-1]["bids"] == "99:5"
    bybit_exchange.change(SPOT, "BTCUSDT", "6", lose=True)
    bybit_exchange.change(SPOT, "BTCUSDT", "7")
    eventually(lambda: controls(played.client, key)[-1:] == ["gap"] and mine() == exchanges(), "the book after a hole")
    shown = run(
        "books", "--config", str(played.config), "--channel", "book10", "--http", "off", "--json", "--top", "10"
    )
    shown.wait_for('"valid":true')
    assert shown.stop() == 0
    assert [*played.client.scan_iter("md:*", _type="stream")] == [key]
    assert not played.client.exists("md:{bybit:BTC-USDT}:book:snapshot")
    assert json.loads(played.client.hget("bridge:catalog", key))["gaps"] == "verified"
    assert [*played.client.hkeys("bridge:catalog")] == [key]
    played.finished()


def test_old_snapshots_are_no_latency(play: Play, bybit_exchange: BybitExchange) -> None:
    bybit_exchange.age = 3_000
    played = play(channels=["book"], pairs=["BTC-USDT"])
    played.book_is_the_exchanges("BTC-USDT")

    def figures() -> dict[str, Any]:
        bybit_exchange.change(SPOT, "BTCUSDT", "2")
        told: dict[str, Any] = json.loads(played.client.hget("bridge:connector:bybit", "latency") or "{}")
        return told

    latency = eventually(lambda: figures().get("book"), "latency is measured")
    assert float(latency["max_ms"]) < 2_000
    played.finished()


@pytest.mark.parametrize("reading", ["all", "one"])
def test_a_topic_that_is_refused_is_down_alone(
    play: Play, bybit_exchange: BybitExchange, reading: Literal["all", "one"]
) -> None:
    """Whether the good topics of a request that is refused stand is not known: both ways the others are live."""
    bybit_exchange.reading, bybit_exchange.refused = reading, {"publicTrade.ETHUSDT", "orderbook.200.BTCPERP"}
    played = play()
    down = {md("ETH-USDT", "trades"), md("BTC-USDC-PERP", "book")}
    keys = {md(pair, channel) for pair in PAIRS for channel in ("book", "trades", "quotes", "ticker")}
    played.live(*(keys - down))
    for key in down:
        eventually(lambda key=key: controls(played.client, key) == ["down"], f"{key} down")
        [entry] = [fields for _, fields in played.client.xrange(key)]
        assert entry["reason"].startswith("error:handler not found,topic:")
    assert bybit_exchange.subscribed(SPOT) | bybit_exchange.subscribed(LINEAR) >= {
        "publicTrade.BTCUSDT",
        "orderbook.200.ETHUSDT",
    }
    played.book_is_the_exchanges("ETH-USDT")
    played.finished()


def test_a_hole_is_mended_for_its_pair_alone(play: Play, bybit_exchange: BybitExchange) -> None:
    played = play(channels=["book"])
    for pair in PAIRS:
        played.book_is_the_exchanges(pair)
    before = len(bybit_exchange.requests)
    bybit_exchange.change(LINEAR, "BTCUSDT", "2")
    bybit_exchange.change(LINEAR, "BTCUSDT", "3", lose=True)
    bybit_exchange.change(LINEAR, "BTCUSDT", "4")
    played.book_is_the_exchanges("BTC-USDT-PERP")
    topic = ("orderbook.200.BTCUSDT",)
    assert bybit_exchange.requests[before:] == [(LINEAR, "unsubscribe", topic), (LINEAR, "subscribe", topic)]
    key = md("BTC-USDT-PERP", "book")
    assert controls(played.client, key) == ["live", "gap", "lost"]
    assert [entry["type"] for entry in played.entries(key)] == ["snapshot", "delta", "snapshot"]
    for pair in PAIRS:
        bybit_exchange.change(*PATHS[pair], "7")
        played.book_is_the_exchanges(pair)
        assert pair == "BTC-USDT-PERP" or controls(played.client, md(pair, "book")) == ["live"]
    played.finished()


def test_snapshots_in_the_middle_and_a_service_that_is_restarted_are_no_holes(
    play: Play, bybit_exchange: BybitExchange
) -> None:
    played = play(channels=["book"], pairs=["BTC-USDT"])
    played.book_is_the_exchanges("BTC-USDT")
    for kind in ("snapshot", "delta"):
        bybit_exchange.change(SPOT, "BTCUSDT", "2")
        bybit_exchange.resend(SPOT, "BTCUSDT")
        bybit_exchange.change(SPOT, "BTCUSDT", "3", lose=True)
        bybit_exchange.resend(SPOT, "BTCUSDT", restart=True, kind=kind)
        bybit_exchange.change(SPOT, "BTCUSDT", "4")
        played.book_is_the_exchanges("BTC-USDT")
    key = md("BTC-USDT", "book")
    played.wait(key, 7)  # both rounds end alike
    assert controls(played.client, key) == ["live"]
    assert [entry["xseq"] for entry in played.entries(key)] == ["1000", "1001", "1", "2", "3", "1", "2"]
    played.finished()


def test_a_cut_begins_anew(play: Play, bybit_exchange: BybitExchange) -> None:
    played = play()
    played.live(*(md(pair, "book") for pair in PAIRS))
    bybit_exchange.say(SPOT, frames.TRADE_SPOT, frames.TICKER_SPOT)
    played.wait(md("BTC-USDT", "ticker"), 1)
    bybit_exchange.cut(SPOT)
    key = md("BTC-USDT", "book")
    eventually(lambda: controls(played.client, key) == ["live", "down", "live"], "a new connection")
    played.book_is_the_exchanges("BTC-USDT")
    played.live(md("BTC-USDT", "trades"), md("BTC-USDT", "ticker"))
    bybit_exchange.say(SPOT, frames.TRADE_SPOT, frames.TICKER_SPOT, frames.changed(frames.TRADE_SPOT, i="2"))
    assert [trade["id"] for trade in played.wait(md("BTC-USDT", "trades"), 2)] == ["2280000001739247417", "2"]
    assert len(played.entries(md("BTC-USDT", "ticker"))) == 1
    assert controls(played.client, md("BTC-USDT-PERP", "book")) == ["live"]
    played.finished()


def test_who_is_refused_with_403_stays_away(play: Play, bybit_exchange: BybitExchange) -> None:
    bybit_exchange.handshake_status = 403
    played = play()
    line = json.loads(
        next(line for line in played.process.wait_for("connect_failed").splitlines() if "connect_failed" in line)
    )
    assert line["kind"] == "blocked"
    assert line["retry_in"] >= 600
    for pair in PAIRS:
        eventually(lambda pair=pair: controls(played.client, md(pair, "book")) == ["down"], f"{pair} down")
    assert sorted(bybit_exchange.handshakes) in ([SPOT], [LINEAR], [LINEAR, SPOT])
    played.finished()


def test_a_misspelt_pair_is_refused_by_name(play: Play, bybit_exchange: BybitExchange) -> None:
    del bybit_exchange
    played = play(pairs=["BTC-USTD-PERP", "BTC-USDT"], channels=["book"])
    played.book_is_the_exchanges("BTC-USDT")
    assert "did you mean BTC-USDT-PERP" in played.process.wait_for("BTC-USTD-PERP")
