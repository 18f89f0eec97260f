"""What Bybit says of derivatives alone: funding, mark prices, open interest, liquidations."""

from __future__ import annotations

import json

import pytest

from bridge.model import Channel, Control, Funding, Interest, Liquidation, Mark
from tests.unit import bybit_frames as frames
from tests.unit.bybit_frames import ticker
from tests.unit.bybit_sessions import DERIVED, PERPETUAL, public
from tests.unit.core import T0, refused
from tests.unit.session_views import data, take


class TestDerivatives:
    """The ticker topic of a perpetual feeds four streams, each of which has an entry when its own fields change."""

    def test_all_to_the_digit(self):
        events = {event.channel: event for event in take(public(symbols=PERPETUAL), frames.TICKER_LINEAR)}
        at = (1760325052630000000, T0)
        assert len(events) == 4
        assert events[Channel.FUNDING] == Funding("BTC-USDT-PERP", *at, "-0.005", 1760342400000000000, "28800")
        assert events[Channel.MARK] == Mark("BTC-USDT-PERP", *at, "66666.60", "115418.19")
        assert events[Channel.INTEREST] == Interest("BTC-USDT-PERP", *at, "246186.86", "16412440820.27")

    def test_only_what_is_wanted(self):
        [event] = take(public({Channel.MARK}, symbols=PERPETUAL), frames.TICKER_LINEAR)
        assert isinstance(event, Mark)

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"fundingRate": "0.0001"}, {Channel.FUNDING: ("0.0001", 1760342400000000000, "28800")}),
            ({"nextFundingTime": "1760371200000"}, {Channel.FUNDING: ("-0.005", 1760371200000000000, "28800")}),
            ({"nextFundingTime": "", "fundingIntervalHour": ""}, {Channel.FUNDING: ("-0.005", None, "")}),
            ({"nextFundingTime": "0", "fundingIntervalHour": "0.5"}, {Channel.FUNDING: ("-0.005", None, "1800")}),
            ({"indexPrice": "7"}, {Channel.MARK: ("66666.60", "7")}),
            ({"singleOpenInterest": "7"}, {Channel.INTEREST: ("7", "16412440820.27")}),
            ({"openInterest": "7", "openInterestValue": "8", "bid1Price": "9"}, {}),
            (
                {"markPrice": "5", "lastPrice": "6"},
                {
                    Channel.TICKER: (
                        "86400",
                        "79206.20",
                        "79266.30",
                        "65076.90",
                        "6",
                        "-79200.20",
                        "-15.8315",
                        "73191.3870",
                    ),
                    Channel.MARK: ("5", "115418.19"),
                },
            ),
        ],
    )
    def test_each_only_when_its_own_fields_change(self, fields, told):
        session = public(symbols=PERPETUAL)
        take(session, frames.TICKER_LINEAR)
        events = take(session, ticker(**fields))
        assert {event.channel: tuple(getattr(event, name) for name in event.WIRE) for event in events} == told

    def test_what_the_exchange_does_not_say_is_no_entry(self):
        """A frame from before August 2026: it counts both sides of the open interest, and only those."""
        session = public(DERIVED, symbols=PERPETUAL)
        before = frames.changed(frames.TICKER_LINEAR, singleOpenInterest=..., singleOpenInterestValue=...)
        assert {event.channel for event in take(session, before)} == {Channel.FUNDING, Channel.MARK}

    def test_what_becomes_unknown_is(self):
        session = public({Channel.MARK}, symbols=PERPETUAL)
        take(session, frames.TICKER_LINEAR)
        [event] = take(session, ticker(markPrice="", indexPrice=""))
        assert (event.mark, event.index) == ("", "")

    def test_a_field_of_a_stream_that_is_not_wanted_harms_none(self):
        session = public({Channel.MARK}, symbols=PERPETUAL)
        assert len(take(session, frames.changed(frames.TICKER_LINEAR, fundingRate="dear", lastPrice="dear"))) == 1

    @pytest.mark.parametrize(
        "fields", [{"fundingRate": "dear"}, {"nextFundingTime": "5"}, {"nextFundingTime": "soon"}, {"markPrice": "-1"}]
    )
    def test_one_that_is_wrong_is_a_gap_of_all_that_the_topic_feeds(self, fields):
        session = public(symbols=PERPETUAL)
        take(session, frames.TICKER_LINEAR)
        channels = ("funding", "interest", "mark", "ticker")
        assert sorted(refused(session, ticker(**fields))) == [(channel, "BTC-USDT-PERP") for channel in channels]
        assert len(take(session, frames.TICKER_LINEAR)) == 4


class TestLiquidations:
    @pytest.mark.parametrize(("position", "side"), [("Buy", "sell"), ("Sell", "buy")])
    def test_the_side_is_that_of_the_order_that_closes(self, position, side):
        [event] = take(public(symbols=PERPETUAL), frames.changed(frames.LIQUIDATION, S=position))
        assert event == Liquidation("BTC-USDT-PERP", 1739502302929000000, T0, "", side, "0.04499", "20000")

    def test_of_bad_rows_only_those_are_missing(self):
        message = json.loads(frames.LIQUIDATION)
        good = message["data"][0]
        message["data"] = [good, {**good, "p": "dear"}, 7, {**good, "v": "5"}]
        session = public({Channel.LIQUIDATIONS}, symbols=PERPETUAL)
        events = session.receive(json.dumps(message).encode(), T0)
        assert [event.size for event in data(events)] == ["20000", "5"]
        assert [(event.event, event.count) for event in events if isinstance(event, Control)] == [("gap", 2)]

    def test_of_another_symbol_they_are_refused(self):
        session = public({Channel.LIQUIDATIONS}, symbols=PERPETUAL)
        assert refused(session, frames.changed(frames.LIQUIDATION, s="ETHUSDT")) == [("liquidations", "BTC-USDT-PERP")]
