"""Kraken's market data: trades, tickers, and books with their checksums."""

from __future__ import annotations

import json

import pytest

from bridge.book import RankedBook
from bridge.exchanges.kraken import KrakenOptions
from bridge.model import BookSnapshot, Channel, Control, Quote, Ticker, Trade
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, refused
from tests.unit.held_books import Kept
from tests.unit.kraken_sessions import accept, connected, kraken, sent
from tests.unit.session_views import controls, data


class TestMessages:
    def test_a_trade(self):
        [trade] = data(connected().receive(frames.TRADE, T0))
        ts = 1695628177708706000
        assert trade == Trade("MATIC-USD", ts, T0, "4665906", "sell", "0.5117", "40.0")

    def test_a_snapshot_of_trades_is_a_replay_oldest_first(self):
        message = json.loads(frames.TRADES)
        message["data"].reverse()
        trades = data(connected().receive(json.dumps(message).encode(), T0))
        assert [(trade.id, trade.replay) for trade in trades] == [("4665846", True), ("4665847", True)]

    def test_trades_that_are_missing_are_counted_over_connections(self):
        exchange = kraken()
        session = connected(exchange)
        session.receive(frames.TRADES, T0)
        [gap] = [e for e in session.receive(frames.TRADE, T0) if isinstance(e, Control) and e.event == "gap"]
        assert (gap.count, gap.subject) == (4665906 - 4665848, "MATIC-USD")
        again = connected(exchange)
        assert controls(again.receive(frames.TRADE, T0)) == [("live", "trades", "MATIC-USD")]
        [gap] = [e for e in again.receive(frames.changed(frames.TRADE, trade_id=4665909), T0) if isinstance(e, Control)]
        assert gap.count == 2

    def test_a_bad_trade_is_one_gap(self):
        session = connected(channels=[Channel.TRADES])
        accept(session)
        message = json.loads(frames.TRADES)
        rows = [message["data"][0] | {"trade_id": number} for number in (1, 2, 3)]
        rows[1]["price"] = "x"
        events = session.receive(json.dumps(message | {"data": rows}).encode(), T0)
        assert [getattr(event, "id", "gap") for event in events] == ["1", "gap", "3"]
        assert session.receive(json.dumps(message | {"data": [rows[0] | {"trade_id": 4}]}).encode(), T0)[0].id == "4"

    def test_instruments_that_can_not_be_read_are_asked_for_again(self):
        """A precision may have changed in them, and checksums need it."""
        session = connected()
        accept(session)
        session.receive(b'{"channel":"instrument","type":"update","data":7}', T0)
        session.tick(T0 + 12 * SECOND)
        asked = [(message["method"], message["params"]["channel"]) for message in sent(session)]
        assert asked == [("unsubscribe", "instrument"), ("subscribe", "instrument")]

    def test_numbers_keep_their_digits(self):
        frame = frames.changed(frames.TRADE, price=frames.number("1.2e-07"), qty="0.10")
        [trade] = data(connected().receive(frame, T0))
        assert (trade.price, trade.size) == ("0.00000012", "0.10")

    def test_best_prices_and_the_last_day(self):
        session = connected()
        quote, ticker = data(session.receive(frames.TICKER, T0))
        ts = 1695632671742648000
        assert quote == Quote("ALGO-USD", ts, T0, "0.10025", "740.0", "0.10035", "740.0")
        day = ("86400", "", "0.10285", "0.09979", "0.10035", "-0.00017", "-0.17", "997038.98383185")
        assert ticker == Ticker("ALGO-USD", ts, T0, *day)
        assert session.receive(frames.TICKER, T0) == []
        [quote] = session.receive(frames.changed(frames.TICKER, bid=frames.number("0.10026")), T0)
        assert quote.bid == "0.10026"

    @pytest.mark.parametrize("gone", [{"bid": 0, "bid_qty": 0}, {"bid": None, "bid_qty": None}, {"bid": "0.0"}])
    def test_a_side_without_orders(self, gone):
        quote = connected().receive(frames.changed(frames.TICKER, **gone), T0)[-2]
        assert (quote.bid, quote.bid_size, quote.ask) == ("", "", "0.10035")

    def test_after_a_bad_ticker_the_next_is_news(self):
        session = connected(channels=[Channel.TICKER])
        session.receive(frames.TICKER, T0)
        assert refused(session, frames.changed(frames.TICKER, last="x")) == [("ticker", "ALGO-USD")]
        assert len(session.receive(frames.TICKER, T0)) == 1

    def test_a_frame_of_which_no_pair_can_be_read_may_be_of_any(self):
        session = connected(channels=[Channel.TRADES, Channel.BOOK])
        accept(session)
        pairs = sorted(("trades", pair) for pair in frames.PAIRS)
        assert refused(session, b'{"channel":"trade","type":"update","data":[{"side":"buy"}]}') == pairs
        assert refused(session, b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD",') == [
            ("trades", "BTC-USD")
        ]


