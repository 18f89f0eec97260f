"""A Binance account's state by REST, after each connect: what is asked, what it costs, what has become of orders."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, HttpResponse, Profile, Reconnect, Replace, Subscription, Warn
from bridge.exchanges.binance import Binance, BinanceUsdm, BinanceUsdmOptions
from bridge.model import Channel, Fill, Order
from tests.unit import binance_frames as frames
from tests.unit.binance_accounts import ACCOUNT, Accounts, report, spot, usdm
from tests.unit.core import SECOND, T0, faults

MS = 1_000_000
DAY = 24 * 3600 * 1000


class TestState:
    def test_what_is_asked_of_spot_and_what_it_costs(self):
        accounts = spot("BNB-BTC", "NKN-USDT")
        found = accounts.answer(
            {"openOrders": [frames.SPOT_ORDER], "myTrades": [frames.SPOT_FILL], "account": [frames.SPOT_BALANCE]}
        )
        calls = {(request.shown.partition("&")[0], request.weight) for request in accounts.asked}
        assert calls == {
            ("/api/v3/openOrders", 80),
            ("/api/v3/myTrades?symbol=BNBBTC", 20),
            ("/api/v3/myTrades?symbol=NKNUSDT", 20),
            ("/api/v3/account?omitZeroBalances=true", 20),
        }
        [order] = found[Channel.ORDERS].events
        assert (order.order_id, order.client_id, order.side, order.filled) == ("1", "myOrder1", "buy", "0.0")
        fill = found[Channel.FILLS].events[0]
        assert (fill.fill_id, fill.side, fill.price, fill.fee) == ("28457", "buy", "4.00000100", "10.10000000")
        [balance] = found[Channel.BALANCES].events
        assert (balance.available, balance.reserved, balance.ts) == ("4723846.89208129", "0.50000000", None)
        assert accounts.session.ready

    def test_and_of_futures(self):
        accounts = usdm()
        found = accounts.answer(
            {
                "openOrders": [frames.USDM_ORDER],
                "userTrades": [frames.USDM_FILL],
                "positionRisk": [
                    frames.USDM_POSITION,
                    frames.USDM_POSITION | {"symbol": "ETHUSDT", "positionAmt": "0.0"},
                ],
            }
        )
        calls = {(request.shown.partition("&")[0], request.weight) for request in accounts.asked}
        assert calls == {
            ("/fapi/v1/openOrders", 40),
            ("/fapi/v1/userTrades?symbol=BTCUSDT", 5),
            ("/fapi/v1/userTrades?symbol=ETHUSDT", 5),
            ("/fapi/v3/positionRisk", 5),
        }
        [position] = found[Channel.POSITIONS].events
        assert (position.side, position.size, position.mark_price, position.leg) == ("long", "0.0180", "9000.5", "")
        fill = found[Channel.FILLS].events[0]
        assert (fill.side, fill.fee, fill.fee_currency) == ("sell", "-0.07819010", "USDT")

    def test_an_order_that_has_ended_is_looked_up_and_one_that_is_forgotten_is_not_asked_for_again(self):
        accounts = spot()
        accounts.answer({})
        for number in ("7", "8"):
            accounts.take(report(x="NEW", X="NEW", i=int(number)))

        def rows(request):
            if "/order?" not in request.path:
                return []
            return [frames.SPOT_ORDER | {"orderId": 7, "status": "CANCELED"}] if "orderId=7" in request.path else []

        found = accounts.answer(rows)
        assert [(order.order_id, order.status) for order in found[Channel.ORDERS].events] == [("7", "cancelled")]
        accounts.answer(rows)
        assert not any("/order?" in request.path for request in accounts.asked)

    def test_fills_are_asked_for_where_the_account_was_seen(self):
        accounts = spot("BNB-BTC")
        accounts.take(report(s="ETHBTC"))
        accounts.answer({})
        asked = [request.path for request in accounts.asked]
        assert any("myTrades?symbol=ETHBTC" in path for path in asked)

    def test_what_was_asked_for_once_is_not_asked_for_again(self):
        accounts = spot()
        accounts.answer({})
        first = [request.path for request in accounts.asked if "myTrades" in request.path]
        accounts.answer({})
        again = [request.path for request in accounts.asked if "myTrades" in request.path]
        assert (len(first), len(again)) == (2, 1)
        assert f"startTime={T0 // MS - 60_000}" in again[0]

    def test_an_order_that_the_exchange_does_not_know_is_no_failure(self):
        accounts = spot()
        accounts.answer({})
        accounts.take(report(x="NEW", X="NEW", i=7))
        unknown = HttpResponse(400, b'{"code":-2013,"msg":"Order does not exist."}')
        found = accounts.answer(lambda request: unknown if "/order?" in request.path else [])
        assert list(found[Channel.ORDERS].events) == []
        assert Channel.BALANCES in found
        assert faults(accounts.session) == []

    def test_one_fetch_looks_up_fifty_orders_at_most_and_the_next_one_the_rest(self):
        accounts = spot()
        accounts.answer({})
        accounts.take(*(report(x="NEW", X="NEW", s="BNBBTC", i=number) for number in range(101, 161)))

        def rows(request):
            [number] = parse_qs(urlsplit(request.path).query).get("orderId", [""])
            return [frames.SPOT_ORDER | {"orderId": int(number), "status": "CANCELED"}] if number else []

        first = accounts.answer(rows)[Channel.ORDERS]
        assert len([request for request in accounts.asked if "/order?" in request.path]) == 50
        known = [event for event in accounts.session.outputs if isinstance(event, Order)]
        assert {order.order_id for order in known if not first.covers(order)} == {f"{n}" for n in range(151, 161)}
        accounts.session.actions.clear()
        accounts.session.tick(T0 + 20 * SECOND)
        rest = accounts.answer(rows)[Channel.ORDERS]
        assert [(order.order_id, order.status) for order in rest.events] == [
            (f"{number}", "cancelled") for number in range(151, 161)
        ]
        assert rest.covers is None
        accounts.answer(rows)
        assert not any("/order?" in request.path for request in accounts.asked)

    def test_of_two_orders_with_one_id_the_one_that_is_not_listed_is_looked_up(self):
        accounts = spot("BTC-USDT", "ETH-USDT")
        accounts.answer({})
        accounts.take(*(report(x="NEW", X="NEW", s=symbol, i=100) for symbol in ("BTCUSDT", "ETHUSDT")))
        row = frames.SPOT_ORDER | {"orderId": 100}

        def rows(request):
            if "/order?" in request.path:
                return [row | {"symbol": "BTCUSDT", "status": "CANCELED"}]
            return [row | {"symbol": "ETHUSDT"}] if "openOrders" in request.path else []

        found = accounts.answer(rows)[Channel.ORDERS]
        assert [(order.pair, order.status) for order in found.events] == [
            ("ETH-USDT", "open"),
            ("BTC-USDT", "cancelled"),
        ]
        asked = [request.path for request in accounts.asked if "/order?" in request.path]
        assert [path.partition("?")[2].partition("&recv")[0] for path in asked] == ["symbol=BTCUSDT&orderId=100"]
        assert list(accounts.exchange._account.memory.open_orders) == [("ETH-USDT", "100")]

    @pytest.mark.parametrize("bad", [{"symbol": ""}, {"orderId": ""}])
    def test_a_row_without_symbol_or_id_may_be_of_any_order(self, bad):
        accounts = spot()
        accounts.answer({})
        accounts.take(report(x="NEW", X="NEW", i=7))
        accounts.answer({"openOrders": [frames.SPOT_ORDER | bad]})
        assert [order_id for _, order_id in accounts.exchange._account.memory.open_orders] == ["7"]

    @pytest.mark.parametrize("code", [-1121, -1100])
    def test_a_symbol_that_is_not_listed_any_more_stops_nothing(self, code):
        accounts = spot("BNB-BTC")
        accounts.answer({})
        accounts.take(report(x="NEW", X="NEW", s="OLDUSDT", i=7))

        def rows(request):
            if "symbol=OLDUSDT" in request.path:
                return refusal(code)
            return [frames.SPOT_FILL] if "myTrades" in request.path else []

        for _ in range(2):
            found = accounts.answer(rows)
        assert list(found[Channel.ORDERS].events) == []
        assert [fill.pair for fill in found[Channel.FILLS].events] == ["BNB-BTC"]
        assert Channel.BALANCES in found
        assert (faults(accounts.session), accounts.exchange._account.memory.open_orders) == ([], {})
        said = [action.message for action in accounts.session.actions if isinstance(action, Warn)]
        assert said == ["OLDUSDT is not listed any more: its orders and fills are not to be had by REST"]

    def test_a_pair_without_a_symbol_is_not_asked_for(self):
        accounts, at = spot("BNB-BTC"), T0 - 3_600 * SECOND
        order = Order("main", at, at, "7", "", "OLD-USDT", "limit", "buy", "1", "1", "0", "open")
        accounts.exchange.recall(Subscription(Channel.ORDERS, "main"), [order], 0)
        found = accounts.answer({})
        assert Channel.BALANCES in found
        assert not any("OLD" in request.path for request in accounts.asked)
        [said] = [action.message for action in accounts.session.actions if isinstance(action, Warn)]
        assert said.startswith("OLD-USDT is not listed any more")

    @pytest.mark.parametrize(("kind", "days"), [(spot, 1), (usdm, 7)])
    def test_fills_of_a_long_time_are_asked_for_in_parts_and_up_to_now(self, kind, days):
        accounts = kind()
        accounts.session._memory.newest_fill = T0 - 20 * DAY * MS
        accounts.answer({})
        queries = [parse_qs(urlsplit(request.path).query) for request in accounts.asked if "rades?" in request.path]
        spans = [(int(query["startTime"][0]), int(query["endTime"][0])) for query in queries]
        assert [end - start + 1 for start, end in spans[:-1]] == [days * DAY] * (20 // days)
        assert [start for start, _ in spans[1:]] == [end + 1 for _, end in spans[:-1]]
        assert spans[-1][1] > T0 // MS + 1_000

    def test_what_the_streams_hold_says_from_when_on_and_of_which_pairs(self):
        accounts, at = spot("BNB-BTC"), T0 - 3_600 * SECOND
        fill = Fill("main", at, at, "1", "2", "ETHBTC", "buy", "1", "1", "", "")
        accounts.exchange.recall(Subscription(Channel.FILLS, "main"), [fill], 0)
        accounts.answer({})
        asked = [request.path for request in accounts.asked if "myTrades" in request.path]
        assert [path.partition("symbol=")[2].partition("&")[0] for path in asked] == ["BNBBTC", "ETHBTC"]
        assert all(f"startTime={at // MS - 60_000}&" in path for path in asked)

    @pytest.mark.parametrize("kind", [spot, usdm])
    def test_fills_of_a_moment_ago_are_asked_for_though_our_clock_is_ahead(self, kind):
        accounts, ahead = kind(), 600
        accounts.exchange.clock_known(-ahead * SECOND)
        accounts.answer({})
        accounts.answer({})
        queries = [parse_qs(urlsplit(request.path).query) for request in accounts.asked if "rades?" in request.path]
        start = T0 // MS - ahead * 1_000 - 60_000
        assert {int(query["startTime"][0]) - start for query in queries} <= {0, 1_000}
        assert queries

    def test_an_accounts_connections_are_replaced_within_a_day(self):
        for accounts in (spot(), usdm()):
            assert [plan.rotate for plan in accounts.exchange.plan()] == [23 * 3600]

    def test_an_order_of_futures_has_the_wallets_fetched(self):
        accounts = usdm()
        [poll] = accounts.exchange.polls()
        accounts.take(frames.UPDATE)
        assert poll.wanted

    def test_the_clock_counts_for_where_they_end(self):
        accounts = spot()
        accounts.exchange.clock_known(-50 * SECOND)
        accounts.answer({})
        asked = [request.path for request in accounts.asked if "myTrades" in request.path]
        assert f"endTime={T0 // MS + 1_000 - 50_000 + 1_000}&" in asked[-1]


class TestKeys:
    """The subscription of spot, and the listen key of futures."""

    def test_no_answer_to_the_subscription(self):
        session = Accounts(Binance, "BNB-BTC").session
        session.tick(T0 + 10 * SECOND)
        session.tick(T0 + 11 * SECOND)
        ends = [action for action in session.actions if isinstance(action, Reconnect)]
        assert ends == [Reconnect("no answer to the log-in")]

    def test_after_a_refusal_the_clock_is_read_first(self):
        accounts = Accounts(Binance, "BNB-BTC")
        refusal = b'{"id":1,"status":400,"error":{"code":-1021,"msg":"Timestamp for this request is outside."}}'
        accounts.session.receive(refusal, T0)
        flow = accounts.exchange.plan()[0].session().open(T0)
        assert next(flow).path == "/api/v3/time"
        with pytest.raises(StopIteration):
            flow.send(HttpResponse(200, b'{"serverTime":%d}' % (T0 // MS + 90_000)))
        assert accounts.exchange._account.rest.clock_offset == 90 * SECOND

    @pytest.mark.parametrize("body", [b"{}", b'{"listenKey":""}', b'{"listenKey":{}}', b"[]"])
    def test_an_answer_without_a_listen_key(self, body):
        flow = usdm().session.open(T0)
        next(flow)
        with pytest.raises(RestError, match="no listen key"):
            flow.send(HttpResponse(200, body))

    def test_one_that_the_exchange_has_forgotten_is_replaced_at_once(self):
        session = usdm().session
        session.actions.clear()
        session.tick(T0 + 1_800 * SECOND)
        [fetch] = session.actions
        next(fetch.flow)
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(HttpResponse(400, b'{"code":-1125,"msg":"This listenKey does not exist."}'))
        assert [output for output in stop.value.value if isinstance(output, Replace)] == [
            Replace("the listen key has lapsed")
        ]

    def test_where_it_cannot_be_renewed_it_is_tried_again_and_lapses_when_it_does(self):
        session = usdm().session
        lapses = session.expires
        assert lapses == T0 + 3_600 * SECOND
        session.actions.clear()
        session.tick(T0 + 1_800 * SECOND)
        [fetch] = session.actions
        next(fetch.flow)
        with pytest.raises(StopIteration):
            fetch.flow.send(HttpResponse(503, b""))
        session.actions.clear()
        session.tick(T0 + 1_810 * SECOND)
        assert [action.what for action in session.actions if isinstance(action, Fetch)] == ["the listen key"]
        assert session.expires == lapses

    def test_what_nobody_knows_is_fetched(self):
        accounts = usdm()
        accounts.answer({})
        accounts.session.actions.clear()
        accounts.session.receive(b'{"e":"NEW_KIND_OF_EVENT"}', T0)
        accounts.session.tick(T0 + 20 * SECOND)
        assert any(isinstance(action, Fetch) for action in accounts.session.actions)


def refusal(code):
    return HttpResponse(400, b'{"code":%d,"msg":"No."}' % code)


def permissions(**flags):
    return HttpResponse(200, json.dumps({"ipRestrict": False, "createTime": 1623840271000, **flags}).encode())


VAGUE = "the key is unknown, is not allowed from this address, or lacks the permission"
REASONS = [
    (permissions(enableReading=False, enableFutures=True), "the key lacks the permission to read"),
    (permissions(enableReading=True, enableFutures=True), VAGUE),
    (refusal(-2008), "the exchange does not know the key"),
    (refusal(-2015), "the exchange knows the key, and does not allow it from this address"),
    (refusal(-1022), "the secret is not the key's"),
    (HttpResponse(404, b"gone"), VAGUE),
]


class TestWhyAKeyIsRefused:
    """The same code, -2015, is of three reasons: another call tells them apart."""

    REFUSED = b'{"id":1,"status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}'

    @pytest.mark.parametrize(("answer", "why"), REASONS)
    def test_over_the_connection(self, answer, why):
        accounts = Accounts(Binance, "BNB-BTC")
        session = accounts.session
        assert session.receive(self.REFUSED, T0) == []
        session.tick(T0 + 11 * SECOND)
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        assert not [action for action in session.actions if isinstance(action, Reconnect)]
        request = next(fetch.flow)
        assert (request.shown, request.base) == ("/sapi/v1/account/apiRestrictions", "https://api.binance.com")
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(answer)
        said, end = stop.value.value
        assert (said.error.kind, said.error.code) == ("login_refused", -2015)
        assert end.reason == f"the log-in is refused: -2015: Invalid API-key, IP, or permissions for action. ({why})"

    @pytest.mark.parametrize(("answer", "why"), REASONS)
    def test_by_rest(self, answer, why):
        accounts = spot()

        def rows(request):
            return answer if "apiRestrictions" in request.path else refusal(-2015)

        accounts.answer(rows)
        assert [request.shown.rpartition("/")[2] for request in accounts.asked] == ["openOrders", "apiRestrictions"]
        [(kind, code, _, words)] = faults(accounts.session)
        assert (kind, code, words) == ("rest_login_refused", -2015, f"-2015 No. ({why})")
        [end] = [action for action in accounts.session.actions if isinstance(action, Reconnect)]
        assert (why in end.reason, end.wait) == (True, 60.0)

    def test_futures_want_a_permission_of_their_own(self):
        flow = usdm().session.open(T0)
        assert next(flow).path == "/fapi/v1/listenKey"
        request = flow.send(refusal(-2015))
        assert request.base == "https://api.binance.com"
        with pytest.raises(RestError, match="the key lacks the permission for futures") as error:
            flow.send(permissions(enableReading=True, enableFutures=False))
        assert (error.value.path, error.value.status) == ("/fapi/v1/listenKey", 400)

    @pytest.mark.parametrize("environment", ["testnet", "demo"])
    def test_test_systems_have_no_such_call(self, environment):
        options = BinanceUsdmOptions(environment=environment)
        exchange = BinanceUsdm(Profile(("BTC-USDT-PERP",), frozenset(), account=ACCOUNT, options=options))
        flow = exchange.plan()[0].session().open(T0)
        next(flow)
        with pytest.raises(RestError, match=VAGUE):
            flow.send(refusal(-2015))

    def test_where_rest_is_elsewhere_it_is_asked_there(self):
        exchange = BinanceUsdm(Profile(("BTC-USDT-PERP",), frozenset(), None, "http://127.0.0.1:1", ACCOUNT))
        flow = exchange.plan()[0].session().open(T0)
        next(flow)
        assert flow.send(refusal(-2015)).base == ""
