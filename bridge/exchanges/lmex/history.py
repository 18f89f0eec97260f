"""What is known of an LMEX account from before a session, and the fills since then by REST."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import field

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow
from bridge.exchanges.lmex.names import Market, market_of
from bridge.exchanges.lmex.rest import LmexRest, wants_symbol
from bridge.exchanges.lmex.rows import first, is_open
from bridge.exchanges.toolkit.fields import Row
from bridge.exchanges.toolkit.history import FillHistory
from bridge.model import Event, Order

__all__ = ["Memory", "fills_since"]

_MILLISECOND = 1_000_000
_MOST_PRICES = 10_000
_PAGE = 500
"""Fills per answer: the most that the exchange gives."""
_MOST_PAGES = 20


class Memory(FillHistory):
    """What the successive sessions of one account and market know."""

    prices: dict[str, str] = field(default_factory=dict)
    """Limit prices of open orders, because the row of an execution has another price in its place."""
    login: str = ""
    """The log-in message that was accepted last."""

    def recall(self, tail: Sequence[Event], market: Market, known_from: int = 0) -> None:
        """Take up the newest events of the fills' stream, which may hold both markets'."""
        self.recall_fills(tail, known_from, lambda fill: market_of(fill.pair) is market)

    def learn(self, order: Order) -> None:
        """Note an open order's limit price, forget that of a finished one."""
        if order.status and not is_open(order):
            self.prices.pop(order.order_id, None)
        elif order.price and order.status:
            self.prices[order.order_id] = order.price
            if len(self.prices) > _MOST_PRICES:
                del self.prices[next(iter(self.prices))]


def fills_since(
    rest: LmexRest, credentials: Credentials, market: Market, since: int, now: int, *, pairs: Sequence[str]
) -> Flow[tuple[list[Row], bool]]:
    """The rows of all fills since a time (ns), and whether they are all there.

    Raises:
        RestError: REST is away, refuses, or answers with what can't be understood.
    """
    query = f"startTime={since // _MILLISECOND}&count={_PAGE}"
    try:
        return (yield from _pages(rest, credentials, market, query, now))
    except RestError as error:
        if not wants_symbol(error):
            raise
    found: list[Row] = []
    complete = True
    for pair in pairs:
        rows, whole = yield from _pages(rest, credentials, market, f"symbol={pair}&{query}", now)
        found += rows
        complete = complete and whole
    return found, complete


def _pages(
    rest: LmexRest, credentials: Credentials, market: Market, query: str, now: int
) -> Flow[tuple[list[Row], bool]]:
    """A full answer is taken for the newest part: the one before it ends where it begins."""
    found: dict[str, Row] = {}
    end = ""
    for _ in range(_MOST_PAGES):
        rows = yield from rest.private(credentials, market, "/user/trade_history", now, query + end)
        fresh = {key: row for row in rows if (key := first(row, "tradeId", "serialId") or repr(row)) not in found}
        found.update(fresh)
        if len(rows) < _PAGE:
            return list(found.values()), True
        times = [int(time[:30]) for row in rows if (time := row.get("timestamp", "")).isascii() and time.isdecimal()]
        if not fresh or not times:
            break
        end = f"&endTime={min(times) + 1}"
    return list(found.values()), False
