"""Frames of OKX's, public and private, and answers of its REST API.

Shapes and values are those of its public documentation (shortened, some adapted).
"""

from __future__ import annotations

import json
from typing import Any

from tests.unit import json_rows

changed, row = json_rows.changed, json_rows.row

SECRET = "okx-test-secret"
KEY = "the-api-key"
PASSPHRASE = "the-passphrase"
PAIRS = ("BTC-USDT", "BTC-USDT-PERP")

TRADE = (
    b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9",'
    b'"sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234}]}'
)
TRADE_SWAP = (
    b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","tradeId":"242720720","px":'
    b'"26000.1","sz":"7","side":"sell","ts":"1692266434010","count":"1","source":"1","seqId":1234}]}'
)
TRADE_ALONE = (
    b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9",'
    b'"sz":"0.12060306","side":"buy","ts":"1630048897897","source":"0"}]}'
)
SNAPSHOT = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["8476.98","415","0","13"],'
    b'["8477","7","0","2"]],"bids":[["8476.97","256","0","12"],["8475.55","101","0","1"]],"ts":"1597026383085",'
    b'"checksum":0,"prevSeqId":-1,"seqId":123456}]}'
)
UPDATE = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["8476.98","415","0","13"]],"bids":'
    b'[["8476.97","0","0","0"]],"ts":"1597026383185","checksum":0,"prevSeqId":123456,"seqId":123457}]}'
)
SNAPSHOT_SWAP = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"snapshot","data":[{"asks":[["26000.2","30","0","1"]],'
    b'"bids":[["26000.1","7","0","1"]],"ts":"1692266434010","prevSeqId":-1,"seqId":9001}]}'
)
QUOTE = (
    b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["111.06","55154","0","2"]],"bids":[["111.05",'
    b'"57745","0","2"]],"ts":"1670324386802","seqId":363996337}]}'
)
TICKER = (
    b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":"BTC-USDT","last":"9999.99",'
    b'"lastSz":"0.1","askPx":"9999.99","askSz":"11","bidPx":"8888.88","bidSz":"5","open24h":"9000","high24h":"10000",'
    b'"low24h":"8888.88","volCcy24h":"20000000","vol24h":"2222","sodUtc0":"2222","sodUtc8":"2222","ts":"1597026383085"}]}'
)
TICKER_SWAP = (
    b'{"arg":{"channel":"tickers","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP","last":'
    b'"56956.1","lastSz":"3","askPx":"56959.1","askSz":"10582","bidPx":"56959","bidSz":"4552","open24h":"55926","high24h":'
    b'"57641.1","low24h":"54570.1","volCcy24h":"81137.755","vol24h":"8113775.5","ts":"1630483085000"}]}'
)
FUNDING = (
    b'{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"formulaType":"noRate","fundingRate":'
    b'"0.0001875391284828","fundingTime":"1700726400000","impactValue":"","instId":"BTC-USDT-SWAP","instType":"SWAP",'
    b'"method":"current_period","maxFundingRate":"0.00375","minFundingRate":"-0.00375","nextFundingRate":"",'
    b'"nextFundingTime":"1700755200000","premium":"0.0001233824646391","settFundingRate":"0.0001699799259033",'
    b'"settState":"settled","ts":"1700724675402"}]}'
)
MARK = (
    b'{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",'
    b'"markPx":"42310.6","ts":"1630049139746"}]}'
)
INDEX = (
    b'{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","idxPx":"42309.9","high24h":'
    b'"42400","low24h":"42000","open24h":"42100","sodUtc0":"42100","sodUtc8":"42100","ts":"1630049139646"}]}'
)
INTEREST = (
    b'{"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP",'
    b'"oi":"2216113.01","oiCcy":"22161.1301","oiUsd":"1939251795.54769","ts":"1743041250440"}]}'
)
LIQUIDATION = (
    b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"26100.1","ccy":"",'
    b'"posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}],"instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP",'
    b'"instType":"SWAP","uly":"BTC-USDT"}]}'
)
PUBLIC = {
    "trade": TRADE,
    "trade, swap": TRADE_SWAP,
    "snapshot": SNAPSHOT,
    "update": UPDATE,
    "snapshot, swap": SNAPSHOT_SWAP,
    "quote": QUOTE,
    "ticker": TICKER,
    "ticker, swap": TICKER_SWAP,
    "funding": FUNDING,
    "index": INDEX,
    "mark": MARK,
    "interest": INTEREST,
    "liquidation": LIQUIDATION,
}
STATUS = (
    b'{"arg":{"channel":"status"},"data":[{"begin":"1672823400000","end":"1672823520000","href":"","preOpenBegin":"",'
    b'"scheDesc":"","serviceType":"0","state":"ongoing","system":"unified","maintType":"1","title":"WebSocket upgrade",'
    b'"ts":"1672823400100","env":"1"}]}'
)

PINGS = (b"ping", b"pong")
ACKNOWLEDGED = b'{"id":"1512","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}'
REFUSED = (
    b'{"id":"ob1","event":"error","code":"60018","msg":"Subscribe failed, wrong URL or channel:books,instId:NOPE-USDT '
    b'doesn\'t exist.","connId":"5e1f2fe5"}'
)
UNSUBSCRIBED = b'{"event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"d0b44253"}'
LOGGED_IN = b'{"event":"login","code":"0","msg":"","connId":"a4d3ae55"}'
NOT_LOGGED_IN = b'{"event":"error","code":"60009","msg":"Login failed.","connId":"a4d3ae55"}'
UPGRADE = (
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.",'
    b'"connId":"a4d3ae55"}'
)
COUNT = b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"abcd1234"}'
CROWDED = b'{"event":"channel-conn-count-error","channel":"orders","connCount":"30","connId":"a4d3ae55"}'
CONTROL = {
    "acknowledged": ACKNOWLEDGED,
    "refused": REFUSED,
    "logged in": LOGGED_IN,
    "upgrade": UPGRADE,
    "count": COUNT,
    "status": STATUS,
}
TOPICS = (
    {"channel": "orders", "instType": "ANY"},
    {"channel": "positions", "instType": "ANY"},
    {"channel": "account"},
)
WARM = (
    LOGGED_IN,
    *(json.dumps({"id": "1", "event": "subscribe", "arg": arg, "connId": "a4d3ae55"}).encode() for arg in TOPICS),
)
"""What an account's session is sent before any data."""

ORDER = (
    b'{"arg":{"channel":"orders","instType":"SPOT","instId":"BTC-USDT","uid":"614488474791936"},"data":[{"instType":"SPOT",'
    b'"instId":"BTC-USDT","ordId":"312269865356374016","clOrdId":"b1","px":"999","sz":"3","tgtCcy":"","side":"buy",'
    b'"posSide":"","tdMode":"cash","ordType":"limit","state":"live","accFillSz":"0","avgPx":"0","fillPx":"","fillSz":"0",'
    b'"tradeId":"","fillTime":"","fillFee":"0","fillFeeCcy":"","execType":"","fee":"0","feeCcy":"USDT","rebate":"0",'
    b'"rebateCcy":"USDT","category":"normal","cancelSource":"","amendSource":"","amendResult":"","reqId":"","code":"0",'
    b'"msg":"","uTime":"1597026383085","cTime":"1597026383085"}]}'
)
FILLED = (
    b'{"arg":{"channel":"orders","instType":"ANY","uid":"614488474791936"},"data":[{"instType":"SWAP","instId":'
    b'"BTC-USDT-SWAP","ordId":"312269865356374017","clOrdId":"","px":"26000.1","sz":"7","tgtCcy":"","side":"sell",'
    b'"posSide":"net","tdMode":"cross","ordType":"limit","state":"filled","accFillSz":"7","avgPx":"26000.1","fillPx":'
    b'"26000.1","fillSz":"4","tradeId":"242589207","fillTime":"1692266434010","fillFee":"-0.52","fillFeeCcy":"USDT",'
    b'"execType":"T","fee":"-0.91","feeCcy":"USDT","uTime":"1692266434011","cTime":"1692266400000"}]}'
)
BALANCE = (
    b'{"arg":{"channel":"account","uid":"77982378738415879"},"eventType":"snapshot","curPage":1,"lastPage":true,"data":[{'
    b'"uTime":"1705564213903","totalEq":"91884.85","details":[{"ccy":"BTC","cashBal":"1","eq":"1","availBal":"0.9",'
    b'"availEq":"0.9","frozenBal":"0.1","ordFrozen":"0.1","uTime":"1705564223311"}]}]}'
)
POSITION = (
    b'{"arg":{"channel":"positions","uid":"77982378738415879","instType":"ANY"},"eventType":"snapshot","curPage":1,'
    b'"lastPage":true,"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP","posId":"307173036051017730","posSide":"long",'
    b'"pos":"1","ccy":"USDT","avgPx":"3320","markPx":"3353.8","upl":"0.3","mgnMode":"isolated","lever":"10","liqPx":"",'
    b'"uTime":"1619507761462","pTime":"1619507761462"}]}'
)
PRIVATE = {"order": ORDER, "filled": FILLED, "balance": BALANCE, "position": POSITION}

SWAP_LISTED = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "uly": "BTC-USDT",
    "instFamily": "BTC-USDT",
    "baseCcy": "",
    "quoteCcy": "",
    "settleCcy": "USDT",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "tickSz": "0.1",
    "lotSz": "0.01",
    "minSz": "0.01",
    "expTime": "",
    "state": "live",
    "instIdCode": 10459,
    "ruleType": "normal",
}
FUTURE_LISTED = SWAP_LISTED | {
    "instType": "FUTURES",
    "instId": "BTC-USDT-261225",
    "expTime": "1798185600000",
    "ctVal": "0.1",
    "ctMult": "0.1",
}
INVERSE_LISTED = SWAP_LISTED | {
    "instId": "BTC-USD-SWAP",
    "uly": "BTC-USD",
    "instFamily": "BTC-USD",
    "settleCcy": "BTC",
    "ctVal": "100",
    "ctValCcy": "USD",
    "ctType": "inverse",
}
SPOT_LISTED = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "baseCcy": "BTC",
    "quoteCcy": "USDT",
    "settleCcy": "",
    "ctVal": "",
    "ctMult": "",
    "ctValCcy": "",
    "ctType": "",
    "tickSz": "0.1",
    "lotSz": "0.00000001",
    "minSz": "0.00001",
    "expTime": "",
    "state": "live",
    "instIdCode": 1,
    "ruleType": "normal",
}
LISTED = {
    "SPOT": [
        SPOT_LISTED,
        SPOT_LISTED | {"instId": "ETH-USDT", "baseCcy": "ETH"},
        SPOT_LISTED | {"instId": "SOL-USDC", "baseCcy": "SOL", "quoteCcy": "USDC"},
    ],
    "SWAP": [SWAP_LISTED, INVERSE_LISTED],
    "FUTURES": [FUTURE_LISTED],
}
"""Type → its instruments."""


