"""Events in the form that NautilusTrader reads from Redis: topic and payload, as its message bus writes them.

That is the form of its Python versions 1.2xx with the default encoding: the payload is MessagePack of the object's
dictionary, in which prices, sizes and times are text. A price has at most 16 digits after the point there.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from bridge.keys import StreamKey
from bridge.model import Candle, Channel, Event, Quote, Trade

__all__ = ["CHANNELS", "Message", "NotForNautilusError", "message"]

CHANNELS = frozenset({Channel.TRADES, Channel.QUOTES, Channel.CANDLES})
"""The channels whose events have a form there."""
_MOST_DECIMALS = 16
_LONGEST_ID = 36
_SIDES = {"buy": "BUYER", "sell": "SELLER"}
_UNITS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY"}


class NotForNautilusError(ValueError):
    """An event that has no exact form there; the message says why."""


class Message(Struct, frozen=True):
    """The two fields of an entry."""

    topic: str
    payload: bytes


def message(stream: StreamKey, entry_id: str, event: Event) -> Message | None:
    """The message of an event; ``None`` for one that says nothing there: a control entry, a candle without trades.

    Raises:
        NotForNautilusError: it cannot be said there without loss.
    """
    venue = stream.exchange.upper().replace(".", "-")
    instrument = f"{stream.subject}.{venue}"
    times = {"ts_event": str(event.recv if event.ts is None else event.ts), "ts_init": str(event.recv)}
    match event:
        case Trade():
            return _trade(f"data.trades.{venue}.{stream.subject}", instrument, entry_id, event, times)
        case Quote():
            return _quote(f"data.quotes.{venue}.{stream.subject}", instrument, event, times)
        case Candle():
            return _bar(instrument, stream.interval, event)
    return None


def _trade(topic: str, instrument: str, entry_id: str, event: Trade, times: dict[str, str]) -> Message:
    number = event.id or entry_id
    if len(number) > _LONGEST_ID:
        raise NotForNautilusError(f"the trade's id has more than {_LONGEST_ID} characters")
    fields = {
        "price": _plain("price", event.price),
        "size": _positive("size", event.size),
        "aggressor_side": _SIDES.get(event.side, "NO_AGGRESSOR"),
        "trade_id": number,
    }
    return _packed(topic, "TradeTick", {"instrument_id": instrument, **fields, **times})


def _quote(topic: str, instrument: str, event: Quote, times: dict[str, str]) -> Message:
    bid, ask = _same_digits(_plain("bid", event.bid), _plain("ask", event.ask))
    bid_size, ask_size = _same_digits(_plain("bid_size", event.bid_size), _plain("ask_size", event.ask_size))
    fields = {"bid_price": bid, "ask_price": ask, "bid_size": bid_size, "ask_size": ask_size}
    return _packed(topic, "QuoteTick", {"instrument_id": instrument, **fields, **times})


def _bar(instrument: str, interval: str, event: Candle) -> Message | None:
    if not event.count:
        return None
    kind = f"{instrument}-{interval[:-1]}-{_UNITS[interval[-1]]}-LAST-EXTERNAL"
    prices = {name: _plain(name, getattr(event, name)) for name in ("open", "high", "low", "close", "volume")}
    times = {"ts_event": str(event.close_ts), "ts_init": str(max(event.recv, event.close_ts))}
    return _packed(f"data.bars.{kind}", "Bar", {"bar_type": kind, **prices, **times})


def _packed(topic: str, kind: str, fields: dict[str, Any]) -> Message:
    return Message(topic, msgspec.msgpack.encode({"type": kind, **fields}))


def _plain(name: str, text: str) -> str:
    """The number without an exponent, with the same digits.

    Raises:
        NotForNautilusError: it is unknown, or has too many digits.
    """
    if not text:
        raise NotForNautilusError(f"{name} is unknown")
    plain = format(Decimal(text), "f")
    if len(plain.partition(".")[2]) > _MOST_DECIMALS:
        raise NotForNautilusError(f"{name} has more than {_MOST_DECIMALS} digits after the point")
    return plain


def _positive(name: str, text: str) -> str:
    plain = _plain(name, text)
    if not Decimal(plain):
        raise NotForNautilusError(f"{name} is zero")
    return plain


def _same_digits(one: str, other: str) -> tuple[str, str]:
    """Both with the number of decimals of the longer one: a quote needs that."""
    most = max(len(text.partition(".")[2]) for text in (one, other))
    return tuple(format(Decimal(text), f".{most}f") for text in (one, other))  # type: ignore[return-value]
