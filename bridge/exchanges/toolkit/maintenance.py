"""Maintenance that an exchange announces, maybe over one connection only, for the sessions of all."""

from __future__ import annotations

from bridge.exchanges.api import Output, Pause, Warn

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

    def note(self, which: str, state: str, words: str, now: int, *, pauses: bool, until: int | None) -> list[Output]:
        """Take up an announcement, which may be known; what an operator should know of it.

        Args:
            which: what tells it from others.
            state: the exchange's word for how far it is.
            words: what it is about.
            now: when it came.
            pauses: whether it is under way, and concerns all pairs.
            until: when it will be over, by the exchange's clock; ``None``: nobody knows.
        """
        if self._states.get(which) == state:
            return []
        self._states[which] = state
        if len(self._states) > _MOST_KNOWN:
            del self._states[next(iter(self._states))]
        if pauses:
            self._paused, self.pause = which, Pause(words, None if until is None else until - self.clock_offset)
        elif which == self._paused:
            self._paused, self.pause = "", Pause(words, now)
        return [Warn(words)]
