"""Orders of which an exchange says the whole once, and then only what changes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from bridge.model import Order

__all__ = ["SparseOrders"]

_OPEN = ("open", "partially_filled")


class SparseOrders:
    """The open orders of an account, by their ids."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._orders = {order.order_id: order for order in orders}
        self.unknown: set[str] = set()
        """Ids of orders of which something was told, but not even the pair is known."""

    def told(self, order: Order) -> Order | None:
        """An order as the connection tells of it, with what is empty of it as it was known; ``None`` if it is `unknown`."""
        known = self._orders.get(order.order_id)
        if known:
            missing = [name for name in order.WIRE if not getattr(order, name)]
            order = structs.replace(order, **{name: getattr(known, name) for name in missing})
        if not order.pair:
            self.unknown.add(order.order_id)
            return None
        order = _partly(order)
        if order.status in _OPEN:
            self._orders[order.order_id] = order
        else:
            self._orders.pop(order.order_id, None)
        return order

    def listed(self, order: Order) -> Order:
        """An order as REST has it, which may be older than what the connection tells."""
        order = _partly(order)
        if order.status in _OPEN:
            self._orders.setdefault(order.order_id, order)
        return order


def _partly(order: Order) -> Order:
    """Some exchanges call an order open of which something is filled."""
    partly = order.status == "open" and order.filled.strip("0.")
    return structs.replace(order, status="partially_filled") if partly else order
