"""The rows of LMEX's REST answers.

The sheet gives ``orderbook/L2`` and names of ``market_summary``. All else here has the field names that the documentation
of LMEX's sister exchange gives; nobody has confirmed them for LMEX, so a client should be tolerant. What those fields mean
in a simulation is made up where it has to be: ``size`` in ``market_summary`` is the day's volume in the market's own unit
(contracts of futures) and ``volume`` its value; a futures wallet's ``availableBalance`` is what orders and positions leave
free, without unrealised profits, ``totalValue`` and the balance of its asset are all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from bridge.simulator.accounts import Account
from bridge.simulator.events import Filled, OrderChanged
from bridge.simulator.lmex.frames import millis
from bridge.simulator.lmex.private import MAINTENANCE, ORDER_TYPES, fill_id, market_name, plain, symbol
from bridge.simulator.margin import Margin, Position
from bridge.simulator.pairs import PairState
from bridge.simulator.specs import PairSpec

__all__ = ["book", "fill", "margin_wallets", "open_order", "position", "spot_wallet", "summary"]

Row = dict[str, Any]

_MOST_LOTS = 1_000_000
_PERCENT = Decimal("0.000001")


def summary(state: PairState, accounts: Iterable[Account], *, old: bool = False) -> Row:
    """A row of ``market_summary``."""
    spec, best, day = state.spec, state.best_event(), state.day()
    change = (day.close - day.open) * 100 / day.open if day else Decimal(0)
    volume = day.volume if day else Decimal(0)
    held = sum((abs(account.margin.position(spec).size) for account in accounts), Decimal(0)) if spec.futures else None
    mark = state.mark()
    row = {
        "symbol": symbol(spec, old=old),
        "last": plain(day.close if day else None),
        "lowestAsk": plain(best.ask),
        "highestBid": plain(best.bid),
        "percentageChange": plain(change.quantize(_PERCENT)),
        "volume": plain(spec.coins(volume) * mark),
        "high24Hr": plain(day.high if day else None),
        "low24Hr": plain(day.low if day else None),
        "base": spec.base,
        "quote": spec.quote,
        "active": True,
        "size": plain(volume),
        "minValidPrice": plain(spec.tick),
        "minPriceIncrement": plain(spec.tick),
        "minOrderSize": plain(spec.step),
        "maxOrderSize": plain(spec.step * _MOST_LOTS),
        "minSizeIncrement": plain(spec.step),
        "openInterest": plain(held),
        "openInterestUSD": plain(spec.coins(held) * mark if held else None),
    }
    zeros = dict.fromkeys(("contractStart", "contractEnd"), 0)
    times = dict.fromkeys(("openTime", "closeTime", "startMatching", "inactiveTime"), 0)
    dated = spec.futures and not spec.name.endswith("-PERP")
    limits = dict.fromkeys(("maxPosition", "minRiskLimit", "maxRiskLimit"), 0)
    rates = {"fundingRate": plain(Decimal("0.0001") if spec.futures else None), "contractSize": plain(spec.contract)}
    ends = {"availableSettlement": [spec.settle] if spec.futures else None, "futures": spec.futures}
    return row | zeros | {"timeBasedContract": dated} | times | rates | limits | ends


def book(state: PairState, name: str, depth: int, now: int) -> Row:
    """``{"symbol","buyQuote":[{"price","size"}],"sellQuote":[…],"timestamp","depth"}``; asks worst first."""
    bids, asks = state.depth()
    buy, sell = ([{"price": f"{p:f}", "size": f"{s:f}"} for p, s in side[:depth]] for side in (bids, asks))
    return {"symbol": name, "buyQuote": buy, "sellQuote": sell[::-1], "timestamp": now, "depth": depth}


def spot_wallet(currency: str, available: Decimal, reserved: Decimal) -> Row:
    """``{"currency":"USD","available":100.5,"total":120}``."""
    return {"currency": currency, "available": plain(available), "total": plain(available + reserved)}


def margin_wallets(account: Account, mark: Callable[[str], Decimal]) -> list[Row]:
    """The one futures wallet, ``CROSS@``."""
    margin = account.margin
    assets, in_use = [], []
    total = free = profit = maintenance = Decimal(0)
    for currency, (available, reserved) in margin.balances().items():
        assets.append({"balance": plain(available + reserved), "assetPrice": 1, "currency": currency})
        in_use.append({"balance": plain(reserved), "assetPrice": 1, "currency": currency})
        total += available + reserved
        free += available
    for held in margin.open_positions():
        price = mark(held.spec.name)
        profit += held.unrealised(price)
        maintenance += held.spec.coins(abs(held.size)) * price * MAINTENANCE
    return [
        {
            "trackingID": 0,
            "queryType": 0,
            "activeWalletName": "CROSS@",
            "wallet": "CROSS@",
            "username": account.name,
            "walletTotalValue": plain(total + profit),
            "totalValue": plain(total),
            "marginBalance": plain(total + profit),
            "availableBalance": plain(free),
            "unrealisedProfitLoss": plain(profit),
            "maintenanceMargin": plain(maintenance),
            "leverage": 0,
            "openMargin": plain(total - free),
            "assets": assets,
            "assetsInUse": in_use,
        }
    ]


def open_order(spec: PairSpec, event: OrderChanged, *, old: bool = False) -> Row:
    """A row of ``user/open_orders``; ``orderState`` is a word here, not a number."""
    row: Row = {
        "orderType": ORDER_TYPES[event.kind],
        "price": plain(event.price),
        "size": plain(event.size),
        "side": event.side.upper(),
        "filledSize": plain(event.filled),
        "orderValue": plain(spec.coins(event.size) * (event.price or Decimal(0))),
        "pegPriceMin": 0,
        "pegPriceMax": 0,
        "pegPriceDeviation": 1,
        "cancelDuration": 0,
        "timestamp": millis(event.created),
        "orderID": event.order_id,
        "stealth": 1,
        "triggerOrder": False,
        "triggered": False,
        "triggerPrice": 0,
        "triggerOriginalPrice": 0,
        "triggerOrderType": 0,
        "triggerTrailingStopDeviation": 0,
        "triggerStopPrice": 0,
        "symbol": symbol(spec, old=old),
        "trailValue": 0,
        "clOrderID": event.client_id or None,
        "orderState": "STATUS_ACTIVE",
        "timeInForce": "GTC",
        "averageFillPrice": plain(event.average),
    }
    if not spec.futures:
        rest = plain(event.size - event.filled)
        return row | {"fillSize": plain(event.filled), "remainingSize": rest, "quote": spec.quote, "postOnly": False}
    return row | {
        "reduceOnly": False,
        "triggerUseLastPrice": False,
        "avgFilledPrice": plain(event.average),
        "positionMode": "ONE_WAY",
        "positionDirection": None,
        "positionId": market_name(spec, old=old),
        "contractSize": plain(spec.contract),
        "takeProfitOrder": None,
        "stopLossOrder": None,
        "closeOrder": False,
    }


def fill(spec: PairSpec, event: Filled, username: str, *, old: bool = False) -> Row:
    """A row of ``user/trade_history``: ``price`` and ``size`` are the order's, ``filled…`` the execution's."""
    row: Row = {
        "base": spec.base,
        "clOrderID": event.client_id or None,
        "feeAmount": plain(event.fee),
        "feeCurrency": event.fee_currency,
        "filledPrice": plain(event.price),
        "filledSize": plain(event.size),
        "averageFillPrice": plain(event.price),
        "orderId": event.order_id,
        "orderType": ORDER_TYPES[event.kind],
        "price": plain(event.order_price),
        "quote": spec.quote,
        "realizedPnl": plain(event.realised),
        "serialId": event.serial,
        "side": event.side.upper(),
        "size": plain(event.order_size),
        "symbol": symbol(spec, old=old),
        "timestamp": millis(event.time),
        "total": 0,
        "tradeId": fill_id(event),
        "triggerPrice": 0,
        "triggerType": 0,
        "username": username,
        "wallet": "CROSS@" if spec.futures else "SPOT@",
    }
    if spec.futures:
        row |= {"positionId": market_name(spec, old=old), "contractSize": plain(spec.contract)}
    return row


def position(held: Position, mark: Decimal, margin: Margin, *, old: bool = False) -> Row:
    """A row of ``user/positions``; ``size`` is unsigned, ``side`` says which way."""
    spec, size = held.spec, abs(held.size)
    value, equity = spec.coins(size) * mark, margin.total[held.spec.settle]
    return {
        "marginType": 91,
        "entryPrice": plain(held.entry),
        "markPrice": plain(mark),
        "symbol": symbol(spec, old=old),
        "side": "BUY" if held.size > 0 else "SELL",
        "orderValue": plain(value),
        "settleWithAsset": spec.settle,
        "unrealizedProfitLoss": plain(held.unrealised(mark)),
        "totalMaintenanceMargin": plain(value * MAINTENANCE),
        "size": plain(size),
        "liquidationPrice": 0,
        "isolatedLeverage": 0,
        "adlScoreBucket": 2,
        "liquidationInProgress": False,
        "timestamp": 0,
        "takeProfitOrder": None,
        "stopLossOrder": None,
        "positionMode": "ONE_WAY",
        "positionDirection": None,
        "positionId": market_name(spec, old=old),
        "contractSize": plain(spec.contract),
        "currentLeverage": plain((value / equity).quantize(Decimal("0.0000000001")) if equity > 0 else None),
    }
