"""The exchanges that Tickbridge speaks to: one module each, one line each in the registry below; others through CCXT."""

from __future__ import annotations

from importlib import import_module

from bridge.exchanges.api import Exchange
from bridge.exchanges.ccxt.ids import NAMES, PREFIX

__all__ = ["all_names", "exchange_type", "families", "names"]

_REGISTRY = {
    "binance": "bridge.exchanges.binance:Binance",
    "binance-usdm": "bridge.exchanges.binance:BinanceUsdm",
    "bybit": "bridge.exchanges.bybit:Bybit",
    "coinbase": "bridge.exchanges.coinbase:Coinbase",
    "kraken": "bridge.exchanges.kraken:Kraken",
    "limitlex": "bridge.exchanges.limitlex:Limitlex",
    "lmex": "bridge.exchanges.lmex:Lmex",
    "okx": "bridge.exchanges.okx:Okx",
}


def names() -> tuple[str, ...]:
    """The exchanges with a module of their own, as ``exchange:`` takes them in the config."""
    return tuple(_REGISTRY)


def all_names() -> tuple[str, ...]:
    """All names that ``exchange:`` takes in the config: also those that come through CCXT, ``ccxt.<id>``."""
    return (*_REGISTRY, *NAMES)


def families() -> dict[str, str]:
    """Exchanges that share one module and its options: the beginning of their names → one of them."""
    return {PREFIX: NAMES[0]}


def exchange_type(name: str) -> type[Exchange]:
    """The exchange of that name.

    Raises:
        KeyError: no exchange has that name.
    """
    if name.startswith(PREFIX):
        from bridge.exchanges.ccxt.exchange import exchange_of  # noqa: PLC0415 - only for those who use it

        return exchange_of(name.removeprefix(PREFIX))
    module, _, attribute = _REGISTRY[name].partition(":")
    exchange: type[Exchange] = getattr(import_module(module), attribute)
    if not issubclass(exchange, Exchange):
        msg = f"{name}: {_REGISTRY[name]} is no Exchange"
        raise TypeError(msg)
    return exchange
