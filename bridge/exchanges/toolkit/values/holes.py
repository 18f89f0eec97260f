"""Numbers that rise by one: what is missing between two of them."""

from __future__ import annotations

from bridge.model import Channel, Control, ControlEvent, Event, Trade

__all__ = ["Holes", "TradeNumbers"]

_LONGEST = 18
"""Digits of a number; a longer text is no count."""


class Holes:
    """The newest number of each of many counts."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}

    def before(self, key: str, number: int) -> int:
        """Take note of a number; returns how many are missing before it. Older ones are repeats, the first is a start."""
        newest = self._newest.get(key)
        self._newest[key] = number if newest is None else max(newest, number)
        return 0 if newest is None else max(number - newest - 1, 0)

    def has(self, key: str, number: int) -> bool:
        """Whether this number has come already, or a newer one."""
        return number <= self._newest.get(key, number - 1)

    def begin(self, key: str, number: int) -> None:
        """The count begins, or begins again, with this number."""
        self._newest[key] = number

    def forget(self, key: str) -> None:
        """Something of it was lost, and has been said to be: the next number is a start."""
        self._newest.pop(key, None)

    def forget_all(self) -> None:
        """The same of all counts."""
        self._newest.clear()


class TradeNumbers(Holes):
    """The ids of trades that rise by one with each trade of a pair, over all connections and restarts."""

    def followed(self, trade: Trade) -> list[Event]:
        """The trade, behind a ``gap`` with the count of those that are missing before it."""
        if not (trade.id.isascii() and trade.id.isdecimal() and len(trade.id) <= _LONGEST):
            return [trade]
        return [*self.came(trade.subject, int(trade.id), trade.recv), trade]

    def came(self, pair: str, number: int, recv: int) -> list[Control]:
        """A trade of this number has come: a ``gap`` with the count of those that are missing before it, if any."""
        missing = self.before(pair, number)
        reason = f"trade {number} does not follow the one before it"
        gap = Control(pair, None, recv, Channel.TRADES, ControlEvent.GAP, reason, missing)
        return [gap] if missing else []
