"""Markets as the exchanges list them, made up: CCXT's table without asking anybody."""

from __future__ import annotations

from typing import Any

__all__ = ["market", "table"]

_STYLES = {
    "lower": ("bitstamp", "htx", "bittrade", "bitopro", "gemini", "independentreserve"),
    "number": ("nado",),
    "lower_": ("lbank", "xt", "coincheck"),
}


def market(codec: Any, symbol: str, ident: str, **more: Any) -> dict[str, Any]:
    """One market, as ``fetch_markets`` of a module would have it."""
    name, _, settle = symbol.partition(":")
    base, quote = name.split("/")
    contract = bool(settle)
    made = {
        "id": ident,
        "lowercaseId": ident.lower(),
        "wsId": f"{base}/{quote}",
        "altname": ident,
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "settle": settle or None,
        "baseId": base,
        "quoteId": quote,
        "settleId": settle or None,
        "baseName": base,
        "type": "swap" if contract else "spot",
        "spot": not contract,
        "margin": False,
        "swap": contract,
        "future": False,
        "option": False,
        "contract": contract,
        "linear": (contract and settle == quote) or None,
        "inverse": (contract and settle == base) or None,
        "contractSize": codec.parse_number("1") if contract else None,
        "active": True,
        "precision": {"price": codec.parse_number("0.01"), "amount": codec.parse_number("0.0001")},
        "limits": {"amount": {}, "price": {}, "cost": {}, "leverage": {}},
        "id2": ident,
        "info": {"symbol": ident, "id": ident, "crossSymbol": ident, "name": ident, "wsName": ident, "index": 1},
        "expiry": None,
        "created": None,
        "numericId": 1,
        "ident": 1,
    }
    return {**codec.safe_market_structure(), **made, **more}


def table(codec: Any, ident: str) -> list[dict[str, Any]]:
    """A spot market and a swap, as far as the exchange has them."""
    idents = {"spot": "BTCUSDT", "swap": "BTCUSDTSWAP"}
    if ident in _STYLES["lower"]:
        idents = {kind: text.lower() for kind, text in idents.items()}
    elif ident in _STYLES["number"]:
        idents = {"spot": "1", "swap": "2"}
    elif ident in _STYLES["lower_"]:
        idents = {"spot": "btc_usdt", "swap": "btc_usdt"}
    found = []
    if codec.has.get("spot") is not False:
        found.append(market(codec, "BTC/USDT", idents["spot"]))
    if codec.has.get("swap"):
        found.append(market(codec, "BTC/USDT:USDT", idents["swap"]))
    return found
