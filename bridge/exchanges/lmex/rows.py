"""LMEX's private rows, orders, fills, positions and wallets, as events; rows are text (`messages.decode_rows`).

REST answers and WebSocket messages name the same things differently, and so do their versions: every name that is
known is taken, the clearest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec

from bridge.exchange_errors import FrameError
from bridge.exchanges.lmex.messages import NAME, nanoseconds
from bridge.exchanges.lmex.names import Contracts, Market, difference, is_pair, market_of, pair_of
from bridge.exchanges.toolkit.fields import NESTED, Row, decode_rows
from bridge.exchanges.toolkit.numbers import (
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
    shortened,
)
from bridge.exchanges.toolkit.salvage import UNREADABLE
from bridge.model import Balance, Event, Fill, Order, Position

__all__ = [
    "NOT_A_ROW",
    "balance_events",
    "fill_event",
    "first",
    "flat",
    "is_open",
    "order_event",
    "position_event",
]

_E = TypeVar("_E", bound=Event)

NOT_A_ROW = (*UNREADABLE, ValueError, KeyError, ArithmeticError)
"""What is raised for a row that can't be understood."""

_KINDS = {"76": "limit", "77": "market", "80": "algo", "81": "otc"}
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}|[1-9][0-9]{0,3}").fullmatch
_SIDES = {"BUY": "buy", "SELL": "sell"}
_LIVE = ("2", "9", "10", "65", "85", "123")
_FILLED = ("4", "5")
_STATUS = {
    "4": "filled",
    "5": "partially_filled",
    "6": "cancelled",
    "7": "cancelled",
    "88": "cancelled",
    **dict.fromkeys(_LIVE, "open"),
    **dict.fromkeys(("1", "8", "12", "15", "16", "17", "41", "101", "-1"), "rejected"),
    **dict.fromkeys(("300", "301", "302", "303", "304", "305"), "rejected"),
    "STATUS_ACTIVE": "open",
    "STATUS_PROCESSING": "open",
    "STATUS_INACTIVE": "cancelled",
}
"""Status codes of orders, and REST's words for them."""


def first(row: Row, *names: str) -> str:
    """The first of these fields that is there and not empty."""
    return next((row[name] for name in names if row.get(name)), "")


def order_event(row: Row, subject: str, recv: int, contracts: Contracts, limit_price: str) -> Order:
    """An order's state.

    ``limit_price`` is what was known of it: the row of an execution has that trade's price in its place.

    Raises:
        ValueError: a number is none, or the contract size isn't known.
        KeyError: a field is missing, or it is a word or code that isn't known.
    """
    pair = _pair(_needed(row, "symbol"))
    code = row["status"] if "status" in row else row["orderState"]
    status = _STATUS[code]
    size = _order_size(row)
    filled = _order_filled(row, size, status)
    if status == "open" and Decimal(filled):
        status = "partially_filled"
    kind = _kind(first(row, "orderType", "type"))
    price = row.get("price", "")
    if code in _FILLED and kind != "market":
        price = limit_price
    check_amounts(price)
    order_id, client_id = _needed(row, "orderID", "orderId"), first(row, "clOrderID", "clOrderId")
    check_ids(order_id)
    check_words(client_id)
    return Order(
        subject,
        _ns(row),
        recv,
        order_id,
        client_id,
        pair,
        kind,
        _SIDES[row["side"]] if row.get("side") else "",
        price,
        contracts.coins(pair, size) if size else "",
        contracts.coins(pair, filled),
        status,
        size if market_of(pair) is Market.FUTURES else "",
    )


def is_open(order: Order) -> bool:
    """Whether more can happen to the order."""
    return order.status in ("open", "partially_filled")


