from __future__ import annotations

import json
from typing import ClassVar

import pytest

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import HttpRequest, ListedPair
from bridge.exchanges.lmex.messages import Market
from bridge.exchanges.lmex.rest import LmexRest, sign
from bridge.model import Balance, Channel, Ticker
from tests.unit import lmex_frames as frames
from tests.unit.core import SECOND, T0
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import ACCOUNT, SIZES, answer, contracts, lmex, said

SPOT = [{"symbol": "BTC-USD", "contractSize": 0}, {"symbol": "ETH-EUR"}]
FUTURES = [{"symbol": "BTC-PERP", "contractSize": 0.00001}, {"symbol": "ETH-PERP", "contractSize": 1e-4}]
AWAY = RestError("lmex", "/market_summary", 0, "no answer")


class TestDiscover:
    def test_both_markets_are_looked_up_and_contract_sizes_learned(self):
        sizes = contracts({})
        requests, _ = drive(
            LmexRest(sizes).discover(["BTC-USD", "BTC-PERP", "ETH-PERP"]), answer(SPOT), answer(FUTURES)
        )
        assert requests == [
            HttpRequest("GET", "/spot/api/v3.2/market_summary"),
            HttpRequest("GET", "/futures/api/v2.3/market_summary"),
        ]
        assert sizes.coins("BTC-PERP", "7") == "0.00007"
        assert sizes.coins("ETH-PERP", "7") == "0.0007"

    def test_the_account_may_trade_futures_that_are_not_among_the_pairs(self):
        sizes = contracts({})
        drive(LmexRest(sizes).discover(["BTC-PERP"]), answer(FUTURES))
        assert sizes.coins("ETH-PERP", "7") == "0.0007"

    def test_only_what_is_needed(self):
        requests, _ = drive(LmexRest(contracts({})).discover(["BTC-USD"]), answer(SPOT))
        assert len(requests) == 1

    def test_an_unknown_pair_comes_with_the_nearest_names(self):
        with pytest.raises(UnknownPairError, match="did you mean BTC-USD"):
            drive(LmexRest(contracts({})).discover(["BTC-USDT"]), answer(SPOT))

    @pytest.mark.parametrize("listed", [[], {}, [{"symbol": ""}]])
    def test_an_empty_list_is_the_exchanges_trouble(self, listed):
        with pytest.raises(RestError, match="lists no pairs"):
            drive(LmexRest(contracts({})).discover(["BTC-USD"]), answer(listed))

    @pytest.mark.parametrize("size", [None, 0, -1, "x", "nan"])
    def test_a_contract_size_that_is_not_told(self, size):
        rows = [{"symbol": "BTC-PERP", "contractSize": size}]
        with pytest.raises(RestError, match="contract size of BTC-PERP"):
            drive(LmexRest(contracts({})).discover(["BTC-PERP"]), answer(rows))

    def test_while_rest_is_away_spot_and_known_sizes_do(self):
        drive(LmexRest(contracts(SIZES)).discover(["BTC-USD", "BTC-PERP"]), AWAY, AWAY)
        with pytest.raises(RestError, match="no answer"):
            drive(LmexRest(contracts(SIZES)).discover(["BTC-PERP", "NEW-PERP"]), AWAY)


class TestFigures:
    SIZES: ClassVar = {"minPriceIncrement": 0.5, "minSizeIncrement": 1, "minOrderSize": 10, "active": True}

    def listed(self, spot, futures):
        _, pairs = drive(LmexRest(contracts({})).list_pairs(), answer([spot]), answer([futures]))
        return pairs

    def test_of_both_markets(self):
        """A future's sizes are told in contracts."""
        spot = {"symbol": "BTC-USD", "base": "BTC", "quote": "USD", **self.SIZES, "minSizeIncrement": 1e-5}
        future = {"symbol": "BTC-PERP", "base": "BTC", "quote": "USDT", **self.SIZES, "contractSize": 0.00001}
        sizes = {"tick_size": "0.5", "lot_size": "0.00001"}
        assert self.listed(spot, future) == [
            ListedPair("BTC-USD", "BTC", "USD", "spot", "online", **sizes, min_size="10"),
            ListedPair(
                "BTC-PERP", "BTC", "USDT", "perpetual", "online", **sizes, min_size="0.0001", contract_size="0.00001"
            ),
        ]

    @pytest.mark.parametrize("size", [None, 0, -1, "x", {}])
    def test_without_a_contract_size_sizes_are_unknown(self, size):
        row = {"symbol": "BTC-PERP", **self.SIZES, "active": False, "contractSize": size}
        perp = self.listed({"symbol": "BTC-USD"}, row)[1]
        assert (perp.status, perp.tick_size) == ("inactive", "0.5")
        assert (perp.lot_size, perp.min_size, perp.contract_size) == ("", "", "")


