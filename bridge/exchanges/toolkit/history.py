"""What is known of an account over connections and restarts: how far its fills, which orders were open, which currencies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec import Struct, field

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.numbers import SECOND
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["AccountMemory", "FillHistory"]

_DAY = 24 * 3600 * SECOND
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

    def forget_orders(self, listed: Collection[str], asked: int) -> None:
        """Of the orders that were known when the open ones were asked for, only those with these ids are open still.

        An empty id is one that can't be read: it may be of any of them.
        """
        if "" in listed:
            return
        known = self.open_orders.items()
        self.open_orders = {key: order for key, order in known if order.recv >= asked or order.order_id in listed}

    def learn(self, events: Sequence[Event]) -> None:
        """Note what these say of orders and balances."""
        for event in events:
            if isinstance(event, Order):
                key = (event.pair, event.order_id)
                if event.status in ("open", "partially_filled"):
                    self.open_orders[key] = event
                else:
                    self.open_orders.pop(key, None)
            elif isinstance(event, Balance):
                self.currencies[event.currency] = None
