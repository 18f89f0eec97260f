"""Limitlex's WebSocket messages, written as the exchange writes them.

All decimals are strings; ``createdAt`` is in whole seconds; ``order_book``, ``last_trade``, ``open_order`` and ``trade``
carry no pair. Nothing in them needs escaping: ids, codes and digits only.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from functools import cache
from uuid import NAMESPACE_URL, uuid5

from bridge.simulator.events import BestChanged, Filled, LevelChanged, OhlcChanged, OrderChanged, TradeDone
from bridge.simulator.specs import PairSpec, currency_decimals

__all__ = [
    "amount",
    "best_bid_ask",
    "change_ohlc",
    "currency_id",
    "last_trade",
    "open_order",
    "order_book",
    "pair_id",
    "percent",
    "plain",
    "trade",
    "wallets",
    "whole_order_book",
]

_KNOWN = {
    "BTC": "ab651a43-1fc9-4163-a31b-74e5f537e82f",
    "EUR": "bfd04d06-b97c-4287-8bb0-c18f2eb19157",
}
_CENT = Decimal("0.01")
_WORDS = {"buy": "Buy", "sell": "Sell", "limit": "Limit", "market": "Market"}


@cache
def currency_id(code: str) -> str:
    """A currency's UUID: the exchange's own where it is known, else one that follows from the code."""
    return _KNOWN.get(code) or str(uuid5(NAMESPACE_URL, f"tickbridge-simulator/limitlex/currency/{code}"))


def pair_id(spec: PairSpec) -> str:
    """``<base UUID>:<quote UUID>``."""
    return f"{currency_id(spec.base)}:{currency_id(spec.quote)}"


def plain(number: Decimal) -> str:
    """Digits without an exponent."""
    return format(number, "f")


def percent(change: Decimal, of: Decimal) -> str:
    """``change`` in percent of ``of``, truncated to two decimals: -302.60 of 8300 is ``-3.64``."""
    value = (change * 100 / of).quantize(_CENT, ROUND_DOWN) if of else Decimal("0.00")
    # "-0.00" says nothing that "0.00" doesn't.
    return plain(value) if value else "0.00"


def change_ohlc(spec: PairSpec, event: OhlcChanged) -> str:
    """``{"t":"change_ohlc","currencyId1":"ab65…","currencyId2":"bfd0…","durationInDays":1,"priceLow":"7014.80",…}``."""
    change = event.close - event.open
    return (
        f'{{"t":"change_ohlc",{_ids(spec)},"durationInDays":1,"priceLow":"{event.low:f}","priceHigh":"{event.high:f}",'
        f'"priceOpen":"{event.open:f}","priceClose":"{event.close:f}","priceChange":"{change:f}",'
        f'"priceChangeP":"{percent(change, event.open)}","volume":"{event.volume:f}"}}'
    )


def best_bid_ask(spec: PairSpec, event: BestChanged) -> str:
    """``{"t":"best_bid_ask","currencyId1":"ab65…","currencyId2":"bfd0…","bid":"7014.80","ask":"7997.40"}``."""
    return f'{{"t":"best_bid_ask",{_ids(spec)},"bid":{_optional(event.bid)},"ask":{_optional(event.ask)}}}'


def whole_order_book(spec: PairSpec, bids: list[tuple[Decimal, Decimal]], asks: list[tuple[Decimal, Decimal]]) -> str:
    """``{"t":"whole_order_book",…,"bids":[{"price":"228.0960","amount":"1.04426203","total":"238.19199"}],"asks":…}``."""
    sides = (",".join(_level(spec, price, size) for price, size in side) for side in (bids, asks))
    return '{{"t":"whole_order_book",{},"bids":[{}],"asks":[{}]}}'.format(_ids(spec), *sides)


def order_book(event: LevelChanged, *, change: bool) -> str:
    """``{"t":"order_book","orderDirection":"Sell","amount":"0.05341906","price":"7997.40"}``.

    ``amount`` is the level's new size, or with ``change`` what was added to it or (negative) taken from it.
    """
    amount = event.change if change else event.size
    return (
        f'{{"t":"order_book","orderDirection":"{_WORDS[event.side]}","amount":"{amount:f}","price":"{event.price:f}"}}'
    )


def last_trade(event: TradeDone) -> str:
    """``{"t":"last_trade","orderDirection":"Buy","amount":"0.00010000","price":"7997.40","createdAt":1598516157}``."""
    return (
        f'{{"t":"last_trade","orderDirection":"{_WORDS[event.side]}","amount":"{event.size:f}",'
        f'"price":"{event.price:f}","createdAt":{int(event.time)}}}'
    )


def open_order(event: OrderChanged, subaccount: str = "") -> str:
    """``{"t":"open_order","orderId":"0959…","orderTradeType":"Limit","orderDirection":"Buy","amountInitial":…}``.

    The price of a market order is ``null``.
    """
    filled = plain(event.filled) if event.filled else "0"
    return (
        f'{{"t":"open_order",{_sub(subaccount)}"orderId":"{event.order_id}","orderTradeType":"{_WORDS[event.kind]}",'
        f'"orderDirection":"{_WORDS[event.side]}","amountInitial":"{event.size:f}","amountCompleted":"{filled}",'
        f'"price":{_optional(event.price)},"createdAt":{int(event.created)},'
        f'"completed":{_flag(event.status == "filled")},"deleted":{_flag(event.status == "cancelled")}}}'
    )


def trade(event: Filled, subaccount: str = "") -> str:
    """``{"t":"trade","subaccountId":"dff4…","orderDirection":"Buy","amount":"0.00010000","price":"7997.00",…}``."""
    return (
        f'{{"t":"trade",{_sub(subaccount)}"orderDirection":"{_WORDS[event.side]}","amount":"{event.size:f}",'
        f'"price":"{event.price:f}","createdAt":{int(event.time)}}}'
    )


def wallets(balances: dict[str, tuple[Decimal, Decimal]], subaccount: str = "") -> str:
    """``{"t":"wallets","wallets":[{"currencyId":"ab65…","amountAvailable":"1006.80071837","amountReserved":"0.0…"}]}``."""
    rows = ",".join(
        f'{{"currencyId":"{currency_id(code)}","amountAvailable":"{amount(code, available)}",'
        f'"amountReserved":"{amount(code, reserved)}"}}'
        for code, (available, reserved) in balances.items()
    )
    return f'{{"t":"wallets",{_sub(subaccount)}"wallets":[{rows}]}}'


def amount(currency: str, value: Decimal) -> str:
    """An amount with the currency's decimals; exact, since ticks and steps are no finer than they."""
    return f"{value.quantize(Decimal(1).scaleb(-currency_decimals(currency))):f}"


def _level(spec: PairSpec, price: Decimal, size: Decimal) -> str:
    total = amount(spec.quote, price * size)
    return f'{{"price":"{price:f}","amount":"{size:f}","total":"{total}"}}'


def _ids(spec: PairSpec) -> str:
    return f'"currencyId1":"{currency_id(spec.base)}","currencyId2":"{currency_id(spec.quote)}"'


def _optional(price: Decimal | None) -> str:
    return "null" if price is None else f'"{price:f}"'


def _sub(subaccount: str) -> str:
    return f'"subaccountId":"{subaccount}",' if subaccount else ""


def _flag(value: bool) -> str:
    return "true" if value else "false"
