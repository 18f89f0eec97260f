"""The sample frames of LMEX's protocol, as the documents print them and as others captured them."""

from __future__ import annotations

SECRET = "848db84ac252b6726e5f6e7a711d9c96d9fd77d020151b45839a5b59c37203bx"
NONCE = "1624985375123"
SIGNATURES = {
    "/ws/spot": "c410d38c681579adb335885800cff24c66171b7cc8376cfe43da1408c581748156b89bcc5a115bb496413bda481139fb",
    "/ws/futures": "bd8afb8bee58ba0a2c67f84dcfe6e64d0274f55d064bb26ea84a0fe6dd8c621b541b511982fb0c0b8c244e9521a80ea1",
    "/ws/otc": "971798b32585d7e63a1c2cafd261170c56caf17ff1d32a58fc2e9842292fa8ff2dbcf4fda7b4d6aed4a737c3c2930cf1",
}

SNAPSHOT = (
    b'{"topic":"update:SNDK-PERP_0","data":{"bids":[["1876.90","44"],["1876.89","122"]],"asks":[["1880.19","900"],'
    b'["1880.00","450"]],"seqNum":8896865,"prevSeqNum":8896864,"type":"snapshot","symbol":"SNDK-PERP","timestamp":'
    b"1790134937297}}"
)
DELTA = (
    b'{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.6","60672"],["86540.5","4400"]],"asks":[],"seqNum":86511210,'
    b'"prevSeqNum":86511209,"type":"delta","symbol":"BTC-PERP","timestamp":1790133628076}}'
)
SPOT_DELTA = (
    b'{"topic":"update:BTC-USD","data":{"bids":[],"asks":[["59367.5","2.15622"],["59325.5","0"]],"seqNum":628283,'
    b'"prevSeqNum":628282,"type":"delta","timestamp":1565135165600,"symbol":"BTC-USD"}}'
)
LEVEL_ONE = (
    b'{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],"type":"snapshotL1",'
    b'"symbol":"ETHPFC","timestamp":1759373840687}}'
)
SPOT_TRADES = (
    b'{"topic":"tradeHistoryApi:BTC-USD","data":[{"symbol":"BTC-USD","side":"SELL","size":0.0145,"price":76653.1,'
    b'"tradeId":31626447,"timestamp":1779786372223}]}'
)
OLD_TRADES = (
    b'{"topic":"tradeHistoryApi","data":[{"price":77099.9,"size":6530,"side":"SELL","symbol":"BTCPFC","tradeId":35993384,'
    b'"timestamp":1779800209269}]}'
)
V2_TRADES = (
    b'{"topic":"tradeHistoryApiV2:BTC-PERP","data":[{"symbol":"BTC-PERP","side":"SELL","size":7,"price":5302.8,'
    b'"tradeId":57971633,"timestamp":1584446020295}]}'
)

ACK = b'{"event":"subscribe","channel":["tradeHistoryApi:BTC-USD"]}'
EMPTY_ACK = b'{"event":"subscribe","channel":[]}'
UNSUBSCRIBED = b'{"event":"unsubscribe","channel":["update:ETH-PERP_0"]}'
LOGGED_IN = b'{"event":"login","success":true}'
LOGIN_FAILED = b'{"event":"login","success":false}'
PONGS = (b"pong", b'{"event":"pong"}', b'{"op":"pong"}')

TOPIC_ERRORS = (
    b'{"severity":"ERROR","errors":[{"arg":"foo:BTC-PERP","error":{"code":1005,"message":"Topic provided does not '
    b'exist."}},{"arg":"update:NOPE-PERP_0","error":{"code":1000,"message":"Market pair provided is currently not '
    b'supported."}}]}'
)
OP_ERROR = (
    b'{"severity":"ERROR","errors":[{"error":{"code":1001,"message":"Operation provided is currently not supported"}}]}'
)
OLD_ERROR = b'{"severity":"ERROR","error":[{"arg":"update:BTCC-USD_0","errorCode":"MARKET_PAIR_NOT_SUPPORT"}]}'
EXPIRED = b'{"status":400,"errorCode":10002,"message":"User session is expired. Please login again","extraData":null}'
AUTH_FAILED = b'{"status":400,"errorCode":-7,"message":"Authenticate failed","extraData":null}'

