"""LMEX's REST calls: shapes, signatures, errors."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from bridge.simulator.lmex.auth import signature
from bridge.simulator.lmex.options import LmexConfig
from tests.simulator.helpers import NOW
from tests.simulator.lmex_helpers import LmexRig, hmac384, running_lmex

SPOT, FUTURES = "/spot/api/v3.2", "/futures/api/v2.3"
MS = int(NOW * 1000)
SUMMARY = (
    "symbol base quote active minPriceIncrement minSizeIncrement minOrderSize maxOrderSize contractSize "
    "timeBasedContract fundingRate last lowestAsk highestBid openInterest"
)


async def test_time_is_in_seconds() -> None:
    async with running_lmex() as rig:
        rig.clock.now = 1624990470.886
        status, answer = await rig.get(f"{SPOT}/time")
        assert (status, answer) == (200, {"iso": "2021-06-29T18:14:30.886Z", "epoch": 1624990470})
        assert datetime.fromisoformat(answer["iso"]).timestamp() == rig.clock.now
        assert (await rig.get(f"{FUTURES}/time"))[1] == answer


async def test_summary_lists_the_markets_with_their_units() -> None:
    async with running_lmex() as rig:
        _, spot = await rig.get(f"{SPOT}/market_summary")
        _, futures = await rig.get(f"{FUTURES}/market_summary")
        assert [row["symbol"] for row in spot] == ["BTC-USD", "ETH-USD"]
        assert [row["symbol"] for row in futures] == ["BTC-PERP", "ETH-PERP"]
        for row in spot + futures:
            assert row.keys() >= set(SUMMARY.split())
            book = await rig.look("book", pair=row["symbol"])
            assert (row["highestBid"], row["lowestAsk"]) == (Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0]))
            kept = await rig.look("trades", pair=row["symbol"])
            assert row["last"] == Decimal(kept["trades"][-1]["price"])
            assert row["high24Hr"] >= row["last"] >= row["low24Hr"]
        units = {
            row["symbol"]: (row["base"], row["quote"], row["contractSize"], row["minSizeIncrement"]) for row in futures
        }
        assert units == {
            "BTC-PERP": ("BTC", "USDT", Decimal("0.00001"), 1),
            "ETH-PERP": ("ETH", "USDT", Decimal("0.0001"), 1),
        }
        assert {row["contractSize"] for row in spot} == {0}
        _, one = await rig.get(f"{FUTURES}/market_summary", symbol="ETH-PERP")
        assert [row["symbol"] for row in one] == ["ETH-PERP"]


async def test_volume_of_the_day_is_that_of_the_trades() -> None:
    async with running_lmex(("BTC-PERP",)) as rig:
        kept = await rig.look("trades", pair="BTC-PERP")
        _, (row,) = await rig.get(f"{FUTURES}/market_summary")
        assert row["size"] == sum(Decimal(trade["size"]) for trade in kept["trades"])


async def test_older_versions_have_older_names() -> None:
    async with running_lmex() as rig:
        _, rows = await rig.get("/futures/api/v2.1/market_summary")
        assert [row["symbol"] for row in rows] == ["BTCPFC", "ETHPFC"]
        rig.simulator.place("main", "BTC-PERP", "buy", "3")
        _, rows = await rig.signed_get("/futures/api/v2.1/user/positions")
        assert [(row["symbol"], row["positionId"]) for row in rows] == [("BTCPFC", "BTCPFC-USDT")]
        assert [row["symbol"] for row in (await rig.get("/spot/api/v3.3/market_summary"))[1]] == ["BTC-USD", "ETH-USD"]


async def test_book() -> None:
    async with running_lmex() as rig:
        _, answer = await rig.get(f"{FUTURES}/orderbook/L2", symbol="BTC-PERP", depth="5")
        assert list(answer) == ["symbol", "buyQuote", "sellQuote", "timestamp", "depth"]
        truth = await rig.look("book", pair="BTC-PERP")
        levels = {side: [[row["price"], row["size"]] for row in answer[side]] for side in ("buyQuote", "sellQuote")}
        assert levels == {"buyQuote": truth["bids"][:5], "sellQuote": truth["asks"][:5][::-1]}
        assert (answer["symbol"], answer["timestamp"], answer["depth"]) == ("BTC-PERP", MS, 5)
        assert len((await rig.get(f"{SPOT}/orderbook/L2", symbol="BTC-USD"))[1]["buyQuote"]) > 20


# Signatures


def test_signature_of_a_call_with_a_body() -> None:
    """The vector of the sister exchange's documentation."""
    secret = "848db84ac252b6726e5f6e7a711d9c96d9fd77d020151b45839a5b59c37203bx"
    body = (
        '{"postOnly":false,"price":8500.0,"side":"BUY","size":0.002,"stopPrice":0.0,"symbol":"BTC-USD",'
        '"time_in_force":"GTC","trailValue":0.0,"triggerPrice":0.0,"txType":"LIMIT","type":"LIMIT"}'
    )
    assert signature(secret, f"/api/v3.2/order1624985375123{body}") == (
        "e9cd0babdf497b536d1e48bc9cf1fadad3426b36406b5747d77ae4e3cdc9ab556863f2d0cf78e0228c39a064ad43afb7"
    )


