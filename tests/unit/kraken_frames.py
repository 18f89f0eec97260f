"""Frames of Kraken's WebSocket v2, public and private, and answers of its REST API.

Written from its public documentation (values shortened or adapted).
"""

from __future__ import annotations

import json
from typing import Any, Self

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
"""Of the documents' example of a signature."""
KEY = "the-api-key"
TOKEN = "the-token-that-nobody-may-see"
PAIRS = ("BTC-USD", "MATIC-USD", "ALGO-USD")


def _levels(text: str) -> list[tuple[str, str]]:
    return [tuple(level.split(":")) for level in text.split()]  # type: ignore[misc]


GUIDE_ASKS = _levels(
    "45285.2:0.00100000 45286.4:1.54571953 45286.6:1.54571109 45289.6:1.54560911 45290.2:0.15890660 45291.8:1.54553491 "
    "45294.7:0.04454749 45296.1:0.35380000 45297.5:0.09945542 45299.5:0.18772827"
)
GUIDE_BIDS = _levels(
    "45283.5:0.10000000 45283.4:1.54582015 45282.1:0.10000000 45281.0:0.10000000 45280.3:1.54592586 45279.0:0.07990000 "
    "45277.6:0.03310103 45277.5:0.30000000 45277.3:1.54602737 45276.6:0.15445238"
)
GUIDE_CHECKSUM = 3310070434

MATIC_BIDS = _levels(
    "0.5666:4831.75496356 0.5665:6658.22734739 0.5664:18724.91513344 0.5663:11563.92544914 0.5662:14006.65365711 "
    "0.5661:17454.85679807 0.566:18097.1547 0.5659:33644.89175666 0.5658:148.3464 0.5657:606.70854372"
)
MATIC_ASKS = _levels(
    "0.5668:4410.79769741 0.5669:4655.40412487 0.567:49844.89424998 0.5671:24306.41678 0.5672:29783.25223475 "
    "0.5673:57234.71239278 0.5674:45065.04744 0.5675:5912.76380354 0.5676:42514.92434778 0.5677:36304.0847022"
)


def _side(levels: list[tuple[str, str]]) -> bytes:
    return ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels).encode()