class TestSigning:
    @pytest.mark.parametrize(("path", "signature"), frames.SIGNATURES.items())
    def test_path_nonce_and_body_are_signed_in_this_order(self, path, signature):
        assert sign(frames.SECRET, path, frames.NONCE) == signature
        assert sign(frames.SECRET, path, frames.NONCE[:5], frames.NONCE[5:]) == signature

    def test_headers(self):
        rest = LmexRest(contracts({}))
        flow = rest.get("/futures/api/v2.3/user/open_orders", "symbol=BTC-PERP", T0, ACCOUNT)
        [request], rows = drive(flow, answer([{"a": 1.50, "b": None}]))
        nonce = str(T0 // 1_000_000)
        assert request.path == "/futures/api/v2.3/user/open_orders?symbol=BTC-PERP"
        assert request.headers == {
            "request-api": "the-key-id",
            "request-nonce": nonce,
            "request-sign": sign(frames.SECRET, "/api/v2.3/user/open_orders", nonce),
        }
        assert rows == [{"a": "1.5", "b": ""}]
        assert frames.SECRET not in repr(request)

    def test_the_nonce_rises(self):
        rest = LmexRest(contracts({}))
        nonces = []
        for now in (T0, T0, T0 - SECOND, T0 + SECOND):
            [request], _ = drive(rest.private(ACCOUNT, Market.SPOT, "/user/wallet", now), answer([]))
            nonces.append(int(request.headers["request-nonce"]))
        first = T0 // 1_000_000
        assert nonces == [first, first + 1, first + 2, first + 1000]


def test_what_is_listed():
    spot = [
        {"symbol": "BTC-USD", "base": "BTC", "quote": "USD", "active": True},
        {"symbol": "OLD-USD", "base": "OLD", "quote": "USD", "active": False},
        {"base": "nameless"},
    ]
    futures = [{"symbol": "BTC-PERP", "base": "BTC", "quote": "USD"}, {"symbol": "BTC-260626", "active": "no"}]
    requests, found = drive(LmexRest(contracts({})).list_pairs(), answer(spot), answer(futures))
    assert [request.path for request in requests] == [
        "/spot/api/v3.2/market_summary",
        "/futures/api/v2.3/market_summary",
    ]
    assert found == [
        ListedPair("BTC-USD", "BTC", "USD", "spot", "online"),
        ListedPair("OLD-USD", "OLD", "USD", "spot", "inactive"),
        ListedPair("BTC-PERP", "BTC", "USD", "perpetual", "online"),
        ListedPair("BTC-260626", "", "", "future", "inactive"),
    ]


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            (json.loads(frames.EXPIRED), 400, "10002 User session is expired. Please login again"),
            (json.loads(frames.AUTH_FAILED), 400, "-7 Authenticate failed"),
            (json.loads(frames.AUTH_FAILED), 200, "-7 Authenticate failed"),
            ({"success": False, "message": "no"}, 200, "no"),
            ([], 503, "no reason given"),
            (b"<html>busy</html>", 503, "not an answer of this API: '<html>busy</html>'"),
            (b"<html>busy</html>", 200, "not an answer of this API"),
            (b"", 200, "not an answer of this API"),
            (b"\xff", 200, "not an answer of this API"),
            (b"[" * 5000, 200, "not an answer of this API"),
            (b"7", 200, "not an answer of this API"),
            (b'[{"symbol":"\xff"}]', 200, "market_summary has no ticker of it"),
            (b"null", 200, "not an answer of this API"),
        ],
    )
    def test_forms(self, body, status, message):
        with pytest.raises(RestError) as caught:
            drive(LmexRest(contracts({})).tickers(Market.SPOT, ["BTC-USD"], T0), answer(body, status))
        assert message in caught.value.message
        assert caught.value.path == "/spot/api/v3.2/market_summary"

    @pytest.mark.parametrize(
        ("status", "told", "counts"),
        [(200, 400, 400), (200, "503", 503), (200, "odd", 200), (200, -1, 200), (500, 400, 500)],
    )
    def test_the_status_of_a_good_answer_is_the_one_that_it_tells(self, status, told, counts):
        with pytest.raises(RestError) as caught:
            drive(
                LmexRest(contracts({})).list_pairs(), answer({"status": told, "errorCode": 1, "message": "no"}, status)
            )
        assert (caught.value.status, caught.value.code) == (counts, "1")

    @pytest.mark.parametrize(
        ("header", "wait"), [("7", 7.0), ("1795302525000", 60.0), ("soon", 5.0), ("٣", 5.0), ("", 5.0)]
    )
    def test_retry_after_in_seconds_or_as_a_time(self, header, wait):
        with pytest.raises(RestError) as caught:
            drive(
                LmexRest(contracts({})).tickers(Market.SPOT, ["BTC-USD"], T0),
                answer({"message": "Too many requests"}, 429, {"retry-after": header}),
            )
        assert (caught.value.status, caught.value.retry_after) == (429, wait)