@pytest.mark.parametrize(
    ("key", "nonce", "path"),
    [
        ("nobody", str(MS), "/api/v3.2/user/wallet"),
        (None, str(MS), "/spot/api/v3.2/user/wallet"),
        (None, str(MS), "/api/v3.2/user/wallet?x=1"),
        (None, str(MS - 61_000), "/api/v3.2/user/wallet"),
        (None, str(MS // 1000), "/api/v3.2/user/wallet"),
        (None, "soon", "/api/v3.2/user/wallet"),
    ],
)
async def test_wrong_signatures(key: str | None, nonce: str, path: str) -> None:
    async with running_lmex() as rig:
        headers = {
            "request-api": key or rig.access.api_key,
            "request-nonce": nonce,
            "request-sign": hmac384(rig.access.secret, path + nonce),
        }
        async with rig.http.get(f"{rig.urls.rest}{SPOT}/user/wallet", headers=headers) as response:
            assert response.status == 400
            assert await response.text() == (
                '{"status":400,"errorCode":-7,"message":"Authenticate failed","extraData":null}'
            )


async def test_unsigned_private_calls_are_refused() -> None:
    async with running_lmex() as rig:
        status, answer = await rig.get(f"{FUTURES}/user/positions")
        assert (status, answer["errorCode"]) == (400, -7)


async def test_a_query_is_not_signed() -> None:
    async with running_lmex() as rig:
        status, answer = await rig.signed_get(f"{SPOT}/user/open_orders", symbol="BTC-USD")
        assert (status, answer) == (200, [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{SPOT}/nothing", 404),
        (f"{SPOT}/user/positions", 404),
        ("/spot/api/v1/time", 404),
        (f"{FUTURES}/market_summary?symbol=BTC-USD", 400),
        (f"{SPOT}/orderbook/L2", 400),
        (f"{SPOT}/orderbook/L2?symbol=BTC-USD&depth=all", 400),
    ],
)
async def test_mistakes(path: str, status: int) -> None:
    async with running_lmex() as rig, rig.http.get(rig.urls.rest + path) as response:
        assert response.status == status


# What the account has


async def test_spot_wallets() -> None:
    async with running_lmex() as rig:
        rig.simulator.place("main", "BTC-USD", "buy", "0.1", "20000")
        rig.simulator.place("main", "ETH-USD", "sell", "0.25")
        _, rows = await rig.signed_get(f"{SPOT}/user/wallet")
        true = (await rig.look("account", account="main"))["wallets"]
        assert {row["currency"]: (row["available"], row["total"]) for row in rows} == {
            code: (Decimal(w["available"]), Decimal(w["available"]) + Decimal(w["reserved"]))
            for code, w in true.items()
        }
        assert Decimal(true["USD"]["reserved"]) == 2000
        assert {tuple(row) for row in rows} == {("currency", "available", "total")}


async def test_futures_wallet() -> None:
    async with running_lmex() as rig:
        rig.simulator.place("main", "BTC-PERP", "buy", "5000")
        rig.simulator.place("main", "BTC-PERP", "buy", "100", "20000")
        _, (row,) = await rig.signed_get(f"{FUTURES}/user/wallet", wallet="CROSS@")
        account = await rig.look("account", account="main")
        wallet = account["futures_wallets"]["USDT"]
        available, reserved = Decimal(wallet["available"]), Decimal(wallet["reserved"])
        assert row["wallet"] == "CROSS@"
        assert (row["availableBalance"], row["totalValue"]) == (available, available + reserved)
        assert row["assets"] == [{"balance": available + reserved, "assetPrice": 1, "currency": "USDT"}]
        assert row["unrealisedProfitLoss"] == Decimal(account["positions"][0]["unrealised_pnl"])
        fee = sum(Decimal(fill["fee"]) for fill in account["fills"])
        assert available + reserved == Decimal(wallet["deposit"]) - fee
        entry = Decimal(account["positions"][0]["entry_price"])
        order_margin = Decimal(100) * 20000 * Decimal("0.00001") / 10
        assert abs(reserved - (5000 * entry * Decimal("0.00001") / 10 + order_margin)) < Decimal("1e-7")


@pytest.mark.parametrize(("base", "pair", "size"), [(SPOT, "BTC-USD", "0.1"), (FUTURES, "BTC-PERP", "100")])
async def test_open_orders(base: str, pair: str, size: str) -> None:
    async with running_lmex() as rig:
        order = rig.simulator.place("main", pair, "buy", size, "20000", client_id="mine")
        rig.simulator.place("main", "ETH" + pair[3:], "sell", "1", "9000")
        rig.clock.now += 5
        _, rows = await rig.signed_get(f"{base}/user/open_orders", symbol=pair)
        assert len(rows) == 1
        expected = {
            "orderID": order.id,
            "clOrderID": "mine",
            "symbol": pair,
            "side": "BUY",
            "orderType": 76,
            "price": 20000,
            "size": Decimal(size),
            "filledSize": 0,
            "orderState": "STATUS_ACTIVE",
            "timestamp": MS,
            "averageFillPrice": 0,
        }
        assert expected.items() <= rows[0].items()
        assert len((await rig.signed_get(f"{base}/user/open_orders"))[1]) == 2
        rig.simulator.cancel("main", order.id)
        assert (await rig.signed_get(f"{base}/user/open_orders", symbol=pair))[1] == []


async def fills_of(rig: LmexRig, **params: str) -> list[Any]:
    status, rows = await rig.signed_get(f"{FUTURES}/user/trade_history", **params)
    assert status == 200, rows
    return rows


async def test_trade_history_pages() -> None:
    async with running_lmex() as rig:
        for number in range(15):
            rig.clock.now = NOW + number
            rig.simulator.place("main", "BTC-PERP", "buy" if number % 2 else "sell", "1")
        rig.simulator.place("main", "BTC-USD", "sell", "0.0001")
        true = [fill for fill in rig.simulator.account("main")["fills"] if fill["pair"] == "BTC-PERP"]
        serials = [fill["serial"] for fill in true]
        assert [row["serialId"] for row in await fills_of(rig)] == serials[:-11:-1], "ten, newest first"
        assert [row["serialId"] for row in await fills_of(rig, count="500")] == serials[::-1]
        middle = str(serials[7])
        assert [row["serialId"] for row in await fills_of(rig, afterSerialId=middle)] == serials[:7:-1]
        assert [row["serialId"] for row in await fills_of(rig, beforeSerialId=middle)] == serials[6::-1]
        since = await fills_of(rig, startTime=str(MS + 3000), endTime=str(MS + 5000))
        assert [row["timestamp"] for row in since] == [MS + 5000, MS + 4000, MS + 3000]
        assert await fills_of(rig, symbol="ETH-PERP") == []
        (one,) = await fills_of(rig, orderID=true[3]["order_id"])
        expected = {
            "tradeId": true[3]["fill_id"],
            "orderId": true[3]["order_id"],
            "serialId": serials[3],
            "symbol": "BTC-PERP",
            "side": true[3]["side"].upper(),
            "filledPrice": Decimal(true[3]["price"]),
            "filledSize": 1,
            "feeAmount": Decimal(true[3]["fee"]),
            "feeCurrency": "USDT",
            "orderType": 77,
            "contractSize": Decimal("0.00001"),
            "wallet": "CROSS@",
        }
        assert expected.items() <= one.items()
        _, spot = await rig.signed_get(f"{SPOT}/user/trade_history", symbol="BTC-USD")
        assert [(row["wallet"], row["symbol"]) for row in spot] == [("SPOT@", "BTC-USD")]


@pytest.mark.parametrize(("side", "word"), [("buy", "long"), ("sell", "short")])
async def test_positions(side: str, word: str) -> None:
    async with running_lmex() as rig:
        assert (await rig.signed_get(f"{FUTURES}/user/positions"))[1] == []
        rig.simulator.place("main", "ETH-PERP", side, "12")
        await rig.simulator.step(200)
        (true,) = (await rig.look("account", account="main"))["positions"]
        _, (row,) = await rig.signed_get(f"{FUTURES}/user/positions", symbol="ETH-PERP")
        assert (row["symbol"], row["side"], row["size"], true["side"]) == ("ETH-PERP", side.upper(), 12, word)
        assert [row[name] for name in ("entryPrice", "markPrice", "unrealizedProfitLoss", "contractSize")] == [
            Decimal(true[name]) for name in ("entry_price", "mark_price", "unrealised_pnl", "contract_size")
        ]
        book = await rig.look("book", pair="ETH-PERP")
        assert row["markPrice"] == (Decimal(book["bids"][0][0]) + Decimal(book["asks"][0][0])) / 2


# When it fails


@pytest.mark.parametrize(("form", "value"), [("seconds", "7"), ("timestamp", str(MS + 7000))])
async def test_too_many_requests(form: Any, value: str) -> None:
    async with running_lmex(lmex=LmexConfig(retry_after=form)) as rig:
        await rig.fault("rest_errors", status=429, retry_after=7, path="user/wallet")
        async with rig.http.get(f"{rig.urls.rest}{SPOT}/user/wallet") as response:
            assert (response.status, response.headers["Retry-After"]) == (429, value)
            assert list(await response.json()) == ["status", "errorCode", "message", "extraData"]
        assert (await rig.get(f"{SPOT}/time"))[0] == 200


async def test_errors_on_request_have_the_sheets_form() -> None:
    async with running_lmex() as rig:
        await rig.fault("rest_errors", retry_after=0)
        status, answer = await rig.get(f"{SPOT}/time")
        assert (status, answer) == (
            500,
            {"status": 500, "errorCode": -1, "message": "Internal server error", "extraData": None},
        )
