"""Positions that an exchange keeps apart by how their margin is held, and readers don't."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec import structs

from bridge.exchanges.toolkit.values.fields import EXACT, plain
from bridge.model import Position

__all__ = ["MarginModes"]


class MarginModes:
    """The positions of each pair and leg, by margin mode; ``coins`` makes coins of a pair's contracts."""

    def __init__(self, coins: Callable[[str, str], str]) -> None:
        self._coins = coins
        self._parts: dict[tuple[str, str], dict[str, Position]] = {}

    def whole(self, position: Position, mode: str) -> tuple[Position, bool]:
        """The pair's whole position now that this is the one of a mode, and whether it is a sum of several.

        Of a sum, the profit is that of all; the price is known only if all have the same.
        """
        parts = self._parts.setdefault((position.pair, position.leg or ""), {})
        if mode not in parts or (parts[mode].ts or 0) <= (position.ts or 0):
            parts[mode] = position
        held = [part for part in parts.values() if part.side]
        if len(held) < 2:
            return (held[0] if held else position), False
        total, profit = Decimal(0), Decimal(0)
        for part in held:
            number = Decimal(part.contracts or "0")
            total = EXACT.add(total, number if part.side == "long" else -number)
            profit = EXACT.add(profit, Decimal(part.unrealised_pnl or "0"))
        contracts = plain(abs(total))
        return structs.replace(
            position,
            side="long" if total > 0 else "short" if total else "",
            size=self._coins(position.pair, contracts),
            contracts=contracts,
            entry_price=held[0].entry_price if len({part.entry_price for part in held}) == 1 else "",
            mark_price=next(part.mark_price for part in [position, *held] if part.side),
            unrealised_pnl=plain(profit),
        ), True

    def begin(self, asked: int) -> None:
        """All positions are about to be told, as of ``asked`` (ns) or later: those that are known from before don't count."""
        told = {key: {m: part for m, part in parts.items() if part.recv > asked} for key, parts in self._parts.items()}
        self._parts = {key: parts for key, parts in told.items() if parts}
