"""Limits repeated log lines: the first ones of a kind are written, the others are summarised once a minute.

The *kind* of a line is what it reports (an event of a connector, with the kind of error); its *source* is what it is
about (a connection, a pair). The first line of each source is always written at once, so that a single event is not
hidden by a flood of others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from msgspec import Struct, field

__all__ = ["Repeats", "Source", "Summary"]

WINDOW = 60.0
"""Seconds covered by a summary; also how long a kind must be quiet before its lines are written again."""
WHOLE = 3
"""Lines of a kind that are written before they are summarised, if they have fewer sources."""
_MOST_SOURCES = 100
"""Limit of sources per kind, so that names from outside cannot cause unlimited lines or memory."""
_MOST_KINDS = 1_000

Source = tuple[Hashable, ...]


class Summary(Struct):
    """``count`` lines that were not written in ``seconds``, with the newest line and all sources."""

    count: int
    seconds: float
    newest: Mapping[str, Any]
    sources: set[Source]


class _Kind(Struct):
    since: float
    written: int = 0
    sources: set[Source] = field(default_factory=set)
    """The sources that have had a line written."""
    summed: bool = False
    """Whether only summaries are written until the kind has been quiet."""
    left_out: Summary | None = None


class Repeats:
    """Decides which lines are written; calls ``say`` to write a summary, from a timer thread or in `flush`."""

    def __init__(self, say: Callable[[Summary], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._forgot = clock()
        self.left_out = 0
        """Lines not written since the start."""

    def admit(self, kind: Hashable, source: Source, line: Mapping[str, Any]) -> bool:
        """Whether to write this line; if not, it is counted, and may become the example of a summary."""
        now = self._clock()
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
                self._forget(now)
                kind = kind if len(self._kinds) < _MOST_KINDS else "others"
            state = self._kinds.get(kind)
            if state is None or _quiet(state, now):
                state = self._kinds[kind] = _Kind(now)
            news = source not in state.sources and len(state.sources) < _MOST_SOURCES
            if news or (not state.summed and state.written < WHOLE):
                if news:
                    state.sources.add(source)
                state.written += 1
                return True
            self._leave_out(state, source, line)
            return False

    def flush(self, *, all_of_them: bool = True) -> None:
        """Write summaries now; without ``all_of_them``, only of kinds whose minute is over."""
        now = self._clock()
        summaries = []
        with self._lock:
            for state in self._kinds.values():
                if state.left_out and (all_of_them or now - state.since >= WINDOW):
                    state.left_out.seconds = round(now - state.since, 1)
                    summaries.append(state.left_out)
                    state.since, state.summed, state.left_out = now, True, None
            self._wait()
        for summary in summaries:
            self._say(summary)

    def close(self) -> None:
        """Write the pending summaries, and none later."""
        self.flush()
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None

    def _forget(self, now: float) -> None:
        """Forget quiet kinds; at most once a minute, since that looks at all of them."""
        if now - self._forgot >= WINDOW:
            self._forgot = now
            self._kinds = {name: state for name, state in self._kinds.items() if not _quiet(state, now)}

    def _leave_out(self, state: _Kind, source: Source, line: Mapping[str, Any]) -> None:
        self.left_out += 1
        news = state.left_out is None
        summary = state.left_out = state.left_out or Summary(0, 0.0, line, set())
        summary.count += 1
        summary.newest = line
        if len(summary.sources) < _MOST_SOURCES:
            summary.sources.add(source)
        if news:
            self._wait()

    def _wait(self) -> None:
        """Set the timer to the end of the first pending minute."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = [state.since + WINDOW for state in self._kinds.values() if state.left_out]
        if due:
            timer = threading.Timer(max(0.01, min(due) - self._clock()), self._turn)
            timer.daemon = True
            timer.name = "log-summaries"
            timer.start()
            self._timer = timer

    def _turn(self) -> None:
        with self._lock:
            self._timer = None
        self.flush(all_of_them=False)


def _quiet(state: _Kind, now: float) -> bool:
    """Whether no line of this kind was left out for a minute."""
    return state.left_out is None and now - state.since >= WINDOW
