"""What can go wrong at LMEX alone.

======================================== ================================================================
``gap``                                  the next ``count`` book deltas are left out, the chain of numbers goes on
``crossed``                              the next ``count`` book deltas bring a bid above the best ask
``no_snapshot``                          the next ``count`` book subscriptions (or those of the next ``duration``
                                         seconds) are acknowledged, and nothing follows; with ``deltas`` deltas do
``buffer_full``                          error 1007, "outbound message buffer is full", and the socket is closed
``refuse_login``                         the next ``count`` log-ins fail
======================================== ================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from msgspec import Struct

from bridge.simulator.faults import TARGET, TIMING, Fault, OwnFault

__all__ = ["FAULTS", "BookFaults"]

_NUMBERED = "numbered books"

FAULTS: Mapping[str, OwnFault] = {
    "gap": OwnFault(TARGET | {"count"}, _NUMBERED),
    "crossed": OwnFault(TIMING | {"pair", "count"}, _NUMBERED),
    "no_snapshot": OwnFault(TIMING | {"pair", "count", "duration", "deltas"}, _NUMBERED),
    "buffer_full": OwnFault(TARGET, _NUMBERED),
    "refuse_login": OwnFault(TIMING | {"count"}, "log-ins on its sockets"),
}
"""Name → the settings it takes."""


class _Mute(Struct):
    fault: Fault
    left: int
    until: float


class BookFaults:
    """Those of books: ``crossed`` and ``no_snapshot``.

    ``pairs`` are all that there are, ``clock`` is monotonic, ``done`` counts what happened.
    """

    def __init__(self, pairs: list[str], clock: Callable[[], float], done: Counter[str]) -> None:
        self._pairs = pairs
        self._clock = clock
        self._done = done
        self._crossed: Counter[str] = Counter()
        self._mutes: list[_Mute] = []

    def strike(self, fault: Fault) -> None:
        """Begin a ``crossed`` or ``no_snapshot``."""
        if fault.fault == "crossed":
            for pair in [fault.pair] if fault.pair else self._pairs:
                self._crossed[pair] += fault.count
        elif fault.duration:
            self._mutes.append(_Mute(fault, 0, self._clock() + fault.duration))
        else:
            self._mutes.append(_Mute(fault, fault.count, 0.0))

    def clear(self) -> None:
        """End them."""
        self._crossed.clear()
        self._mutes.clear()

    def active(self) -> list[str]:
        """Those at work."""
        return ["crossed"] * bool(+self._crossed) + ["no_snapshot"] * any(map(self._lasts, self._mutes))

    def crosses(self, pair: str) -> bool:
        """Whether the next delta of a pair is to cross its book; asking uses it up."""
        if self._crossed[pair] <= 0:
            return False
        self._crossed[pair] -= 1
        self._done["crossed"] += 1
        return True

    def muted(self, pair: str) -> Fault | None:
        """The fault by which a subscription gets no snapshot, if one does; asking uses it up."""
        self._mutes = [mute for mute in self._mutes if self._lasts(mute)]
        for mute in self._mutes:
            if mute.fault.pair in ("", pair):
                mute.left -= 1
                self._done["no_snapshot"] += 1
                return mute.fault
        return None

    def _lasts(self, mute: _Mute) -> bool:
        return mute.left > 0 or self._clock() < mute.until
