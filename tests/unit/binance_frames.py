"""Frames of Binance's, spot and USD-M futures, and answers of its REST APIs.

Written from its public documentation (values shortened or adapted), from real traffic of spot of October 2021, and from
what users of other clients have captured.
"""

from __future__ import annotations

import json
from typing import Any

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
"""Both are printed in the documentation, with what they sign."""
SPOT_PAIRS = ("BNB-BTC", "NKN-USDT")
USDM_PAIRS = ("BTC-USDT-PERP", "ETH-USDT-PERP")

TRADE = (
    b'{"stream":"bnbbtc@trade","data":{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":'
    b'1672515782136,"m":true,"M":true}}'
)
SPOT_AGGREGATED = (
    b'{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000",'
    b'"q":"58.00000000","f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}}'
)
DELTA = (
    b'{"stream":"nknusdt@depth@100ms","data":{"e":"depthUpdate","E":1633998512068,"s":"NKNUSDT","U":499869750,"u":'
    b'499869752,"b":[["0.35130000","6195.00000000"],["0.34750000","5548.00000000"],["0.34640000","6222.00000000"]],"a":[]}}'
)
FEW = (
    b'{"stream":"bnbbtc@depth20@100ms","data":{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}}'
)
BEST = (
    b'{"stream":"bnbbtc@bookTicker","data":{"u":400900217,"s":"BNBBTC","b":"25.35190000","B":"31.21000000","a":'
    b'"25.36520000","A":"40.66000000"}}'
)
DAY = (
    b'{"stream":"bnbbtc@ticker","data":{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":'
    b'"0.0018","x":"0.0009","c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025",'
    b'"l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}}'
)
SPOT_PUBLIC = {"trade": TRADE, "delta": DELTA, "best": BEST, "day": DAY}

AGGREGATED = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1679851564490,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100"'
    b',"nq":"100","f":100,"l":105,"T":1679851564486,"m":true,"st":1}}'
)
USDM_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1679851564490,"T":1679851564486,"s":"BTCUSDT","t":3493102749,"p":'
    b'"27785.00","q":"0.014","X":"MARKET","m":true}}'
)
INSURANCE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1679851564491,"T":1679851564487,"s":"BTCUSDT","t":3493102750,"p":'
    b'"1000.00","q":"3.000","X":"INSURANCE_FUND","m":true}}'
)
USDM_DELTA = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1679851564490,"T":1679851564486,"s":"BTCUSDT","U":157,'
    b'"u":160,"pu":149,"b":[["0.0024","10"]],"a":[["0.0026","100"]],"ps":"BTCUSDT","st":1}}'
)
USDM_FEW = USDM_DELTA.replace(b"@depth@", b"@depth20@")
USDM_BEST = (
    b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":400900217,"E":1679851564490,"T":1679851564486,"s":'
    b'"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000","ps":"BTCUSDT","st":1}}'
)
USDM_DAY = (
    b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":1679851564490,"s":"BTCUSDT","p":"-1.5","P":"-2.50","w":"59",'
    b'"c":"58.5","Q":"10","o":"60","h":"61","l":"58","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151,'
    b'"st":1}}'
)
MARK = (
    b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000",'
    b'"i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1562306400000,"st":1}}'
)
FORCED = (
    b'{"stream":"btcusdt@forceOrder","data":{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT",'
    b'"f":"IOC","q":"0.014","p":"9910","ap":"9911","X":"FILLED","l":"0.014","z":"0.013","T":1568014460891},"st":1}}'
)
USDM_PUBLIC = {
    "forced": FORCED,
    "aggregated": AGGREGATED,
    "delta": USDM_DELTA,
    "best": USDM_BEST,
    "day": USDM_DAY,
    "mark": MARK,
}

ACKNOWLEDGED = b'{"result":null,"id":1}'
REFUSED = b'{"code":2,"msg":"Invalid request: unknown variant `SUB`, expected one of `SUBSCRIBE`","id":1}'
REFUSED_LATER = b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}'
SHUTDOWNS = (
    b'{"e":"serverShutdown","E":1770123456789}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
)
CONTROL = {"acknowledged": ACKNOWLEDGED, "refused": REFUSED, "refused otherwise": REFUSED_LATER}

