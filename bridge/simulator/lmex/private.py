"""LMEX's private messages: the fields of orders, fills and positions, as the exchange writes them.

Field names and their order are those of captured frames (futures) and of the documentation (spot). Two things in them are
as unreliable as at the exchange: ``price`` of a filled order is the last trade's, and a fill's order says
``"maker":false`` even for a maker. The tables of the older topics name their fields less completely than the newest; they
have the newest one's here, with the symbols of their time.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Raw

from bridge.simulator.events import Filled, OrderChanged
from bridge.simulator.lmex.frames import millis, number
from bridge.simulator.lmex.markets import old_name
from bridge.simulator.margin import Margin, Position
from bridge.simulator.specs import PairSpec

__all__ = [
    "encoded",
    "fill",
    "fill_id",
    "futures_order",
    "plain",
    "position",
    "spot_order",
    "spot_order_v2",
    "whole_number",
]

Row = dict[str, Any]

ORDER_TYPES = {"limit": 76, "market": 77}
MAINTENANCE = Decimal("0.005")
"""Maintenance margin as a share of a position's value."""

_STATUS = {"open": 2, "partially_filled": 5, "filled": 4, "cancelled": 6}
_NULL_WHEN_CLOSED = (
    "orderModeName",
    "marginTypeName",
    "positionId",
    "activeWalletName",
    "positionMode",
    "positionDirection",
    "settleWithNonUSDAsset",
)


def encoded(body: Any) -> str:
    """As JSON."""
    return msgspec.json.encode(body).decode()


def plain(value: Decimal | None) -> Raw:
    """A JSON number with no more digits than it needs; 0 for nothing."""
    return Raw(b"0" if value is None else number(value).encode())


def whole_number(value: Decimal) -> str:
    """A size as fills have it: a whole one is ``1.0``."""
    return f"{value:f}" if "." in f"{value:f}" else f"{value:f}.0"


def symbol(spec: PairSpec, *, old: bool = False) -> str:
    """A pair's name, with ``old`` that of before."""
    return old_name(spec.name) if old else spec.name


def market_name(spec: PairSpec, *, old: bool = False) -> str:
    """``BTC-PERP-USDT``."""
    return f"{symbol(spec, old=old)}-{spec.settle}"


def futures_order(spec: PairSpec, event: OrderChanged, *, old: bool = False) -> Row:
    """A row of ``notificationApiV4``: sizes in contracts."""
    return _order_head(spec, event, old=old) | {
        "orderType": ORDER_TYPES[event.kind],
        "type": 0,
        **_order_state(event),
        "clOrderID": event.client_id or None,
        "postOnly": False,
        "maker": event.status == "open",
        "positionId": market_name(spec, old=old),
        "orderDetailType": None,
        "orderUserInitiated": True,
        "originalOrderSize": plain(event.size),
        "currentOrderSize": plain(event.size),
        "filledSize": plain(event.fill_size),
        "totalFilledSize": plain(event.filled),
        "remainingSize": plain(event.size - event.filled),
        "time_in_force": "GTC",
    }


def spot_order(spec: PairSpec, event: OrderChanged) -> Row:
    """A row of ``notificationApiV3``: sizes in base coins."""
    return _order_head(spec, event) | {
        "orderType": ORDER_TYPES[event.kind],
        "txType": 0,
        **_order_state(event),
        "clOrderID": event.client_id or None,
        "maker": event.status == "open",
        "time_in_force": "GTC",
        "originalOrderBaseSize": plain(event.size),
        "originalOrderQuoteSize": None,
        "currentOrderBaseSize": plain(event.size),
        "currentOrderQuoteSize": None,
        "filledBaseSize": plain(event.fill_size),
        "totalFilledBaseSize": plain(event.filled),
        "remainingBaseSize": plain(event.size - event.filled),
        "remainingQuoteSize": None,
        "orderCurrency": "base",
    }


