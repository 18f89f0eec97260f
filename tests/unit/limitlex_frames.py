"""The sample frames of Limitlex's WebSocket page, as they stand there."""

from __future__ import annotations

BTC = "ab651a43-1fc9-4163-a31b-74e5f537e82f"
EUR = "bfd04d06-b97c-4287-8bb0-c18f2eb19157"
PAIR_ID = f"{BTC}:{EUR}"
SUB = "dff446dc-1aad-4d69-a90f-20f403220470"

OHLC = (
    b'{"t":"change_ohlc","currencyId1":"ab65...","currencyId2":"bfd0...","durationInDays":1,"priceLow":"7014.80",'
    b'"priceHigh":"8300.00","priceOpen":"8300.00","priceClose":"7997.40","priceChange":"-302.60","priceChangeP":"-3.64"'
    b',"volume":"92.25116900"}'
)
BEST = b'{"t":"best_bid_ask","currencyId1":"ab65...","currencyId2":"bfd0...","bid":"7014.80","ask":"7997.40"}'
WHOLE = (
    b'{"t":"whole_order_book","currencyId1":"87aa...","currencyId2":"bfd0...","bids":[{"price":"228.0960","amount":'
    b'"1.04426203","total":"238.19199"}],"asks":[{"price":"333.0000","amount":"0.83783784","total":"279.00000"}]}'
)
ORDER_BOOK = b'{"t":"order_book","orderDirection":"Sell","amount":"0.05341906","price":"7997.40"}'
LAST_TRADE = b'{"t":"last_trade","orderDirection":"Buy","amount":"0.00010000","price":"7997.40","createdAt":1598516157}'
OPEN_ORDER = (
    b'{"t":"open_order","orderId":"0959f899-f4b4-422b-88c0-ec3fa38f8079","orderTradeType":"Limit","orderDirection":'
    b'"Buy","amountInitial":"0.00010000","amountCompleted":"0","price":"7997.00","createdAt":1598530122,"completed":'
    b'false,"deleted":false}'
)
OWN_TRADE = b'{"t":"trade","orderDirection":"Buy","amount":"0.00010000","price":"7997.00","createdAt":1598530122}'
WALLETS = (
    b'{"t":"wallets","wallets":[{"currencyId":"ab65...","amountAvailable":"1006.80071837","amountReserved":'
    b'"0.00000000"}]}'
)
SUB_TRADE = (
    b'{"t":"trade","subaccountId":"dff446dc-1aad-4d69-a90f-20f403220470","orderDirection":"Buy","amount":"0.00010000",'
    b'"price":"7997.00","createdAt":1598530122}'
)

PUBLIC = {
    "change_ohlc": OHLC,
    "best_bid_ask": BEST,
    "whole_order_book": WHOLE,
    "order_book": ORDER_BOOK,
    "last_trade": LAST_TRADE,
}
PRIVATE = {"open_order": OPEN_ORDER, "trade": OWN_TRADE, "wallets": WALLETS, "trade of a sub-account": SUB_TRADE}

NONSENSE = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"42",
    b'"text"',
    b"{}",
    b"{",
    b"not json at all",
    b"<html>503 Service Unavailable</html>",
    b"\xff\xfe\x00",
    b'{"t":7}',
    b'{"t":null}',
    b'{"t":""}',
    b'{"t":["last_trade"]}',
    b"[" * 5000,
    b'{"t":"new","x":' + b"[" * 5000,
)
"""Frames that no session of any exchange can understand."""

LISTINGS = {
    "/private/open_orders": '{"result":{"data":[{"order_id":"o1","order_direction":"buy","price":"10.50","amount_initial":'
    '"2","amount_completed":"0","created_at":1598530122},{"order_id":"o2","order_direction":"sell","price":"11",'
    '"amount_initial":"3","amount_completed":"0","created_at":1598530123}]}}',
    "/private/balance": '{"result":{"data":[{"currency_id":"u1","amount_available":"1.5","amount_reserved":"0"},'
    '{"currency_id":"u2","amount_available":"2.5","amount_reserved":"0"}]}}',
}
"""REST answers, each with two rows."""