BOOK = (
    b'{"lastUpdateId":499869751,"bids":[["0.35130000","6195.00000000"],["0.35120000","1.00000000"]],"asks":[["0.35140000",'
    b'"431.00000000"]]}'
)
USDM_BOOK = b'{"lastUpdateId":158,"E":1679851564490,"T":1679851564486,"bids":[["0.0024","9"]],"asks":[["0.0026","99"]]}'


SUBSCRIBED = b'{"id":1,"status":200,"result":{"subscriptionId":0}}'
REVOKED = b'{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}'
BANNED = (
    b'{"id":1,"status":418,"error":{"code":-1003,"msg":"Way too much request weight used; IP banned until 1659146400000."'
    b',"data":{"serverTime":1659142907531,"retryAfter":1659146400000}}}'
)
REPORT = (
    b'{"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,"s":"BNBBTC","c":"mUvoqJxFIILMdfAW5iGSOW","S":'
    b'"BUY","o":"LIMIT","f":"GTC","q":"1.00000000","p":"0.10264410","P":"0.00000000","F":"0.00000000","g":-1,"C":"","x":'
    b'"TRADE","X":"PARTIALLY_FILLED","r":"NONE","i":4293153,"l":"0.40000000","z":"0.50000000","L":"0.10264400","n":'
    b'"0.00010000","N":"BNB","T":1499405658657,"t":28457,"I":8641984,"w":true,"m":false,"M":false,"O":1499405658657,"Z":'
    b'"0.00000000","Y":"0.00000000","Q":"0.00000000","W":1499405658657,"V":"NONE"}}'
)
POSITIONS = (
    b'{"subscriptionId":0,"event":{"e":"outboundAccountPosition","E":1564034571105,"u":1564034571073,"B":[{"a":"ETH","f":'
    b'"10000.000000","l":"0.500000"}]}}'
)
DEPOSIT = b'{"subscriptionId":0,"event":{"e":"balanceUpdate","E":1573200697110,"a":"BTC","d":"100.00000000","T":1573200697068}}'
TERMINATED = b'{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1728973001334}}'
SHUTDOWN = b'{"event":{"e":"serverShutdown","E":1770123456789}}'
SPOT_PRIVATE = {"report": REPORT, "balances": POSITIONS, "deposit": DEPOSIT}

UPDATE = (
    b'{"e":"ORDER_TRADE_UPDATE","E":1568879465651,"T":1568879465650,"o":{"s":"BTCUSDT","c":"TEST","S":"SELL","o":"LIMIT",'
    b'"f":"GTC","q":"0.010","p":"9910","ap":"0","sp":"0","x":"TRADE","X":"PARTIALLY_FILLED","i":8886774,"l":"0.004","z":'
    b'"0.006","L":"9911","N":"USDT","n":"0.0158","T":1568879465650,"t":77,"b":"0","a":"9.91","m":false,"R":false,"wt":'
    b'"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"pP":false,"si":0,"ss":0,"rp":"0","V":"EXPIRE_TAKER","pm":'
    b'"NONE","gtd":0,"er":"0"}}'
)
ACCOUNT = (
    b'{"e":"ACCOUNT_UPDATE","E":1564745798939,"T":1564745798938,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"122624.12345678",'
    b'"cw":"100.12345678","bc":"50.12345678"}],"P":[{"s":"BTCUSDT","pa":"-10","ep":"6563.86000","bep":"6563.6","cr":'
    b'"-45.04","up":"-1423.15600","mt":"cross","iw":"0","ps":"BOTH"}]}}'
)
LITE = (
    b'{"e":"TRADE_LITE","E":1721895408092,"T":1721895408214,"s":"BTCUSDT","q":"0.001","p":"0","m":false,"c":"x","S":"BUY",'
    b'"L":"64089.20","l":"0.040","t":109100866,"i":8886774}'
)
EXPIRED = b'{"e":"listenKeyExpired","E":"1736996475556","listenKey":"WsCMN0a4KHUPTQuX6IUnqEZfB1inxmv1qR4kbf1LuEjur5VdbzqvyxqG"}'
USDM_PRIVATE = {"update": UPDATE, "account": ACCOUNT, "lite": LITE}

