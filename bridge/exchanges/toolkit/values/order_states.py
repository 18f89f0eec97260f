"""Orders' states that come twice, or late."""

from __future__ import annotations

from msgspec import structs

from bridge.model import Event, Order

__all__ = ["OrderStates"]

_MOST_KNOWN = 10_000


class OrderStates:
    """The newest state of each order that one connection has told of."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Order] = {}

    def is_news(self, event: Event) -> bool:
        """Whether this isn't an order's state that is known, or is older than it: an order that has ended isn't reopened."""
        if not isinstance(event, Order):
            return True
        key = (event.pair, event.order_id)
        known = self._known.pop(key, None)
        same = known is not None and structs.replace(known, ts=event.ts, recv=event.recv) == event
        news = known is None or not (same or (event.ts or 0) < (known.ts or 0))
        self._known[key] = event if known is None or news else known
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return news