class TestTickers:
    ROW = (
        b'[{"symbol":"BTC-PERP","last":77099.90,"percentageChange":-1.250,"high24Hr":78000.0,"low24Hr":76000.5,"size":6530,'
        b'"volume":5034623.47,"lowestAsk":77100,"highestBid":77099}]'
    )

    def test_futures(self):
        flow = LmexRest(contracts(SIZES)).tickers(Market.FUTURES, ["BTC-PERP"], T0)
        _, [event] = drive(flow, answer(self.ROW))
        assert event == Ticker(
            "BTC-PERP", None, T0, "86400", "", "78000.0", "76000.5", "77099.90", "", "-1.250", "0.0653"
        )

    def test_spot_volume_is_in_coins(self):
        row = self.ROW.replace(b"BTC-PERP", b"BTC-USD")
        _, [event] = drive(LmexRest(contracts({})).tickers(Market.SPOT, ["BTC-USD"], T0), answer(row))
        assert event.volume == "6530"

    @pytest.mark.parametrize("rows", [[], [{"symbol": "ETH-USD", "last": "NaN"}]])
    def test_one_that_is_missing_or_none_is_down_and_the_others_go_on(self, rows):
        flow = LmexRest(contracts({})).tickers(Market.SPOT, ["ETH-USD", "BTC-USD"], T0)
        _, events = drive(flow, answer([{"symbol": "BTC-USD", "last": 5}, *rows]))
        assert said(events) == [("down", "ticker", "ETH-USD"), "Ticker"]

    @pytest.mark.parametrize("row", [{}, {"symbol": "BTC-PERP", "last": "much"}, {"symbol": "BTC-PERP", "size": "x"}])
    def test_what_is_no_ticker_is_an_error(self, row):
        with pytest.raises(RestError):
            drive(LmexRest(contracts(SIZES)).tickers(Market.FUTURES, ["BTC-PERP"], T0), answer([row]))