FUTURES_ORDER = (
    b'{"topic":"notificationApiV4","data":[{"symbol":"BTC-PERP","orderID":"c9a173ab-0fc8-4bdc-b940-1c7d7fe9fb89","side":'
    b'"BUY","orderType":76,"type":0,"price":32000,"triggerPrice":0,"pegPriceDeviation":1,"stealth":1,"status":2,'
    b'"timestamp":1765718100570,"avgFilledPrice":0,"clOrderID":"abc","postOnly":false,"maker":true,"positionId":'
    b'"BTC-PERP-USDT","orderDetailType":null,"orderUserInitiated":true,"originalOrderSize":1,"currentOrderSize":1,'
    b'"filledSize":0,"totalFilledSize":0,"remainingSize":1,"time_in_force":"GTC"}]}'
)
ORDER_ID = "c9a173ab-0fc8-4bdc-b940-1c7d7fe9fb89"
SPOT_ORDER = (
    b'{"topic":"notificationApiV3","data":{"symbol":"BTC-USD","orderID":"0b40f3c2-7a0e-4d5c-9a9a-55b9a1a2f001","side":'
    b'"BUY","orderType":76,"txType":0,"price":35000,"triggerPrice":0,"pegPriceDeviation":1,"stealth":1,"status":2,'
    b'"timestamp":1624985375123,"avgFilledPrice":0,"clOrderID":"abc","maker":false,"time_in_force":"GTC",'
    b'"originalOrderBaseSize":10,"originalOrderQuoteSize":null,"currentOrderBaseSize":10,"currentOrderQuoteSize":null,'
    b'"filledBaseSize":0,"totalFilledBaseSize":0,"remainingBaseSize":10,"remainingQuoteSize":null,"orderCurrency":"base"}}'
)
FILL = (
    b'{"topic":"fillsV2","data":[{"orderId":"aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc","serialId":937242896,"clOrderId":"abc",'
    b'"type":"76","symbol":"BTC-PERP","side":"BUY","price":"89315.3","size":"1.0","feeAmount":"0.00049123","feeCurrency":'
    b'"USDT","base":"BTC-PERP","quote":"USDT","maker":false,"contractSize":0.00001,"timestamp":1765767211936,"tradeId":'
    b'"128c163c-1267-422a-9082-029472e16a36"}]}'
)
SPOT_FILL = (
    b'{"topic":"fills","data":[{"orderId":"aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc","serialId":937242897,"clOrderId":"abc",'
    b'"type":"76","symbol":"BTC-USD","side":"SELL","price":"89315.30","size":"0.0145","freeAmount":"1.10","feeCurrency":'
    b'"USD","base":"BTC","quote":"USD","maker":true,"timestamp":1765767211936,"tradeId":'
    b'"228c163c-1267-422a-9082-029472e16a36"}]}'
)
POSITION = (
    b'{"topic":"positionsV3","data":[{"marketName":"BTC-PERP-USDT","orderType":90,"orderMode":66,"status":65,'
    b'"originalAmount":0.00001,"marginType":91,"entryPrice":89315.3,"liquidationPrice":0,"markedPrice":89315.3,'
    b'"unrealizedProfitLoss":0,"totalMaintenanceMargin":0.004956999,"totalContracts":1,"isolatedLeverage":25,"totalValue":'
    b'0.893153,"adlScoreBucket":1,"orderModeName":"MODE_BUY","marginTypeName":"FUTURES_MARGIN_CROSS","currentLeverage":'
    b'0.0000893153,"contractSize":0.00001,"takeProfitOrder":null,"stopLossOrder":null,"positionId":"BTC-PERP-USDT",'
    b'"activeWalletName":"CROSS@","positionMode":"ONE_WAY","positionDirection":"LONG","settleWithNonUSDAsset":"USDT"}]}'
)
CLOSED_POSITION = (
    b'{"topic":"positionsV3","data":[{"marketName":"BTC-PERP-USDT","orderType":0,"orderMode":0,"status":65,'
    b'"originalAmount":0,"marginType":91,"entryPrice":0,"liquidationPrice":0,"markedPrice":0,"unrealizedProfitLoss":0,'
    b'"totalMaintenanceMargin":0,"totalContracts":0,"isolatedLeverage":0,"totalValue":0,"adlScoreBucket":0,"orderModeName":'
    b'null,"marginTypeName":null,"currentLeverage":0,"contractSize":0,"takeProfitOrder":null,"stopLossOrder":null,'
    b'"positionId":"BTC-PERP-USDT","activeWalletName":null,"positionMode":null,"positionDirection":null,'
    b'"settleWithNonUSDAsset":null}]}'
)

