"""An LMEX account's positions, out of rows that tell of one, of all, or of one leg of a hedged pair.

In hedge mode a pair has two legs, long and short, with a ``positionId`` each (``BTC-PERP-USD|SHORT``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from bridge.exchanges.lmex.names import Contracts
from bridge.exchanges.lmex.rows import NOT_A_ROW, flat, position_event
from bridge.exchanges.toolkit.fields import Row
from bridge.model import Event, Position

__all__ = ["Positions"]


Bad = Callable[[Exception, int], None]
"""Told of each row that can't be understood: what is wrong, and how many could be before it."""

Key = tuple[str, str | None]
"""A pair, and its leg in hedge mode."""


class Positions:
    """What is known of one account's positions."""

    def __init__(self, subject: str, contracts: Contracts) -> None:
        self._subject = subject
        self._contracts = contracts
        self._said: dict[Key, Position] = {}

    def one(self, row: Row, recv: int) -> Position:
        """The position, or the leg, that a row tells of.

        Raises:
            ValueError, KeyError: as `position_event`.
        """
        return position_event(row, self._subject, recv, self._contracts)

    def learn(self, held: Iterable[Position], asked: int) -> None:
        """Take up what REST says is held, where nothing has come since it was ``asked``; the stream is told of it elsewhere."""
        for position in held:
            known = self._said.get(_key(position))
            if known is None or known.recv <= asked:
                self._said[_key(position)] = position

    def some(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        """One row per change; the same row may be pushed twice. One that is flat and names no leg is of both."""
        changed: list[Event] = []
        for found in self._each(rows, recv, bad)[0]:
            if not found.side and found.leg is None and (legs := self._open_legs(found.pair)):
                changed += self._changed([flat(found.pair, self._subject, recv, leg) for leg in legs])
            else:
                changed += self._changed([found])
        return changed

    def all(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        """All positions, every few seconds; one that is missing is flat, unless a row can't be understood."""
        before = [key for key, position in self._said.items() if position.side]
        found, whole = self._each(rows, recv, bad)
        if not whole:
            return self._changed(found)
        held = {_key(position): position for position in found if position.side}
        gone = [flat(pair, self._subject, recv, leg) for pair, leg in before if (pair, leg) not in held]
        return self._changed([*held.values(), *gone])

    def _open_legs(self, pair: str) -> list[str]:
        return [leg for (name, leg), position in self._said.items() if name == pair and leg and position.side]

    def _each(self, rows: list[Row], recv: int, bad: Bad) -> tuple[list[Position], bool]:
        """The positions of the rows that can be understood, and whether that is all of them."""
        found = []
        for row in rows:
            try:
                found.append(self.one(row, recv))
            except NOT_A_ROW as error:
                bad(error, len(found))
        return found, len(found) == len(rows)

    def _changed(self, positions: list[Position]) -> list[Event]:
        events: list[Event] = []
        for position in positions:
            known = self._said.get(_key(position))
            self._said[_key(position)] = position
            if known is None or msgspec.structs.replace(known, recv=position.recv) != position:
                events.append(position)
        return events


def _key(position: Position) -> Key:
    return position.pair, position.leg