SNAPSHOT = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"MATIC/USD","bids":['
    + _side(MATIC_BIDS)
    + b'],"asks":['
    + _side(MATIC_ASKS)
    + b'],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
)
UPDATE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5657,"qty":1098.3947558}],'
    b'"asks":[],"checksum":2114181697,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
)
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,'
    b'"ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}]}'
)
TRADES = (
    b'{"channel":"trade","type":"snapshot","data":[{"symbol":"MATIC/USD","side":"buy","price":0.5147,"qty":6423.46326,'
    b'"ord_type":"limit","trade_id":4665846,"timestamp":"2023-09-25T07:48:36.925533Z"},{"symbol":"MATIC/USD","side":"buy",'
    b'"price":0.5147,"qty":1136.19677815,"ord_type":"limit","trade_id":4665847,"timestamp":"2023-09-25T07:49:36.925603Z"}]}'
)
TICKER = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,"ask":0.10035,'
    b'"ask_qty":740.0,"last":0.10035,"volume":997038.98383185,"vwap":0.10148,"low":0.09979,"high":0.10285,"change":'
    b'-0.00017,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.742648Z"}]}'
)
INSTRUMENTS = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[{"id":"BTC","status":"enabled","precision":10,'
    b'"precision_display":5}],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,'
    b'"qty_increment":1e-08,"price_precision":1,"price_increment":0.1,"cost_precision":5,"qty_min":0.0001},{"symbol":'
    b'"MATIC/USD","base":"MATIC","quote":"USD","status":"online","qty_precision":8,"price_precision":4},{"symbol":'
    b'"ALGO/USD","base":"ALGO","quote":"USD","status":"online","qty_precision":8,"price_precision":5}]}}'
)
INSTRUMENT_UPDATE = b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":"ALGO/USD","status":"cancel_only"}]}}'
PUBLIC = {
    "snapshot": SNAPSHOT,
    "update": UPDATE,
    "trade": TRADE,
    "trades": TRADES,
    "ticker": TICKER,
    "instruments": INSTRUMENTS,
    "an instrument's change": INSTRUMENT_UPDATE,
}
WARM = (INSTRUMENTS, SNAPSHOT)

PENDING = (
    b'{"channel":"executions","type":"update","data":[{"order_id":"OK4GJX-KSTLS-7DZZO5","symbol":"BTC/USD","order_qty":'
    b'0.005,"cum_cost":0.0,"time_in_force":"GTC","exec_type":"pending_new","side":"sell","order_type":"limit",'
    b'"order_userref":0,"limit_price_type":"static","limit_price":26500.0,"stop_price":0.0,"order_status":"pending_new",'
    b'"fee_usd_equiv":0.0,"fee_ccy_pref":"fciq","timestamp":"2023-09-22T10:33:05.709950Z"}],"sequence":8}'
)
NEW = (
    b'{"channel":"executions","type":"update","data":[{"timestamp":"2023-09-22T10:33:05.709982Z","order_status":"new",'
    b'"exec_type":"new","order_userref":0,"order_id":"OK4GJX-KSTLS-7DZZO5"}],"sequence":9}'
)
TRADED = (
    b'{"channel":"executions","type":"update","data":[{"order_id":"OK4GJX-KSTLS-7DZZO5","exec_id":"TGBB7L-HT5LX-J3BZ4A",'
    b'"exec_type":"trade","trade_id":62887576,"symbol":"BTC/USD","side":"sell","last_qty":0.005,"last_price":26599.9,'
    b'"liquidity_ind":"t","cost":132.9995,"order_userref":0,"order_type":"limit","timestamp":"2023-09-22T10:33:05.709993Z",'
    b'"order_status":"partially_filled","cum_qty":0.005,"cum_cost":132.9995,"avg_price":26599.9,"fee_usd_equiv":0.3458,'
    b'"fees":[{"asset":"USD","qty":0.3458}]}],"sequence":10}'
)
FILLED = (
    b'{"channel":"executions","type":"update","data":[{"timestamp":"2023-09-22T10:33:05.709993Z","order_status":"filled",'
    b'"exec_type":"filled","order_qty":0.005,"order_type":"limit","order_userref":0,"cum_qty":0.005,"order_id":'
    b'"OK4GJX-KSTLS-7DZZO5","avg_price":26599.9}],"sequence":11}'
)
EXECUTIONS = (
    b'{"channel":"executions","type":"snapshot","data":[{"order_id":"OK4GJX-KSTLS-7DZZO4","symbol":"BTC/USD","order_qty":'
    b'0.01,"cum_qty":0.0,"exec_type":"new","side":"buy","order_type":"limit","limit_price":20000.0,"order_status":"new",'
    b'"cl_ord_id":"mine-1","timestamp":"2023-09-22T10:33:05.709950Z"}],"sequence":1}'
)
BALANCES = (
    b'{"channel":"balances","type":"snapshot","data":[{"asset":"BTC","asset_class":"currency","balance":1.2,"wallets":'
    b'[{"type":"spot","id":"main","balance":1.2}]}],"sequence":1}'
)
BALANCE = (
    b'{"channel":"balances","type":"update","data":[{"ledger_id":"AAICKV-NMQSR-ZO5IJD","ref_id":"AGBB7L-HT5LX-J3BB4A",'
    b'"timestamp":"2023-09-22T10:33:05.710082Z","type":"trade","asset":"BTC","asset_class":"currency","category":"trade",'
    b'"wallet_type":"spot","wallet_id":"main","amount":-0.005,"fee":0.0,"balance":0.005}],"sequence":2}'
)
PRIVATE = {
    "pending": PENDING,
    "new": NEW,
    "traded": TRADED,
    "filled": FILLED,
    "executions": EXECUTIONS,
    "balances": BALANCES,
    "balance": BALANCE,
}

SAMPLED = tuple(
    frame.replace(
        b'}],"sequence"', b"}," + TRADED[TRADED.index(b'{"order_id"') : TRADED.rindex(b"]")] + b'],"sequence"'
    )
    for frame in (PENDING, NEW, TRADED, FILLED)
)
"""Messages with an order's event and with a fill, whose streams are both concerned where one can't be read."""

HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = (
    b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}'
)
STATUS = (
    b'{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":13834774380200032777,"system":'
    b'"online","version":"2.0.0"}]}'
)
ACCEPTED = (
    b'{"method":"subscribe","result":{"channel":"book","depth":100,"snapshot":true,"symbol":"MATIC/USD","warnings":'
    b'["tick_type is deprecated"]},"success":true,"time_in":"2023-10-06T17:35:55.219022Z","time_out":'
    b'"2023-10-06T17:35:55.219067Z","req_id":7}'
)
REFUSED = (
    b'{"error":"Currency pair not supported XBT/USD","method":"subscribe","req_id":7,"success":false,"symbol":"XBT/USD",'
    b'"time_in":"2023-10-06T17:35:55.219022Z","time_out":"2023-10-06T17:35:55.219067Z"}'
)
UNSUBSCRIBED = ACCEPTED.replace(b'"subscribe"', b'"unsubscribe"')
CONTROL = {
    "heartbeat": HEARTBEAT,
    "pong": PONG,
    "status": STATUS,
    "maintenance": STATUS.replace(b"online", b"maintenance"),
    "accepted": ACCEPTED,
    "refused": REFUSED,
    "unsubscribed": UNSUBSCRIBED,
}

