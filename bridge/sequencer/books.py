"""Order books as their readers have them: a snapshot, and the deltas behind it."""

from __future__ import annotations

from collections.abc import Callable

from bridge.model import BookDelta, BookSnapshot, ControlEvent
from bridge.publish.stream import Stream
from bridge.sequencer.topic import Sink, Topic

__all__ = ["BookTopic"]


class BookTopic(Topic):
    """A book: deltas pass only behind a snapshot. Whether they continue it is up to what is made of this."""

    each_counts = False

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self.awaiting = True
        """Whether deltas are of no use until the next snapshot."""
        self.resyncs = 0
        """Snapshots that made the book whole again; the first one isn't counted."""
        self._xseq = ""
        self._unused = 0
        self._since_snapshot = 0
        self._snapshot_at = 0

    def accept(self, event: BookSnapshot | BookDelta) -> None:
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        ts = event.ts
        again = event.xseq and event.xseq == self._xseq  # it only says again what stands
        if ts is not None and ts >= self.lags_from and not again:
            self.lags.append(event.recv - ts)
        if event.__class__ is BookSnapshot:
            self._declare_unused(event.recv)
            self.resyncs += self.awaiting and self._snapshot_at > 0
            self.awaiting = False
            self._since_snapshot = 0
            self._snapshot_at = event.recv
        elif self.awaiting:
            self._unused += 1
            return
        else:
            self._since_snapshot += 1
        self._xseq = event.xseq
        self.sink.put(self.stream, event)
        if self._since_snapshot and self._since_snapshot % 1024 == 0:
            self._refresh_if_old(event.recv)

    @property
    def undeclared(self) -> int:
        """Deltas that continue nothing."""
        return self._unused

    def go_live(self, recv: int) -> None:
        if not self.live:
            self.awaiting = True
        super().go_live(recv)

    def down(self, recv: int, reason: str) -> None:
        self._declare_unused(recv)
        self.awaiting = True
        super().down(recv, reason)

    def stale(self, recv: int, reason: str) -> None:
        self.awaiting = True
        super().stale(recv, reason)

    def stop(self, recv: int, reason: str = "the connector ends") -> None:
        self._declare_unused(recv)
        super().stop(recv, reason)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        if self.awaiting and self.said == ControlEvent.GAP and count is None:
            self.gaps += 1  # the stream says already that the book is no good, and nothing but a snapshot is to come
            return
        self.awaiting = True
        super().gap(recv, reason, count)

    def disturbed(self, recv: int, reason: str, count: int | None) -> None:
        """Somebody else has changed the stream: the copy of the book, if there is one, is as good as before."""
        if self.live:
            BookTopic.gap(self, recv, reason, count)
        else:
            super().disturbed(recv, reason, count)

    def broken(self) -> None:
        self.awaiting = True

    def tick(self, now: int) -> None:
        """Do what is due (``now`` by the steady clock, ns): nothing, where sessions look after their books."""

    def restore(self, now: int) -> bool:
        """Publish a snapshot without asking the exchange; whether there was a whole book to make it of."""
        del now
        return False

    def _declare_unused(self, recv: int) -> None:
        if self._unused:
            count, self._unused = self._unused, 0
            self.sink.declare_lost(self.stream, recv, count, "deltas without a snapshot to continue")

    def _refresh_if_old(self, now: int) -> None:
        """Have a snapshot before the last one is so old that retention would have to wait for it."""
        retention = self.stream.retention
        age = (now - self._snapshot_at) / 1e9
        if self._since_snapshot > retention.max_entries // 2 or age > retention.max_age / 2:
            self._since_snapshot = 0
            self._refresh(now)

    def _refresh(self, now: int) -> None:
        """Have a snapshot of a book that is good."""
        del now
        self._resync(self.subject, "the last snapshot is old")