def fill_event(row: Row, subject: str, recv: int, contracts: Contracts) -> Fill:
    """An execution; ``tradeId`` is an id of its own, not the public trade's.

    In REST rows ``price`` and ``size`` are the order's, and the execution's are ``filledPrice`` and ``filledSize``.

    Raises:
        ValueError: a number is none, or the contract size isn't known.
        KeyError: a field is missing.
    """
    pair = _pair(_needed(row, "symbol"))
    price = _needed(row, "filledPrice", "price")
    size = _needed(row, "filledSize", "size")
    fee = first(row, "feeAmount", "freeAmount")  # one of the documents spells it so
    fill_id, order_id = _needed(row, "tradeId", "serialId"), first(row, "orderId", "orderID")
    check_numbers(price)
    check_values(fee)
    check_words(row.get("feeCurrency", ""))
    check_ids(fill_id)
    if order_id:
        check_ids(order_id)
    return Fill(
        subject,
        _ns(row),
        recv,
        fill_id,
        order_id,
        pair,
        _SIDES[row["side"]],
        price,
        contracts.coins(pair, size),
        fee,
        row.get("feeCurrency", ""),
        size if market_of(pair) is Market.FUTURES else "",
    )


def position_event(row: Row, subject: str, recv: int, contracts: Contracts) -> Position:
    """A position; the row of a closed one has ``totalContracts`` 0, and little else.

    Raises:
        ValueError: a number is none, or the contract size isn't known.
        KeyError: a field is missing, or has an unknown word.
    """
    pair = _position_pair(row)
    leg = _LEGS[row.get("positionId", "").partition("|")[2]]
    size = (first(row, "totalContracts", "size") or "0").removeprefix("-")
    check_numbers(size)
    if not Decimal(size):
        return flat(pair, subject, recv, leg)
    said = [word for name in _DIRECTIONS if (word := row.get(name, "")) not in ("", "0")]
    side = _SIDE_OF[said[0] if said else ""]
    if row.get("contractSize"):
        contracts = Contracts({pair: row["contractSize"]})
    entry, mark = row.get("entryPrice", ""), first(row, "markedPrice", "markPrice")
    profit = first(row, "unrealizedProfitLoss", "unrealizedProfit")
    check_amounts(entry, mark)
    check_values(profit)
    return Position(subject, None, recv, pair, side, contracts.coins(pair, size), entry, mark, profit, size, leg)


_LEGS = {"": None, "LONG": "long", "SHORT": "short"}
_DIRECTIONS = ("positionDirection", "orderMode", "side")
"""Fields that say on which side a position is, the clearest first; the first that says something counts."""
_SIDE_OF = {"LONG": "long", "SHORT": "short", "66": "long", "83": "short", "BUY": "long", "SELL": "short"}


def flat(pair: str, subject: str, recv: int, leg: str | None = None) -> Position:
    """No position in a pair, or on one leg of it."""
    return Position(subject, None, recv, pair, "", "0", "", "", "", "0", leg)


def balance_events(rows: Sequence[Row], subject: str, recv: int) -> tuple[list[Balance], list[Exception]]:
    """The currencies of the rows of ``user/wallet`` that can be understood, and what is wrong with the others.

    Spot has a row for each: ``{"currency":"BTC","total":1.5,"available":1.2}``. A futures wallet has a list of assets,
    and a list of what of them is in use: ``{"wallet":"CROSS@","assets":[{"balance":0.3,"assetPrice":1,"currency":
    "USDT"}],"assetsInUse":[{"balance":0.1,"assetPrice":1,"currency":"USDT"}]}``.
    """
    found: list[Balance] = []
    errors: list[Exception] = []
    for row in rows:
        try:
            assets = _wallet(row) if "assets" in row else [(row, "")]
        except NOT_A_ROW as error:
            errors.append(error)
            continue
        for asset, used in assets:
            try:
                found.append(_asset(asset, used, subject, recv) if used else _balance(asset, subject, recv))
            except NOT_A_ROW as error:
                errors.append(error)
    return found, errors


