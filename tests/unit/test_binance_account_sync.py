"""A Binance account's state by REST, after each connect: what is asked, what it costs, what has become of orders."""

from __future__ import annotations

from bridge.model import Channel
from tests.unit import binance_frames as frames
from tests.unit.binance_accounts import report, spot, usdm
from tests.unit.core import T0

MS = 1_000_000


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
