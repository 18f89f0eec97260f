"""Orders' states that come twice, or late."""

from __future__ import annotations

from decimal import Decimal

from msgspec import structs

from bridge.model import Event, Order

__all__ = ["OrderStates"]

_MOST_KNOWN = 10_000
_OPEN = ("open", "partially_filled")


class OrderStates:
    """The newest state of each order that one connection has told of."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Order] = {}

    def is_news(self, event: Event) -> bool:
        """Whether this isn't an order's state that is known, or comes before it.

        An order that has ended isn't reopened, and none is less filled than it was, whatever times its states have: an
        exchange may tell of one again with a newer time.
        """
        if not isinstance(event, Order):
            return True
        key = (event.pair, event.order_id)
        known = self._known.pop(key, None)
        news = known is None or _follows(event, known)
        self._known[key] = event if known is None or news else known
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return news


def _follows(order: Order, known: Order) -> bool:
    same = structs.replace(known, ts=order.ts, recv=order.recv) == order
    older = (order.ts or 0) < (known.ts or 0) or Decimal(order.filled or 0) < Decimal(known.filled or 0)
    return known.status in _OPEN and not (same or older)
