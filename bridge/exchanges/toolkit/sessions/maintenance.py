"""Maintenance that an exchange announces, maybe over one connection only, for the sessions of all."""

from __future__ import annotations

from bridge.exchanges.api import Output, Pause, Warn
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, shortened

__all__ = ["Maintenance"]

_MOST_KNOWN = 100


class Maintenance:
    """What has been announced; times in ns."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._paused = ""
        self.clock_offset = 0
        """The exchange's clock less ours."""
        self.pause: Pause | None = None
        """The newest pause: each session hands it out once. Where it is over, it ends in the past."""

    def note(self, title: str, state: str, now: int, *, begins: str, pauses: bool, until: int | None) -> list[Output]:
        """Take up an announcement, which may be known; what an operator should know of it.

        Args:
            title: what it is about.
            state: the exchange's word for how far it is.
            now: when it came.
            begins: when it begins, in the exchange's form.
            pauses: whether it is under way, and concerns all pairs.
            until: when it will be over, by the exchange's clock; ``None``: nobody knows.
        """
        which = f"{begins} {title}"
        if self._states.get(which) == state:
            return []
        self._states[which] = state
        if len(self._states) > _MOST_KNOWN:
            del self._states[next(iter(self._states))]
        end = "" if until is None else f" to {until // MILLISECOND}"
        words = f"maintenance is {shortened(state)}, from {shortened(begins)}{end} (ms since 1970): {shortened(title)}"
        if pauses:
            self._paused, self.pause = which, Pause(words, None if until is None else until - self.clock_offset)
        elif which == self._paused:
            self._paused, self.pause = "", Pause(words, now)
        return [Warn(words)]
