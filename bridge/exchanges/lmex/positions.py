"""An LMEX account's positions, out of rows that tell of one, of all, or of one leg of a hedged pair.

A stream has one position per pair. In hedge mode a pair has two legs, long and short, with a ``positionId`` each
(``BTC-PERP-USD|SHORT``): the newer row stands, and where one leg is closed the other one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from bridge.exchanges.fields import Row
from bridge.exchanges.lmex.names import Contracts
from bridge.exchanges.lmex.rows import NOT_A_ROW, flat, position_event
from bridge.model import Event, Position

__all__ = ["Positions"]


Bad = Callable[[Exception, int], None]
"""Told of each row that can't be understood: what is wrong, and how many could be before it."""


class Positions:
    """What is known of one account's positions."""

    def __init__(self, subject: str, contracts: Contracts) -> None:
        self._subject = subject
        self._contracts = contracts
        self._said: dict[str, Position] = {}
        self._legs: dict[str, dict[str, Position]] = {}
        """Pair → leg (``SHORT``; empty outside of hedge mode) → the open position."""

    def one(self, row: Row, recv: int) -> Position:
        """The pair's position after a row.

        Raises:
            ValueError, KeyError: as `position_event`.
        """
        found = position_event(row, self._subject, recv, self._contracts)
        legs = self._legs.setdefault(found.pair, {})
        leg = row.get("positionId", "").partition("|")[2]
        legs.pop(leg, None)
        if found.side:
            legs[leg] = found
        elif legs and leg:
            return msgspec.structs.replace(next(reversed(legs.values())), recv=recv)
        else:
            legs.clear()
        return found

    def learn(self, held: Iterable[Position], asked: int) -> None:
        """Take up what REST says is held, where nothing has come since it was ``asked``; the stream is told of it elsewhere."""
        for position in held:
            known = self._said.get(position.pair)
            if known is None or known.recv <= asked:
                self._said[position.pair] = position

    def some(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        """One row per change; the same row may be pushed twice."""
        return self._changed(self._each(rows, recv, bad)[0])

    def all(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        """All positions, every few seconds; one that is missing is flat, unless a row can't be understood."""
        before = [position.pair for position in self._said.values() if position.side]
        legs, self._legs = self._legs, {}
        found, whole = self._each(rows, recv, bad)
        if not whole:
            self._legs = {**legs, **self._legs}
            return self._changed(found)
        held = {position.pair: position for position in found}
        gone = [pair for pair in before if pair not in held]
        return self._changed([*held.values(), *(flat(pair, self._subject, recv) for pair in gone)])

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
            known = self._said.get(position.pair)
            self._said[position.pair] = position
            if known is None or msgspec.structs.replace(known, recv=position.recv) != position:
                events.append(position)
        return events
