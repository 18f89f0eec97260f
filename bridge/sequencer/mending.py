"""How a book that is no good is mended: what to do next, and when."""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

__all__ = ["Mending", "Remedy", "Step"]

_SECOND = 1_000_000_000
_CALM = 60 * _SECOND
"""After so long without trouble, a book's earlier troubles are forgotten."""
_SOUND = 10 * _SECOND
"""A book that was good for so long after more than the first attempts is one that they have mended."""
_LONGEST = 60 * _SECOND


class Remedy(Enum):
    """What brings a fresh snapshot."""

    SUBSCRIPTION = auto()
    """Asking for it over the connection that there is."""
    CONNECTION = auto()
    """Another connection."""


class Step(Struct, frozen=True):
    """The next remedy, and when it is due (ns)."""

    remedy: Remedy
    due: int


class Mending:
    """Counts the troubles of one book, and answers each with a step.

    The first ``attempts`` within a minute call for the subscription, at once; the next for a connection; those after it
    for the subscription again, a second later, two, four, … and in the end a minute.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._troubles = 0
        self._last = 0

    def trouble(self, now: int, *, connection: bool = True, sound: int = 0) -> Step:
        """The book is no good, as of ``now``, and was good for ``sound`` before (ns).

        ``connection`` says whether another one may be of use.
        """
        mended = self._troubles > self._attempts and sound >= _SOUND
        if mended or now - self._last > _CALM + self._wait():
            self._troubles = 0
        self._last = now
        self._troubles += 1
        if self._troubles == self._attempts + 1:
            if connection:
                return Step(Remedy.CONNECTION, now)
            self._troubles += 1
        return Step(Remedy.SUBSCRIPTION, now + self._wait())

    def _wait(self) -> int:
        late = self._troubles - self._attempts - 1
        return min(_SECOND << min(late - 1, 6), _LONGEST) if late > 0 else 0