ORDER_ROW: dict[str, Any] = {
    "refid": None,
    "userref": 0,
    "cl_ord_id": "mine-1",
    "status": "open",
    "opentm": 1688666559.8974,
    "descr": {
        "pair": "XBTUSD",
        "type": "buy",
        "ordertype": "limit",
        "price": "20000.0",
        "price2": "0",
        "leverage": "none",
    },
    "vol": "0.01000000",
    "vol_exec": "0.00000000",
}
TRADE_ROW: dict[str, Any] = {
    "ordertxid": "OQCLML-BW3P3-BUCMWZ",
    "pair": "XXBTZUSD",
    "time": 1688667796.8802,
    "type": "buy",
    "ordertype": "limit",
    "price": "30010.00000",
    "cost": "600.20000",
    "fee": "0.15606",
    "vol": "0.02000000",
}
BALANCE_ROW: dict[str, Any] = {"balance": "100.50", "hold_trade": "20.25"}
ASSET_PAIRS: dict[str, dict[str, Any]] = {
    "XXBTZUSD": {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "base": "XXBT",
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "status": "online",
    },
    "MATICUSD": {"altname": "MATICUSD", "wsname": "MATIC/USD", "base": "MATIC", "quote": "ZUSD", "status": "online"},
    "ALGOUSD": {"altname": "ALGOUSD", "wsname": "ALGO/USD", "base": "ALGO", "quote": "ZUSD"},
    "XXRPXXBT": {"altname": "XRPXBT", "base": "XXRP", "quote": "XXBT", "status": "cancel_only"},
    "XDGUSD": {"altname": "XDGUSD", "wsname": "XDG/USD", "base": "XXDG", "quote": "ZUSD"},
}


def rest(result: object, *errors: str) -> bytes:
    """An answer by REST."""
    return json.dumps({"error": list(errors), **({"result": result} if not errors else {})}).encode()


def changed(frame: bytes, **fields: object) -> bytes:
    """A frame with other values in the first row of its data."""
    message = json.loads(frame, parse_float=_Digits)
    message["data"][0] |= fields
    return dumps(message)


class _Digits(float):
    """A number that is written with the digits that were read."""

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text  # type: ignore[attr-defined]
        return made

    def __repr__(self) -> str:
        return str(self.text)  # type: ignore[attr-defined]


def number(text: str) -> float:
    """A number that `dumps` writes with just these digits."""
    return _Digits(text)


def dumps(message: object) -> bytes:
    """JSON, with the digits that numbers were read with."""
    if isinstance(message, dict):
        return b"{" + b",".join(json.dumps(key).encode() + b":" + dumps(value) for key, value in message.items()) + b"}"
    if isinstance(message, list | tuple):
        return b"[" + b",".join(map(dumps, message)) + b"]"
    return repr(message).encode() if isinstance(message, _Digits) else json.dumps(message).encode()