class TestPolls:
    def test_ticker(self):
        [spot, futures] = lmex("BTC-USD", "BTC-PERP", channels={Channel.TICKER}, ticker_interval="3s").polls()
        assert (spot.name, futures.name, spot.interval) == ("spot-ticker", "futures-ticker", 3.0)
        assert [(s.channel, s.subject) for s in futures.streams] == [(Channel.TICKER, "BTC-PERP")]
        [request], [event] = drive(futures.flow(T0), answer(TestTickers.ROW))
        assert request.path == "/futures/api/v2.3/market_summary"
        assert event.volume == "0.0653"

    def test_spot_wallet(self):
        [poll] = lmex("BTC-USD", channels={Channel.TRADES}, with_account=True).polls()
        body = b'[{"currency":"BTC","total":1.50,"available":1.2},{"currency":"USD","total":null,"available":7}]'
        [request], events = drive(poll.flow(T0), answer(body))
        assert request.path == "/spot/api/v3.2/user/wallet"
        assert events == [Balance("main", None, T0, "BTC", "1.2", "0.3"), Balance("main", None, T0, "USD", "7", "")]

    def test_futures_wallet(self):
        wallet = {
            "wallet": "CROSS@",
            "assets": [{"balance": 0.3, "assetPrice": 1, "currency": "USDT"}, {"balance": 2, "currency": "BTC"}],
            "assetsInUse": [{"balance": 0.1, "assetPrice": 1, "currency": "USDT"}],
        }
        [poll] = lmex("BTC-PERP", channels={Channel.TRADES}, with_account=True).polls()
        [request], events = drive(poll.flow(T0), answer([wallet]))
        assert request.path == "/futures/api/v2.3/user/wallet"
        assert events == [Balance("main", None, T0, "USDT", "0.2", "0.1"), Balance("main", None, T0, "BTC", "2", "0")]

    def test_where_both_markets_are_each_has_balances_of_its_own(self):
        exchange = lmex("BTC-USD", "BTC-PERP", channels={Channel.TRADES}, with_account=True)
        subjects = [poll.streams[0].subject for poll in exchange.polls()]
        assert subjects == ["main", "main/futures"]
        wallets = [s.subject for s in exchange.subscriptions() if s.channel is Channel.BALANCES]
        assert sorted(wallets) == subjects

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"currency": "BTC"},
            {"currency": "BTC", "available": "much"},
            {"assets": 7},
            {"assets": [{"currency": "BTC"}]},
            {"assets": [{"currency": "BTC", "balance": "x"}]},
            {"assets": [7]},
        ],
    )
    def test_what_is_no_wallet_is_an_error(self, row):
        [poll] = lmex("BTC-USD", channels={Channel.TRADES}, with_account=True).polls()
        with pytest.raises(RestError, match="no row can be understood"):
            drive(poll.flow(T0), answer([row]))


class TestClock:
    @pytest.mark.parametrize(
        ("body", "at", "resolution"),
        [
            (b'{"iso":"2021-06-29T18:14:30.886Z","epoch":1624990470}', 1624990470_886_000_000, 1_000_000),
            (b'{"iso":"2021-06-29T18:14:30Z","epoch":7}', 1624990470 * SECOND, SECOND),
            (b'{"iso":"2021-06-29T20:14:30.886123+02:00"}', 1624990470_886_123_000, 1_000),
            (b'{"iso":null,"epoch":1624990470}', 1624990470 * SECOND, SECOND),
            (b'{"epoch":1624990470}', 1624990470 * SECOND, SECOND),
        ],
    )
    def test_reading(self, body, at, resolution):
        [request], reading = drive(LmexRest(contracts({})).clock(), answer(body))
        assert request == HttpRequest("GET", "/spot/api/v3.2/time")
        assert (reading.at, reading.resolution) == (at, resolution)

    @pytest.mark.parametrize(
        "body", [{}, [], {"iso": "now"}, {"iso": 7}, [{}, {}], {"epoch": "soon"}, {"epoch": "9" * 400}]
    )
    def test_what_is_no_time_is_an_error(self, body):
        with pytest.raises(RestError):
            drive(LmexRest(contracts({})).clock(), answer(body))

    def test_what_is_signed_carries_the_exchanges_time(self):
        exchange = lmex("BTC-PERP", channels={Channel.TRADES}, with_account=True)
        exchange.clock_known(90 * SECOND)
        [poll] = exchange.polls()
        [request], _ = drive(poll.flow(T0), answer([]))
        assert request.headers["request-nonce"] == str((T0 + 90 * SECOND) // 1_000_000)
        session = next(plan for plan in exchange.plan() if "account" in plan.name).session()
        [log_in] = session.connected(T0)
        assert json.loads(log_in.text)["args"][1] == str((T0 + 90 * SECOND) // 1_000_000)


def test_a_wallet_of_which_nothing_can_be_read_is_an_error_that_says_what_was_wrong_first():
    [poll] = lmex("BTC-USD", channels=(), with_account=True).polls()
    rows = [{"currency": "BTC", "total": "odd", "available": "1"}, {"currency": "EUR"}]
    with pytest.raises(RestError, match=r"no row can be understood: .*'odd' is not a number"):
        drive(poll.flow(T0), answer(rows))
    assert poll.rejects == []
