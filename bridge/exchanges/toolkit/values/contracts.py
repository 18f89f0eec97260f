"""Sizes that an exchange counts in contracts, in coins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

from bridge.exchanges.toolkit.values.fields import EXACT, plain
from bridge.exchanges.toolkit.values.numbers import check_amounts, check_levels, check_numbers, shortened
from bridge.model import Levels

__all__ = ["ContractSizes", "Contracts"]


def _sizes(value: object) -> object:
    """Sizes as text: YAML reads an unquoted one as a number, and 0.00001 would be shown as ``1e-05``.

    Raises:
        ValueError: one is no positive number.
    """
    if not isinstance(value, dict):
        return value
    sizes = {pair: f"{Decimal(str(size)):f}" if isinstance(size, float) else str(size) for pair, size in value.items()}
    for pair, size in sizes.items():
        check_numbers(size)
        if not Decimal(size):
            msg = f"the contract size of {pair} is zero"
            raise ValueError(msg)
    return sizes


ContractSizes = Annotated[dict[str, str], BeforeValidator(_sizes)]
"""An option: pair → coins per contract."""


class Contracts:
    """How many coins a contract of each pair is worth; ``counted`` says of which pairs sizes are contracts at all."""

    def __init__(self, sizes: Mapping[str, str], counted: Callable[[str], bool]) -> None:
        self._counted = counted
        self._sizes: dict[str, Decimal] = {}
        for pair, size in sizes.items():
            self.learn(pair, size)

    def __contains__(self, pair: str) -> bool:
        return pair in self._sizes

    def learn(self, pair: str, size: str) -> None:
        """Take the coins of one contract; what is no positive number is passed over."""
        try:
            check_numbers(size)
        except ValueError:
            return
        if Decimal(size):
            self._sizes[pair] = Decimal(size)

    def contracts(self, pair: str, size: str) -> str:
        """A size where it counts contracts; empty where it is coins."""
        return size if self._counted(pair) else ""

    def coins(self, pair: str, size: str, each: str = "") -> str:
        """A size in coins, as plain decimal text; ``each`` is the contract size where it came with it.

        Raises:
            ValueError: it is no number of at least zero, or the pair's contract size isn't known.
        """
        check_numbers(size)
        if not self._counted(pair):
            return size
        if each:
            check_numbers(each)
        worth = Decimal(each) if each else self._sizes.get(pair)
        if not worth:
            msg = f"the contract size of {pair} is not known"
            raise ValueError(msg)
        try:
            return plain(EXACT.multiply(Decimal(size), worth))
        except ArithmeticError:
            msg = f"{shortened(size)} contracts are too many digits"
            raise ValueError(msg) from None

    def coins_and_contracts(self, pair: str, size: str) -> tuple[str, str | None]:
        """A size in coins, and in contracts where it counts those.

        Raises:
            ValueError: as `coins`.
        """
        return self.coins(pair, size), self.contracts(pair, size) or None

    def exact(self, pair: str, size: str) -> tuple[str, str]:
        """A size in coins (empty where that is no exact number, or not known) and in contracts (empty where it is coins).

        Raises:
            ValueError: it is no number of at least zero; it may be empty.
        """
        check_amounts(size)
        known = not self._counted(pair) or pair in self._sizes
        return self.coins(pair, size) if known and size else "", self.contracts(pair, size)

    def levels(self, pair: str, levels: Levels) -> Levels:
        """A book's levels with their sizes in coins.

        Raises:
            ValueError: a price or a size is no number of at least zero, or the pair's contract size isn't known.
        """
        check_levels(levels)
        return [(price, self.coins(pair, size)) for price, size in levels] if self._counted(pair) else levels
