"""Events as the text of an ``XADD``, in the Redis protocol (RESP), ready to send.

This is the hot path: one f-string per event, no list of arguments and no second pass. A rendered body is a ``str`` in
which every character stands for one byte (Latin-1), so that ``len`` gives the protocol's byte counts; text beyond ASCII
is carried as the Latin-1 reading of its UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.model import (
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    Event,
    Fill,
    Levels,
    Order,
    Position,
    Quote,
    Ticker,
    Trade,
)

__all__ = ["LENGTHS", "RENDERERS", "command", "head", "render"]

LENGTHS = [str(length) for length in range(1024)]
"""Looking a short text's length up takes half the time of formatting it, and an entry has a dozen."""
_BEFORE_FIELDS = 3
"""``XADD``, the key and the ID."""

_WIRE = {
    Channel.TRADES: Trade.WIRE,
    Channel.BOOK: BookDelta.WIRE,
    Channel.QUOTES: Quote.WIRE,
    Channel.TICKER: Ticker.WIRE,
    Channel.ORDERS: Order.WIRE,
    Channel.FILLS: Fill.WIRE,
    Channel.BALANCES: Balance.WIRE,
    Channel.POSITIONS: Position.WIRE,
}


def head(key: str, channel: Channel | None, *, more: int = 0) -> str:
    """What stands before the ID of an entry: of a data entry of ``channel``, or (``None``) of a control entry.

    ``more`` is the number of further fields (`MORE`) that the entry has.
    """
    fields = 3 + more + len(Control.WIRE if channel is None else _WIRE[channel])
    key = _bytes(key)
    return f"*{_BEFORE_FIELDS + 2 * fields}\r\n$4\r\nXADD\r\n${len(key)}\r\n{key}\r\n"


def command(*words: str | int) -> str:
    """Any command, off the hot path."""
    texts = [_bytes(str(word)) for word in words]
    return f"*{len(texts)}\r\n" + "".join(f"${len(text)}\r\n{text}\r\n" for text in texts)


def render(event: Event) -> str:
    """The field-value pairs of an entry, in the contract's order."""
    body = RENDERERS[event.__class__](event)
    return body if body.isascii() else _generic(event)


def _bytes(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


def _trade(e: Trade) -> str:
    if e.contracts is not None:
        return _generic(e)
    ts = "" if e.ts is None else str(e.ts)
    recv = str(e.recv)
    ident, side, price, size = e.id, e.side, e.price, e.size
    n = LENGTHS
    try:
        return (
            f"$4\r\ntype\r\n$5\r\ntrade\r\n$2\r\nts\r\n${n[len(ts)]}\r\n{ts}\r\n"
            f"$4\r\nrecv\r\n${n[len(recv)]}\r\n{recv}\r\n$2\r\nid\r\n${n[len(ident)]}\r\n{ident}\r\n"
            f"$4\r\nside\r\n${n[len(side)]}\r\n{side}\r\n$5\r\nprice\r\n${n[len(price)]}\r\n{price}\r\n"
            f"$4\r\nsize\r\n${n[len(size)]}\r\n{size}\r\n"
        )
    except IndexError:
        return _generic(e)


def _levels(levels: Levels) -> str:
    return " ".join(map(":".join, levels))


def _book(e: BookSnapshot | BookDelta) -> str:
    ts = "" if e.ts is None else str(e.ts)
    recv = str(e.recv)
    kind = "$8\r\nsnapshot" if e.__class__ is BookSnapshot else "$5\r\ndelta"
    bids = _levels(e.bids)
    asks = _levels(e.asks)
    return (
        f"$4\r\ntype\r\n{kind}\r\n$2\r\nts\r\n${len(ts)}\r\n{ts}\r\n$4\r\nrecv\r\n${len(recv)}\r\n{recv}\r\n"
        f"$4\r\nxseq\r\n${len(e.xseq)}\r\n{e.xseq}\r\n$4\r\nbids\r\n${len(bids)}\r\n{bids}\r\n"
        f"$4\r\nasks\r\n${len(asks)}\r\n{asks}\r\n"
    )


def _quote(e: Quote) -> str:
    ts = "" if e.ts is None else str(e.ts)
    recv = str(e.recv)
    return (
        f"$4\r\ntype\r\n$5\r\nquote\r\n$2\r\nts\r\n${len(ts)}\r\n{ts}\r\n$4\r\nrecv\r\n${len(recv)}\r\n{recv}\r\n"
        f"$3\r\nbid\r\n${len(e.bid)}\r\n{e.bid}\r\n$8\r\nbid_size\r\n${len(e.bid_size)}\r\n{e.bid_size}\r\n"
        f"$3\r\nask\r\n${len(e.ask)}\r\n{e.ask}\r\n$8\r\nask_size\r\n${len(e.ask_size)}\r\n{e.ask_size}\r\n"
    )


def _control(e: Control) -> str:
    ts = "" if e.ts is None else str(e.ts)
    recv = str(e.recv)
    event = str(e.event)
    count = "" if e.count is None else str(e.count)
    return (
        f"$4\r\ntype\r\n$7\r\ncontrol\r\n$2\r\nts\r\n${len(ts)}\r\n{ts}\r\n$4\r\nrecv\r\n${len(recv)}\r\n{recv}\r\n"
        f"$5\r\nevent\r\n${len(event)}\r\n{event}\r\n$6\r\nreason\r\n${len(e.reason)}\r\n{e.reason}\r\n"
        f"$5\r\ncount\r\n${len(count)}\r\n{count}\r\n"
    )


def _generic(event: Event) -> str:
    values: dict[str, Any] = {"type": event.__struct_config__.tag, "ts": event.ts, "recv": event.recv}
    values.update((name, getattr(event, name)) for name in event.WIRE)  # type: ignore[attr-defined]
    for name in getattr(event, "MORE", ()):
        if (value := getattr(event, name)) is not None:
            values[name] = value
    parts = []
    for name, value in values.items():
        text = _levels(value) if isinstance(value, list) else "" if value is None else str(value)
        text = _bytes(text)
        parts.append(f"${len(name)}\r\n{name}\r\n${len(text)}\r\n{text}\r\n")
    return "".join(parts)


RENDERERS: dict[type[Event], Callable[..., str]] = {
    Trade: _trade,
    BookSnapshot: _book,
    BookDelta: _book,
    Quote: _quote,
    Ticker: _generic,
    Order: _generic,
    Fill: _generic,
    Balance: _generic,
    Position: _generic,
    Control: _control,
}
"""How each kind of event is rendered; what isn't ASCII then goes through `render`."""
