"""The true state in the form of a connector's streams, for any exchange: in base coins, with a subject per wallet.

The values are plain JSON; amounts are text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bridge.simulator import truth
from bridge.simulator.accounts import Account
from bridge.simulator.dialect import Ledger
from bridge.simulator.market import Market, OrderRefusedError
from bridge.simulator.simulation import Simulation

__all__ = ["account", "book", "trades"]


def book(simulation: Simulation, pair: str) -> dict[str, Any]:
    """``{"pair":"BTC-PERP","bids":[["58000.0","0.012"],…],"asks":[…]}``, best first, as deep as the exchange shows it.

    Raises:
        OrderRefusedError: no such pair.
    """
    found = simulation.book(pair)
    sides = {side: [[price, _coins(found, size)] for price, size in found[side]] for side in ("bids", "asks")}
    return {"pair": pair, **sides}


def trades(simulation: Simulation, pair: str) -> dict[str, Any]:
    """``{"pair":…,"trades":[{"id":"12","side":"buy","price":…,"size":…,"time":…},…]}``, oldest first.

    ``time`` is in seconds; ``id`` is empty where the exchange gives none.

    Raises:
        OrderRefusedError: no such pair.
    """
    found = simulation.trades(pair)
    named = simulation.dialect.trade_ids
    rows = [
        {**row, "id": str(row["id"]) if named else "", "size": _coins(found, row["size"])} for row in found["trades"]
    ]
    return {"pair": pair, "trades": rows}


def account(simulation: Simulation, name: str) -> dict[str, Any]:
    """Subject → balances, open orders and positions.

    Raises:
        OrderRefusedError: no such account, or it is a sub-account.
    """
    market, dialect = simulation.market, simulation.dialect
    owners = [access.account for access in dialect.accesses()]
    if name not in owners:
        msg = f"no account {name!r}; known: {', '.join(owners)}"
        raise OrderRefusedError(msg)
    return {
        "account": name,
        "subjects": {each.subject: _ledger(market, each) for each in dialect.ledgers(name)},
    }


def _ledger(market: Market, ledger: Ledger) -> dict[str, Any]:
    return {
        "name": ledger.name,
        "restated": ledger.restated,
        "balances": {
            code: {"available": truth.text(available), "reserved": truth.text(reserved)}
            for code, (available, reserved) in ledger.balances.items()
        },
        "orders": _orders(market, ledger.owner) if ledger.owner else [],
        "positions": _positions(ledger.owner) if ledger.owner else [],
    }


def _orders(market: Market, owner: Account) -> list[dict[str, Any]]:
    rows = []
    for order in owner.orders.values():
        event, spec = market.order_event(order), market.pairs[order.pair].spec
        rows.append(
            {
                "order_id": event.order_id,
                "pair": event.pair,
                "side": event.side,
                "price": "" if event.price is None else truth.text(event.price),
                "size": truth.text(spec.coins(event.size)),
                "filled": truth.text(spec.coins(event.filled)),
                "status": event.status,
                "created": event.created,
            }
        )
    return rows


def _positions(owner: Account) -> list[dict[str, Any]]:
    return [
        {
            "pair": held.spec.name,
            "side": "long" if held.size > 0 else "short",
            "size": truth.text(held.spec.coins(abs(held.size))),
            "entry_price": truth.text(held.entry),
        }
        for held in owner.margin.open_positions()
    ]


def _coins(found: dict[str, Any], size: str) -> str:
    """A size of an answer of ``truth`` in base coins."""
    contract = found.get("contract_size")
    return truth.text(Decimal(size) * Decimal(contract)) if contract else size
