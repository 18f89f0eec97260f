"""How LMEX spells its markets, and what a contract is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from bridge.exchanges.toolkit.fields import EXACT, plain
from bridge.exchanges.toolkit.numbers import check_numbers, check_values, shortened

__all__ = ["Contracts", "Market", "difference", "is_pair", "market_of", "old_symbol", "pair_of"]

_PAIR = re.compile(r"[A-Za-z0-9.]{1,40}-[A-Za-z0-9.-]{1,40}").fullmatch
_DATED = re.compile(r"-[0-9]{6}$")


class Market(StrEnum):
    """The two halves of the exchange: each has its own sockets and REST paths."""

    SPOT = "spot"
    FUTURES = "futures"


def market_of(pair: str) -> Market:
    """``BTC-USD`` is spot; ``BTC-PERP`` and dated contracts (``BTC-260626``) are futures."""
    return Market.FUTURES if pair.endswith("-PERP") or _DATED.search(pair) else Market.SPOT


def pair_of(symbol: str) -> str:
    """The pair of a symbol in any of its spellings.

    ``BTC-PERP`` and ``BTC-USD`` stay; the old feed's ``BTCPFC`` and the positions' ``BTC-PERP-USDT`` (with the
    settlement currency) become ``BTC-PERP``.
    """
    if symbol.endswith("PFC") and "-" not in symbol:
        return f"{symbol.removesuffix('PFC')}-PERP"
    parts = symbol.split("-")
    return "-".join(parts[:2])


def is_pair(text: str) -> bool:
    """Whether this may be a pair: two words or more with hyphens between."""
    return _PAIR(text) is not None


def old_symbol(pair: str) -> str:
    """How the old feeds spell a pair: ``BTCPFC`` for ``BTC-PERP``."""
    return f"{pair.removesuffix('-PERP')}PFC" if pair.endswith("-PERP") else pair


class Contracts:
    """Contract sizes of futures: contracts into base coins, exactly."""

    def __init__(self, sizes: Mapping[str, str]) -> None:
        self._sizes: dict[str, Decimal] = {}
        for pair, size in sizes.items():
            self.learn(pair, size)

    def __contains__(self, pair: str) -> bool:
        return pair in self._sizes

    def learn(self, pair: str, size: str) -> None:
        """Take a size from ``market_summary``; one that is no positive number is passed over."""
        try:
            check_numbers(size)
        except ValueError:
            return
        if Decimal(size):
            self._sizes[pair] = Decimal(size)

    def coins(self, pair: str, contracts: str) -> str:
        """Base coins of so many contracts, as plain decimal text; spot sizes are coins already.

        Raises:
            ValueError: it is no number of at least zero, or the pair's contract size isn't known.
        """
        check_numbers(contracts)
        if market_of(pair) is Market.SPOT:
            return contracts
        if pair not in self._sizes:
            msg = f"the contract size of {pair} is not known"
            raise ValueError(msg)
        try:
            return plain(EXACT.multiply(Decimal(contracts), self._sizes[pair]))
        except ArithmeticError:
            msg = f"{shortened(contracts)} contracts are too many digits"
            raise ValueError(msg) from None


def difference(whole: str, part: str) -> str:
    """``whole`` less ``part``, exactly.

    Raises:
        ValueError: one is no number, or they have too many digits.
    """
    check_values(whole, part)
    try:
        return plain(EXACT.subtract(Decimal(whole), Decimal(part)))
    except ArithmeticError:
        msg = f"{shortened(whole)} less {shortened(part)} can't be told"
        raise ValueError(msg) from None
