"""Which of CCXT's markets is which pair: by base, quote, type and expiry, never by cutting text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct, field, structs

from bridge.book import EXACT
from bridge.errors import ConfigError, Problem
from bridge.exchanges.api import ListedPair
from bridge.exchanges.ccxt.digits import text
from bridge.exchanges.toolkit.values.fields import plain
from bridge.exchanges.toolkit.values.numbers import MILLISECOND

__all__ = ["Market", "Markets"]

_DECIMALS, _TICKS = 2, 4
"""CCXT's precision modes: so many decimals, or the step itself; significant digits are no step."""
_KINDS = {"spot": "spot", "swap": "perpetual", "future": "future"}


class Market(Struct, frozen=True):
    """One of CCXT's markets. ``each`` is what a contract is worth in base coins; ``None`` where sizes are coins."""

    symbol: str
    pair: str
    ident: str
    kind: str
    listed: ListedPair
    active: bool
    contract: bool = False
    linear: bool = False
    inverse: bool = False
    each: Decimal | None = None

    def sizes(self, amount: str) -> tuple[str, str | None]:
        """An amount as CCXT has it, in base coins, and in contracts (``None``: there are none).

        Raises:
            ArithmeticError: it is no number, or has too many digits.
        """
        if not self.contract:
            return amount, None
        if not amount or self.inverse or self.each is None:
            return "", amount
        if self.each == 1:
            return amount, amount
        return plain(EXACT.multiply(Decimal(amount), self.each)), amount


class Markets(Struct):
    """The markets of an exchange, by symbol and by pair; a symbol stays known when it is listed no more."""

    by_symbol: dict[str, Market] = field(default_factory=dict)
    by_pair: dict[str, list[Market]] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Iterable[Mapping[str, Any]], precision: int = _TICKS) -> Markets:
        """CCXT's table; markets that have no pair's name (options, say) are left out.

        ``precision`` is CCXT's way to tell the steps of prices and sizes.
        """
        found = cls()
        found.learn(table, precision)
        return found

    def learn(self, table: Iterable[Mapping[str, Any]], precision: int) -> None:
        """Take a newer table: sessions that are under way have its new markets, too."""
        self.by_pair.clear()
        for row in table:
            if market := _market(row, precision):
                self.by_symbol[market.symbol] = market
                self.by_pair.setdefault(market.pair, []).append(market)

    @property
    def derivatives(self) -> bool:
        """Whether there are any."""
        return any(market.contract for market in self.by_symbol.values())

    def find(self, pair: str, symbols: Mapping[str, str]) -> Market | None:
        """The market of a pair; ``symbols`` decide where several have its name, else the only active one is it.

        Raises:
            ConfigError: several have it, or the symbol is not listed.
        """
        if symbol := symbols.get(pair):
            if symbol not in self.by_symbol:
                raise ConfigError([Problem("options.symbols", f"{symbol} is not among the markets that CCXT lists")])
            return self.by_symbol[symbol]
        known = self.by_pair.get(pair, [])
        active = [market for market in known if market.active] or known
        if len(active) > 1:
            named = ", ".join(market.symbol for market in active)
            hint = f"options: {{symbols: {{{pair}: '{active[0].symbol}'}}}}"
            raise ConfigError([Problem("pairs", f"{pair} may be any of {named}", hint)])
        return active[0] if active else None


def _market(row: Mapping[str, Any], precision: int) -> Market | None:
    base, quote = str(row.get("base") or ""), str(row.get("quote") or "")
    kind = _KINDS.get(str(row.get("type")), "")
    if not (base and quote and kind):
        return None
    name = f"{base}-{quote}".upper()
    if kind == "perpetual":
        name += "-PERP"
    elif kind == "future":
        if not row.get("expiry"):
            return None
        name += f"-{datetime.fromtimestamp(int(row['expiry']) / 1000, UTC):%y%m%d}"
    active = row.get("active") is not False
    contract, size = kind != "spot", row.get("contractSize")
    market = Market(
        symbol=str(row["symbol"]),
        pair=name,
        ident=str(row.get("id") or ""),
        kind=str(row["type"]),
        listed=ListedPair(name, base, quote, kind, "online" if active else "inactive"),
        active=active,
        contract=contract,
        linear=bool(row.get("linear")),
        inverse=bool(row.get("inverse")),
        each=Decimal(text(size)) if contract and size is not None else None,
    )
    return structs.replace(market, listed=_figures(row, market, precision))


def _figures(row: Mapping[str, Any], market: Market, precision: int) -> ListedPair:
    """What CCXT says of the steps of a market; what it doesn't say is empty."""
    steps = row.get("precision") or {}
    least = ((row.get("limits") or {}).get("amount") or {}).get("min")
    sizes = [_step(steps.get("amount"), precision), text(least)]
    if market.contract and not market.inverse:
        sizes = [market.sizes(size)[0] if size and market.each is not None else "" for size in sizes]
    return structs.replace(
        market.listed,
        settle=str(row.get("settle") or ""),
        tick_size=_step(steps.get("price"), precision),
        lot_size=sizes[0],
        min_size=sizes[1],
        contract_size=text(market.each),
        expiry=str(int(row["expiry"]) * MILLISECOND) if row.get("expiry") else "",
    )


def _step(value: Any, precision: int) -> str:
    if value is None or precision not in (_DECIMALS, _TICKS):
        return ""
    return text(Decimal(1).scaleb(-int(value)) if precision == _DECIMALS else Decimal(text(value)))
