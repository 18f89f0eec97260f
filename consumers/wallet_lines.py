"""Formats an account's wallet, and the events that change it, as lines of text or rows of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from bridge.entries import textual
from bridge.keys import StreamKey
from bridge.model import Balance, Channel, Control, Fill, Order, Position
from bridge.printable import printable, printable_json
from consumers.items import Entry, Item, Unknown, Unreadable

__all__ = ["as_json", "as_known", "as_text"]

_KNOWN = {
    "balance": (Channel.BALANCES, "currency"),
    "position": (Channel.POSITIONS, "pair"),
    "order": (Channel.ORDERS, ""),
    "fill:last": (Channel.FILLS, ""),
}
"""Fields of the hash that are shown at the start: their channel, and what the name of the field contains."""


def as_text(item: Item) -> str:
    """An item as a line: ``limitlex:main             balances  EUR 1000.00 available, 5.00 reserved``."""
    name = f"{item.stream.exchange}:{item.stream.subject}"
    match item:
        case Entry(event=(Balance() | Order() | Fill() | Position()) as event):
            words = _words(item.stream.channel, structs.asdict(event))
        case Entry(event=Control() as control):
            words = f"{control.event} {control.reason}".rstrip()
        case Unknown():
            words = f"{item.error}: ignored"
        case Unreadable():
            words = f"cannot be read: {item.error}"
        case _:
            words = f"{type(item).__name__.lower()}: entries are missing or unreadable"
    return printable(f"{name:24} {item.stream.channel:9} {words}")


def _words(channel: Channel, values: Mapping[str, Any]) -> str:
    """A balance, order, fill or position in words; not every exchange reports the pair of an order."""
    values = {**values, "of": f"{values['pair']} " if values.get("pair") else ""}
    if channel is Channel.BALANCES:
        return "{currency} {available} available, {reserved} reserved".format_map(values)
    if channel is Channel.ORDERS:
        return "{side} {done}/{size} {of}at {price}: {status}".format_map({**values, "done": values["filled"] or 0})
    if channel is Channel.FILLS:
        return "{side} {size} {of}at {price}".format_map(values)
    leg = f" ({values['leg']} leg)" if values.get("leg") else ""
    state = values["side"] or "flat"
    return "{state} {size} {pair}{leg} from {entry_price}".format_map({**values, "state": state, "leg": leg})


def as_known(stream: StreamKey, fields: Mapping[str, str], *, as_json: bool) -> list[str]:
    """The content of an account's hash as lines of text, or as JSON rows with ``"known": true``."""
    lines = []
    for name, text in sorted(fields.items()):
        kind, _, rest = name.partition(":")
        place = _KNOWN.get(name) or _KNOWN.get(kind)
        if place is None:
            continue
        channel, key = place
        try:
            values = {**_named(kind, key, rest), **msgspec.json.decode(text)}
            words = _words(channel, values)
        except (msgspec.MsgspecError, KeyError, TypeError):
            continue  # written by another version
        if as_json:
            head = {"exchange": stream.exchange, "account": stream.subject, "channel": channel}
            lines.append(printable_json(msgspec.json.encode({**head, "type": kind, "known": True, **textual(values)})))
        else:
            lines.append(printable(f"{f'{stream.exchange}:{stream.subject}':24} {channel:9} {words}"))
    return lines


def _named(kind: str, key: str, rest: str) -> dict[str, str]:
    """The values in the name of a field, after its kind."""
    if kind == "position":
        pair, _, leg = rest.partition(":")
        return {key: pair, **({"leg": leg} if leg else {})}
    return {key: rest} if key else {}


def as_json(item: Item) -> str:
    """An item as a row of JSON, with all fields."""
    what = item.event if isinstance(item, Entry) else item
    head = {"exchange": item.stream.exchange, "account": item.stream.subject, "channel": item.stream.channel}
    body = textual(msgspec.to_builtins(what))
    kind = body.pop("type", type(what).__name__.lower())
    for name in ("subject", "key", "stream", "channel"):
        body.pop(name, None)
    return printable_json(msgspec.json.encode({**head, "type": kind, **body}))