def spot_order_v2(spec: PairSpec, event: OrderChanged) -> Row:
    """A row of ``notificationApiV2`` of spot; ``fillSize`` is cumulative."""
    state = _order_state(event)
    average = state.pop("avgFilledPrice")
    return _order_head(spec, event) | {
        "type": ORDER_TYPES[event.kind],
        **state,
        "avgFillPrice": average,
        "clOrderID": event.client_id or None,
        "maker": event.status == "open",
        "size": plain(event.size),
        "originalSize": plain(event.size),
        "fillSize": plain(event.filled),
        "remainingSize": plain(event.size - event.filled),
        "time_in_force": "GTC",
    }


def _order_head(spec: PairSpec, event: OrderChanged, *, old: bool = False) -> Row:
    return {"symbol": symbol(spec, old=old), "orderID": event.order_id, "side": event.side.upper()}


def _order_state(event: OrderChanged) -> Row:
    return {
        "price": plain(event.fill_price if event.status == "filled" else event.price),
        "triggerPrice": 0,
        "pegPriceDeviation": 1,
        "stealth": 1,
        "status": _STATUS[event.status],
        "timestamp": millis(event.time),
        "avgFilledPrice": plain(event.average),
    }


def fill_id(event: Filled) -> str:
    """An execution's UUID; it follows from the order and the trade."""
    return str(uuid5(NAMESPACE_URL, f"tickbridge-simulator/lmex/fill/{event.pair}/{event.trade_id}/{event.order_id}"))


def fill(spec: PairSpec, event: Filled, *, old: bool = False) -> Row:
    """A row of ``fillsV2`` and ``fills``: numbers are strings, but for the contract's size."""
    row: Row = {
        "orderId": event.order_id,
        "serialId": event.serial,
        "clOrderId": event.client_id or None,
        "type": str(ORDER_TYPES[event.kind]),
        "symbol": symbol(spec, old=old),
        "side": event.side.upper(),
        "price": number(event.price),
        "size": whole_number(event.size),
        "feeAmount": f"{event.fee:f}",
        "feeCurrency": event.fee_currency,
        "base": symbol(spec, old=old) if spec.futures else spec.base,
        "quote": spec.quote,
        "maker": event.maker,
    }
    if spec.futures:
        row["contractSize"] = plain(spec.contract)
    return row | {"timestamp": millis(event.time), "tradeId": fill_id(event)}


def position(held: Position, mark: Decimal, margin: Margin, *, old: bool = False) -> Row:
    """A row of ``positionsV3``; a closed position is all zeros and nulls but for its name."""
    spec, size = held.spec, abs(held.size)
    value = spec.coins(size) * mark
    equity = margin.total[spec.settle]
    row: Row = {
        "marketName": market_name(spec, old=old),
        "orderType": 90,
        "orderMode": 66 if held.size > 0 else 83,
        "status": 65,
        "originalAmount": plain(spec.coins(size)),
        "marginType": 91,
        "entryPrice": plain(held.entry),
        "liquidationPrice": 0,
        "markedPrice": plain(mark),
        "unrealizedProfitLoss": plain(held.unrealised(mark)),
        "totalMaintenanceMargin": plain(value * MAINTENANCE),
        "totalContracts": plain(size),
        "isolatedLeverage": 0,
        "totalValue": plain(value),
        "adlScoreBucket": 1,
        "orderModeName": "MODE_BUY" if held.size > 0 else "MODE_SELL",
        "marginTypeName": "FUTURES_MARGIN_CROSS",
        "currentLeverage": plain((value / equity).quantize(Decimal("0.0000000001")) if equity > 0 else None),
        "contractSize": plain(spec.contract),
        "takeProfitOrder": None,
        "stopLossOrder": None,
        "positionId": market_name(spec, old=old),
        "activeWalletName": "CROSS@",
        "positionMode": "ONE_WAY",
        "positionDirection": "LONG" if held.size > 0 else "SHORT",
        "settleWithNonUSDAsset": spec.settle,
    }
    if held.size:
        return row
    closed = {name: 0 for name, field in row.items() if not isinstance(field, str) and field is not None}
    return row | closed | dict.fromkeys(_NULL_WHEN_CLOSED)
