"""Five exchanges through CCXT, from servers that speak their protocols to the streams in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.codec.fake import Fake
from tests.codec.fakes import Coinbase, Htx, Kraken, Kucoin
from tests.codec.needs import needs_ccxt
from tests.codec.playing import Played
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually, sequences
from tests.servers import RedisServer

pytestmark = needs_ccxt
FakeT = TypeVar("FakeT", bound=Fake)
Play = Callable[..., Any]


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path) -> Iterator[Play]:
    """Start a fake of this kind, and a connector on it."""
    with ExitStack() as stack:

        def start(
            kind: type[FakeT], pair: str, *, before: Callable[[FakeT], None] = lambda _: None, **more: Any
        ) -> Any:
            exchange = stack.enter_context(kind())
            before(exchange)
            ident = kind.__name__.lower()
            return Played(run, redis_server, tmp_path, exchange, ident, **{"pairs": [pair], **more}), exchange

        yield start


def md(ident: str, pair: str, channel: str) -> str:
    return f"md:{{ccxt.{ident}:{pair}}}:{channel}"


KRAKEN_TRADES, KRAKEN_BOOK = (md("kraken", "BTC-USD", channel) for channel in ("trades", "book"))


def test_kraken_a_burst_arrives_whole_and_in_order(play: Play) -> None:
    """CCXT keeps a thousand trades between two calls of ``watch_trades``, and drops the rest without a word."""
    played, kraken = play(Kraken, "BTC-USD")
    played.wait(KRAKEN_BOOK, 1)
    kraken.push(*(kraken.trade(number) for number in range(1, 2_001)))
    found = played.wait(KRAKEN_TRADES, 2_000)
    assert [entry["id"] for entry in found] == [str(number) for number in range(1, 2_001)]
    assert {(entry["price"], entry["size"], entry["side"]) for entry in found} == {("27500.10", "0.00000010", "buy")}
    assert {entry["ts"] for entry in found} == {"1786309548228568000"}
    assert sequences(played.client)[KRAKEN_TRADES] == list(range(1, played.client.xlen(KRAKEN_TRADES) + 1))


def test_kraken_levels_that_fall_off_the_depth_are_removed(play: Play) -> None:
    """Kraken tells only ten levels, and says of none that it has fallen off."""
    played, kraken = play(Kraken, "BTC-USD")
    [snapshot] = played.wait(KRAKEN_BOOK, 1)
    assert snapshot["bids"].split()[0] == "27500.0:1.00000000"
    kraken.push(kraken.better_bid("27500.5", "0.50000000"))
    delta = played.wait(KRAKEN_BOOK, 2)[1]
    assert sorted(delta["bids"].split()) == ["27491.0:0", "27500.5:0.50000000"]


def test_kraken_a_cut_is_told_and_repeats_are_dropped(play: Play) -> None:
    played, kraken = play(Kraken, "BTC-USD")
    played.wait(KRAKEN_BOOK, 1)
    kraken.push(kraken.trade(1), kraken.trade(2))
    played.wait(KRAKEN_TRADES, 2)
    kraken.cut()
    played.wait(KRAKEN_BOOK, 2)
    kraken.push(kraken.trade(2), kraken.trade(3))
    assert [entry["id"] for entry in played.wait(KRAKEN_TRADES, 3)] == ["1", "2", "3"]
    played.says(KRAKEN_BOOK, "live", "down", "live")


def test_kraken_a_wrong_checksum_is_a_gap_and_brings_a_new_book(play: Play) -> None:
    played, kraken = play(Kraken, "BTC-USD")
    played.wait(KRAKEN_BOOK, 1)
    kraken.push(kraken.better_bid("27500.5", "0.50000000").replace('"checksum": ', '"checksum": 1'))
    assert [entry["type"] for entry in played.wait(KRAKEN_BOOK, 2)] == ["snapshot", "snapshot"]
    assert "gap" in played.controls(KRAKEN_BOOK)


def test_kraken_a_frame_that_a_handler_fails_on_stops_nothing(play: Play) -> None:
    """An update for a book that isn't there raises in CCXT, whose own loop ends by that."""
    played, kraken = play(Kraken, "BTC-USD")
    played.wait(KRAKEN_BOOK, 1)
    kraken.push(kraken.better_bid("27500.5", "0.50000000").replace("BTC/USD", "DOGE/USD"))
    kraken.push(raw="{]")
    kraken.push(kraken.trade(1))
    assert played.wait(KRAKEN_TRADES, 1)[0]["id"] == "1"
    rejects = eventually(lambda: played.client.xrange("bridge:rejects:ccxt.kraken"), "rejects")
    assert "DOGE/USD" in rejects[0][1]["raw"]
    assert played.process.running


