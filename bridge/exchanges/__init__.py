"""The exchanges that Tickbridge speaks to: one module each, one line each in the registry below."""

from __future__ import annotations

from importlib import import_module

from bridge.exchanges.api import Exchange

__all__ = ["exchange_type", "names"]

_REGISTRY = {
    "binance": "bridge.exchanges.binance:Binance",
    "binance-usdm": "bridge.exchanges.binance:BinanceUsdm",
    "bybit": "bridge.exchanges.bybit:Bybit",
    "coinbase": "bridge.exchanges.coinbase:Coinbase",
    "kraken": "bridge.exchanges.kraken:Kraken",
    "limitlex": "bridge.exchanges.limitlex:Limitlex",
    "lmex": "bridge.exchanges.lmex:Lmex",
}


def names() -> tuple[str, ...]:
    """The names that ``exchange:`` takes in the config."""
    return tuple(_REGISTRY)


def exchange_type(name: str) -> type[Exchange]:
    """The exchange of that name.

    Raises:
        KeyError: no exchange has that name.
    """
    module, _, attribute = _REGISTRY[name].partition(":")
    exchange: type[Exchange] = getattr(import_module(module), attribute)
    if not issubclass(exchange, Exchange):
        msg = f"{name}: {_REGISTRY[name]} is no Exchange"
        raise TypeError(msg)
    return exchange