SPOT_ORDER = {
    "symbol": "BNBBTC",
    "orderId": 1,
    "orderListId": -1,
    "clientOrderId": "myOrder1",
    "price": "0.1",
    "origQty": "1.0",
    "executedQty": "0.0",
    "status": "NEW",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    "stopPrice": "0.0",
    "time": 1499827319559,
    "updateTime": 1499827319559,
    "isWorking": True,
}
SPOT_FILL = {
    "symbol": "BNBBTC",
    "id": 28457,
    "orderId": 100234,
    "price": "4.00000100",
    "qty": "12.00000000",
    "quoteQty": "48.000012",
    "commission": "10.10000000",
    "commissionAsset": "BNB",
    "time": 1499865549590,
    "isBuyer": True,
    "isMaker": False,
    "isBestMatch": True,
}
SPOT_BALANCE = {"asset": "BTC", "free": "4723846.89208129", "locked": "0.50000000"}
USDM_ORDER = {
    "avgPrice": "0.00000",
    "clientOrderId": "abc",
    "cumQuote": "0",
    "executedQty": "0",
    "orderId": 1917641,
    "origQty": "0.40",
    "price": "9300",
    "side": "BUY",
    "positionSide": "SHORT",
    "status": "NEW",
    "symbol": "BTCUSDT",
    "time": 1579276756075,
    "type": "LIMIT",
    "updateTime": 1579276756075,
}
USDM_FILL = {
    "buyer": False,
    "commission": "-0.07819010",
    "commissionAsset": "USDT",
    "id": 698759,
    "maker": False,
    "orderId": 25851813,
    "price": "7819.01",
    "qty": "0.002",
    "quoteQty": "15.63802",
    "realizedPnl": "-0.91539999",
    "side": "SELL",
    "positionSide": "BOTH",
    "symbol": "BTCUSDT",
    "time": 1569514978020,
}
USDM_POSITION = {
    "symbol": "BTCUSDT",
    "positionSide": "BOTH",
    "positionAmt": "0.0180",
    "entryPrice": "8500.5",
    "markPrice": "9000.5",
    "unRealizedProfit": "9.0",
    "notional": "162.0",
    "updateTime": 1720736417660,
}
USDM_BALANCE = {
    "accountAlias": "SgsR",
    "asset": "USDT",
    "balance": "122607.35137903",
    "crossWalletBalance": "23.72469206",
    "crossUnPnl": "0.00000000",
    "availableBalance": "23.72469206",
    "updateTime": 1617939110373,
}


def _two(row: dict[str, Any], **other: Any) -> str:
    return json.dumps([row, row | other])


SPOT_LISTINGS = {
    "/api/v3/openOrders": _two(SPOT_ORDER, orderId=2, side="SELL"),
    "/api/v3/myTrades?symbol=BNBBTC": _two(SPOT_FILL, id=28458),
    "/api/v3/account": json.dumps({"makerCommission": 15, "balances": [SPOT_BALANCE, SPOT_BALANCE | {"asset": "LTC"}]}),
}
USDM_LISTINGS = {
    "/fapi/v1/openOrders": _two(USDM_ORDER, orderId=2, side="SELL"),
    "/fapi/v1/userTrades?symbol=BTCUSDT": _two(USDM_FILL, id=698760),
    "/fapi/v3/positionRisk": _two(USDM_POSITION, symbol="ETHUSDT", positionAmt="-3"),
    "/fapi/v3/balance": _two(USDM_BALANCE, asset="BNB"),
}
"""REST answers, each with two rows, by the beginning of the call."""


def changed(frame: bytes, **values: Any) -> bytes:
    """The frame with these values in its data; ``...`` takes a field out."""
    message = json.loads(frame)
    data = message.get("data", message)
    data.update(values)
    for name in [name for name, value in values.items() if value is ...]:
        del data[name]
    return json.dumps(message).encode()
