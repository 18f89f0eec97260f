"""An account's balances, positions, open orders and number of fills, kept up to date from the items of its streams.

`consumers.wallets` describes the fields, and keeps a wallet in Redis; this module needs nothing but the items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from bridge.model import Balance, Channel, Control, ControlEvent, Event, Fill, Order, Position
from consumers.items import Entry, Hole, Item, Reset, Stored, Trimmed, Undecodable, Unknown, Unreadable, split_id

__all__ = ["Wallet"]

_OPEN = ("open", "partially_filled")
_MAX_UNCONFIRMED = 1_000
_DELETED = ("order:", "position:")
"""What the names of fields begin with that are deleted at some time."""


class _Named(Struct):
    """The fields that identify an order."""

    pair: str
    order_id: str
    client_id: str


class Wallet:
    """An account's hash. ``fields`` is its content once ``unsaved`` (``None``: to be deleted) is written."""

    def __init__(self, key: str, fields: dict[str, str]) -> None:
        self.key = key
        self.fields = fields
        self.unsaved: dict[str, str | None] = {}
        self._doubtful = False
        """Whether the hash may have fields that were deleted."""
        self._rename_orders()

    def take(self, item: Item) -> None:
        """Take the next item of one of the account's streams."""
        channel = item.stream.channel
        match item:
            case Entry(event=Control() as control):
                self._control(channel, control)
            case Entry(event=event):
                self._event(event)
            case Undecodable():
                self._missing(channel, f"undecodable: {item.error}")
            case Hole() | Trimmed():
                self._missing(channel, f"{type(item).__name__.lower()}: {item.count} entries")
            case Reset():
                # Whoever writes the new stream may not know of orders that are only in the old one.
                self._missing(channel, "reset: the stream was recreated")
            case Unreadable():
                self._interrupted(channel, f"unreadable: {item.error}")
            case Unknown(is_control=True):
                said, reason = item.fields.get("event", ""), item.fields.get("reason", "")
                self._interrupted(channel, f"{said}: {reason}" if reason else said)
        if isinstance(item, Stored):
            self._set(f"id:{channel}", item.id)

    async def save(self, redis: Redis) -> None:
        """Write the changes in one transaction, which may be repeated after a lost reply."""
        unsaved, self.unsaved = self.unsaved, {}
        try:
            if self._doubtful:
                unsaved |= dict.fromkeys(await self._brought_back(redis))
            written: dict[Any, Any] = {name: value for name, value in unsaved.items() if value is not None}
            deleted = [name for name, value in unsaved.items() if value is None]
            async with redis.pipeline(transaction=True) as transaction:
                if written:
                    transaction.hset(self.key, mapping=written)
                if deleted:
                    transaction.hdel(self.key, *deleted)
                await transaction.execute()
        except BaseException:
            self.unsaved = {**unsaved, **self.unsaved}
            raise
        self._doubtful = False

    def rewrite(self) -> None:
        """Have the next ``save`` write everything: Redis may have lost data in an outage, also that fields were deleted."""
        self.unsaved = {**self.fields, **self.unsaved}
        self._doubtful = True

    async def is_kept(self, redis: Redis) -> bool:
        """Whether the hash has what was written; so it counts, too, if it is ahead: somebody else keeps it then."""
        found: Any = await redis.hgetall(self.key)
        if self.unsaved or _is_ahead(found, self.fields):
            return True
        kept = all(found.get(name) == value for name, value in self.fields.items())
        return kept and not self._not_ours(found)

    async def _brought_back(self, redis: Redis) -> list[str]:
        """The fields that were deleted and are in the hash again, as after a failover to a replica that lagged behind."""
        found: Any = await redis.hgetall(self.key)
        return self._not_ours(found)

    def _not_ours(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name.startswith(_DELETED) and name not in self.fields]

    def _rename_orders(self) -> None:
        """Rename the orders of versions before schema 2, which had no pair in their names."""
        for name, text in list(self.fields.items()):
            if name.startswith("order:"):
                try:
                    order = msgspec.json.decode(text, type=_Named)
                except (ValueError, UnicodeDecodeError):
                    continue  # not written by this service
                fresh = _order_field(order.pair, order.order_id, order.client_id)
                if fresh != name:
                    self.unsaved[name] = None
                    self._set(fresh, self.fields.pop(name))

    def _event(self, event: Event) -> None:
        match event:
            case Balance():
                self._set_json(f"balance:{event.currency}", event, ("available", "reserved"))
            case Position():
                rest = tuple(name for name in Position.WIRE if name != "pair")
                name = f"position:{event.pair}:{event.leg}" if event.leg else f"position:{event.pair}"
                self._set_json(name, event, rest, keep=bool(event.side))
            case Order():
                name = _order_field(event.pair, event.order_id, event.client_id)
                self._set_json(name, event, Order.WIRE, keep=event.status in _OPEN)
            case Fill():
                self._set("fills", str(self._count("fills") + 1))
                self._set_json("fill:last", event, Fill.WIRE)

    def _control(self, channel: Channel, control: Control) -> None:
        words = f"{control.event}: {control.reason}" if control.reason else str(control.event)
        if control.event in (ControlEvent.GAP, ControlEvent.LOST):
            self._missing(channel, words)
        elif control.event is ControlEvent.LIVE:
            self._set(f"state:{channel}", words)
        else:
            self._interrupted(channel, words)

    def _interrupted(self, channel: Channel, words: str) -> None:
        self._set(f"state:{channel}", words)
        if channel is Channel.ORDERS:
            self._mark_unconfirmed()

    def _mark_unconfirmed(self) -> None:
        """Mark the open orders as unconfirmed until they are reported again: changes are not seen meanwhile.

        Not every exchange reports after an outage which orders are closed. At most a thousand such orders are kept.
        """
        unconfirmed = []
        for name, text in self.fields.items():
            if name.startswith("order:"):
                try:
                    values = msgspec.json.decode(text, type=dict[str, Any])
                    unconfirmed.append((int(values.get("recv") or 0), name, values))
                except (ValueError, TypeError):
                    continue  # not written by this service
        unconfirmed.sort(key=lambda row: row[0])
        for _, name, values in unconfirmed[-_MAX_UNCONFIRMED:]:
            if not values.get("unconfirmed"):
                self._set(name, msgspec.json.encode({**values, "unconfirmed": True}).decode())
        for _, name, _ in unconfirmed[:-_MAX_UNCONFIRMED]:
            self.fields.pop(name, None)
            self.unsaved[name] = None

    def _count(self, name: str) -> int:
        """A count in the hash; 0 if the field is not a number."""
        text = self.fields.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    def _missing(self, channel: Channel, words: str) -> None:
        """What is missing may have been the last word on an order."""
        self._interrupted(channel, words)
        self._set(f"gaps:{channel}", str(self._count(f"gaps:{channel}") + 1))

    def _set_json(self, name: str, event: Event, wire: tuple[str, ...], *, keep: bool = True) -> None:
        if keep:
            # A leg is in the name of its field.
            more = [
                field for field in getattr(event, "MORE", ()) if field != "leg" and getattr(event, field) is not None
            ]
            values = {field: getattr(event, field) for field in (*wire, *more)}
            self._set(name, msgspec.json.encode({**values, **_times(event)}).decode())
        else:
            self.fields.pop(name, None)
            self.unsaved[name] = None

    def _set(self, name: str, value: str) -> None:
        self.fields[name] = self.unsaved[name] = value


def _order_field(pair: str, order_id: str, client_id: str) -> str:
    name = order_id or f"client:{client_id}"
    return f"order:{pair}:{name}" if pair else f"order:{name}"


def _times(event: Event) -> dict[str, str]:
    """Times as text, because nanoseconds exceed the precision of JavaScript's numbers."""
    return {"ts": "" if event.ts is None else str(event.ts), "recv": str(event.recv)}


def _is_ahead(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether the fields of a hash include a later entry of any stream."""
    positions = (name for name in one if name.startswith("id:"))
    return any(_place(one[name]) > _place(other.get(name, "")) for name in positions)


def _place(entry_id: str) -> tuple[int, int]:
    """The place of an entry in its stream; before all others if it is no ID."""
    try:
        return split_id(entry_id)
    except ValueError:
        return 0, 0
