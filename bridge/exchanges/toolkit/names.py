"""An exchange's own names of what it lists, and the pairs'."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["Names", "contract_name"]


def contract_name(base: str, quote: str, delivery: str = "") -> str:
    """``BTC-USDT-PERP``; with a time of delivery (ms since the epoch, as text) its day: ``BTC-USDT-261225``."""
    if not delivery:
        return f"{base}-{quote}-PERP"
    return f"{base}-{quote}-{datetime.fromtimestamp(int(delivery) / 1000, UTC):%y%m%d}"


class Names:
    """Which symbol, in which of the exchange's categories, is which pair; symbols of two categories may be the same text."""

    def __init__(self) -> None:
        self._symbols: dict[str, tuple[str, str]] = {}
        self._pairs: dict[tuple[str, str], str] = {}

    def learn(self, category: str, symbol: str, pair: str) -> None:
        """These are one."""
        self._symbols[pair] = (category, symbol)
        self._pairs[category, symbol] = pair

    def symbol(self, pair: str) -> tuple[str, str]:
        """Category and symbol of a pair; empty, if it isn't known."""
        return self._symbols.get(pair, ("", ""))

    def pair(self, category: str, symbol: str) -> str:
        """The pair of a symbol; one that isn't known is its own name."""
        return self._pairs.get((category, symbol), symbol)
