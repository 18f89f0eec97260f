"""What is known of an account over connections and restarts: how far its fills, which orders were open, which currencies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

from msgspec import Struct, field

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["AccountMemory", "FillHistory"]

_DAY = 24 * 3600 * SECOND
_MOST_ENDED = 1_000
_OPEN = ("open", "partially_filled")
_OVERLAP = 60 * SECOND
"""How far before the newest known fill the next history begins: fills may come in another order than they happened."""


class FillHistory(Struct):
    """What the successive sessions of one account know of its fills; times in ns."""

    newest_fill: int = 0
    """Time of the newest fill up to which none is missing."""
    since: int | None = None
    """Before any fill is known: since when there is a stream for them."""
    known_from: int = 0
    """Since when it is known which fills the stream has had; 0: from its beginning."""

    def recall_fills(
        self, tail: Sequence[Event], known_from: int = 0, mine: Callable[[Fill], bool] = lambda _: True
    ) -> None:
        """Take up the newest events of the fills' stream, oldest first; others may feed it, too: ``mine`` are these fills."""
        self.known_from = known_from
        if tail:
            self.since = tail[0].recv
        self.note([event for event in tail if isinstance(event, Fill) and mine(event)])

    def note(self, fills: Sequence[Fill]) -> None:
        """These have come, and none before them is missing."""
        self.newest_fill = max([self.newest_fill, *(min(fill.ts or 0, fill.recv) for fill in fills)])

    def complete(self, until: int) -> None:
        """None of the fills before this time (ns) is missing: the exchange was asked for them all."""
        self.newest_fill = max(self.newest_fill, until)

    def history_since(self, now: int) -> int:
        """From when on fills are to be asked for: of the last day, if nothing is known."""
        day = now - _DAY
        known = self.newest_fill or min(day if self.since is None else self.since, day)
        return max(known - _OVERLAP, self.known_from, 0)


class AccountMemory(FillHistory):
    """What the successive sessions of one account know."""

    open_orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    """Pair and id → the newest state of what is open."""
    ended_orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    """The last state of the newest that are not: a late message must not open one again."""
    currencies: dict[str, None] = field(default_factory=dict)
    """Those that the account has had a balance of."""
    refused: int = 0
    """Log-ins in a row that were refused."""
    way: str = ""
    """The way to log in that was accepted last."""

    def take_up(self, stream: Subscription, tail: Sequence[Event], known_from: int) -> None:
        """Learn from one of the account's streams, of before the start: as `Exchange.recall`."""
        if stream.channel is Channel.FILLS:
            self.recall_fills(tail, known_from)
        else:
            self.learn(tail)

    def newest(self, pair: str, order_id: str) -> Order | None:
        """The newest state of an order, open or ended; ``None``, if it isn't known."""
        return self.open_orders.get((pair, order_id)) or self.ended_orders.get((pair, order_id))

    def is_late(self, order: Order) -> bool:
        """Whether an order is known to be as it says here, or further: a message may come again, or after REST told more."""
        known = self.newest(order.pair, order.order_id)
        if known is None or not known.status:
            return False
        if known.status not in _OPEN:
            return True
        if order.status in _OPEN and order.filled and Decimal(order.filled) < Decimal(known.filled or "0"):
            return True
        return all(_agree(getattr(order, name), getattr(known, name)) for name in (*Order.WIRE, *Order.MORE))

    def forget_orders(self, listed: Collection[str | tuple[str, str]], asked: int) -> None:
        """Of the orders that were known when the open ones were asked for, only those with these ids are open still.

        Where ids count for each pair, these are pair and id. An empty id is one that can't be read: it may be of any of
        them.
        """
        if "" in listed:
            return
        self.open_orders = {
            key: order
            for key, order in self.open_orders.items()
            if order.recv >= asked or order.order_id in listed or key in listed
        }

    def learn(self, events: Sequence[Event]) -> None:
        """Note what these say of orders and balances."""
        for event in events:
            if isinstance(event, Order):
                key = (event.pair, event.order_id)
                if event.status in _OPEN:
                    self.open_orders[key] = event
                else:
                    self.open_orders.pop(key, None)
                    self.ended_orders[key] = event
                    if len(self.ended_orders) > _MOST_ENDED:
                        del self.ended_orders[next(iter(self.ended_orders))]
            elif isinstance(event, Balance):
                self.currencies[event.currency] = None


def _agree(news: str | None, known: str | None) -> bool:
    """Whether a field says nothing new; numbers may be written with other digits."""
    if not news or news == known:
        return True
    try:
        return Decimal(news) == Decimal(known or "")
    except ArithmeticError:
        return False