def _wallet(row: Row) -> list[tuple[Row, str]]:
    """The assets of a futures wallet, and how much of each is in use.

    Raises:
        MsgspecError, ValueError, KeyError: a list is none, or it can't be told what is in use.
    """
    used: dict[str, str] = {}
    for asset in _assets(row, "assetsInUse") if row.get("assetsInUse") else []:
        check_values(asset["balance"])
        used[asset["currency"]] = asset["balance"]
    return [(asset, used.get(asset.get("currency", ""), "0")) for asset in _assets(row, "assets")]


def _asset(asset: Row, used: str, subject: str, recv: int) -> Balance:
    total = asset["balance"]
    return _balance({**asset, "total": total, "available": difference(total, used)}, subject, recv)


def _balance(row: Row, subject: str, recv: int) -> Balance:
    currency, total, available = _needed(row, "currency"), row.get("total", ""), row["available"]
    check_ids(currency)
    check_values(total, available)
    reserved = difference(total, available) if total and available else ""
    return Balance(subject, None, recv, currency, available, reserved)


def _assets(row: Row, name: str) -> list[Row]:
    listed = row[name]
    if not listed.startswith(f"{NESTED}["):
        raise ValueError(f"{name} is not a list")
    return decode_rows(listed.removeprefix(NESTED).encode())


def _kind(code: str) -> str:
    """An order's kind: a code that isn't known stays what it is, as the exchange's own word."""
    kind = _KINDS.get(code, "" if code == "0" else code.lower())
    if kind and not _WORD(kind):
        raise ValueError(f"{shortened(code)} is not an order's type")
    return kind


def pair_or_empty(row: Row) -> str:
    """The pair of a position whose row is bad; empty where that can't be read either."""
    try:
        return _position_pair(row)
    except NOT_A_ROW:
        return ""


def understood(rows: Sequence[Row], take: Callable[[Row], _E]) -> tuple[list[_E], list[Row], list[FrameError]]:
    """The rows of a REST answer as events, those that can't be understood, and what is wrong with them."""
    events: list[_E] = []
    bad: list[Row] = []
    errors: list[FrameError] = []
    for row in rows:
        try:
            events.append(take(row))
        except NOT_A_ROW as error:
            bad.append(row)
            what = f"a row of a REST answer: {type(error).__name__}: {error}"
            errors.append(FrameError(NAME, msgspec.json.encode(row), what))
    return events, bad, errors


def _position_pair(row: Row) -> str:
    return _pair(_needed(row, "marketName", "symbol", "positionId").partition("|")[0])


def _pair(symbol: str) -> str:
    pair = pair_of(symbol)
    if not is_pair(pair):
        raise ValueError(f"{shortened(symbol)} is not a symbol")
    return pair


def _order_size(row: Row) -> str:
    """The order's size as it is now; empty where the order is for an amount of the quote currency."""
    current = first(row, "currentOrderSize", "currentOrderBaseSize")
    check_amounts(current)
    if current and Decimal(current):
        return current
    return first(row, "originalOrderSize", "originalOrderBaseSize", "originalSize", "size")


def _order_filled(row: Row, size: str, status: str) -> str:
    """The whole of what was executed; where only an event's part is named, it is what doesn't remain."""
    total = first(row, "totalFilledSize", "totalFilledBaseSize")
    if not total:
        left = row.get("remainingSize", "")
        total = first(row, "filledSize", "fillSize") or "0"
        check_numbers(total)
        if left and size and status not in ("rejected", ""):
            total = max(difference(size, left), total, key=Decimal)
    check_numbers(total)
    return total


def _needed(row: Row, *names: str) -> str:
    found = first(row, *names)
    if not found:
        raise KeyError(names[0])
    return found


def _ns(row: Row) -> int | None:
    written = row.get("timestamp", "")
    if written in ("", "0"):
        return None
    if not (written.isascii() and written.isdecimal()):
        raise ValueError(f"{shortened(written)} is not a time in milliseconds")
    return nanoseconds(int(written[:30]))
