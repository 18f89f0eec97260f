"""LMEX's private rows, orders, fills, positions and wallets, as events.

REST answers and WebSocket messages name the same things differently, and so do their versions: every name that is
known is taken, the clearest first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from bridge.exchanges.lmex.messages import is_pair, nanoseconds, pair_of
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import NESTED, Row, decode_rows, difference, first
from bridge.exchanges.toolkit.values.numbers import (
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
    id_or_empty,
    shortened,
)
from bridge.exchanges.toolkit.values.salvage import WRONG
from bridge.model import Balance, Fill, Order, Position

__all__ = ["Rows", "is_open", "order_id", "pair_or_empty", "wallet_rows"]

_KINDS = {"": "", "0": "", "76": "limit", "77": "market", "80": "algo", "81": "otc"}
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}|[1-9][0-9]{0,3}").fullmatch
_SIDES = {"BUY": "buy", "SELL": "sell"}
_FILLED = ("4", "5")
_STATUS = {
    "4": "filled",
    "5": "partially_filled",
    **dict.fromkeys(("6", "7", "88"), "cancelled"),
    **dict.fromkeys(("2", "9", "10", "65", "85", "123"), "open"),
    **dict.fromkeys(("1", "8", "12", "15", "16", "17", "41", "101", "-1"), "rejected"),
    **dict.fromkeys(("300", "301", "302", "303", "304", "305"), "rejected"),
    "STATUS_ACTIVE": "open",
    "STATUS_PROCESSING": "open",
    "STATUS_INACTIVE": "cancelled",
}
"""Status codes of orders, and REST's words for them."""
_LEGS = {"": None, "LONG": "long", "SHORT": "short"}
_DIRECTIONS = ("positionDirection", "orderMode", "side")
"""Fields that say on which side a position is, the clearest first; the first that says something counts."""
_SIDE_OF = {"LONG": "long", "SHORT": "short", "66": "long", "83": "short", "BUY": "long", "SELL": "short"}


class Rows:
    """The rows of one account, by `Contracts`; each method raises one of `WRONG` for a row that can't be understood."""

    def __init__(self, account: str, contracts: Contracts) -> None:
        self._account = account
        self._contracts = contracts

    def order(self, row: Row, recv: int, known: Mapping[tuple[str, str], Order]) -> Order:
        """An order's state; ``known`` are the open orders by pair and id.

        The row of an execution has that trade's price in the place of the limit price.
        """
        pair, order_id = _pair(_needed(row, "symbol")), _needed(row, "orderID", "orderId")
        code = row["status"] if "status" in row else row["orderState"]
        status, size, kind = _STATUS[code], _order_size(row), _kind(first(row, "orderType", "type"))
        filled = _order_filled(row, size, status)
        if status == "open" and Decimal(filled):
            status = "partially_filled"
        price, client_id = row.get("price", ""), first(row, "clOrderID", "clOrderId")
        check_amounts(price)
        if code in _FILLED and kind != "market":
            before = known.get((pair, order_id))
            price = before.price if before else ""
        check_ids(order_id)
        check_words(client_id)
        side = _SIDES[row["side"]] if row.get("side") else ""
        coins, done = self._contracts.coins(pair, size) if size else "", self._contracts.coins(pair, filled)
        counted, at = self._contracts.contracts(pair, size), _ns(row)
        return Order(
            self._account, at, recv, order_id, client_id, pair, kind, side, price, coins, done, status, counted
        )

    def fill(self, row: Row, recv: int) -> Fill:
        """An execution; ``tradeId`` is an id of its own, not the public trade's.

        In REST rows ``price`` and ``size`` are the order's, and the execution's are ``filledPrice`` and ``filledSize``.
        """
        pair, fill_id = _pair(_needed(row, "symbol")), _needed(row, "tradeId", "serialId")
        order_id = first(row, "orderId", "orderID")
        price, size = _needed(row, "filledPrice", "price"), _needed(row, "filledSize", "size")
        fee = first(row, "feeAmount", "freeAmount")  # one of the documents spells it so
        currency = row.get("feeCurrency", "")
        check_numbers(price, size)
        check_values(fee)
        check_words(currency)
        check_ids(fill_id, *([order_id] if order_id else []))
        coins, counted = self._contracts.coins(pair, size), self._contracts.contracts(pair, size)
        side, at = _SIDES[row["side"]], _ns(row)
        return Fill(self._account, at, recv, fill_id, order_id, pair, side, price, coins, fee, currency, counted)

    def position(self, row: Row, recv: int) -> Position:
        """A position, or in hedge mode one leg of it (``BTC-PERP-USD|SHORT``).

        The row of a closed one has ``totalContracts`` 0, and little else.
        """
        pair = _position_pair(row)
        leg = _LEGS[row.get("positionId", "").partition("|")[2]]
        size = (first(row, "totalContracts", "size") or "0").removeprefix("-")
        check_numbers(size)
        if not Decimal(size):
            return self.flat(pair, recv, leg)
        said = [word for name in _DIRECTIONS if (word := row.get(name, "")) not in ("", "0")]
        side = _SIDE_OF[said[0] if said else ""]
        coins = self._contracts.coins(pair, size, row.get("contractSize", ""))
        entry, mark = row.get("entryPrice", ""), first(row, "markedPrice", "markPrice")
        profit = first(row, "unrealizedProfitLoss", "unrealizedProfit")
        check_amounts(entry, mark)
        check_values(profit)
        return Position(self._account, None, recv, pair, side, coins, entry, mark, profit, size, leg)

    def balance(self, row: Row, recv: int) -> Balance:
        """A currency of a wallet: in total, and what of that is available, or in use."""
        currency, total = _needed(row, "currency"), row["balance"] if "used" in row else row.get("total", "")
        available = difference(total, row["used"]) if "used" in row else row["available"]
        check_ids(currency)
        check_values(total, available)
        reserved = difference(total, available) if total and available else ""
        return Balance(self._account, None, recv, currency, available, reserved)

    def flat(self, pair: str, recv: int, leg: str | None) -> Position:
        """No position in a pair, or on one leg of it."""
        return Position(self._account, None, recv, pair, "", "0", "", "", "", "0", leg)


