"""LMEX's private rows, orders, fills, positions and wallets, as events; rows are text (`messages.decode_rows`).

REST answers and WebSocket messages name the same things differently, and so do their versions: every name that is
known is taken, the clearest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from bridge.exchanges.lmex.messages import Row, decode_rows, nanoseconds
from bridge.exchanges.lmex.names import Contracts, Market, difference, market_of, pair_of
from bridge.exchanges.numbers import check_numbers, check_values
from bridge.model import Balance, Fill, Order, Position

__all__ = ["balance_events", "fill_event", "first", "flat", "is_open", "order_event", "position_event"]

_KINDS = {"76": "limit", "77": "market", "80": "algo", "81": "otc"}
_SIDES = {"BUY": "buy", "SELL": "sell", "": ""}
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
"""Status codes of orders, and REST's words for them; a code that isn't here leaves the status empty: unknown."""


def first(row: Row, *names: str) -> str:
    """The first of these fields that is there and not empty."""
    return next((row[name] for name in names if row.get(name)), "")


def order_event(row: Row, subject: str, recv: int, contracts: Contracts, limit_price: str) -> Order:
    """An order's state.

    ``limit_price`` is what was known of it: the row of an execution has that trade's price in its place.

    Raises:
        ValueError: a number is none, or the contract size isn't known.
        KeyError: a field is missing.
    """
    pair = pair_of(_needed(row, "symbol"))
    code = row["status"] if "status" in row else row["orderState"]
    status = _STATUS.get(code, "")
    size = _order_size(row)
    filled = _order_filled(row, size, status)
    if status == "open" and Decimal(filled):
        status = "partially_filled"
    kind = _KINDS.get(first(row, "orderType", "type"), "")
    price = row.get("price", "")
    if code in _FILLED and kind != "market":
        price = limit_price
    check_values(price)
    return Order(
        subject,
        _ns(row),
        recv,
        _needed(row, "orderID", "orderId"),
        first(row, "clOrderID", "clOrderId"),
        pair,
        kind,
        _SIDES[row.get("side", "")],
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
    pair = pair_of(_needed(row, "symbol"))
    price = _needed(row, "filledPrice", "price")
    size = _needed(row, "filledSize", "size")
    fee = first(row, "feeAmount", "freeAmount")  # one of the documents spells it so
    check_numbers(price)
    check_values(fee)
    return Fill(
        subject,
        _ns(row),
        recv,
        _needed(row, "tradeId", "serialId"),
        first(row, "orderId", "orderID"),
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
        KeyError: a field is missing.
    """
    pair = pair_of(_needed(row, "marketName", "symbol", "positionId").partition("|")[0])
    size = (first(row, "totalContracts", "size") or "0").removeprefix("-")
    check_numbers(size)
    if not Decimal(size):
        return flat(pair, subject, recv)
    side = _SIDE_OF.get(row.get("positionDirection", "")) or _SIDE_OF.get(row.get("orderMode", ""))
    side = side or _SIDE_OF.get(row.get("side", ""), "")
    if row.get("contractSize"):
        contracts = Contracts({pair: row["contractSize"]})
    entry, mark = row.get("entryPrice", ""), first(row, "markedPrice", "markPrice")
    profit = first(row, "unrealizedProfitLoss", "unrealizedProfit")
    check_values(entry, mark, profit)
    return Position(subject, None, recv, pair, side, contracts.coins(pair, size), entry, mark, profit, size)


_SIDE_OF = {"LONG": "long", "SHORT": "short", "66": "long", "83": "short", "BUY": "long", "SELL": "short"}


def flat(pair: str, subject: str, recv: int) -> Position:
    """No position."""
    return Position(subject, None, recv, pair, "", "0", "", "", "", "0")


def balance_events(row: Row, subject: str, recv: int) -> Iterator[Balance]:
    """The currencies of a row of ``user/wallet``.

    Spot has a row for each: ``{"currency":"BTC","total":1.5,"available":1.2}``. A futures wallet has a list of assets,
    and a list of what of them is in use: ``{"wallet":"CROSS@","assets":[{"balance":0.3,"assetPrice":1,"currency":
    "USDT"}],"assetsInUse":[{"balance":0.1,"assetPrice":1,"currency":"USDT"}]}``.

    Raises:
        ValueError: a number is none.
        KeyError: a field is missing.
    """
    if "assets" not in row:
        yield _balance(subject, recv, row["currency"], row.get("total", ""), row["available"])
        return
    used = {asset["currency"]: asset["balance"] for asset in _assets(row, "assetsInUse")}
    for asset in _assets(row, "assets"):
        total = asset["balance"]
        available = difference(total, used.get(asset["currency"], "0"))
        yield _balance(subject, recv, asset["currency"], total, available)


def _balance(subject: str, recv: int, currency: str, total: str, available: str) -> Balance:
    check_values(total, available)
    reserved = difference(total, available) if total and available else ""
    return Balance(subject, None, recv, currency, available, reserved)


def _assets(row: Row, name: str) -> list[Row]:
    return decode_rows(row[name].encode()) if row.get(name) else []


def _order_size(row: Row) -> str:
    """The order's size as it is now; empty where the order is for an amount of the quote currency."""
    current = first(row, "currentOrderSize", "currentOrderBaseSize")
    if current.strip("0."):
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
    if not written:
        return None
    if not (written.isascii() and written.isdecimal()):
        raise ValueError(f"{written!r} is not a time in milliseconds")
    return nanoseconds(int(written[:30]))
