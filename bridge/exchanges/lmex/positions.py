"""An LMEX account's positions, out of rows that tell of one, of all, or of one leg of a hedged pair.

A stream has one position per pair. In hedge mode a pair has two legs, long and short, with a ``positionId`` each
(``BTC-PERP-USD|SHORT``): the newer row stands, and where one leg is closed the other one does.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bridge.exchanges.lmex.messages import Row
from bridge.exchanges.lmex.names import Contracts
from bridge.exchanges.lmex.rows import flat, position_event
from bridge.model import Event, Position

__all__ = ["Positions"]


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

    def some(self, rows: list[Row], recv: int) -> list[Event]:
        """One row per change; the same row may be pushed twice."""
        return self._changed([self.one(row, recv) for row in rows])

    def all(self, rows: list[Row], recv: int) -> list[Event]:
        """All positions, every few seconds; one that is missing is flat."""
        return self._changed(self.whole(rows, recv))

    def whole(self, rows: list[Row], recv: int) -> list[Position]:
        """The position of every pair, where the rows are all that are held."""
        before = [position.pair for position in self._said.values() if position.side]
        self._legs.clear()
        found = {position.pair: position for position in (self.one(row, recv) for row in rows)}
        gone = [pair for pair in before if pair not in found]
        return [*found.values(), *(flat(pair, self._subject, recv) for pair in gone)]

    def _changed(self, positions: list[Position]) -> list[Event]:
        events: list[Event] = []
        for position in positions:
            known = self._said.get(position.pair)
            self._said[position.pair] = position
            if known is None or msgspec.structs.replace(known, recv=position.recv) != position:
                events.append(position)
        return events
