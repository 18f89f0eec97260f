"""OKX's public channels: trades, books, quotes, statistics, maintenance."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Pause, Reject, Warn
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.model import BookDelta, BookSnapshot, Channel, Funding, Interest, Liquidation, Mark, Quote, Ticker, Trade
from tests.unit import okx_frames as frames
from tests.unit.core import SECOND, T0, refused
from tests.unit.okx_sessions import BOOK, DERIVATIVES, KINDS, MARKET, SPOT, TRADES, ack, asked, fresh, public
from tests.unit.session_views import actions, controls, take

BOOK_ARG = {"channel": "books", "instId": "BTC-USDT"}


def book(action="update", *, bids=(), asks=(), number=123457, before=123456, **more):
    row = {"bids": list(bids), "asks": list(asks), "ts": "1597026383185", "seqId": number, **more}
    if before is not None:
        row["prevSeqId"] = before
    return json.dumps({"arg": BOOK_ARG, "action": action, "data": [row]}).encode()


class TestTrades:
    def test_of_spot_and_of_a_swap_in_coins_and_contracts(self):
        assert take(public(), frames.TRADE, frames.TRADE_SWAP) == [
            Trade("BTC-USDT", 1630048897897000000, T0, "130639474", "buy", "42219.9", "0.12060306", replay=True),
            Trade(
                "BTC-USDT-PERP",
                1692266434010000000,
                T0,
                "242720720",
                "sell",
                "26000.1",
                "0.07",
                replay=True,
                contracts="7",
            ),
        ]

    def test_only_the_first_message_of_a_subscription_may_be_of_before_it(self):
        trades = take(public(), frames.TRADE, frames.changed(frames.TRADE, tradeId="130639475", count="1"))
        assert [trade.replay for trade in trades] == [True, False]

    def test_the_whole_list_is_taken_in_its_order(self):
        message = json.loads(frames.TRADE)
        message["data"] = [message["data"][0] | {"tradeId": str(number), "count": "1"} for number in range(5)]
        assert [trade.id for trade in take(public(), json.dumps(message).encode())] == list("01234")

    def test_single_ones_have_no_count(self):
        session = public(TRADES, symbols=SPOT, kinds={Channel.TRADES: "trades-all"}, status="")
        [trade] = take(session, frames.TRADE_ALONE)
        assert trade.id == "130639474"

    def test_a_bad_row_is_a_gap_of_one(self):
        message = json.loads(frames.TRADE)
        good = message["data"][0]
        message["data"] = [good, good | {"px": "dear"}, good | {"tradeId": "2"}]
        events = public().receive(json.dumps(message).encode(), T0)
        assert [getattr(event, "id", getattr(event, "count", None)) for event in events] == [good["tradeId"], 1, "2"]

    def test_missing_ones_are_a_gap_with_their_count(self):
        session = public()
        take(session, frames.TRADE, frames.changed(frames.TRADE, tradeId="130639480", count="2"))
        [gap] = session.tick(T0 + 2 * SECOND)
        assert (gap.event, gap.channel, gap.subject, gap.count) == ("gap", "trades", "BTC-USDT", 4)

    def test_another_instrument_than_the_topics_is_refused(self):
        assert refused(public(), frames.changed(frames.TRADE, instId="ETH-USDT")) == [("trades", "BTC-USDT")]


class TestBooks:
    def test_to_the_digit(self):
        assert take(public(), frames.SNAPSHOT, frames.UPDATE) == [
            BookSnapshot(
                "BTC-USDT",
                1597026383085000000,
                T0,
                "123456",
                [("8476.97", "256"), ("8475.55", "101")],
                [("8476.98", "415"), ("8477", "7")],
            ),
            BookDelta(
                "BTC-USDT", 1597026383185000000, T0, "123457", [("8476.97", "0")], [("8476.98", "415")], "123456"
            ),
        ]

    def test_contracts_are_coins(self):
        [event] = take(public(), frames.SNAPSHOT_SWAP)
        assert (event.bids, event.asks) == ([("26000.1", "0.07")], [("26000.2", "0.3")])

    def test_a_quiet_book_is_told_of_without_levels(self):
        [event] = take(public(), book(number=123456))
        assert (event.bids, event.asks, event.xseq, event.prev) == ([], [], "123456", "123456")

    def test_numbers_may_begin_again(self):
        [event] = take(public(), book(number=3, before=15))
        assert (event.xseq, event.prev) == ("3", "15")

    @pytest.mark.parametrize("before", [None, -1])
    def test_an_update_that_continues_nothing_is_refused(self, before):
        """A number that is missing isn't -1, and -1 is no update's."""
        assert refused(public(), book(before=before)) == [("book", "BTC-USDT")]

    @pytest.mark.parametrize("checksum", [{}, {"checksum": 0}, {"checksum": -855196043}, {"checksum": "x"}])
    def test_the_checksum_does_not_matter(self, checksum):
        assert len(take(public(), book(**checksum))) == 1

    @pytest.mark.parametrize("action", ["", "partial"])
    def test_of_another_kind_it_is_refused(self, action):
        assert refused(public(), book(action)) == [("book", "BTC-USDT")]

    def test_a_snapshot_is_put_in_order(self):
        levels = {"bids": [["9", "1", "0", "1"], ["10", "1", "0", "1"]], "asks": [["12", "1"], ["11.5", "1"]]}
        [event] = take(public(), book("snapshot", before=-1, **levels))
        assert (event.bids, event.asks) == ([("10", "1"), ("9", "1")], [("11.5", "1"), ("12", "1")])

    def test_a_fresh_one_is_had_by_subscribing_again(self):
        session = public()
        for pair in ("BTC-USDT-PERP", "NO-PAIR"):
            session.resync(pair, T0, "a hole")
        session.tick(T0)
        assert asked(session) == [("unsubscribe", "books.BTC-USDT-SWAP"), ("subscribe", "books.BTC-USDT-SWAP")]

    def test_the_answer_to_that_is_no_end_of_the_subscription(self):
        session = public(BOOK, symbols=SPOT)
        session.resync("BTC-USDT", T0, "a hole")
        session.tick(T0)
        assert session.receive(ack(BOOK_ARG, event="unsubscribe"), T0) == []
        assert controls(session.receive(ack(BOOK_ARG, event="unsubscribe"), T0)) == [("down", "book", "BTC-USDT")]

    def test_none_is_asked_for_where_none_is_wanted(self):
        session = public(TRADES)
        session.resync("BTC-USDT", T0, "a hole")
        session.tick(T0)
        assert asked(session) == []


class TestStatistics:
    def test_quotes_are_news_where_they_change(self):
        session = public()
        quote = Quote("BTC-USDT", 1670324386802000000, T0, "111.05", "57745", "111.06", "55154")
        assert take(session, frames.QUOTE, frames.QUOTE) == [quote]
        [event] = take(session, frames.changed(frames.QUOTE, bids=[]))
        assert (event.bid, event.bid_size, event.ask) == ("", "", "111.06")

    @pytest.mark.parametrize(
        ("frame", "pair", "values"),
        [
            (frames.TICKER, "BTC-USDT", ("9000", "10000", "8888.88", "9999.99", "999.99", "11.1110", "2222")),
            (
                frames.TICKER_SWAP,
                "BTC-USDT-PERP",
                ("55926", "57641.1", "54570.1", "56956.1", "1030.1", "1.8419", "81137.755"),
            ),
        ],
    )
    def test_tickers_have_their_volume_in_coins(self, frame, pair, values):
        [event] = take(public(), frame, frame)
        assert event == Ticker(pair, event.ts, T0, "86400", *values)

    def test_after_a_frame_that_is_lost_the_same_is_said_again(self):
        session = public()
        take(session, frames.QUOTE, frames.TICKER)
        assert refused(session, frames.changed(frames.TICKER, last="dear")) == [("ticker", "BTC-USDT")]
        assert len(take(session, frames.QUOTE, frames.TICKER)) == 1
        with pytest.raises(FrameError):
            session.receive(b"{]", T0)
        assert len(session.rejected(T0)) == 8
        assert len(take(session, frames.QUOTE, frames.TICKER)) == 2

    def test_the_channels_of_derivatives(self):
        session = public(DERIVATIVES)
        assert take(session, frames.INDEX, frames.FUNDING, frames.MARK, frames.INTEREST, frames.LIQUIDATION) == [
            Funding("BTC-USDT-PERP", 1700724675402000000, T0, "0.0001875391284828", 1700726400000000000, "28800"),
            Mark("BTC-USDT-PERP", 1630049139746000000, T0, "42310.6", "42309.9"),
            Interest("BTC-USDT-PERP", 1743041250440000000, T0, "22161.1301", "", "2216113.01"),
            Liquidation("BTC-USDT-PERP", 1692266434010000000, T0, "", "buy", "26100.1", "0.13", "13"),
        ]

    def test_an_index_price_that_cannot_be_read_is_unknown_from_then_on(self):
        session = public(DERIVATIVES)
        take(session, frames.INDEX)
        assert refused(session, frames.changed(frames.INDEX, idxPx="dear")) == []
        [mark] = take(session, frames.MARK)
        assert (mark.mark, mark.index) == ("42310.6", "")

    def test_liquidations_of_other_pairs_are_left_out(self):
        assert take(public(DERIVATIVES), frames.changed(frames.LIQUIDATION, instId="IOST-USDT-SWAP")) == []

    def test_a_spot_pair_has_none_of_them(self):
        session = fresh(MARKET | DERIVATIVES)
        topics = {topic for _, *topics in asked(session) for topic in topics}
        assert {topic for topic in topics if topic.endswith("BTC-USDT")} == {
            *(f"{KINDS[channel]}.BTC-USDT" for channel in MARKET),
            "index-tickers.BTC-USDT",
        }


class TestMaintenance:
    def test_all_sessions_pause_until_its_end(self):
        maintenance = Maintenance()
        one, another = public(maintenance=maintenance), public(maintenance=maintenance, status="")
        one.receive(frames.STATUS, T0)
        for session in (one, another):
            session.actions.clear()
            session.tick(T0)
            session.tick(T0)
            [pause] = actions(session, Pause)
            assert pause.until == 1672823520000000000
            assert "WebSocket upgrade" in pause.reason

    def test_its_end_is_by_the_exchanges_clock(self):
        maintenance = Maintenance()
        maintenance.clock_offset = 7 * SECOND
        session = public(maintenance=maintenance)
        session.receive(frames.STATUS, T0)
        session.tick(T0)
        assert actions(session, Pause)[-1].until == 1672823520000000000 - 7 * SECOND

    @pytest.mark.parametrize(
        "row",
        [{"env": "2"}, {"state": "scheduled"}, {"state": "completed"}, {"serviceType": "6"}, {"serviceType": "9"}],
    )
    def test_what_is_none_of_ours_or_not_yet_pauses_nothing(self, row):
        session = public()
        session.receive(frames.changed(frames.STATUS, **row), T0)
        assert len(actions(session, Warn)) == ("env" not in row)
        session.tick(T0)
        assert actions(session, Pause) == []

    def test_once_it_is_completed_the_pause_is_over(self):
        session = public()
        session.receive(frames.STATUS, T0)
        session.tick(T0)
        session.receive(frames.changed(frames.STATUS, state="completed"), T0 + SECOND)
        session.tick(T0 + SECOND)
        assert actions(session, Pause)[-1].until == T0 + SECOND

    def test_a_row_that_says_nothing_is_rejected_and_no_gap(self):
        session = public()
        assert session.receive(frames.changed(frames.STATUS, title=...), T0) == []
        assert len(actions(session, Reject)) == 1
