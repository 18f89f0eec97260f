"""Silences that an exchange has announced: a maintenance, a market that is halted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec import Struct

from bridge.exchanges.api import Subscription

__all__ = ["Pauses"]

_TRY_AGAIN = 60.0
"""Most seconds between attempts to connect in a pause: it may be over before the time that was announced."""


class _Pause(Struct):
    streams: frozenset[Subscription]
    since: int
    until: int | None


class Pauses:
    """The pauses of one supervisor's streams; each ends at its time, or with the next event of any of its streams."""

    def __init__(self) -> None:
        self._pauses: list[_Pause] = []
        self._resumed: dict[Subscription, int] = {}

    def __contains__(self, stream: Subscription) -> bool:
        return any(stream in pause.streams for pause in self._pauses)

    def begin(self, streams: Collection[Subscription], until: int | None, now: int) -> None:
        """One was announced at ``now`` (ns), for these streams; it replaces what was known of them."""
        fresh = frozenset(streams)
        for known in self._pauses:
            known.streams -= fresh
        self._pauses = [*(known for known in self._pauses if known.streams), _Pause(fresh, now, until)]

    def end(self, now: int, last: Callable[[Subscription], int]) -> list[Subscription]:
        """The streams whose pause is over, each once, as of ``now``; ``last`` says when a stream's last event came (ns)."""
        over = [
            pause
            for pause in self._pauses
            if (pause.until is not None and now >= pause.until) or any(last(s) > pause.since for s in pause.streams)
        ]
        self._pauses = [pause for pause in self._pauses if pause not in over]
        ended = sorted({stream for pause in over for stream in pause.streams}, key=lambda s: (s.subject, s.channel))
        self._resumed.update(dict.fromkeys(ended, now))
        return ended

    def resumed(self, stream: Subscription) -> int:
        """When the stream's last pause was over (ns): its silence counts from then on; 0: it had none."""
        return self._resumed.get(stream, 0)

    def cover(self, streams: Iterable[Subscription]) -> bool:
        """Whether all of these pause."""
        return bool(self._pauses) and all(stream in self for stream in streams)

    def wait(self, streams: Iterable[Subscription], now: int) -> float:
        """Least seconds before the next attempt to connect, if none of these is served anyway."""
        if not self.cover(streams):
            return 0.0
        until = [pause.until for pause in self._pauses]
        known = [(moment - now) / 1e9 for moment in until if moment is not None]
        return max(0.0, min([_TRY_AGAIN, *known]))
