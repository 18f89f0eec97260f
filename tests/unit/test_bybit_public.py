"""Bybit's public topics: trades, books, quotes, tickers, and what the exchange answers."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Reconnect, Reject, Said, Send, Unknown
from bridge.exchanges.bybit.public import PublicSession
from bridge.model import BookDelta, BookSnapshot, Channel, Quote, Ticker, Trade
from tests.unit import bybit_frames as frames
from tests.unit.bybit_frames import ticker
from tests.unit.bybit_sessions import ALL, PERPETUAL, SYMBOLS, accept, ack, asked, public, refusal, sent
from tests.unit.core import SECOND, T0, Apart, faults, refused
from tests.unit.session_views import controls, reconnects, take

BOOK = frozenset({Channel.BOOK})
TICKER = frozenset({Channel.TICKER})


def fresh(channels=BOOK, most=20, **more):
    """A session that has asked for its topics."""
    session = Apart(PublicSession("wss://x", SYMBOLS, frozenset(channels), depth=200, most=most, **more))
    session.connected(T0)
    return session


def book(kind, u, bids=(("10", "1"),), asks=(("11", "1"),), *, symbol="BTCUSDT", depth=200, cts=1672304484976):
    data = {"s": symbol, "b": list(bids), "a": list(asks), "u": u, "seq": 7961638724}
    message = {"topic": f"orderbook.{depth}.{symbol}", "type": kind, "ts": 1672304484978, "data": data}
    return json.dumps(message | ({"cts": cts} if cts else {})).encode()


class TestTrades:
    def test_of_spot_and_of_linear(self):
        session = public()
        assert take(session, frames.TRADE_SPOT, frames.TRADE_LINEAR) == [
            Trade("BTC-USDT", 1786310821917000000, T0, "2280000001739247417", "sell", "65140.28", "0.04537"),
            Trade(
                "BTC-USDT",
                1672304486865000000,
                T0,
                "20f43950-d8dd-5b31-9112-a178eb6023af",
                "buy",
                "16578.50",
                "0.001",
            ),
        ]

    def test_a_message_of_many_in_their_order(self):
        message = json.loads(frames.TRADE_SPOT)
        message["data"] = [
            message["data"][0] | {"i": str(number), "T": 1786310821917 + number} for number in range(1024)
        ]
        trades = take(public(), json.dumps(message).encode())
        assert [trade.id for trade in trades] == [str(number) for number in range(1024)]

    @pytest.mark.parametrize("mark", ["BT", "RPI"])
    def test_block_trades_and_hidden_retail_ones_are_trades(self, mark):
        [trade] = take(public(), frames.changed(frames.TRADE_SPOT, **{mark: True}))
        assert trade.size == "0.04537"

    def test_a_bad_row_is_a_gap_of_one(self):
        session = public()
        message = json.loads(frames.TRADE_SPOT)
        good = message["data"][0]
        message["data"] = [good, good | {"p": "dear"}, good | {"i": "2"}]
        events = session.receive(json.dumps(message).encode(), T0)
        assert [getattr(event, "id", getattr(event, "count", None)) for event in events] == [good["i"], 1, "2"]

    def test_another_symbol_than_the_topics_is_refused(self):
        session = public()
        assert refused(session, frames.changed(frames.TRADE_SPOT, s="ETHUSDT")) == [("trades", "BTC-USDT")]


class TestBooks:
    def test_without_the_engines_time_it_is_the_messages(self):
        message = json.loads(frames.SNAPSHOT)
        del message["cts"]
        [event] = take(public(), json.dumps(message).encode())
        assert event.ts == message["ts"] * 1_000_000

    def test_to_the_digit(self):
        assert take(public(), frames.SNAPSHOT, frames.DELTA) == [
            BookSnapshot(
                "BTC-USDT",
                1672304484976000000,
                T0,
                "18521288",
                [("16493.50", "0.006"), ("16493.00", "0.100")],
                [("16611.00", "0.029"), ("16612.00", "0.213")],
            ),
            BookDelta(
                "BTC-USDT",
                1672304485076000000,
                T0,
                "18521289",
                [("16493.50", "0.875077")],
                [("16611.00", "0"), ("16611.50", "0.09948")],
                "18521288",
            ),
        ]

    @pytest.mark.parametrize("kind", ["snapshot", "delta"])
    def test_a_count_that_begins_at_one_is_a_snapshot_whatever_it_is_called(self, kind):
        [event] = take(public(), book(kind, 1))
        assert isinstance(event, BookSnapshot)
        assert event.xseq == "1"

    def test_the_message_has_a_time_where_the_engine_gives_none(self):
        [event] = take(public(), book("snapshot", 5, cts=None))
        assert event.ts == 1672304484978000000

    def test_a_snapshot_is_put_in_order(self):
        [event] = take(public(), book("snapshot", 5, [("9", "1"), ("10", "1")], [("12", "1"), ("11.5", "1")]))
        assert (event.bids, event.asks) == ([("10", "1"), ("9", "1")], [("11.5", "1"), ("12", "1")])

    @pytest.mark.parametrize("kind", ["", "partial", "SNAPSHOT"])
    def test_of_another_kind_it_is_refused(self, kind):
        assert refused(public(), book(kind, 5)) == [("book", "BTC-USDT")]

    def test_a_fresh_one_is_had_by_subscribing_again(self):
        session = public()
        for pair in ("ETH-USDT", "NO-PAIR"):
            session.resync(pair, T0, "a hole")
        session.tick(T0)
        assert asked(session) == [("unsubscribe", "orderbook.200.ETHUSDT"), ("subscribe", "orderbook.200.ETHUSDT")]

    def test_those_that_are_due_at_the_same_time_share_their_requests(self):
        session = public()
        for pair in ("BTC-USDT", "ETH-USDT"):
            session.resync(pair, T0, "a frame could not be understood")
        session.tick(T0)
        session.tick(T0 + SECOND)
        topics = ("orderbook.200.BTCUSDT", "orderbook.200.ETHUSDT")
        assert asked(session) == [("unsubscribe", *topics), ("subscribe", *topics)]

    def test_none_is_asked_for_where_none_is_wanted(self):
        session = public(TICKER)
        session.resync("BTC-USDT", T0, "a hole")
        session.tick(T0)
        assert asked(session) == []

    def test_quiet_ones_are_asked_for_again(self):
        """Together: nothing else shows that they are there still."""
        session = public()
        session.receive(book("snapshot", 5), T0)
        session.receive(book("snapshot", 5, symbol="ETHUSDT"), T0)
        session.tick(T0 + 15 * SECOND)
        assert asked(session) == []
        session.tick(T0 + 16 * SECOND)
        topics = ("orderbook.200.BTCUSDT", "orderbook.200.ETHUSDT")
        assert asked(session) == [("unsubscribe", *topics), ("subscribe", *topics)]


class TestQuotes:
    def test_out_of_a_book_of_one_level(self):
        quote = ("16493.50", "0.006", "16611.00", "0.029")
        assert take(public(), frames.QUOTE) == [Quote("BTC-USDT", 1672304485076000000, T0, *quote)]

    def test_what_is_repeated_is_no_news(self):
        session = public()
        assert len(take(session, frames.QUOTE, frames.QUOTE, book("snapshot", 9, depth=1))) == 2

    @pytest.mark.parametrize(
        ("bids", "asks", "quote"),
        [
            ([], [["11", "1"]], ("", "", "11", "1")),
            ([["10", "1"]], [], ("10", "1", "", "")),
            ([], [], ("", "", "", "")),
        ],
    )
    def test_an_empty_side(self, bids, asks, quote):
        [event] = take(public(), book("snapshot", 5, bids, asks, depth=1))
        assert (event.bid, event.bid_size, event.ask, event.ask_size) == quote

    def test_a_delta_of_one_level_is_refused(self):
        assert refused(public(), book("delta", 5, depth=1)) == [("quotes", "BTC-USDT")]

    def test_after_a_gap_the_same_is_said_again(self):
        session = public()
        take(session, frames.QUOTE)
        refused(session, book("delta", 5, depth=1))
        assert len(take(session, frames.QUOTE)) == 1

    def test_a_book_of_one_level_is_both(self):
        session = public(depth=1)
        assert [type(event) for event in take(session, frames.QUOTE, frames.QUOTE)] == [
            BookSnapshot,
            Quote,
            BookSnapshot,
        ]
        session.resync("BTC-USDT", T0, "a hole")
        session.tick(T0)
        assert asked(session) == [("unsubscribe", "orderbook.1.BTCUSDT"), ("subscribe", "orderbook.1.BTCUSDT")]


class TestTickers:
    def test_linear_to_the_digit(self):
        [event] = take(public(), frames.TICKER_LINEAR)
        values = ("79206.20", "79266.30", "65076.90", "66666.60", "-12539.60", "-15.8315", "73191.3870")
        assert event == Ticker("BTC-USDT", 1760325052630000000, T0, "86400", *values)

    def test_spot_to_the_digit(self):
        [event] = take(public(), frames.TICKER_SPOT)
        values = ("20704.93", "21426.99", "20575", "21109.77", "404.84", "1.96", "6780.866843")
        assert event == Ticker("BTC-USDT", 1673853746003000000, T0, "86400", *values)

    def test_changes_of_other_fields_are_no_news(self):
        session = public()
        assert len(take(session, frames.TICKER_LINEAR, frames.TICKER_DELTA, frames.TICKER_LINEAR)) == 1

    @pytest.mark.parametrize(
        ("fields", "changed"),
        [
            ({"lastPrice": "66666.70"}, {"last": "66666.70", "change": "-12539.50"}),
            ({"volume24h": ""}, {"volume": ""}),
            ({"prevPrice24h": ""}, {"open": "", "change": ""}),
            ({"price24hPcnt": "0"}, {"change_pct": "0"}),
            ({"price24hPcnt": "", "highPrice24h": "8"}, {"change_pct": "", "high": "8"}),
        ],
    )
    def test_a_missing_field_is_unchanged_and_an_empty_one_unknown(self, fields, changed):
        session = public()
        [before] = take(session, frames.TICKER_LINEAR)
        [after] = take(session, ticker(**fields))
        told = {name: getattr(after, name) for name in Ticker.WIRE if getattr(after, name) != getattr(before, name)}
        assert told == changed

    def test_a_snapshot_replaces_all(self):
        session = public()
        take(session, frames.TICKER_LINEAR)
        [event] = take(session, ticker("snapshot", lastPrice="5"))
        assert (event.open, event.high, event.last, event.volume, event.change) == ("", "", "5", "", "")

    def test_a_change_before_any_snapshot_says_nothing_and_one_is_asked_for(self):
        session = public(TICKER)
        assert take(session, ticker(lastPrice="5")) == []
        session.tick(T0 + 9 * SECOND)
        assert asked(session) == []
        session.tick(T0 + 10 * SECOND)
        assert asked(session) == [("unsubscribe", "tickers.BTCUSDT"), ("subscribe", "tickers.BTCUSDT")]
        take(session, ticker("snapshot", lastPrice="5"))
        session.tick(T0 + 30 * SECOND)
        assert asked(session) == []

    def test_after_a_change_that_is_lost_nothing_is_merged_until_the_next_snapshot(self):
        """Nothing else would show it: the changes aren't numbered."""
        session = public(TICKER)
        take(session, frames.TICKER_LINEAR)
        assert refused(session, ticker(lastPrice="dear"), T0 + 20 * SECOND) == [("ticker", "BTC-USDT")]
        assert take(session, ticker(lastPrice="7")) == []
        session.tick(T0 + 20 * SECOND)
        session.tick(T0 + 21 * SECOND)
        assert [words[0] for words in asked(session)] == ["unsubscribe", "subscribe"]
        assert len(take(session, frames.TICKER_LINEAR)) == 1
        assert len(take(session, ticker(lastPrice="7"))) == 1

    def test_so_where_whose_the_frame_was_cannot_be_told(self):
        session = public(ALL)
        take(session, frames.TICKER_LINEAR, frames.QUOTE)
        with pytest.raises(FrameError):
            session.receive(b"{]", T0)
        assert len(session.rejected(T0)) == 8
        assert take(session, ticker(lastPrice="7")) == []
        assert len(take(session, frames.QUOTE)) == 1

    @pytest.mark.parametrize("kind", ["", "whole"])
    def test_of_another_kind_it_is_refused(self, kind):
        assert refused(public(TICKER), ticker(kind, lastPrice="5")) == [("ticker", "BTC-USDT")]


