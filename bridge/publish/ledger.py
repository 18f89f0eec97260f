"""What becomes of entries: acknowledged, waiting again, or declared lost; and the sums that go with it."""

from __future__ import annotations

from collections import Counter

from bridge.clock import CLOCK
from bridge.publish.batch import History, Run, settle
from bridge.publish.events import PublisherEvents, Totals
from bridge.publish.pending import REDIS_LOST
from bridge.publish.queue import Queue
from bridge.publish.sorting import Verdict
from bridge.publish.stream import Stream

__all__ = ["Ledger"]


class Ledger:
    """Keeps a pipeline's queue, its history, the totals and the streams' counts in step."""

    def __init__(self, queue: Queue, events: PublisherEvents, totals: Totals) -> None:
        self._queue = queue
        self._events = events
        self._totals = totals
        self.history = History()
        self.missing: Counter[Stream] = Counter()
        """Acknowledged entries that Redis has lost, and that aren't declared yet."""

    def acknowledge(self, runs: list[Run]) -> None:
        """Redis has these entries."""
        totals = self._totals
        received, lost = settle(runs)
        totals.bytes -= sum([size for _, _, size in runs])
        totals.published += len(received)
        totals.lost += lost
        totals.latency.add_since(CLOCK.now(), received)
        self.history.add(runs)

    def apply(self, verdict: Verdict, *, keep_ids: bool) -> None:
        """What was accepted counts; what was not waits again in its old place, or is declared lost.

        ``keep_ids``: what waits again may still be on its way over a connection that was given up.
        """
        self._totals.confirmed += verdict.confirmed
        self.acknowledge(verdict.accepted)
        if not keep_ids:
            for _, entries, _ in verdict.again:
                for entry in entries:
                    entry.seq = 0
        self._queue.put_back(verdict.again)
        for stream, (size, events) in verdict.holes.items():
            self._totals.bytes -= size
            self._declare(stream, events, "refused by Redis, later entries were not")

    def write_off(self) -> None:
        """Declare what Redis has lost of entries that it had acknowledged."""
        for stream, count in self.missing.items():
            if count:
                self._totals.published -= count
                stream.published -= count
                self._declare(stream, count, REDIS_LOST)
        self.missing.clear()

    def put_last(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Declare events lost behind all that waits."""
        entry = stream.lost_entry(recv, count, reason)
        self._totals.bytes += entry.weight
        stream.waiting.append(entry)
        self._queue.wake(stream)

    def _declare(self, stream: Stream, count: int, reason: str) -> None:
        """In front of all that waits, but for what keeps its number."""
        entry = stream.lost_entry(CLOCK.now(), count, reason)
        self._totals.bytes += entry.weight
        stream.put_behind_numbered(entry)
        self._queue.wake(stream)
        self._events.dropped(stream)
