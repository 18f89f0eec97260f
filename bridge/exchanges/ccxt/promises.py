"""What is promised of which id, and by what: numbers that CCXT ignores, checks of its own, sides that it has wrong.

A witness reads a decoded frame before CCXT sees it, and says which topics have missed something. Only rules that were
seen in recorded traffic are here; whoever adds one adds its recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["CHECKED", "MAKER_SIDES", "ONE_PRIVATE", "WITNESSES", "Witness", "promise"]

CHECKED = frozenset(
    {
        *("binance", "binancecoinm", "binanceus", "binanceusdm", "bitfinex", "bitget", "blofin", "cex"),
        *("coinbaseinternational", "cryptocom", "extended", "gate", "gateeu", "htx", "independentreserve", "kraken"),
        *("luno", "myokx", "nado", "okx", "okxus", "whitebit"),
    }
)
"""Ids whose books CCXT rejects on a hole or a wrong checksum, as its code says (kraken with ``options.checksum``)."""

MAKER_SIDES = frozenset({"coinbase"})
"""Ids of which CCXT hands on the maker's side of trades, as it comes: all 257 of the recorded ones are the other way round."""

ONE_PRIVATE = frozenset({"coinbase"})
"""Ids of which an account may have one private connection only."""

Witness = Callable[[Any], str | None]
"""Takes each decoded frame of a connection, and says where something is missing before it: in a topic, or everywhere
(an empty text); ``None``: nowhere."""


def _coinbase() -> Witness:
    """``sequence_num`` counts every message of a connection from 0."""
    expected = 0

    def look(message: Any) -> str | None:
        nonlocal expected
        number = message.get("sequence_num") if isinstance(message, Mapping) else None
        if not isinstance(number, int) or number < expected:
            return None
        missing = number > expected
        expected = number + 1
        return "" if missing else None

    return look


def _bybit() -> Witness:
    """``u`` counts a book's messages one by one; a snapshot begins anew."""
    last: dict[str, int] = {}

    def look(message: Any) -> str | None:
        topic = message.get("topic") if isinstance(message, Mapping) else None
        if not (isinstance(topic, str) and topic.startswith("orderbook.")):
            return None
        data = message.get("data")
        number = data.get("u") if isinstance(data, Mapping) else None
        if not isinstance(number, int):
            return None
        known = last.get(topic)
        last[topic] = number
        missing = message.get("type") == "delta" and known is not None and number > known + 1
        return topic.rpartition(".")[2] if missing else None

    return look


WITNESSES: dict[str, Callable[[], Witness]] = {
    "bybit": _bybit,
    "bybiteu": _bybit,
    "bybitid": _bybit,
    "coinbase": _coinbase,
}
"""Id → a witness of one connection."""


def promise(ident: str) -> str:
    """How far holes in its books are noticed: ``verified``, ``checked by ccxt`` or ``unchecked``."""
    if ident in WITNESSES:
        return "verified"
    return "checked by ccxt" if ident in CHECKED else "unchecked"
