"""Trades that an exchange numbers one by one: their ids show which are missing."""

from __future__ import annotations

from msgspec import Struct

from bridge.exchanges.api import Output, Warn
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Channel, Control, ControlEvent

__all__ = ["NumberedTrades"]

_GRACE = SECOND
"""How long trades may be missing: those of one order may come in another order than they are numbered."""
_FAR = 10_000
"""How much smaller a number has to be to begin a new count."""
_LONGEST = 18
"""Digits of a number."""
_CALM = 60 * SECOND
_MOST = 10
"""Holes, less than a minute apart, after which a pair's trades are taken for ones that are numbered otherwise."""


class _Count(Struct):
    newest: int
    missing: int = 0
    since: int = 0
    """Since when some are missing (ns)."""
    holes: int = 0
    last_hole: int = 0


class NumberedTrades:
    """What one connection has brought of each pair's trades; a message may stand for several. Times in ns."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._remarks: list[str] = []

    def told(self, pair: str, number: str, count: str, now: int) -> None:
        """`came`, of text; what is no number says nothing."""
        if all(text.isascii() and text.isdecimal() and len(text) <= _LONGEST for text in (number, count)):
            self.came(pair, int(number), int(count), now)

    def came(self, pair: str, number: int, count: int, now: int) -> None:
        """``count`` trades have come, the last of which has this number."""
        known = self._counts.get(pair)
        if known is None or number < known.newest - _FAR:
            if known is not None:
                self._remarks.append(f"the ids of {pair}'s trades begin again: {number} came after {known.newest}")
            self._counts[pair] = _Count(number)
            return
        before = known.missing
        known.missing += max(number - known.newest, 0) - count
        known.newest = max(known.newest, number)
        if known.missing > 0 >= before:
            known.since = now

    def missing(self, now: int) -> list[Output]:
        """The gaps of pairs of which trades have been missing for too long, each once, and what an operator should know."""
        found: list[Output] = []
        for pair, known in self._counts.items():
            if not known.missing or now - known.since < _GRACE:
                continue
            count, known.missing = known.missing, 0
            if count < 0 or known.holes > _MOST:
                continue  # what came twice hides nothing that comes later
            known.holes = known.holes + 1 if now - known.last_hole < _CALM else 1
            known.last_hole = now
            reason = f"the ids of trades show that {count} are missing"
            found.append(Control(pair, None, now, Channel.TRADES, ControlEvent.GAP, reason, count))
            if known.holes > _MOST:
                self._remarks.append(f"{pair}'s trades are not numbered one by one: missing ones no longer show")
        found += map(Warn, self._remarks)
        self._remarks.clear()
        return found