class TestAnswers:
    @pytest.mark.parametrize("most", [1, 3, 10])
    def test_no_request_has_more_topics_than_it_may(self, most):
        session = public(most=most)
        session.connected(T0)
        assert all(len(request["args"]) <= most for request in sent(session))

    def test_live_at_the_acknowledgement(self):
        session = fresh(most=1)
        [first, second] = sent(session)
        assert controls(session.receive(ack(second["req_id"]), T0)) == [("live", "book", "ETH-USDT")]
        assert not session.ready
        assert controls(session.receive(ack(first["req_id"]), T0)) == [("live", "book", "BTC-USDT")]
        assert session.ready

    def test_live_at_the_first_data(self):
        """An acknowledgement may come after it."""
        session = fresh()
        events = session.receive(book("snapshot", 5), T0)
        assert controls(events) == [("live", "book", "BTC-USDT")]
        assert len(events) == 2
        assert controls(session.receive(ack(""), T0)) == [("live", "book", "ETH-USDT")]

    def test_a_topic_that_is_refused_is_down_alone(self):
        session = fresh()
        [request] = sent(session)
        words = "error:handler not found,topic:orderbook.200.ETHUSDT"
        events = session.receive(refusal(request["req_id"], words), T0)
        assert controls(events) == [("down", "book", "ETH-USDT")]
        assert events[0].reason == words
        assert faults(session) == [("reported", None, "orderbook.200.ETHUSDT", words)]
        assert session.unserved == {"ETH-USDT"}
        [again] = sent(session)
        assert again["args"] == ["orderbook.200.BTCUSDT"]
        assert controls(session.receive(ack(again["req_id"]), T0)) == [("live", "book", "BTC-USDT")]
        assert session.ready

    def test_it_is_asked_for_again(self):
        session = fresh()
        session.receive(refusal(sent(session)[0]["req_id"], "error:x,topic:orderbook.200.ETHUSDT"), T0)
        accept(session)
        session.tick(T0 + 75 * SECOND)
        [again] = [request for request in sent(session) if request["args"] == ["orderbook.200.ETHUSDT"]]
        assert controls(session.receive(ack(again["req_id"]), T0)) == [("live", "book", "ETH-USDT")]
        assert session.unserved == set()

    def test_one_that_is_subscribed_already_is_live(self):
        """The other reading of a refusal: the good topics of that request stand."""
        session = fresh()
        session.receive(refusal(sent(session)[0]["req_id"], "error:x,topic:orderbook.200.ETHUSDT"), T0)
        [again] = sent(session)
        answer = refusal(again["req_id"], "error:already subscribed,topic:orderbook.200.BTCUSDT")
        assert controls(session.receive(answer, T0)) == [("live", "book", "BTC-USDT")]

    @pytest.mark.parametrize("words", ["args size >10", "error:request expired", "Invalid symbol :[x]", ""])
    def test_a_refusal_that_names_nothing(self, words):
        session = fresh()
        assert session.receive(refusal(sent(session)[0]["req_id"], words), T0) == []
        assert [request["args"] for request in sent(session)] == [["orderbook.200.BTCUSDT"], ["orderbook.200.ETHUSDT"]]

    def test_in_the_words_of_another_socket(self):
        session = fresh(most=1)
        ident = sent(session)[0]["req_id"]
        message = {"retCode": 10404, "retMsg": "op is not found", "req_id": ident, "op": "subscribe", "connId": "c"}
        events = session.receive(json.dumps(message).encode(), T0)
        assert [event.reason for event in events] == ["op is not found"]

    def test_no_answer_at_all(self):
        session = fresh()
        session.tick(T0 + 11 * SECOND)
        assert reconnects(session) == [Reconnect("no answer to the subscription within 10 s")]

    @pytest.mark.parametrize("pong", frames.PONGS)
    def test_a_pong_says_nothing_and_is_no_reject(self, pong):
        session = public()
        assert session.receive(pong, T0) == []
        assert session.actions == []

    def test_pings_at_once_and_every_twenty_seconds(self):
        session = public(TICKER)
        ping = Send('{"op":"ping"}')
        pinged = []
        for quarter in range(4 * 41):
            session.tick(T0 + quarter * SECOND // 4)
            if ping in session.actions:
                pinged.append(quarter / 4)
                session.actions.clear()
        assert pinged == [0, 20, 40]

    def test_an_error_about_nothing_is_said(self):
        session = public()
        session.receive(b'{"success":false,"ret_msg":"error:too many requests","op":"unsubscribe"}', T0)
        assert faults(session) == [("reported", None, "", "error:too many requests")]

    @pytest.mark.parametrize(
        ("frame", "kind"),
        [
            (b'{"topic":"kline.5.BTCUSDT","type":"snapshot","data":[]}', "kline"),
            (b'{"op":"hello"}', "hello"),
            (b'{"data":{}}', "message without topic"),
        ],
    )
    def test_what_is_unknown_is_counted(self, frame, kind):
        session = public()
        assert list(session.receive(frame, T0)) == []
        assert session.actions == [Unknown(kind)]

    def test_nothing_bad_is_said_of_what_is_good(self):
        session = public(symbols=PERPETUAL)
        take(session, *frames.PUBLIC.values())
        assert not [action for action in session.actions if isinstance(action, (Reject, Said, Unknown))]
