"""The true state of a simulated exchange as plain JSON values; amounts are text."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bridge.simulator.accounts import Account
from bridge.simulator.events import Filled, TradeDone
from bridge.simulator.margin import Position
from bridge.simulator.market import Market, OrderRefusedError, PairState
from bridge.simulator.pump import Pump
from bridge.simulator.sockets import Hub

__all__ = ["account", "book", "state", "text", "trades"]

_FILLS = 1000


def book(market: Market, pair: str, levels: int | None = None) -> dict[str, Any]:
    """``{"pair":"BTC-EUR","bids":[["58000.00","0.01000000"],…],"asks":[…]}``, best first, ``levels`` of each side.

    Sizes of a derivative are contracts, and ``contract_size`` says of how many base coins each.

    Raises:
        OrderRefusedError: no such pair.
    """
    sides = _state(market, pair).depth()
    bids, asks = ([[text(price), text(size)] for price, size in side[: levels or None]] for side in sides)
    return {"pair": pair, "bids": bids, "asks": asks, **_contract(market, pair)}


def trades(market: Market, pair: str, limit: int | None = None) -> dict[str, Any]:
    """``{"pair":…,"count":12,"trades":[{"id":1,"side":"buy","price":…,"size":…,"time":…},…]}``, oldest first.

    ``count`` counts all trades ever made, those before the first connection too. Sizes are as in ``book``.

    Raises:
        OrderRefusedError: no such pair.
    """
    pair_state = _state(market, pair)
    kept = list(pair_state.trades)
    rows = kept if limit is None else kept[max(0, len(kept) - limit) :]
    return {
        "pair": pair,
        "count": pair_state.trade_count,
        "trades": [_trade(row) for row in rows],
        **_contract(market, pair),
    }


def account(market: Market, name: str, fill_id: Callable[[Filled], str]) -> dict[str, Any]:
    """Wallets, open orders, positions and fills of an account and of each of its sub-accounts.

    ``futures_wallets`` and ``positions`` are those of derivatives: ``size`` in contracts, unsigned.

    Raises:
        OrderRefusedError: no such account.
    """
    found = market.accounts.get(name)
    if found is None:
        known = [each.name for each in market.accounts.values() if each.parent is None]
        msg = f"no account {name!r}; known: {', '.join(known)}"
        raise OrderRefusedError(msg)
    subs = {each.name.partition("/")[2]: _account(market, each, fill_id) for each in market.subaccounts(name)}
    return {"account": name, **_account(market, found, fill_id), "subaccounts": subs}


def state(market: Market, hub: Hub, pump: Pump) -> dict[str, Any]:
    """How they are doing: rate and counts, sockets, faults that were done."""
    return {
        "seed": market.config.seed,
        "rate": pump.rate,
        "paused": pump.paused,
        "steps": market.steps,
        "events": market.public_events,
        "events_forgiven": int(pump.forgiven),
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
    }


def _account(market: Market, found: Account, fill_id: Callable[[Filled], str]) -> dict[str, Any]:
    balances = found.balances()
    orders = [market.order_event(order) for order in found.orders.values()]
    return {
        "uuid": found.uuid,
        "wallets": {
            code: {"available": text(available), "reserved": text(reserved), "deposit": text(found.deposits[code])}
            for code, (available, reserved) in balances.items()
        },
        "futures_wallets": {
            code: {
                "available": text(available),
                "reserved": text(reserved),
                "deposit": text(found.margin.deposits[code]),
            }
            for code, (available, reserved) in found.margin.balances().items()
        },
        "positions": [_position(market, position) for position in found.margin.open_positions()],
        "open_orders": [
            {
                "order_id": order.order_id,
                "pair": order.pair,
                "kind": order.kind,
                "side": order.side,
                "price": None if order.price is None else text(order.price),
                "size": text(order.size),
                "filled": text(order.filled),
                "status": order.status,
                "created": order.created,
                "client_id": order.client_id,
            }
            for order in orders
        ],
        "fill_count": found.fill_count,
        "fills": [_fill(fill, fill_id(fill)) for fill in list(found.fills)[-_FILLS:]],
    }


def _trade(trade: TradeDone) -> dict[str, Any]:
    return {
        "id": trade.id,
        "side": trade.side,
        "price": text(trade.price),
        "size": text(trade.size),
        "time": trade.time,
    }


def _position(market: Market, held: Position) -> dict[str, Any]:
    mark = market.mark(held.spec.name)
    return {
        "pair": held.spec.name,
        "side": "long" if held.size > 0 else "short",
        "size": text(abs(held.size)),
        "contract_size": text(held.spec.contract),
        "entry_price": text(held.entry),
        "mark_price": text(mark),
        "unrealised_pnl": text(held.unrealised(mark)),
        "realised_pnl": text(held.realised),
    }


def _contract(market: Market, pair: str) -> dict[str, str]:
    spec = market.pairs[pair].spec
    return {"contract_size": text(spec.contract)} if spec.futures else {}


def _fill(fill: Filled, fill_id: str) -> dict[str, Any]:
    return {
        "fill_id": fill_id,
        "serial": fill.serial,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "pair": fill.pair,
        "side": fill.side,
        "price": text(fill.price),
        "size": text(fill.size),
        "fee": text(fill.fee),
        "fee_currency": fill.fee_currency,
        "time": fill.time,
    }


def _state(market: Market, pair: str) -> PairState:
    found = market.pairs.get(pair)
    if found is None:
        msg = f"no pair {pair!r}; known: {', '.join(market.pairs)}"
        raise OrderRefusedError(msg)
    return found


def text(number: Decimal) -> str:
    """All digits, no exponent."""
    return format(number, "f")