class TestBooks:
    def kept(self, channels=(Channel.BOOK,)):
        exchange = kraken("MATIC-USD", channels=channels, depth=10)
        session = connected(exchange)
        accept(session)
        return Kept(session, exchange.book, ["MATIC-USD"], channels)

    def test_the_vector_of_the_guide(self):
        """Its numbers are written in full; without the trailing zeros the pair's precision brings them back."""
        for bare in (False, True):
            book, exchange = RankedBook(), kraken("BTC-USD")
            connected(exchange)
            levels = [
                [(price, size.rstrip("0") if bare else size) for price, size in side]
                for side in (frames.GUIDE_BIDS, frames.GUIDE_ASKS)
            ]
            book.replace(*levels)
            assert exchange.book.checksum("BTC-USD", book) == frames.GUIDE_CHECKSUM

    def test_the_documents_frames(self):
        kept = self.kept()
        assert [type(e).__name__ for e in kept.receive(frames.SNAPSHOT, T0)] == ["Control", "BookSnapshot"]
        [delta] = kept.receive(frames.UPDATE, T0)
        assert (delta.bids, delta.checksum) == ([("0.5657", "1098.3947558")], 2114181697)
        assert kept.sink.controls == ["live"]

    def test_a_wrong_checksum_asks_for_the_book_again(self):
        kept = self.kept()
        kept.receive(frames.SNAPSHOT, T0)
        assert controls(kept.receive(frames.UPDATE.replace(b"2114181697", b"7"), T0)) == [("gap", "book", "MATIC-USD")]
        assert [request["method"] for request in sent(kept.session)] == ["unsubscribe", "subscribe"]
        kept.receive(frames.UPDATE, T0)
        assert [str(e.event) for e in kept.receive(frames.SNAPSHOT, T0) if isinstance(e, Control)] == ["lost"]

    def test_an_update_before_its_snapshot(self):
        kept = self.kept()
        assert controls(kept.receive(frames.UPDATE, T0)) == [
            ("live", "book", "MATIC-USD"),
            ("gap", "book", "MATIC-USD"),
        ]

    def test_a_precision_that_can_not_be_read_is_of_its_pair_alone(self):
        message = json.loads(frames.INSTRUMENTS)
        message["data"]["pairs"].insert(0, {"symbol": "NEW/USD", "price_precision": "x", "status": 7})
        message["data"]["pairs"].append({"symbol": "MATIC/USD", "qty_precision": {}})
        exchange = kraken("MATIC-USD", depth=10)
        connected(exchange, warm=False).receive(json.dumps(message).encode(), T0)
        book = RankedBook()
        book.replace(frames.MATIC_BIDS, frames.MATIC_ASKS)
        assert exchange.book.checksum("MATIC-USD", book) == 2439117997

    def test_best_first_and_a_time_that_may_be_missing(self):
        message = json.loads(frames.SNAPSHOT)
        row = message["data"][0]
        row["bids"].reverse()
        del row["timestamp"], row["checksum"]
        [snapshot] = data(connected().receive(json.dumps(message).encode(), T0))
        assert isinstance(snapshot, BookSnapshot)
        assert (snapshot.bids[0][0], snapshot.asks[0][0], snapshot.ts) == ("0.5666", "0.5668", None)

    def test_an_empty_side_is_a_book(self):
        message = json.loads(frames.SNAPSHOT)
        message["data"][0] |= {"bids": [], "checksum": None}
        [snapshot] = data(connected().receive(json.dumps(message).encode(), T0))
        assert snapshot.bids == []

    @pytest.mark.parametrize("depth", [10, "25", 1000])
    def test_depths(self, depth):
        assert kraken(depth=depth).book.depth == int(depth)

    def test_other_depths_are_refused(self):
        with pytest.raises(ValueError, match="depth"):
            KrakenOptions(depth=50)
