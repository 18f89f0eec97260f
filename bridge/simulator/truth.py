"""What is true in a simulated exchange, as plain JSON values: numbers that matter are text."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bridge.simulator.accounts import Account
from bridge.simulator.events import Filled, TradeDone
from bridge.simulator.market import Market, OrderRefusedError, PairState

if TYPE_CHECKING:
    from bridge.simulator.simulator import Simulator

__all__ = ["account", "book", "state", "trades"]

_FILLS = 1000


def book(market: Market, pair: str) -> dict[str, Any]:
    """``{"pair":"BTC-EUR","bids":[["58000.00","0.01000000"],…],"asks":[…]}``, best first.

    Raises:
        OrderRefusedError: no such pair.
    """
    bids, asks = ([[_text(price), _text(size)] for price, size in side] for side in market.depth(pair))
    return {"pair": pair, "bids": bids, "asks": asks}


def trades(market: Market, pair: str, limit: int | None = None) -> dict[str, Any]:
    """``{"pair":…,"count":12,"trades":[{"id":1,"side":"buy","price":…,"size":…,"time":…},…]}``, oldest first.

    ``count`` counts all trades ever made, those before the first connection too.

    Raises:
        OrderRefusedError: no such pair.
    """
    pair_state = _state(market, pair)
    kept = list(pair_state.trades)
    rows = kept if limit is None else kept[max(0, len(kept) - limit) :]
    return {"pair": pair, "count": pair_state.trade_count, "trades": [_trade(row) for row in rows]}


def account(market: Market, name: str) -> dict[str, Any]:
    """Wallets, open orders and fills of an account and of each of its sub-accounts.

    Raises:
        OrderRefusedError: no such account.
    """
    found = market.accounts.get(name)
    if found is None:
        known = [each.name for each in market.accounts.values() if each.parent is None]
        msg = f"no account {name!r}; known: {', '.join(known)}"
        raise OrderRefusedError(msg)
    subs = {each.name.partition("/")[2]: _account(market, each) for each in market.subaccounts(name)}
    return {"account": name, **_account(market, found), "subaccounts": subs}


def state(simulator: Simulator) -> dict[str, Any]:
    """How the simulator is doing."""
    hub, pump, market = simulator.hub, simulator.pump, simulator.market
    return {
        "exchange": simulator.config.exchange,
        "seed": market.config.seed,
        "rate": pump.rate,
        "paused": pump.paused,
        "steps": market.steps,
        "events": market.public_events,
        "events_forgiven": int(pump.forgiven),
        "pairs": simulator.dialect.pair_ids(),
        "sockets": [
            {
                "number": each.number,
                "pairs": list(each.pairs),
                "account": each.account,
                "sent": each.sent,
                "buffered": each.buffered,
                "frozen": each.frozen,
                "faults": each.faults,
            }
            for each in hub.sockets
        ],
        "sockets_opened": hub.opened,
        "sockets_overflowed": hub.overflows,
        "sent": {kind: dict(counts) for kind, counts in hub.sent.items()},
        "faults_done": dict(hub.done),
        "faults_active": simulator.active_faults(),
    }


def _account(market: Market, found: Account) -> dict[str, Any]:
    balances = found.balances()
    orders = [market.order_event(order) for order in found.orders.values()]
    return {
        "uuid": found.uuid,
        "wallets": {
            code: {"available": _text(available), "reserved": _text(reserved), "deposit": _text(found.deposits[code])}
            for code, (available, reserved) in balances.items()
        },
        "open_orders": [
            {
                "order_id": order.order_id,
                "pair": order.pair,
                "kind": order.kind,
                "side": order.side,
                "price": None if order.price is None else _text(order.price),
                "size": _text(order.size),
                "filled": _text(order.filled),
                "status": order.status,
                "created": order.created,
            }
            for order in orders
        ],
        "fill_count": found.fill_count,
        "fills": [_fill(fill) for fill in list(found.fills)[-_FILLS:]],
    }


def _trade(trade: TradeDone) -> dict[str, Any]:
    return {
        "id": trade.id,
        "side": trade.side,
        "price": _text(trade.price),
        "size": _text(trade.size),
        "time": trade.time,
    }


def _fill(fill: Filled) -> dict[str, Any]:
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "pair": fill.pair,
        "side": fill.side,
        "price": _text(fill.price),
        "size": _text(fill.size),
        "time": fill.time,
    }


def _state(market: Market, pair: str) -> PairState:
    found = market.pairs.get(pair)
    if found is None:
        msg = f"no pair {pair!r}; known: {', '.join(market.pairs)}"
        raise OrderRefusedError(msg)
    return found


def _text(number: Decimal) -> str:
    return format(number, "f")
