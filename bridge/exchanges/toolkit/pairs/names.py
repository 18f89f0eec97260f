"""An exchange's own names of what it lists, and the pairs'."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from bridge.model import Channel

__all__ = ["Names", "channels_of", "coins_of", "contract_name"]

_OF_DERIVATIVES = frozenset({Channel.FUNDING, Channel.MARK, Channel.INTEREST, Channel.LIQUIDATIONS})


def channels_of(pair: str, channels: Iterable[Channel]) -> list[Channel]:
    """Those of the channels that a pair has: no funding of what is no perpetual, nothing of derivatives for spot."""
    contract = pair.split("-")[2:]
    missing = _OF_DERIVATIVES if not contract else () if contract == ["PERP"] else (Channel.FUNDING,)
    return sorted(channel for channel in channels if channel not in missing)


def coins_of(pair: str) -> str:
    """Base and quote of a pair, without its contract: ``BTC-USDT`` of ``BTC-USDT-PERP``."""
    return "-".join(pair.split("-")[:2])


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

    def suppose(self, category: str, symbol: str, pair: str) -> None:
        """These are one by convention; what a list has said, or says later, counts more."""
        self._symbols.setdefault(pair, (category, symbol))
        self._pairs.setdefault((category, symbol), pair)

    def symbol(self, pair: str) -> tuple[str, str]:
        """Category and symbol of a pair; empty, if it isn't known."""
        return self._symbols.get(pair, ("", ""))

    def pair(self, category: str, symbol: str) -> str:
        """The pair of a symbol; one that isn't known is its own name."""
        return self._pairs.get((category, symbol), symbol)
