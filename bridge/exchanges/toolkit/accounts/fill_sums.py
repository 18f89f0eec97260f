"""Whether the fills of orders are all there, where orders and fills come by different ways."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from bridge.exchanges.toolkit.values.fields import EXACT
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Fill, Order

__all__ = ["FillSums"]

_MOST = 10_000
"""Orders that are remembered; the oldest are forgotten."""
_AGAIN = (1.0, 3.0, 8.0)
"""Seconds after which fills are asked for again, while some are lacking."""


class FillSums:
    """How far each order is filled, as it says itself and as its fills add up; sizes in coins."""

    def __init__(self) -> None:
        self._filled: dict[str, Decimal] = {}
        self._sums: dict[str, Decimal] = {}
        self._known: set[str] = set()
        """Ids of the fills of the newest answer: they come again with the next one."""
        self._begun = False
        self._lacking_since: int | None = None

    def orders(self, orders: Sequence[Order]) -> None:
        """These orders are filled so far; a message that is late takes nothing back."""
        for order in orders:
            if order.filled:
                known = self._filled.pop(order.order_id, Decimal(0))
                self._filled[order.order_id] = max(Decimal(order.filled), known)
        while len(self._filled) > _MOST:
            self.forget(next(iter(self._filled)))

    def fills(self, fills: Sequence[Fill]) -> None:
        """All fills of the last while, those of the answer before included."""
        for fill in fills:
            if fill.fill_id not in self._known and fill.size:
                known = self._sums.get(fill.order_id, Decimal(0))
                self._sums[fill.order_id] = EXACT.add(known, Decimal(fill.size))
        self._known = {fill.fill_id for fill in fills}
        for order_id in self._sums.keys() - self._filled.keys() if len(self._sums) > _MOST else ():
            del self._sums[order_id]
        if not self._begun:
            self._begun = True
            self.settle()  # what is missing now was filled before anybody looked

    def lacking(self) -> list[str]:
        """Orders that are filled further than their fills say."""
        if not self._begun:
            return []
        return [order_id for order_id, filled in self._filled.items() if self._sums.get(order_id, 0) < filled]

    def wait(self, now: int) -> float | None:
        """Seconds until fills are to be asked for again (of the time ``now``, ns); 0: it was tried often enough.

        ``None``: none is lacking.
        """
        if not self.lacking():
            self._lacking_since = None
            return None
        self._lacking_since = now if self._lacking_since is None else self._lacking_since
        age = (now - self._lacking_since) / SECOND
        return next((after - age for after in _AGAIN if after > age), 0.0)

    def settle(self) -> None:
        """No more fills are to be expected of what is lacking."""
        self._lacking_since = None
        self._sums.update(self._filled)

    def forget(self, order_id: str) -> None:
        """The sizes of this order and of its fills can't be compared, or needn't be."""
        self._filled.pop(order_id, None)
        self._sums.pop(order_id, None)
