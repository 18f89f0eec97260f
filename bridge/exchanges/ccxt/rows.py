"""CCXT's rows as events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bridge.book import EXACT
from bridge.exchanges.ccxt.digits import text
from bridge.exchanges.ccxt.markets import Market, Markets
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.values.numbers import (
    MILLISECOND,
    check_amounts,
    check_levels,
    check_numbers,
    check_values,
    check_words,
    epoch_ns,
    id_or_empty,
    shortened,
)
from bridge.model import Balance, Fill, Levels, Order, Position, Quote, Ticker, Trade

__all__ = ["Rows", "rows_of"]

_MILLISECONDS_LONG = len("2026-08-09T21:05:48.228Z")
_DAY = "86400"
_STATUS = {
    "open": "open",
    "closed": "filled",
    **dict.fromkeys(("canceled", "canceling", "cancelled", "expired"), "cancelled"),
    "rejected": "rejected",
}
_SIDES = {"buy": "sell", "sell": "buy"}
Raw = Mapping[str, Any]


def rows_of(found: Any) -> list[Raw]:
    """What a handler resolves as rows: one, a list of them, or several by name."""
    if isinstance(found, Mapping):
        if "symbol" in found or "info" in found:
            return [found]
        return [row for row in found.values() if isinstance(row, Mapping)]
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []


class Rows:
    """The events of one connector's rows.

    Args:
        markets: by symbol.
        pairs: symbol → configured pair.
        inverted: whether trades come with the maker's side.
    """

    def __init__(self, markets: Markets, pairs: Mapping[str, str], *, inverted: bool) -> None:
        self._markets = markets
        self.pairs = pairs
        self._inverted = inverted
        self._ns = UtcTimes().ns
        self._derivatives = markets.derivatives

    def trade(self, row: Raw, pair: str, market: Market, recv: int) -> Trade:
        """A public trade.

        Raises:
            one of `WRONG`: it can't be understood.
        """
        side = str(row.get("side") or "")
        price, amount = text(row["price"]), text(row["amount"])
        check_numbers(price, amount)
        if side not in _SIDES:
            raise ValueError(f"side {shortened(side)}")
        size, contracts = market.sizes(amount)
        if self._inverted:
            side = _SIDES[side]
        ident = id_or_empty(text(row.get("id")))
        return Trade(pair, self.time(row), recv, ident, side, price, size, contracts=contracts)

    def levels(self, levels: Levels, market: Market) -> Levels:
        """A book's levels in base coins; those of inverse contracts stay as they are: a contract is worth a quote."""
        if market.contract and not market.inverse and market.each not in (None, 1):
            levels = [(price, market.sizes(size)[0] if size != "0" else size) for price, size in levels]
        check_levels(levels)
        return levels

    def quote(self, row: Raw, pair: str, market: Market, recv: int) -> Quote | None:
        """Best prices, where the sizes are there, too."""
        bid, ask = text(row.get("bid")), text(row.get("ask"))
        sizes = [text(row.get("bidVolume")), text(row.get("askVolume"))]
        check_amounts(bid, ask, *sizes)
        if (bid and not sizes[0]) or (ask and not sizes[1]) or not (bid or ask):
            return None
        bid_size, ask_size = (market.sizes(size)[0] if size else "" for size in sizes)
        return Quote(pair, self.time(row), recv, bid, bid_size, ask, ask_size)

    def ticker(self, row: Raw, pair: str, recv: int) -> Ticker:
        """Rolling statistics of a day; some of them CCXT has reckoned from others."""
        values = [text(row.get(name)) for name in ("open", "high", "low", "last", "change", "percentage", "baseVolume")]
        check_values(*values)
        return Ticker(pair, self.time(row), recv, _DAY, *values)

    def order(self, row: Raw, account: str, recv: int) -> Order:
        """The newest state of an order."""
        market, pair = self._market(row)
        ident, filled = text(row["id"]), text(row.get("filled")) or "0"
        price, amount = text(row.get("price")), text(row.get("amount"))
        kind, side = str(row.get("type") or "").lower(), str(row.get("side") or "")
        client = text(row.get("clientOrderId"))
        check_amounts(price, amount, filled)
        check_words(ident, client, kind)
        status = _STATUS.get(str(row.get("status")), "")
        if status == "open" and Decimal(filled):
            status = "partially_filled"
        size, contracts = self._sizes(market, amount)
        done = self._sizes(market, filled)[0]
        ts = self.time(row, "lastUpdateTimestamp", "lastTradeTimestamp", "timestamp")
        names = account, ts, recv, ident, client, pair, kind, side
        return Order(*names, "" if kind == "market" else price, size, done, status, contracts=contracts)

    def fill(self, row: Raw, account: str, recv: int) -> Fill:
        """An execution of the account's."""
        market, pair = self._market(row)
        price, amount, fee = text(row["price"]), text(row["amount"]), row.get("fee") or {}
        check_numbers(price, amount)
        cost, currency = text(fee.get("cost")), text(fee.get("currency"))
        check_values(cost)
        check_words(currency)
        size, contracts = self._sizes(market, amount)
        ident, order = id_or_empty(text(row.get("id"))), id_or_empty(text(row.get("order")))
        names = account, self.time(row), recv, ident, order, pair, str(row.get("side") or "")
        return Fill(*names, price, size, cost, currency, contracts=contracts)

    def balances(self, found: Raw, account: str, recv: int) -> Iterator[Balance]:
        """One per currency; without ``free``, what is in use is taken off the total."""
        for currency, row in found.items():
            if not (isinstance(row, Mapping) and ("free" in row or "total" in row)) or currency in ("free", "total"):
                continue
            free, used, total = (text(row.get(name)) for name in ("free", "used", "total"))
            check_values(free, used, total)
            check_words(currency)
            if not free and total and used:
                free = text(EXACT.subtract(Decimal(total), Decimal(used)))
            elif not used and total and free:
                used = text(EXACT.subtract(Decimal(total), Decimal(free)))
            yield Balance(account, None, recv, currency, free or total, used)

    def position(self, row: Raw, account: str, recv: int) -> Position:
        """A position; in hedge mode it is one leg."""
        market, pair = self._market(row)
        side, amount = str(row.get("side") or ""), text(row.get("contracts")) or "0"
        leg = side if row.get("hedged") and side in ("long", "short") else ""
        check_numbers(amount)
        if not Decimal(amount):
            return Position(account, self.time(row), recv, pair, "", "0", "", "", "", "0", leg)
        if side not in ("long", "short"):
            raise ValueError(f"side {shortened(side)}")
        size, contracts = self._sizes(market, amount)
        entry, mark = text(row.get("entryPrice")), text(row.get("markPrice"))
        profit = text(row.get("unrealizedPnl"))
        check_amounts(entry, mark)
        check_values(profit)
        return Position(account, self.time(row), recv, pair, side, size, entry, mark, profit, contracts, leg)

    def _market(self, row: Raw) -> tuple[Market | None, str]:
        """The market of an account's row, and its pair's name; that of one that isn't listed is CCXT's symbol."""
        symbol = str(row["symbol"])
        market = self._markets.by_symbol.get(symbol)
        return market, self.pairs.get(symbol) or (market.pair if market else symbol)

    def _sizes(self, market: Market | None, amount: str) -> tuple[str, str | None]:
        """In coins and contracts; without derivatives at the exchange, no contracts are told at all."""
        size, contracts = market.sizes(amount) if market else (amount, None)
        return size, (contracts or "") if self._derivatives else None

    def time(self, row: Raw, *names: str) -> int | None:
        """CCXT's milliseconds, or what the exchange has written where that is finer."""
        written = row.get("datetime")
        if not names and isinstance(written, str) and len(written) > _MILLISECONDS_LONG and written[-1] == "Z":
            return self._ns(written)
        at = next((row[name] for name in names or ("timestamp",) if row.get(name)), None)
        return epoch_ns(int(at), MILLISECOND) if at else None