def answer(rows: list[dict[str, Any]]) -> bytes:
    """A REST answer with rows."""
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


def instruments(called: str) -> bytes:
    """The answer to a call for the instruments of a type."""
    return answer(LISTED[called.rpartition("=")[2]])


FILL = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "tradeId": "242589207",
    "ordId": "312269865356374017",
    "clOrdId": "",
    "billId": "623950854533513219",
    "tag": "",
    "fillPx": "26000.1",
    "fillSz": "4",
    "side": "sell",
    "posSide": "net",
    "execType": "T",
    "feeCcy": "USDT",
    "fee": "-0.52",
    "fillTime": "1692266434010",
    "ts": "1692266434015",
    "subType": "1",
}
"""A row of a list of fills: ``fee`` is this fill's."""
COIN = row(BALANCE)["details"][0]
LISTINGS = {
    "/api/v5/trade/orders-pending": answer([row(ORDER), row(ORDER, ordId="o2", side="sell")]).decode(),
    "/api/v5/account/positions": answer([row(POSITION), row(POSITION, instId="ETH-USDT-SWAP", pos="2")]).decode(),
    "/api/v5/trade/fills": answer([FILL, FILL | {"tradeId": "2"}]).decode(),
}
"""REST answers, each with two rows, by the beginning of the call."""