def test_kraken_a_refused_pair_is_down_alone(play: Play) -> None:
    pairs = ["BTC-USD", "ETH-USD"]
    played, _ = play(Kraken, "BTC-USD", before=lambda kraken: kraken.refused.add("ETH/USD"), pairs=pairs)
    played.wait(KRAKEN_BOOK, 1)
    refused = md("kraken", "ETH-USD", "book")
    eventually(lambda: "down" in played.controls(refused), "the refused pair is down")
    assert played.controls(KRAKEN_BOOK) == ["live"]


def test_coinbase_sides_are_the_takers_and_a_left_out_message_is_a_gap(play: Play) -> None:
    """CCXT hands on the maker's side, and doesn't look at ``sequence_num``."""
    trades, book = md("coinbase", "BTC-USD", "trades"), md("coinbase", "BTC-USD", "book")
    played, coinbase = play(Coinbase, "BTC-USD")
    played.wait(book, 1)
    coinbase.push(coinbase.trades(1, 2), coinbase.trades(2, 3))
    found = played.wait(trades, 3)
    assert [(entry["id"], entry["side"]) for entry in found] == [("1", "buy"), ("2", "buy"), ("3", "buy")]
    coinbase.number += 1
    coinbase.push(coinbase.levels("update", ("bid", "65083.40", "0.10")))
    eventually(lambda: "gap" in played.controls(trades) and "gap" in played.controls(book), "gaps")
    eventually(lambda: played.entries(book)[-1]["type"] == "snapshot", "a new book")


def test_kucoin_the_token_stays_secret_and_the_book_begins_between_its_deltas(play: Play) -> None:
    trades, book = md("kucoin", "BTC-USDT", "trades"), md("kucoin", "BTC-USDT", "book")
    played, kucoin = play(Kucoin, "BTC-USDT")
    eventually(lambda: len(kucoin.said) >= 2, "two subscriptions")
    assert f"token={Kucoin.TOKEN}" in kucoin.said[0][0]
    kucoin.push(*(kucoin.delta(number, "65083.5", f"0.{number}0") for number in range(100, 108)))
    [snapshot] = played.wait(book, 1)
    assert (snapshot["xseq"], snapshot["bids"]) == ("107", "65083.5:0.1070 65083.4:1.1234567890123456789")
    kucoin.push(kucoin.delta(108, "65083.5", "0"), kucoin.trade(1))
    assert played.wait(book, 2)[1]["bids"] == "65083.5:0"
    assert played.wait(trades, 1)[0]["price"] == "65083.6"
    assert Kucoin.TOKEN not in played.process.output


def test_htx_packed_frames_exponents_and_pings(play: Play) -> None:
    trades, book = md("htx", "BTC-USDT", "trades"), md("htx", "BTC-USDT", "book")
    played, htx = play(Htx, "BTC-USDT")
    [snapshot] = played.wait(book, 1)
    assert (snapshot["bids"], snapshot["asks"]) == ("65083.5:0.000158 65083.4:2", "65083.6:1.50")
    eventually(lambda: len(htx.said) >= 3, "books and trades have an address each")
    htx.push({"ping": 1492420473027}, htx.trade(1), htx.delta(101, 102, "[[65083.5,1.60E-4]]"))
    assert played.wait(trades, 1)[0]["size"] == "0.000158"
    assert played.wait(book, 2)[1]["bids"] == "65083.5:0.000160"
    eventually(lambda: {"pong": 1492420473027} in [said for _, said in htx.said], "a pong")


def test_a_markets_list_that_is_refused_is_asked_for_again(play: Play) -> None:
    """With HTTP 429, and not before the exchange wants to hear something again."""
    played, kraken = play(Kraken, "BTC-USD", before=lambda kraken: kraken.status.update({kraken.REST: 429}))
    eventually(lambda: kraken.asked.count(Kraken.REST) >= 1, "a request for the markets")
    played.process.wait_for("discovery_failed")
    kraken.status.clear()
    played.wait(KRAKEN_BOOK, 1)
