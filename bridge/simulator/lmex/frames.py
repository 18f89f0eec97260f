"""LMEX's public WebSocket messages, acknowledgements and errors, written as the exchange writes them.

Book levels are strings, the numbers of trades are JSON numbers; times are milliseconds. Nothing of the market's needs
escaping; what clients said is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal

from bridge.simulator.events import BestChanged, TradeDone
from bridge.simulator.lmex.books import Change
from bridge.simulator.pairs import Levels

__all__ = [
    "ERRORS",
    "acknowledged",
    "api_error",
    "best",
    "book",
    "failed",
    "logged_in",
    "millis",
    "number",
    "snapshot",
    "trades",
]

ERRORS = {
    1000: ("Market pair provided is currently not supported.", "MARKET_PAIR_NOT_SUPPORT"),
    1001: ("Operation provided is currently not supported", "OPERATION_NOT_SUPPORT"),
    1002: ("Request provided is invalid.", "BAD_REQUEST"),
    1005: ("Topic provided does not exist.", "TOPIC_NOT_EXIST"),
    1007: ("User's outbound message buffer is full.", "OUTBOUND_BUFFER_FULL"),
    1008: ("Too many failed attempts, session is being closed.", "TOO_MANY_FAILED_ATTEMPTS"),
}
"""Code → what it says, and its name in the form of before June 2023."""


def millis(seconds: float) -> int:
    """Seconds since the epoch as milliseconds."""
    return round(seconds * 1000)


def number(value: Decimal) -> str:
    """A JSON number, no more digits than it needs."""
    return format(value.normalize(), "f")


def snapshot(topic: str, symbol: str, change: Change, now: float) -> str:
    """As ``book``, ``"type":"snapshot"``; bids best first, asks worst first."""
    return _book(topic, symbol, "snapshot", Change(change.bids, change.asks[::-1], change.seq), now)


def book(topic: str, symbol: str, change: Change, now: float) -> str:
    """``{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.6","60672"]],"asks":[],"seqNum":86511210,…,"type":"delta",…}}``."""
    return _book(topic, symbol, "delta", change, now)


def best(topic: str, symbol: str, event: BestChanged, now: float) -> str:
    """``{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],…}}``."""
    bids = "" if event.bid is None or event.bid_size is None else _level(event.bid, event.bid_size)
    asks = "" if event.ask is None or event.ask_size is None else _level(event.ask, event.ask_size)
    return (
        f'{{"topic":"{topic}","data":{{"bids":[{bids}],"asks":[{asks}],"type":"snapshotL1","symbol":"{symbol}",'
        f'"timestamp":{millis(now)}}}}}'
    )


def trades(topic: str, symbol: str, rows: Sequence[TradeDone]) -> str:
    """``{"topic":"tradeHistoryApi:BTC-USD","data":[{"symbol":"BTC-USD","side":"SELL","size":0.0145,"price":76653.1,…}]}``.

    ``rows`` are oldest first, the message is newest first. The old topic of futures, which carries no symbol, has its
    fields in another order.
    """
    form = _trade if ":" in topic else _old_trade
    return f'{{"topic":"{topic}","data":[{",".join(form(symbol, row) for row in reversed(rows))}]}}'


def acknowledged(event: str, topics: Iterable[str]) -> str:
    """``{"event":"subscribe","channel":["tradeHistoryApi:BTC-USD"]}``."""
    return f'{{"event":"{event}","channel":{json.dumps(list(topics), separators=(",", ":"))}}}'


def logged_in(*, success: bool) -> str:
    """``{"event":"login","success":true}``."""
    return f'{{"event":"login","success":{"true" if success else "false"}}}'


def failed(errors: Iterable[tuple[int, str | None]], *, old: bool = False) -> str:
    """Of ``(code, topic)``: ``{"severity":"ERROR","errors":[{"arg":"foo:BTC-PERP","error":{"code":1005,"message":…}}]}``.

    ``old``: ``{"severity":"ERROR","error":[{"arg":"update:BTCC-USD_0","errorCode":"MARKET_PAIR_NOT_SUPPORT"}]}``.
    """
    rows: list[dict[str, object]] = []
    for code, topic in errors:
        arg: dict[str, object] = {} if topic is None else {"arg": topic}
        text, name = ERRORS[code]
        rows.append(arg | ({"errorCode": name} if old else {"error": {"code": code, "message": text}}))
    return json.dumps({"severity": "ERROR", "error" if old else "errors": rows}, separators=(",", ":"))


def api_error(status: int, code: int, text: str) -> str:
    """``{"status":400,"errorCode":-7,"message":"Authenticate failed","extraData":null}``."""
    body = {"status": status, "errorCode": code, "message": text, "extraData": None}
    return json.dumps(body, separators=(",", ":"))


def _book(topic: str, symbol: str, kind: str, change: Change, now: float) -> str:
    return (
        f'{{"topic":"{topic}","data":{{"bids":[{_levels(change.bids)}],"asks":[{_levels(change.asks)}],'
        f'"seqNum":{change.seq},"prevSeqNum":{change.seq - 1},"type":"{kind}","symbol":"{symbol}",'
        f'"timestamp":{millis(now)}}}}}'
    )


def _levels(levels: Levels) -> str:
    return ",".join(_level(price, size) for price, size in levels)


def _level(price: Decimal, size: Decimal) -> str:
    return f'["{price:f}","{size:f}"]' if size else f'["{price:f}","0"]'


def _trade(symbol: str, row: TradeDone) -> str:
    return (
        f'{{"symbol":"{symbol}","side":"{row.side.upper()}","size":{number(row.size)},"price":{number(row.price)},'
        f'"tradeId":{row.id},"timestamp":{millis(row.time)}}}'
    )


def _old_trade(symbol: str, row: TradeDone) -> str:
    return (
        f'{{"price":{number(row.price)},"size":{number(row.size)},"side":"{row.side.upper()}","symbol":"{symbol}",'
        f'"tradeId":{row.id},"timestamp":{millis(row.time)}}}'
    )
