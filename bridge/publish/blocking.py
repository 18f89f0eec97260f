"""Streams that Redis refuses, or one entry of which it never takes: they wait apart, and hold up nobody.

Now and then the first entry of such a stream goes alone, in a batch of its own. If Redis takes it, the stream is as any other
again. If it is the entry that is refused (too large for the server or for what is in front of it), and not the stream, it is
given up after some attempts and declared lost; that holds for an entry, too, at which the connection breaks each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from bridge.publish.batch import Run
from bridge.publish.events import PublisherEvents, Totals
from bridge.publish.pending import Pending
from bridge.publish.queue import Queue
from bridge.publish.shedding import drop_first
from bridge.publish.stream import Stream

__all__ = ["BlockedStreams"]

_OF_THE_KEY = ("WRONGTYPE", "NOPERM")
"""Refusals that no other entry would escape."""
_MOST_REFUSALS = 3
"""Refusals after which an entry is given up."""
_MOST_BREAKS = 5
"""Broken connections after which it is: these have other causes as well."""
_MOST_ALONE = 12
"""The same if Redis has taken nothing else meanwhile, so that it might not be the entry's fault."""
_SUSPICIOUS = 3
"""So often in a row does the connection break with nothing but one entry on its way, before its stream is blocked."""
_BREAKS = "the connection breaks when its next entry is sent"


class _Case(Struct):
    """A blocked stream: the entry at fault; how often it failed, and how often of these Redis had taken others since the last time."""

    culprit: Pending
    published: int
    """What all streams had published when it failed last."""
    failures: int = 1
    convincing: int = 1


class BlockedStreams:
    """The blocked streams of a pipeline."""

    def __init__(self, queue: Queue, events: PublisherEvents, totals: Totals, log: FilteringBoundLogger) -> None:
        self._queue = queue
        self._events = events
        self._totals = totals
        self._log = log
        self._cases: dict[Stream, _Case] = {}
        self._due: deque[Stream] = deque()
        self.tried: Stream | None = None
        """The stream whose entries the batch on its way consists of."""
        self._suspect: Pending | None = None
        self._alone: int
        """How often the connection broke with nothing but the suspect on its way."""

    @property
    def due(self) -> bool:
        """Whether a stream is to be tried."""
        return bool(self._due)

    def start_trials(self) -> None:
        """Try all blocked streams, one after the other; called now and then."""
        self._due = deque(stream for stream in self._queue.streams if stream.blocked)

    def block(self, stream: Stream, reason: str, culprit: Pending) -> None:
        """Redis refused this entry."""
        self.tried = None
        case = self._cases.get(stream)
        if case is not None and case.culprit is culprit:
            case.failures += 1
            case.convincing += self._totals.published > case.published
            case.published = self._totals.published
        else:
            self._cases[stream] = _Case(culprit, self._totals.published)
        if not stream.blocked:
            self._log.error("redis_refused", errors=[f"{stream.key}: {reason}"], waiting=self._queue.waiting)
        self._queue.block(stream, reason)

    def accepted(self) -> None:
        """Redis took what was tried."""
        stream, self.tried = self.tried, None
        if stream is None:
            return
        case = self._cases.get(stream)
        if case is not None and any(entry is case.culprit for entry in stream.waiting):
            self._due.appendleft(stream)  # what stood before it was taken; now for itself
            return
        self._free(stream)

    def broke(self, runs: Sequence[Run]) -> None:
        """The connection broke with these entries on their way."""
        tried, self.tried = self.tried, None
        if len(runs) != 1 or len(runs[0][1]) != 1:
            return
        stream, [entry], _ = runs[0]
        self._alone = self._alone + 1 if entry is self._suspect else 1
        self._suspect = entry
        if tried is stream:
            self.block(stream, _BREAKS, entry)
        elif self._alone >= _SUSPICIOUS:
            self._alone = 0
            self.block(stream, _BREAKS, entry)

    def next_trial(self, most: int, most_bytes: int) -> list[Run]:
        """What goes alone now, of a blocked stream: the entry at fault, or first those in front of it."""
        while self._due:
            stream = self._due.popleft()
            if not stream.blocked:
                continue
            self._give_up(stream)
            case = self._cases.get(stream)
            ahead = 1
            if case is not None:
                ahead = next((n for n, entry in enumerate(stream.waiting) if entry is case.culprit), 1) or 1
            runs = self._queue.take_first(stream, min(ahead, most), most_bytes)
            if runs:
                self.tried = stream
                return runs
            self._free(stream)
        return []

    def forget(self, stream: Stream) -> None:
        """The stream goes elsewhere."""
        self._cases.pop(stream, None)

    def _free(self, stream: Stream) -> None:
        self._cases.pop(stream, None)
        self._queue.unblock(stream)

    def _give_up(self, stream: Stream) -> None:
        """Declare the entry lost that Redis never takes, if it is the entry and not the stream."""
        case = self._cases.get(stream)
        if case is None or not stream.waiting or stream.waiting[0] is not case.culprit:
            return
        most = _MOST_BREAKS if stream.blocked == _BREAKS else _MOST_REFUSALS
        if stream.blocked.startswith(_OF_THE_KEY) or not (case.convincing >= most or case.failures >= _MOST_ALONE):
            return
        before = stream.bytes
        dropped = drop_first(stream, f"refused by Redis: {stream.blocked}"[:200])
        self._totals.bytes += stream.bytes - before
        if dropped:
            self._cases.pop(stream)
            self._log.error("entry_given_up", key=stream.key, reason=stream.blocked, events=dropped[stream])
            self._events.dropped(stream)
