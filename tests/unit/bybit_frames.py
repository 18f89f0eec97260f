"""Frames of Bybit's, spot and linear, public and private, and answers of its REST API.

Written from its public documentation (values shortened or adapted) and from real traffic of August 2026.
"""

from __future__ import annotations

import json
from typing import Any

from tests.unit import json_rows

changed, row = json_rows.changed, json_rows.row

SECRET = "bybit-test-secret"
KEY = "the-api-key"
PAIRS = ("BTC-USDT", "BTC-USDT-PERP")

TRADE_SPOT = (
    b'{"topic":"publicTrade.BTCUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417","T":'
    b'1786310821917,"p":"65140.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"BTCUSDT","BT":false,"RPI":false}]}'
)
TRADE_LINEAR = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":'
    b'"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"RPI":false,'
    b'"seq":1783284617}]}'
)
SNAPSHOT = (
    b'{"topic":"orderbook.200.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50",'
    b'"0.006"],["16493.00","0.100"]],"a":[["16611.00","0.029"],["16612.00","0.213"]],"u":18521288,"seq":7961638724},'
    b'"cts":1672304484976}'
)
DELTA = (
    b'{"topic":"orderbook.200.BTCUSDT","ts":1672304485078,"type":"delta","data":{"s":"BTCUSDT","b":[["16493.50","0.875077"'
    b']],"a":[["16611.00","0"],["16611.50","0.09948"]],"u":18521289,"seq":7961638726},"cts":1672304485076}'
)
QUOTE = (
    b'{"topic":"orderbook.1.BTCUSDT","ts":1672304485078,"type":"snapshot","data":{"s":"BTCUSDT","b":[["16493.50","0.006"]]'
    b',"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304485076}'
)
TICKER_LINEAR = (
    b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"MinusTick","price24hPcnt":'
    b'"-0.158315","lastPrice":"66666.60","prevPrice24h":"79206.20","highPrice24h":"79266.30","lowPrice24h":"65076.90",'
    b'"markPrice":"66666.60","indexPrice":"115418.19","openInterest":"492373.72","openInterestValue":"32824881640.55",'
    b'"singleOpenInterest":"246186.86","singleOpenInterestValue":"16412440820.27","turnover24h":"4936790807.6521",'
    b'"volume24h":"73191.3870","fundingIntervalHour":"8","fundingCap":"0.005","fundingRate":"-0.005","nextFundingTime":'
    b'"1760342400000","bid1Price":"66666.60","bid1Size":"23789.165","ask1Price":"66666.70","ask1Size":"23775.469"},'
    b'"cs":9532239429,"ts":1760325052630}'
)
TICKER_DELTA = (
    b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"65114.20","bid1Size":"6.054",'
    b'"ask1Price":"65114.30","ask1Size":"10.486"},"cs":753843907770,"ts":1786310817883}'
)
TICKER_SPOT = (
    b'{"topic":"tickers.BTCUSDT","ts":1673853746003,"type":"snapshot","cs":2588407389,"data":{"symbol":"BTCUSDT",'
    b'"lastPrice":"21109.77","highPrice24h":"21426.99","lowPrice24h":"20575","prevPrice24h":"20704.93","volume24h":'
    b'"6780.866843","turnover24h":"141946527.22907118","price24hPcnt":"0.0196","usdIndexPrice":"21120.2400136"}}'
)
LIQUIDATION = (
    b'{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"BTCUSDT",'
    b'"S":"Sell","v":"20000","p":"0.04499"}]}'
)
LISTED_SPOT = (
    b'{"symbolId":9,"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","innovation":"0","status":"Trading",'
    b'"marginTrading":"utaOnly","stTag":"0","lotSizeFilter":{"basePrecision":"0.000001","quotePrecision":"0.0000001",'
    b'"minOrderQty":"0.000001","maxOrderQty":"230","minOrderAmt":"5","maxOrderAmt":"8000000"},"priceFilter":{"tickSize":'
    b'"0.1"},"riskParameters":{"priceLimitRatioX":"0.005","priceLimitRatioY":"0.01"},"symbolType":""}'
)
LISTED_PERPETUAL = (
    b'{"symbol":"BTCPERP","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDC",'
    b'"launchTime":"1610604231000","deliveryTime":"0","priceScale":"2","priceFilter":{"minPrice":"0.10","maxPrice":'
    b'"1999999.80","tickSize":"0.10"},"lotSizeFilter":{"maxOrderQty":"1000.000","minOrderQty":"0.001","qtyStep":"0.001",'
    b'"minNotionalValue":"5"},"fundingInterval":480,"settleCoin":"USDC","isPreListing":false,"displayName":"BTCUSDC"}'
)
LISTED_FUTURE = (
    b'{"symbol":"BTCUSDT-25DEC26","contractType":"LinearFutures","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT",'
    b'"launchTime":"1767945600000","deliveryTime":"1798185600000","priceScale":"2","priceFilter":{"minPrice":"0.10",'
    b'"maxPrice":"1999999.80","tickSize":"0.10"},"lotSizeFilter":{"maxOrderQty":"10.000","minOrderQty":"0.001","qtyStep":'
    b'"0.001","minNotionalValue":"5"},"fundingInterval":0,"settleCoin":"USDT","isPreListing":false,"displayName":""}'
)
"""Rows of the lists of instruments of August 2026, shortened."""
PUBLIC = {
    "trade, spot": TRADE_SPOT,
    "trade, linear": TRADE_LINEAR,
    "snapshot": SNAPSHOT,
    "delta": DELTA,
    "quote": QUOTE,
    "ticker, linear": TICKER_LINEAR,
    "ticker, changes": TICKER_DELTA,
    "ticker, spot": TICKER_SPOT,
    "liquidation": LIQUIDATION,
}

