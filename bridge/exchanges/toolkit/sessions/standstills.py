"""What an exchange says of the state of its system and of its markets, as pauses."""

from __future__ import annotations

from collections.abc import Collection

from bridge.exchanges.api import Output, Pause, Warn
from bridge.exchanges.toolkit.values.numbers import shortened

__all__ = ["Standstills"]


class Standstills:
    """The states of the system and of pairs, of which each is said once.

    ``still`` are those in which nothing is traded, ``usual`` the one in which all is as it should be.
    """

    def __init__(self, still: Collection[str], usual: str = "online") -> None:
        self._still = still
        self._usual = usual
        self._known: dict[str, str] = {}

    def told(self, what: str, state: str, now: int, subjects: Collection[str] | None = None) -> list[Output]:
        """The exchange has told the state of something: of these subjects, or of all of them."""
        before = self._known.get(what, self._usual)
        self._known[what] = state
        if state == before:
            return []
        reason = f"the exchange has {what} in the state {shortened(state)}"
        if state in self._still:
            return [Pause(reason, None, subjects)]
        over: list[Output] = [Pause(reason, now, subjects)] if before in self._still else []
        return over if state == self._usual else [*over, Warn(reason)]
