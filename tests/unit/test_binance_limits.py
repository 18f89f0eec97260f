"""Binance's public streams at their limits: numbers that are only just valid, and what a lost message takes with it."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Fetch, HttpResponse
from bridge.exchanges.binance.rest import USDM, failure
from bridge.model import BookSnapshot, Channel, Funding, Mark
from tests.unit import binance_frames as frames
from tests.unit.binance_sessions import asked, connected, controls, spot, take, usdm
from tests.unit.core import T0, refused

FEEDS = frozenset({Channel.TRADES, Channel.MARK, Channel.FUNDING})


class TestNumbers:
    @pytest.mark.parametrize("number", [..., 0, -1])
    def test_a_trade_without_an_id_is_none(self, number):
        assert refused(connected(spot()), frames.changed(frames.TRADE, t=number)) == [("trades", "BNB-BTC")]
        single = connected(usdm(), 1)
        assert refused(single, frames.changed(frames.AGGREGATED, a=number)) == [("trades", "BTC-USDT-PERP")]

    def test_the_first_trade_of_all(self):
        [trade] = take(connected(spot()), frames.changed(frames.TRADE, t=1))
        assert trade.id == "1"

    def test_the_first_change_of_a_book(self):
        [delta] = take(connected(spot()), frames.changed(frames.DELTA, U=1))
        assert delta.prev == "0"
        [delta] = take(connected(usdm()), frames.changed(frames.USDM_DELTA, pu=0))
        assert delta.prev == "0"

    def test_the_largest_number(self):
        [delta] = take(connected(spot()), frames.changed(frames.DELTA, u=2**63 - 1))
        assert delta.xseq == str(2**63 - 1)

    @pytest.mark.parametrize("name", ["U", "u"])
    def test_a_change_without_its_numbers_is_none(self, name):
        assert refused(connected(spot()), frames.changed(frames.DELTA, **{name: ...})) == [("book", "NKN-USDT")]

    @pytest.mark.parametrize("side", ["b", "a"])
    @pytest.mark.parametrize("level", [["dear", "1"], ["1", "-1"], ["1", ""]])
    def test_a_level_that_is_none(self, side, level):
        assert refused(connected(usdm()), frames.changed(frames.USDM_DELTA, **{side: [level]})) == [
            ("book", "BTC-USDT-PERP")
        ]

    @pytest.mark.parametrize("number", [..., 0, 2**63])
    def test_a_book_of_few_levels_without_a_number_is_none(self, number):
        session = connected(spot(depth=20))
        assert refused(session, frames.changed(frames.FEW, lastUpdateId=number)) == [("book", "BNB-BTC")]
        [whole] = take(session, frames.changed(frames.FEW, lastUpdateId=1))
        assert whole.xseq == "1"


@pytest.mark.parametrize("depth", [5, 10])
def test_of_the_fewest_levels_too_each_message_is_all(depth):
    session = connected(spot("BNB-BTC", channels={Channel.BOOK}, depth=depth))
    assert asked(session) == [("SUBSCRIBE", f"bnbbtc@depth{depth}@100ms")]
    [whole] = take(session, frames.FEW.replace(b"depth20", f"depth{depth}".encode()))
    assert isinstance(whole, BookSnapshot)
    session.resync("BNB-BTC", T0, "it is crossed")
    assert not [action for action in session.actions if isinstance(action, Fetch)]


class TestLosses:
    """What was said before a message that can't be read shows nothing about what comes behind it."""

    def followed(self):
        """A session that knows a trade, a mark price and what funding is due."""
        session = connected(usdm(channels=FEEDS))
        assert [type(event) for event in take(session, frames.AGGREGATED, frames.MARK)][1:] == [Mark, Funding]
        return session

    def test_after_a_frame_that_may_be_of_anything(self):
        session = self.followed()
        session.rejected(T0)
        assert controls(session, frames.changed(frames.AGGREGATED, a=5933020)) == []
        assert [type(event) for event in take(session, frames.MARK)] == [Mark, Funding]

    def test_after_a_mark_price_funding_is_said_again_and_trades_go_on(self):
        session = self.followed()
        pair = "BTC-USDT-PERP"
        assert refused(session, frames.changed(frames.MARK, p="dear")) == [("funding", pair), ("mark", pair)]
        assert [type(event) for event in take(session, frames.MARK)] == [Mark, Funding]
        assert controls(session, frames.changed(frames.AGGREGATED, a=5933020)) == [("gap", "trades", pair)]

    def test_after_a_trade_that_was_cut_off_the_next_one_is_no_hole(self):
        session = self.followed()
        assert refused(session, frames.AGGREGATED[:-5]) == [("trades", "BTC-USDT-PERP")]
        assert controls(session, frames.changed(frames.AGGREGATED, a=5933020)) == []

    def test_another_time_of_the_same_funding_is_news(self):
        session = self.followed()
        [_, funding] = take(session, frames.changed(frames.MARK, T=1562335200000))
        assert funding.next_ts == 1562335200000 * 10**6


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (-1002, "rest_login_refused", " (the key lacks the permission)"),
        (-1022, "rest_login_refused", " (the secret is not the key's)"),
        (-2014, "rest_login_refused", " (this is no key of the exchange's)"),
        (
            -2015,
            "rest_login_refused",
            " (the key is unknown, is not allowed from this address, or lacks the permission)",
        ),
        (-4109, "rest_login_refused", " (the account is not active)"),
        (-1003, "rest_rate_limited", ""),
        (-1121, "rest_failed", ""),
    ],
)
def test_what_a_code_says_of_the_key(code, kind, hint):
    error = failure(USDM, "/fapi/v3/balance", HttpResponse(400, json.dumps({"code": code, "msg": "no"}).encode()))
    assert error is not None
    assert (error.kind, error.message) == (kind, f"{code} no{hint}")
