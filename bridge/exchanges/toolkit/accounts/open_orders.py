"""What a list of open orders by REST says, and what has become of those that are in it no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bridge.exchanges.api import Flow, Output
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.private import PrivateState
from bridge.exchanges.toolkit.values.fields import Row
from bridge.model import Channel, Event, Order

__all__ = ["settle_orders"]

_MOST_LOOKED_UP = 50
"""Orders that one fetch asks for one by one."""


def settle_orders(
    state: PrivateState,
    memory: AccountMemory,
    rows: Sequence[Row],
    now: int,
    *,
    read: Callable[[Row], Order],
    name: Callable[[Row], str],
    look_up: Callable[[str], Flow[list[Row]]],
    also: Iterable[str] = (),
) -> Flow[list[Output]]:
    """Hand on all open orders, and the last state of those that were open.

    Args:
        state: the account's.
        memory: what is known of it.
        rows: the list of open orders, with nothing missing.
        now: when it was asked for (ns).
        read: what a row says; raises one of `WRONG` where it can't be understood.
        name: the id in a row; empty where it can't be read.
        look_up: asks for one order by its id; no rows, if the exchange doesn't know it.
        also: ids of further orders to look up.

    Raises:
        RestError: an order can't be looked up.
    """
    rows = list(rows)
    listed = set(map(name, rows))
    known = [*(order.order_id for order in memory.open_orders.values()), *also]
    missing = [order_id for order_id in dict.fromkeys(known) if order_id not in listed]
    for order_id in missing[:_MOST_LOOKED_UP]:
        rows += yield from look_up(order_id)
    left = set(missing[_MOST_LOOKED_UP:])
    if left:
        state.want(now)

    def covers(event: Event) -> bool:
        return isinstance(event, Order) and event.order_id not in left

    out = state.restate(Channel.ORDERS, rows, lambda row: [read(row)], now, covers if left else None, name=name)
    memory.forget_orders({*map(name, rows), *left}, now)
    return out
