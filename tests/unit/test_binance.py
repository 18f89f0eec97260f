"""Binance's public streams, spot and USD-M futures: what each message says."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Fetch, HttpResponse, Replace, Send
from bridge.model import (
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    Interest,
    Liquidation,
    Mark,
    Quote,
    Ticker,
    Trade,
)
from tests.unit import binance_frames as frames
from tests.unit.binance_sessions import asked, connected, controls, spot, take, usdm
from tests.unit.core import SECOND, T0, faults, refused

MS = 1_000_000


class TestTrades:
    def test_each_of_spot_to_the_digit(self):
        [trade] = take(connected(spot()), frames.TRADE)
        assert trade == Trade("BNB-BTC", 1672515782136 * MS, T0, "12345", "sell", "0.001", "100")

    def test_aggregated_where_that_is_wanted(self):
        session = connected(spot(trades="aggregated"))
        assert ("nknusdt@aggTrade" in asked(session)[0], "nknusdt@trade" in asked(session)) == (True, False)
        [trade] = take(session, frames.SPOT_AGGREGATED)
        assert (trade.id, trade.side, trade.size) == ("15683430", "buy", "58.00000000")

    def test_of_futures(self):
        [trade] = take(connected(usdm(), 1), frames.AGGREGATED)
        assert trade == Trade("BTC-USDT-PERP", 1679851564486 * MS, T0, "5933014", "sell", "0.001", "100")

    def test_times_in_microseconds_are_exact(self):
        [trade] = take(connected(spot()), frames.changed(frames.TRADE, T=1672515782136789))
        assert trade.ts == 1672515782136789 * 1_000

    def test_an_id_of_another_series_is_none_of_this_one(self):
        """Until 2024 single trades had the orders' ids, and one of them is called as an aggregated trade's."""
        [trade] = take(connected(spot()), frames.changed(frames.TRADE, a=50, b=88))
        assert trade.id == "12345"

    def test_a_hole_is_a_gap_and_a_bad_one_only_one(self):
        session = connected(spot())
        take(session, frames.TRADE)
        [gap, trade] = session.receive(frames.changed(frames.TRADE, t=12349), T0)
        assert (gap.count, gap.subject, trade.id) == (3, "BNB-BTC", "12349")
        assert refused(session, frames.changed(frames.TRADE, t=12350, p="dear")) == [("trades", "BNB-BTC")]
        assert controls(session, frames.changed(frames.TRADE, t=12351)) == []

    def test_after_a_frame_that_nobody_understands_there_is_one_gap(self):
        """All that is served has it already: where the ids go on says nothing more."""
        session = connected(spot())
        take(session, frames.TRADE)
        assert [str(event.event) for event in session.rejected(T0) if event.channel is Channel.TRADES] == ["gap"]
        assert controls(session, frames.changed(frames.TRADE, t=12350)) == []

    def test_a_hole_before_a_print_is_one_all_the_same(self):
        session = connected(usdm(trades="each"))
        take(session, frames.USDM_TRADE)
        assert controls(session, frames.changed(frames.INSURANCE, t=3493102753)) == [("gap", "trades", "BTC-USDT-PERP")]

    @pytest.mark.parametrize("print_", ["INSURANCE_FUND", "ADL", "NA", ""])
    def test_prints_of_futures_that_are_no_trades(self, print_):
        session = connected(usdm(trades="each"))
        assert len(take(session, frames.USDM_TRADE)) == 1
        assert take(session, frames.changed(frames.INSURANCE, X=print_)) == []
        assert controls(session, frames.changed(frames.USDM_TRADE, t=3493102751)) == []

    def test_who_trades_with_retail_price_improvement_trades(self):
        """Aggregated trades have these, too."""
        session = connected(usdm(trades="each"))
        [trade] = take(session, frames.changed(frames.USDM_TRADE, X="RPI", p="27784.95", m=False))
        assert (trade.id, trade.side, trade.price, trade.size) == ("3493102749", "buy", "27784.95", "0.014")

    def test_what_is_of_coin_m_or_of_another_symbol(self):
        session = connected(usdm(), 1)
        assert take(session, frames.changed(frames.AGGREGATED, st=2)) == []
        assert refused(session, frames.changed(frames.AGGREGATED, s="ETHUSDT")) == [("trades", "BTC-USDT-PERP")]


class TestBooks:
    def test_spot_follows_by_numbers(self):
        [delta] = take(connected(spot()), frames.DELTA)
        bids = [("0.35130000", "6195.00000000"), ("0.34750000", "5548.00000000"), ("0.34640000", "6222.00000000")]
        ts = 1633998512068 * MS
        assert delta == BookDelta("NKN-USDT", ts, T0, "499869752", bids, [], "499869749")

    def test_futures_name_the_one_before(self):
        [delta] = take(connected(usdm()), frames.USDM_DELTA)
        ts = 1679851564486 * MS
        assert delta == BookDelta("BTC-USDT-PERP", ts, T0, "160", [("0.0024", "10")], [("0.0026", "100")], "149")

    def test_by_the_other_markets_rule_both_would_be_wrong(self):
        """Numbers of futures skip: by those of spot, no message would follow the one before it."""
        session = connected(usdm())
        after = frames.changed(frames.USDM_DELTA, U=165, u=170, pu=160)
        first, second = take(session, frames.USDM_DELTA, after)
        assert second.prev == first.xseq != str(165 - 1)
        assert refused(session, frames.changed(after, pu=...)) == [("book", "BTC-USDT-PERP")]

    @pytest.mark.parametrize("wrong", [{"U": 0}, {"U": 499869754}, {"u": 2**63}, {"a": ...}, {"b": None}])
    def test_numbers_and_sides_have_to_be_there(self, wrong):
        assert refused(connected(spot()), frames.changed(frames.DELTA, **wrong)) == [("book", "NKN-USDT")]

    @pytest.mark.parametrize(("limit", "weight"), [(100, 5), (500, 25), (1000, 50), (5000, 250)])
    def test_a_snapshot_of_spot_and_what_it_costs(self, limit, weight):
        session = connected(spot(depth=limit))
        session.resync("NKN-USDT", T0, "it begins")
        session.resync("NKN-USDT", T0, "it is asked for already")
        session.resync("NO-PAIR", T0, "nobody has it")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        request = next(fetch.flow)
        assert (request.path, request.weight) == (f"/api/v3/depth?symbol=NKNUSDT&limit={limit}", weight)
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(HttpResponse(200, frames.BOOK, recv=T0 + 5))
        [snapshot] = stop.value.value
        bids = [("0.35130000", "6195.00000000"), ("0.35120000", "1.00000000")]
        assert snapshot == BookSnapshot("NKN-USDT", None, T0 + 5, "499869751", bids, [("0.35140000", "431.00000000")])

    @pytest.mark.parametrize(("limit", "weight"), [(100, 5), (500, 10), (1000, 20)])
    def test_and_of_futures(self, limit, weight):
        session = connected(usdm(depth=limit))
        session.resync("BTC-USDT-PERP", T0, "it begins")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        request = next(fetch.flow)
        assert (request.path, request.weight) == (f"/fapi/v1/depth?symbol=BTCUSDT&limit={limit}", weight)
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(HttpResponse(200, frames.USDM_BOOK, recv=T0))
        assert stop.value.value[0].ts == 1679851564486 * MS

    @pytest.mark.parametrize(
        ("answer", "kind", "wait"),
        [
            (HttpResponse(200, b"[]"), ErrorKind.REST_FAILED, None),
            (HttpResponse(200, b'{"lastUpdateId":0,"bids":[],"asks":[]}'), ErrorKind.REST_FAILED, None),
            (HttpResponse(429, b"", {"retry-after": "9"}), ErrorKind.REST_RATE_LIMITED, 9.0),
            (
                HttpResponse(418, b'{"code":-1003,"msg":"IP banned until 1700000030000."}', recv=T0),
                ErrorKind.REST_RATE_LIMITED,
                30.0,
            ),
        ],
    )
    def test_a_snapshot_that_is_none(self, answer, kind, wait):
        session = connected(spot())
        session.resync("NKN-USDT", T0, "it begins")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        next(fetch.flow)
        with pytest.raises(RestError) as error:
            fetch.flow.send(answer)
        assert (error.value.kind, error.value.retry_after) == (kind, wait)

    def test_of_few_levels_each_message_is_all(self):
        [whole] = take(connected(spot(depth=20)), frames.FEW)
        assert whole == BookSnapshot("BNB-BTC", None, T0, "160", [("0.0024", "10")], [("0.0026", "100")])
        [whole] = take(connected(usdm(depth=20)), frames.USDM_FEW)
        assert (whole.xseq, whole.subject, whole.ts) == ("160", "BTC-USDT-PERP", 1679851564486 * MS)
        assert spot(depth=20).book.snapshot == "stream"
        assert spot(depth=100).book.snapshot == "rest"

    def test_and_another_one_is_had_by_subscribing_again(self):
        session = connected(spot("BNB-BTC", channels={Channel.BOOK}, depth=20))
        session.receive(frames.ACKNOWLEDGED, T0)
        asked(session)
        session.resync("BNB-BTC", T0, "it is crossed")
        session.tick(T0 + SECOND)
        stream = "bnbbtc@depth20@100ms"
        assert asked(session) == [("UNSUBSCRIBE", stream), ("SUBSCRIBE", stream)]


class TestQuotesAndTickers:
    def test_spot_gives_no_time(self):
        [quote] = take(connected(spot()), frames.BEST)
        best = ("25.35190000", "31.21000000", "25.36520000", "40.66000000")
        assert quote == Quote("BNB-BTC", None, T0, *best)
        [quote] = take(connected(usdm()), frames.USDM_BEST)
        assert quote == Quote("BTC-USDT-PERP", 1679851564486 * MS, T0, *best)

    def test_a_side_without_orders_is_empty(self):
        [quote] = take(connected(spot()), frames.changed(frames.BEST, b="0.00000000", B="0.00000000"))
        assert (quote.bid, quote.bid_size, quote.ask) == ("", "", "25.36520000")

    def test_the_last_day(self):
        [day] = take(connected(spot()), frames.DAY)
        values = ("0.0010", "0.0025", "0.0010", "0.0025", "0.0015", "250.00", "10000")
        assert day == Ticker("BNB-BTC", 1672515782136 * MS, T0, "86400", *values)
        [day] = take(connected(usdm(), 1), frames.USDM_DAY)
        assert (day.open, day.change, day.change_pct) == ("60", "-1.5", "-2.50")


class TestDerivatives:
    CHANNELS = frozenset({Channel.MARK, Channel.FUNDING, Channel.LIQUIDATIONS})

    def test_the_mark_price_comes_each_second_and_funding_when_it_changes(self):
        session = connected(usdm(channels=self.CHANNELS))
        mark, funding = take(session, frames.MARK)
        assert mark == Mark("BTC-USDT-PERP", 1562305380000 * MS, T0, "11794.15000000", "11784.62659091")
        assert funding == Funding("BTC-USDT-PERP", 1562305380000 * MS, T0, "0.00038167", 1562306400000 * MS, "")
        assert [type(event) for event in take(session, frames.MARK)] == [Mark]
        assert [type(event) for event in take(session, frames.changed(frames.MARK, r="-0.0001"))] == [Mark, Funding]

    def test_after_something_is_lost_the_funding_is_told_again(self):
        session = connected(usdm(channels=self.CHANNELS))
        take(session, frames.MARK)
        assert refused(session, frames.changed(frames.MARK, p="dear")) == [
            ("funding", "BTC-USDT-PERP"),
            ("mark", "BTC-USDT-PERP"),
        ]
        assert [type(event) for event in take(session, frames.MARK)] == [Mark, Funding]
        session.rejected(T0)
        assert [type(event) for event in take(session, frames.MARK)] == [Mark, Funding]

    def test_dated_futures_pay_no_funding(self):
        exchange = usdm("BTC-USDT-261225", channels=self.CHANNELS)
        assert {str(stream.channel) for stream in exchange.subscriptions()} == {"mark", "liquidations"}
        frame = frames.changed(frames.MARK.replace(b"btcusdt@", b"btcusdt_261225@"), s="BTCUSDT_261225", r="", T=0)
        assert [type(event) for event in take(connected(exchange), frame)] == [Mark]

    def test_liquidations_as_they_were_executed(self):
        session = connected(usdm(channels=self.CHANNELS))
        [forced] = take(session, frames.FORCED)
        assert forced == Liquidation("BTC-USDT-PERP", 1568014460891 * MS, T0, "", "sell", "9911", "0.013")
        assert refused(session, frames.FORCED.replace(b'"s":"BTC', b'"s":"ETH')) == [("liquidations", "BTC-USDT-PERP")]

    def test_open_interest_is_polled_pair_by_pair(self):
        exchange = usdm(channels={Channel.INTEREST})
        [poll] = exchange.polls()
        assert exchange.plan() == []
        flow = poll.flow(T0)
        asked_for = [next(flow).path]
        body = b'{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}'
        asked_for.append(flow.send(HttpResponse(200, body)).path)
        with pytest.raises(StopIteration) as stop:
            flow.send(HttpResponse(400, b'{"code":-4108,"msg":"Symbol is on delivering or delivered or settling."}'))
        assert "-4108 Symbol is on delivering" in stop.value.value[1].reason
        assert asked_for == [f"/fapi/v1/openInterest?symbol={symbol}" for symbol in ("BTCUSDT", "ETHUSDT")]
        again = poll.flow(T0)
        next(again)
        with pytest.raises(RestError):  # of the whole poll, not of one pair
            again.send(HttpResponse(503, b""))
        assert stop.value.value[0] == Interest("BTC-USDT-PERP", 1589437530011 * MS, T0, "10659.509", "")


class TestAnswers:
    def test_streams_are_asked_for_in_lower_case_and_numbers(self):
        session = connected(spot("BNB-BTC"))
        [message] = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
        names = {"bnbbtc@depth@100ms", "bnbbtc@bookTicker", "bnbbtc@ticker", "bnbbtc@trade"}
        assert (message["method"], set(message["params"]), message["id"]) == ("SUBSCRIBE", names, 1)

    @pytest.mark.parametrize("answer", [frames.ACKNOWLEDGED, b'{"result":null,"id":"1"}'])
    def test_an_id_may_be_text(self, answer):
        session = connected(spot("BNB-BTC"))
        assert {event for event, _, _ in controls(session, answer)} == {"live"}
        assert ("LIST_SUBSCRIPTIONS",) in asked(session)

    @pytest.mark.parametrize("refusal", [frames.REFUSED, frames.REFUSED_LATER])
    def test_a_refusal_is_of_the_whole_request_and_asked_again_one_by_one(self, refusal):
        session = connected(spot("BNB-BTC", channels={Channel.TRADES, Channel.QUOTES}))
        asked(session)
        assert controls(session, refusal) == []
        [(kind, code, _, _)] = faults(session)
        assert (kind, code) == ("bad_request", json.loads(refusal).get("code", 4))
        assert asked(session) == [("SUBSCRIBE", "bnbbtc@bookTicker"), ("SUBSCRIBE", "bnbbtc@trade")]
        assert controls(session, refusal.replace(b'"id":1', b'"id":3')) == [("down", "trades", "BNB-BTC")]

    def test_what_is_acknowledged_and_not_held_is_down(self):
        session = connected(spot("BNB-BTC", channels={Channel.TRADES, Channel.QUOTES}))
        session.receive(frames.ACKNOWLEDGED, T0)
        held = b'{"result":["bnbbtc@trade"],"id":0}'
        assert controls(session, held) == [("down", "quotes", "BNB-BTC")]

    @pytest.mark.parametrize("shutdown", frames.SHUTDOWNS)
    def test_a_shutdown_is_a_new_connection_first(self, shutdown):
        session = connected(spot())
        session.receive(shutdown, T0)
        assert [type(action) for action in session.actions][-1] is Replace

    def test_what_nobody_knows_is_counted(self):
        session = connected(spot())
        for frame in (b"{}", b'{"stream":"x@new","data":{}}', b'{"e":"new"}', b'{"result":7,"id":0}'):
            session.receive(frame, T0)
        kinds = [action.kind for action in session.actions if hasattr(action, "kind")]
        assert kinds == ["message without stream", "x@new", "new", "list of subscriptions"]

    def test_a_bad_frame_is_a_gap_of_its_stream(self):
        session = connected(spot())
        assert refused(session, frames.TRADE[:-5]) == [("trades", "BNB-BTC")]
