"""The limit order book of one simulated pair: price-time priority, in whole ticks and steps.

Counting in integers makes the arithmetic exact and cheap; ``Decimal`` appears only at the market's edge.
"""

from __future__ import annotations

from bisect import bisect_left, insort

__all__ = ["BUY", "SELL", "Level", "LimitBook", "RestingOrder"]

BUY = 1
SELL = -1


class RestingOrder:
    """One order: ``left`` of ``lots`` is still to be filled.

    ``owner`` is the name of its account, empty for an anonymous participant. ``ticks`` is the limit price, ``None`` for
    a market order, which never rests. ``automatic`` marks an account's order that the simulated crowd placed, and may
    cancel; the user's own orders are the user's. ``paid`` sums price x size of its executions, in ticks and steps.
    """

    __slots__ = (
        "automatic",
        "client_id",
        "created",
        "id",
        "left",
        "lots",
        "owner",
        "paid",
        "pair",
        "side",
        "status",
        "ticks",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - it is the order's id
        pair: str,
        side: int,
        ticks: int | None,
        lots: int,
        *,
        owner: str = "",
        created: float = 0.0,
        automatic: bool = False,
        client_id: str = "",
    ) -> None:
        self.id = id
        self.pair = pair
        self.side = side
        self.ticks = ticks
        self.lots = lots
        self.left = lots
        self.owner = owner
        self.created = created
        self.automatic = automatic
        self.client_id = client_id
        self.paid = 0
        self.status = "open"

    @property
    def limit(self) -> int:
        """The limit price of an order that rests.

        Raises:
            ValueError: it is a market order.
        """
        if self.ticks is None:
            msg = f"order {self.id} is a market order: it has no limit price"
            raise ValueError(msg)
        return self.ticks

    def reaches(self, ticks: int) -> bool:
        """Whether this order, as the taker, accepts ``ticks``."""
        return self.ticks is None or (self.ticks - ticks) * self.side >= 0


class Level:
    """The orders at one price, oldest first, and the sum of what is left of them."""

    __slots__ = ("lots", "orders")

    def __init__(self) -> None:
        self.orders: dict[str, RestingOrder] = {}
        self.lots = 0


class LimitBook:
    """Bids and asks; prices of each side are kept sorted ascending."""

    def __init__(self) -> None:
        self.prices: dict[int, list[int]] = {BUY: [], SELL: []}
        self.levels: dict[int, dict[int, Level]] = {BUY: {}, SELL: {}}

    def best(self, side: int) -> int | None:
        """The best price of a side in ticks, ``None`` when the side is empty."""
        prices = self.prices[side]
        if not prices:
            return None
        return prices[-1] if side == BUY else prices[0]

    def first(self, side: int) -> RestingOrder | None:
        """The order that trades next on this side: oldest at the best price."""
        price = self.best(side)
        if price is None:
            return None
        return next(iter(self.levels[side][price].orders.values()))

    def lots_at(self, side: int, ticks: int) -> int:
        """The size of a level in steps; 0 where there is none."""
        level = self.levels[side].get(ticks)
        return level.lots if level else 0

    def add(self, order: RestingOrder) -> None:
        """Rest an order behind all others of its price."""
        ticks = order.limit
        level = self.levels[order.side].get(ticks)
        if level is None:
            level = self.levels[order.side][ticks] = Level()
            insort(self.prices[order.side], ticks)
        level.orders[order.id] = order
        level.lots += order.left

    def take(self, order: RestingOrder, lots: int) -> None:
        """Take ``lots`` from a resting order; a finished order and an empty level disappear."""
        ticks = order.limit
        level = self.levels[order.side][ticks]
        order.left -= lots
        level.lots -= lots
        if not order.left:
            self._forget(order, level)

    def remove(self, order: RestingOrder) -> None:
        """Take an order out of the book, with what is left of it."""
        level = self.levels[order.side][order.limit]
        level.lots -= order.left
        self._forget(order, level)

    def depth(self, side: int) -> list[tuple[int, int]]:
        """All levels ``(ticks, lots)``, best first."""
        levels = self.levels[side]
        prices = self.prices[side]
        return [(price, levels[price].lots) for price in (reversed(prices) if side == BUY else prices)]

    def worst_anonymous(self, side: int) -> RestingOrder | None:
        """An anonymous order at the price farthest from the market, if the side has any."""
        prices = self.prices[side]
        for price in prices if side == BUY else reversed(prices):
            for order in self.levels[side][price].orders.values():
                if not order.owner:
                    return order
        return None

    def _forget(self, order: RestingOrder, level: Level) -> None:
        del level.orders[order.id]
        if not level.orders:
            ticks = order.limit
            prices = self.prices[order.side]
            del self.levels[order.side][ticks]
            del prices[bisect_left(prices, ticks)]
