"""Order books whose snapshots come by REST: deltas are held until one is there, and follow it from where it ends."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from msgspec import structs

from bridge.exchanges.rules import BestPrices
from bridge.model import BookDelta, BookSnapshot, ControlEvent
from bridge.sequencer.books import BookTopic
from bridge.sequencer.checked import CheckedBook, Condition

__all__ = ["RestBook"]

_SECOND = 1_000_000_000
_LONGEST = 60 * _SECOND
"""Most between two times that a snapshot is asked for."""
_QUIET = 5 * _SECOND
"""A book of which no delta comes is asked for after so long; else the first delta has to be there: a snapshot that is
older would be of no use."""
_MOST_HELD = 10_000
"""Deltas that are held; of more, the oldest go: the later the snapshot comes, the more of them it has."""


class RestBook(CheckedBook):
    """A held book (`BookRules.snapshot` is ``rest``) whose deltas are numbered across connections.

    A delta leads from ``prev`` to ``xseq``, both decimal numbers. Those that a snapshot has, by its ``xseq``, are
    repeats; the first that it lacks has to begin at it or before it, and follows it. A snapshot that is older than that is
    of no use, and another one is asked for: a second later, two, four, … and in the end a minute, as after a request
    that has failed. So a session may be asked while it is fetching already: then it has nothing to do. The book is
    ``down`` while there is none in ``BookRules.patience``, and is live again with its snapshot.

    What was held counts as received when its snapshot was, so that ``recv`` doesn't decrease.
    """

    _another_connection_helps = False

    def _set_up(self) -> None:
        self._waiting: deque[BookDelta] = deque()
        """Each continues the one before it."""
        self._asked = 0
        """How often a snapshot has been asked for since there was one."""
        self._ask_at = 0
        """When it is asked for next (ns)."""
        self._begins: bool
        """Whether no delta has followed the snapshot yet: the first may begin before it."""

    def accept(self, event: BookSnapshot | BookDelta | BestPrices) -> None:
        if isinstance(event, BookDelta) and not self.whole:
            if not (self.live or self._given_up):
                self.go_live(event.recv)
            self._hold(event)
        elif isinstance(event, BookSnapshot):
            self._splice(event)
        else:
            super().accept(event)

    def tick(self, now: int) -> None:
        if self.condition not in (Condition.STARTING, Condition.AWAITED):
            super().tick(now)
            return
        if now >= self._ask_at:
            self.condition = Condition.AWAITED
            self._ask_later(now)
            self._resync(self.subject, self._why or "the book begins")
        if self.live and self._waited(now) > self._patience:
            reason = f"no snapshot within {self._rules.patience:g} s"
            self._given_up = True
            BookTopic.down(self, now, reason)
            self._tell(now, ControlEvent.DOWN, reason)

    def go_live(self, recv: int) -> None:
        if self.condition is Condition.AWAY:
            self._asked, self._why, self._ask_at = 0, "", recv + _QUIET
        super().go_live(recv)

    def reopened(self, since: int) -> None:
        """What was asked for over the connection before won't come."""
        super().reopened(since)
        if self.condition is Condition.AWAITED:
            self._ask_at = 0

    def down(self, recv: int, reason: str) -> None:
        self._discard()
        super().down(recv, reason)

    def stop(self, recv: int, reason: str = "the connector ends") -> None:
        self._discard()
        super().stop(recv, reason)

    def _hold(self, event: BookDelta) -> None:
        if self._waiting and event.prev != self._waiting[-1].xseq:
            if int(event.xseq) <= int(self._waiting[-1].xseq):
                self.repeated += 1
                return
            self._discard()  # only a snapshot from behind the hole is of use
        if self.condition is Condition.STARTING:
            self._ask_at = min(self._ask_at, event.recv)
        self.last = event.recv
        self._waiting.append(event)
        if len(self._waiting) > _MOST_HELD:
            self._leave_out(self._waiting.popleft())

    def _splice(self, snapshot: BookSnapshot) -> None:
        at = int(snapshot.xseq)
        held = [delta for delta in self._waiting if int(delta.xseq) > at]
        if self.whole:
            self.repeated += 1  # it was asked for twice
        elif held and int(held[0].prev) > at:
            self._useless(snapshot, f"the snapshot of {at} is older than the deltas from {held[0].prev} on")
        elif snapshot.bids and snapshot.asks and Decimal(snapshot.bids[0][0]) >= Decimal(snapshot.asks[0][0]):
            self._useless(snapshot, "the snapshot is crossed")
        else:
            self.repeated += len(self._waiting) - len(held)
            self._waiting.clear()
            self._begins = True
            super().accept(snapshot)
            for delta in held:
                self.accept(structs.replace(delta, recv=max(delta.recv, snapshot.recv)))

    def _useless(self, snapshot: BookSnapshot, reason: str) -> None:
        self._why = reason
        self.repeated += 1
        self._ask_later(snapshot.recv)

    def _take(self, event: BookSnapshot) -> None:
        self._asked = 0
        super()._take(event)

    def _take_delta(self, event: BookDelta) -> None:
        if event.prev != self._at:
            at = int(self._at)
            if int(event.xseq) <= at:
                self.repeated += 1
                self.last = event.recv
                return
            if self._begins and int(event.prev) < at:
                event = structs.replace(event, prev=self._at)
        self._begins = False
        super()._take_delta(event)

    def _refuse(self, event: BookSnapshot | BookDelta, reason: str, *, elsewhere: bool = True) -> None:
        self._trouble(event.recv, reason, elsewhere=elsewhere)
        if isinstance(event, BookDelta):
            self._hold(event)  # the next snapshot may be from before it

    def _await(self, now: int) -> None:
        """Somebody asks for a snapshot, now."""
        super()._await(now)
        self._ask_later(now)

    def _ask_later(self, now: int) -> None:
        self._ask_at = now + min(_SECOND << min(self._asked, 6), _LONGEST)
        self._asked += 1

    def _discard(self) -> None:
        """What is held is of no use; it is declared lost with the next snapshot."""
        while self._waiting:
            self._leave_out(self._waiting.popleft())
