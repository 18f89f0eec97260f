"""Order books of which the connector keeps a copy, to check them and to give fresh snapshots out of it."""

from __future__ import annotations

from collections.abc import Callable

from bridge.book import Book
from bridge.exchanges.rules import BookRules
from bridge.model import BookDelta, BookSnapshot
from bridge.publish.stream import Stream
from bridge.sequencer.books import BookTopic
from bridge.sequencer.mending import Mending, Remedy, Step
from bridge.sequencer.topic import Sink

__all__ = ["HeldBook"]

_REPEAT = 1_000
"""How far behind a delta may be to count as a repeat; further behind, the exchange counts from the beginning again."""


class HeldBook(BookTopic):
    """A book that is checked as `BookRules` say.

    Two things are apart: whether the copy is whole (``whole``), and whether the stream's readers have a book that the
    next delta continues (``awaiting`` says that they don't). After an outage of Redis the copy is whole all the same,
    and the readers get a snapshot of it.

    Args:
        stream: where it is published.
        sink: takes the entries.
        resync: has the exchange asked for a snapshot, by pair and reason.
        replace: has a fresh connection made, by pair and reason.
        rules: of the exchange.
    """

    def __init__(
        self,
        stream: Stream,
        sink: Sink,
        resync: Callable[[str, str], None],
        replace: Callable[[str, str], None],
        rules: BookRules,
    ) -> None:
        super().__init__(stream, sink, resync)
        self._replace = replace
        self._patience = int(rules.patience * 1_000_000_000)
        self._mending = Mending(rules.attempts)
        self._copy = Book()
        self.whole = False
        """Whether the copy is the exchange's book."""
        self._at = ""
        """The ``xseq`` that the copy stands at."""
        self._ts: int | None = None
        """The exchange's time of the copy."""
        self._asked: int | None = None
        """Since when a snapshot is awaited (ns)."""
        self._step: Step | None = None
        """What is to be done next about a book that is not whole."""
        self._why = ""
        self._begun = 0
        """When the book last began with a snapshot: what happened before is history, and not late."""

    def accept(self, event: BookSnapshot | BookDelta) -> None:
        if not self.live:
            self.go_live(event.recv)
        if isinstance(event, BookSnapshot):
            self._take_snapshot(event)
        else:
            self._take_delta(event)

    def tick(self, now: int) -> None:
        """Do what is due about a book that is not whole; called now and then, ``now`` by the steady clock (ns)."""
        if not self.live or self.whole:
            return
        if self._asked is not None and now - self._asked > self._patience:
            self._asked = None
            self.gap(now, f"no snapshot within {self._patience / 1e9:g} s")
        elif self._step is not None and now >= self._step.due:
            self._take(self._step, now)

    def restore(self, now: int) -> bool:
        if not (self.whole and self.live):
            return False
        self._refresh(now)
        return True

    def go_live(self, recv: int) -> None:
        if not self.live:
            self._lose(recv)
        super().go_live(recv)

    def down(self, recv: int, reason: str) -> None:
        self._lose(None)
        super().down(recv, reason)

    def stale(self, recv: int, reason: str) -> None:
        self._lose(None)
        super().stale(recv, reason)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        """The book has missed something, or is wrong: it says so, and is mended."""
        super().gap(recv, reason, count)
        if self.whole or (self._asked is None and self._step is None):
            self.whole = False
            self._why = reason
            self._step = self._mending.trouble(recv)
            if self._step.due <= recv:
                self._take(self._step, recv)

    def disturbed(self, recv: int, reason: str, count: int | None) -> None:
        """Somebody else has changed the stream: the copy is as good as before."""
        if self.live:
            super().gap(recv, reason, count)
        else:
            super().disturbed(recv, reason, count)

    def _take_snapshot(self, event: BookSnapshot) -> None:
        fresh = Book()
        fresh.replace(event.bids, event.asks)
        if self.whole and not self.awaiting and event.xseq and event.xseq == self._at and fresh == self._copy:
            self.repeated += 1  # some exchanges say the same again where nothing has changed
            self.last = event.recv
            return
        self._copy = fresh
        self.whole = True
        if self._copy.crossed():
            self._refuse(event, "the snapshot is crossed")
            return
        self._asked = self._step = None
        self._at, self._ts = event.xseq, event.ts
        if self.awaiting or self._since_snapshot:  # else each message is a snapshot
            self._begun = event.recv
        self._publish(event)

    def _take_delta(self, event: BookDelta) -> None:
        if self.whole:
            if event.prev and event.prev != self._at:
                if _is_repeat(event.xseq, self._at):
                    self.repeated += 1
                    self.last = event.recv
                else:
                    self._refuse(event, f"xseq {self._at} was last, {event.xseq} continues {event.prev}")
                return
            self._copy.apply(event.bids, event.asks)
            if self._copy.crossed():
                self._refuse(event, "the book is crossed")
                return
            self._at, self._ts = event.xseq, event.ts
        self._publish(event)

    def _publish(self, event: BookSnapshot | BookDelta) -> None:
        """Pass it on; some exchanges begin with a snapshot of seconds ago, and with all deltas since then."""
        if event.ts is not None and event.ts < self._begun:
            with self.not_timed():
                super().accept(event)
        else:
            super().accept(event)

    def _refuse(self, event: BookSnapshot | BookDelta, reason: str) -> None:
        """Events from here on are of no use until the next snapshot."""
        self.received += 1
        self.last = event.recv
        self._unused += 1
        self.gap(event.recv, reason)

    def _lose(self, asked: int | None) -> None:
        """The copy is no good; a snapshot is awaited since ``asked``, if it is."""
        self.whole = False
        self._asked = asked
        self._step = None

    def _take(self, step: Step, now: int) -> None:
        self._step, self._asked = None, now
        remedy = self._resync if step.remedy is Remedy.SUBSCRIPTION else self._replace
        remedy(self.subject, self._why)

    def _refresh(self, now: int) -> None:
        """Publish the copy; it counts as received, since it stands for what was."""
        bids, asks = self._copy.bids.top(), self._copy.asks.top()
        with self.not_timed():
            super().accept(BookSnapshot(self.subject, self._ts, now, self._at, bids, asks))


def _is_repeat(xseq: str, last: str) -> bool:
    return xseq.isdecimal() and last.isdecimal() and 0 <= int(last) - int(xseq) < _REPEAT