PUBLIC = {
    "snapshot": SNAPSHOT,
    "delta": DELTA,
    "spot delta": SPOT_DELTA,
    "level one": LEVEL_ONE,
    "spot trades": SPOT_TRADES,
    "old trades": OLD_TRADES,
    "V2 trades": V2_TRADES,
}
PRIVATE = {
    "futures order": FUTURES_ORDER,
    "spot order": SPOT_ORDER,
    "fill": FILL,
    "spot fill": SPOT_FILL,
    "position": POSITION,
    "closed position": CLOSED_POSITION,
}
CONTROL = {
    "ack": ACK,
    "empty ack": EMPTY_ACK,
    "unsubscribed": UNSUBSCRIBED,
    "logged in": LOGGED_IN,
    "login failed": LOGIN_FAILED,
    "topic errors": TOPIC_ERRORS,
    "op error": OP_ERROR,
    "old error": OLD_ERROR,
    "expired": EXPIRED,
    "auth failed": AUTH_FAILED,
}

WARM = (
    LOGGED_IN,
    (
        b'{"event":"subscribe","channel":["tradeHistoryApi:BTC-USD","tradeHistoryApiV2:BTC-PERP","notificationApiV3",'
        b'"notificationApiV4","fillsV2","positionsV3","allPositionV4"]}'
    ),
    SNAPSHOT,
    (
        b'{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.4","700"]],"asks":[["86542","10"]],"seqNum":86511209,'
        b'"prevSeqNum":86511208,"type":"snapshot","symbol":"BTC-PERP","timestamp":1790133628000}}'
    ),
    (
        b'{"topic":"update:BTC-USD_0","data":{"bids":[["59000.10","0.50"]],"asks":[["59400","2"]],"seqNum":628282,'
        b'"prevSeqNum":628281,"type":"snapshot","symbol":"BTC-USD","timestamp":1565135165500}}'
    ),
)
"""After these a session serves the frames above."""

NONSENSE = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"42",
    b'"text"',
    b"{",
    b"not json at all",
    b"<html>503 Service Unavailable</html>",
    b"\xff\xfe\x00",
    b'{"topic":7}',
    b'{"topic":null}',
    b'{"event":["subscribe"]}',
    b'{"event":"subscribe","channel":"all"}',
    b'{"event":"subscribe","channel":[7]}',
    b'{"errors":[7]}',
    b'{"topic":"\xff"}',
    b"[" * 5000,
    b'{"topic":"x","data":' + b"[" * 5000,
)
"""Frames that no session can understand."""

ANSWERS = (b'{"event":"subscribe","channel":"all"}', b'{"event":"subscribe","channel":[7]}')
UNREADABLE = tuple(frame for frame in NONSENSE if frame not in ANSWERS)
"""Those of which not even that can be read that they are answers, and no data."""

LISTINGS = {
    "/futures/api/v2.3/user/open_orders": '[{"symbol":"BTC-PERP","orderID":"o1","side":"BUY","orderType":76,"price":32000,'
    '"size":2,"status":2,"filledSize":0,"timestamp":1765718100570},{"symbol":"BTC-PERP","orderID":"o2","side":"SELL",'
    '"orderType":76,"price":33000,"size":2,"status":2,"filledSize":0,"timestamp":1765718100571}]',
    "/futures/api/v2.3/user/positions": '[{"symbol":"BTC-PERP","side":"BUY","size":4,"entryPrice":100.5,"markPrice":101,'
    '"unrealizedProfitLoss":0.1},{"symbol":"SNDK-PERP","side":"SELL","size":5,"entryPrice":100.5,"markPrice":101,'
    '"unrealizedProfitLoss":0.1}]',
    "/futures/api/v2.3/user/trade_history": '[{"symbol":"BTC-PERP","tradeId":"f1","orderId":"o","side":"BUY","price":9,"size":'
    '1,"filledPrice":8.5,"filledSize":1,"feeAmount":0.1,"feeCurrency":"USDT","timestamp":1765718100571},{"symbol":"BTC-PERP",'
    '"tradeId":"f2","orderId":"o","side":"BUY","price":9,"size":1,"filledPrice":8.5,"filledSize":1,"feeAmount":0.1,'
    '"feeCurrency":"USDT","timestamp":1765718100572}]',
    "/spot/api/v3.2/user/wallet": '[{"currency":"BTC","total":1.50,"available":1.20},{"currency":"USD","total":7,'
    '"available":6}]',
    "/futures/api/v2.3/user/wallet": '[{"wallet":"CROSS@","assets":[{"balance":100.5,"currency":"USDT"}],"assetsInUse":'
    '[{"balance":0.5,"currency":"USDT"}]},{"wallet":"ISOLATED@","assets":[{"balance":3,"currency":"USDC"}],"assetsInUse":[]}]',
}
"""REST answers, each with two rows."""