def is_open(order: Order) -> bool:
    """Whether more can happen to the order."""
    return order.status in ("open", "partially_filled")


def wallet_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of ``user/wallet``, one for each currency; a wallet that can't be understood stays what it is.

    Spot has such rows: ``{"currency":"BTC","total":1.5,"available":1.2}``. A futures wallet has a list of assets, and
    a list of what of them is in use: ``{"wallet":"CROSS@","assets":[{"balance":0.3,"assetPrice":1,"currency":"USDT"}],
    "assetsInUse":[{"balance":0.1,"assetPrice":1,"currency":"USDT"}]}``.
    """
    found: list[Row] = []
    for row in rows:
        try:
            found += _assets(row) if "assets" in row else [row]
        except WRONG:
            found.append(row)
    return found


def _assets(row: Row) -> list[Row]:
    used = {}
    for asset in _list(row, "assetsInUse") if row.get("assetsInUse") else []:
        check_values(asset["balance"])
        used[asset["currency"]] = asset["balance"]
    return [asset | {"used": used.get(asset.get("currency", ""), "0")} for asset in _list(row, "assets")]


def _list(row: Row, name: str) -> list[Row]:
    listed = row[name]
    if not listed.startswith(f"{NESTED}["):
        raise ValueError(f"{name} is not a list")
    return decode_rows(listed.removeprefix(NESTED).encode())


def _kind(code: str) -> str:
    """An order's kind: a code that isn't known stays what it is, as the exchange's own word."""
    kind = _KINDS.get(code, code.lower())
    if kind and not _WORD(kind):
        raise ValueError(f"{shortened(code)} is not an order's type")
    return kind


def order_id(row: Row) -> str:
    """The id of an order of REST; empty where it has none that is one."""
    return id_or_empty(first(row, "orderID", "orderId"))


def pair_or_empty(row: Row) -> str:
    """The pair of a position whose row can't be understood; empty where that can't be read either."""
    try:
        return _position_pair(row)
    except WRONG:
        return ""


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