ACKNOWLEDGED = b'{"success":true,"ret_msg":"subscribe","conn_id":"2324d924","req_id":"1","op":"subscribe"}'
REFUSED = (
    b'{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.BTCUSDT","conn_id":"cejreassvfrsfvb9v1a0-2m",'
    b'"req_id":"1","op":"subscribe"}'
)
LOGGED_IN = b'{"success":true,"ret_msg":"","op":"auth","conn_id":"cejreaspqfh3sjdnldmg-p"}'
NOT_LOGGED_IN = b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"cejreaspqfh3sjdnldmg-p"}'
PONGS = (
    b'{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","op":"ping"}',
    b'{"success":true,"ret_msg":"pong","conn_id":"465772b1-7630-4fdc-a492-e003e6f0f260","req_id":"","op":"ping"}',
    b'{"args":["1672916271846"],"op":"pong"}',
    b'{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4ocsvfriu23r3er0-1b"}',
)
WARM = (LOGGED_IN, ACKNOWLEDGED)
"""What an account's session is sent before any data."""
CONTROL = {"acknowledged": ACKNOWLEDGED, "refused": REFUSED, "logged in": LOGGED_IN}

ORDER = (
    b'{"id":"5923240c6880ab-c59f-420b-9adb-3639adc9dd90","topic":"order","creationTime":1672364262474,"data":[{"category":'
    b'"linear","symbol":"BTCUSDT","orderId":"5cf98598-39a7-459e-97bf-76ca765ee020","orderLinkId":"mine-1","side":"Sell",'
    b'"orderType":"Limit","price":"72.5","qty":"1","orderStatus":"PartiallyFilled","cancelType":"UNKNOWN","rejectReason":'
    b'"EC_NoError","avgPrice":"75","leavesQty":"0.5","cumExecQty":"0.5","cumExecValue":"37.5","cumExecFee":"0.358635",'
    b'"cumFeeDetail":{"MNT":"0.00242968"},"timeInForce":"GTC","stopOrderType":"","triggerPrice":"","reduceOnly":false,'
    b'"positionIdx":0,"createdTime":"1672364262444","updatedTime":"1672364262457"}]}'
)
EXECUTION = (
    b'{"topic":"execution","id":"386825804_BTCUSDT_140612148849382","creationTime":1746270400355,"data":[{"category":'
    b'"linear","symbol":"BTCUSDT","execFee":"26.3725275","execId":"0ab1bdf7-4219-438b-b30a-32ec863018f7","execPrice":'
    b'"95900.1","execQty":"0.5","execType":"Trade","leavesQty":"0","orderId":"9aac161b-8ed6-450d-9cab-c5cc67c21784",'
    b'"orderLinkId":"","side":"Sell","execTime":"1746270400353","isMaker":false,"seq":140612148849382,"feeCurrency":'
    b'"USDT"}]}'
)
POSITION = (
    b'{"id":"1003076014fb7eedb-c7e6-45d6-a8c1-270f0169171a","topic":"position","creationTime":1697682317044,"data":[{'
    b'"category":"linear","symbol":"BTCUSDT","positionIdx":0,"side":"Buy","size":"0.012","entryPrice":"28000.5","markPrice"'
    b':"28184.5","unrealisedPnl":"2.208","positionStatus":"Normal","seq":8327597863,"updatedTime":"1697682317038"}]}'
)
WALLET = (
    b'{"id":"592324d2bce751-ad38-48eb-8f42-4671d1fb4d4e","topic":"wallet","creationTime":1700034722104,"data":[{'
    b'"accountType":"UNIFIED","totalAvailableBalance":"9556.6056555","coin":[{"coin":"BTC","equity":"0.00102964",'
    b'"walletBalance":"0.00102964","availableToWithdraw":"0.00102964","locked":"0.00002","totalOrderIM":"",'
    b'"totalPositionIM":"","unrealisedPnl":"0","spotBorrow":"0"}]}]}'
)
PRIVATE = {"order": ORDER, "execution": EXECUTION, "position": POSITION, "wallet": WALLET}


def ticker(kind: str = "delta", symbol: str = "BTCUSDT", **fields: str) -> bytes:
    """A message of the ticker topic with these fields."""
    message = {"topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol, **fields}, "cs": 1}
    return json.dumps(message | {"ts": 1786310817883}).encode()


def answer(rows: list[dict[str, Any]], cursor: str = "") -> bytes:
    """A REST answer with rows, and where the next page begins."""
    result = {"category": "linear", "nextPageCursor": cursor, "list": rows}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1672364262474}).encode()


def wallet(**coin: str) -> dict[str, Any]:
    """A row of the wallet with one coin, with other values."""
    found = row(WALLET)
    found["coin"][0].update(coin)
    return found


LINEAR = "category=linear&settleCoin=USDT"
LISTINGS = {
    f"/v5/order/realtime?{LINEAR}&openOnly=0": answer([row(ORDER), row(ORDER, orderId="o-2", side="Buy")]).decode(),
    f"/v5/position/list?{LINEAR}": answer([row(POSITION), row(POSITION, symbol="ETHUSDT", side="Sell")]).decode(),
    "/v5/execution/list?category=linear": answer([row(EXECUTION), row(EXECUTION, execId="e-2")]).decode(),
    "/v5/account/wallet-balance": answer([wallet(), wallet(coin="USDT", spotBorrow="1")]).decode(),
}
"""REST answers, each with two rows, by the beginning of the call."""
