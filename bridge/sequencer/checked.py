"""Order books of which the connector keeps a copy, to check them and to give fresh snapshots out of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import Enum, auto

from msgspec import structs

from bridge.book import Book, RankedBook
from bridge.exchanges.rules import NOT_UNDERSTOOD, BestPrices, BookRules
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Levels, Quote
from bridge.publish.stream import Stream
from bridge.sequencer.agreement import Agreement, LateChanges
from bridge.sequencer.books import BookTopic
from bridge.sequencer.mending import Mending, Remedy
from bridge.sequencer.top import TopBook
from bridge.sequencer.topic import Sink

__all__ = ["CheckedBook", "Condition"]

_REPEAT = 1_000
"""How far behind a delta may be to count as a repeat; further behind, the exchange counts from the beginning again."""
_NOTHING = (None, None)
_GONE = "0"
"""The size of a level that is removed."""


class Condition(Enum):
    """How a book's copy is."""

    AWAY = auto()
    """Nothing comes: there is no connection, or the exchange doesn't serve the book."""
    STARTING = auto()
    """The subscription's first snapshot is to come."""
    AWAITED = auto()
    """A snapshot has been asked for."""
    PUT_OFF = auto()
    """Asking has been in vain again and again: the book is ``down``, and is asked for when that is due."""
    WHOLE = auto()
    """It is the exchange's book."""


class CheckedBook(BookTopic):
    """A book that is checked as `BookRules` say.

    Two things are apart: whether the copy is whole (``condition``), and whether the stream's readers have a book that
    the next delta continues (``awaiting`` says that they don't). After an outage of Redis the copy is whole all the
    same, and the readers get a snapshot of it.

    Args:
        stream: where it is published.
        sink: takes the entries.
        resync: has the exchange asked for a snapshot, by pair and reason.
        replace: has a fresh connection made, by pair and reason.
        rules: of the exchange.
        quotes: takes the events of the pair's quotes, where the book gives them.
        trades: takes the control entries of the pair's trades, where the book shows that messages were missed.
        paused: for how long (ns) nothing was read since a moment (ns): that is no time in which a book is late or wrong.
    """

    _another_connection_helps = True
    """Whether a snapshot may come over another connection where it doesn't over this one."""

    def __init__(
        self,
        stream: Stream,
        sink: Sink,
        resync: Callable[[str, str], None],
        replace: Callable[[str, str], None],
        rules: BookRules,
        *,
        quotes: Callable[[Event], None] | None = None,
        trades: Callable[[Event], None] | None = None,
        paused: Callable[[int], int] = lambda _: 0,
    ) -> None:
        super().__init__(stream, sink, resync)
        self._paused = paused
        self._replace = replace
        self._rules = rules
        self._quotes = quotes
        self._trades = trades
        self._patience = rules.patience * 1e9
        self._mending = Mending(rules.attempts)
        self._agreement = None if rules.best is None else Agreement(rules.best, paused)
        self._changed = None if rules.in_transit is None else LateChanges(rules.in_transit)
        self._copy = self._empty()
        self.condition = Condition.AWAY
        self._given_up = False
        """Whether only a snapshot makes it live again."""
        self._at = ""
        """The ``xseq`` that the copy stands at."""
        self._ts: int | None = None
        """The exchange's time of the copy."""
        self._best: tuple[tuple[str, str] | None, tuple[str, str] | None] = _NOTHING
        """Best levels, as the quotes have them."""
        self._since: int
        """Since when a snapshot is awaited, or the copy is whole (ns)."""
        self._due: int
        """When one that was put off is to be asked for (ns)."""
        self._why = ""
        self.top: TopBook | None = None
        """The stream of its best levels, if there is one: it follows this book."""
        self._begun: int
        """When the book last began with a snapshot (ns): what happened before is history, and not late."""
        self._set_up()

    def _set_up(self) -> None:
        """Prepare what a kind of book has besides."""

    @property
    def whole(self) -> bool:
        """Whether the copy is the exchange's book."""
        return self.condition is Condition.WHOLE

    def accept(self, event: BookSnapshot | BookDelta | BestPrices) -> None:
        if isinstance(event, BookDelta):
            if self._given_up:
                self._leave_out(event)
                return
            if not self.live:
                self.go_live(event.recv)
            self._take_delta(event)
        elif isinstance(event, BookSnapshot):
            self._given_up = False
            if not self.live:
                self.go_live(event.recv)
            self._take_snapshot(event)
        elif self._agreement:
            self._agreement.told(event)

    def tick(self, now: int) -> None:
        """Do what is due about the book; called a few times a second, ``now`` by the steady clock (ns)."""
        if self.condition in (Condition.STARTING, Condition.AWAITED):
            if self._waited(now) > self._patience:
                self._trouble(now, f"no snapshot within {self._rules.patience:g} s")
        elif self.condition is Condition.PUT_OFF and now >= self._due:
            self._await(now)
            self._resync(self.subject, self._why)
        elif self.whole and self._agreement and (wrong := self._agreement.trouble(self._copy, now)):
            self._trouble(now, wrong)

    def _waited(self, now: int) -> int:
        """For how long a snapshot has been awaited (ns), but for the time in which none could come."""
        return now - self._since - self._paused(self._since)

    def restore(self, now: int) -> bool:
        if not (self.whole and self.live):
            return False
        self._refresh(now)
        return True

    def go_live(self, recv: int) -> None:
        if not self.live and self.condition is Condition.AWAY:
            self.condition, self._since = Condition.STARTING, recv
        super().go_live(recv)
        if self.top and self.live:
            self.top.go_live(recv)

    def down(self, recv: int, reason: str) -> None:
        self.condition, self._given_up, self._best = Condition.AWAY, False, _NOTHING
        super().down(recv, reason)
        if self.top:
            self.top.down(recv, reason)

    def not_served(self, recv: int, reason: str) -> None:
        super().not_served(recv, reason)
        if self.top:
            self.top.not_served(recv, reason)

    def stale(self, recv: int, reason: str) -> None:
        if self.live:
            self._best = _NOTHING
            self._await(recv)  # the connection sees to it
        super().stale(recv, reason)
        if self.top:
            self.top.stale(recv, reason)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        """The book has missed something, or is wrong: it says so, and is mended."""
        if self.whole:
            self._trouble(recv, reason, count)
        elif not self._given_up:
            super().gap(recv, reason, count)
            if self.top:
                self.top.gap(recv, reason)

    def _take_snapshot(self, event: BookSnapshot) -> None:
        if self.whole and event.xseq and event.xseq == self._at and not self.awaiting and self._is_same(event):
            self.repeated += 1  # some exchanges say the same again where nothing has changed
            self.last = event.recv
            return
        known, self._copy = self._copy, self._empty()
        self._copy.replace(event.bids, event.asks)
        if any(self._cut()):
            event = structs.replace(event, bids=self._copy.bids.top(), asks=self._copy.asks.top())
        if self._agreement:
            self._agreement.begin()
        elif self._is_crossed():
            self._refuse(event, "the snapshot is crossed")
            return
        if wrong := self._wrong_sum(event):
            self._refuse(event, wrong, elsewhere=False)
            return
        if self.whole:
            self._say_what_was_missed(event, known)
        self._take(event)

    def _take(self, event: BookSnapshot) -> None:
        """The copy is whole by this snapshot."""
        if self.awaiting or self._since_snapshot:  # else each message is a snapshot
            self._begun = event.recv
        if not self.whole:
            self.condition, self._since = Condition.WHOLE, event.recv
        self._publish(event)

    def _take_delta(self, event: BookDelta) -> None:
        if not self.whole:
            if self._rules.snapshot_first and self.condition is Condition.STARTING:
                self._refuse(event, "a delta came before its snapshot")
            else:
                self._leave_out(event)
            return
        if event.prev and event.prev != self._at:
            if not self._rules.restarts and _is_repeat(event.xseq, self._at):
                self.repeated += 1
                self.last = event.recv
            else:
                self._refuse(event, f"xseq {self._at} was last, {event.xseq} continues {event.prev}")
            return
        try:
            event = self._apply(event)
        except ValueError as error:
            self._refuse(event, str(error))
            return
        if self._changed:
            self._changed.note(event)
        if not self._agreement and self._is_crossed():
            self._refuse(event, "the book is crossed")
        elif wrong := self._wrong_sum(event):
            self._refuse(event, wrong, elsewhere=False)
        else:
            self._publish(event)

    def _apply(self, event: BookDelta) -> BookDelta:
        """Change the copy; returns the delta as readers get it.

        Raises:
            ValueError: it can't be right.
        """
        if self._rules.changes:
            bids, asks = self._copy.add(event.bids, event.asks)
            event = structs.replace(event, bids=bids, asks=asks)
        else:
            self._copy.apply(event.bids, event.asks)
        if any(cut := self._cut()):
            event = structs.replace(event, bids=_without(event.bids, cut[0]), asks=_without(event.asks, cut[1]))
        return event

    def _empty(self) -> Book:
        return Book() if self._rules.depth is None and self._rules.checksum is None else RankedBook()

    def _cut(self) -> tuple[list[str], list[str]]:
        """Drop what the exchange no longer keeps; returns the prices of bids and asks."""
        depth, copy = self._rules.depth, self._copy
        return copy.cut(depth) if depth is not None and isinstance(copy, RankedBook) else ([], [])

    def _wrong_sum(self, event: BookSnapshot | BookDelta) -> str:
        """How the copy differs from what the exchange's checksum says; empty where it doesn't, or there is none."""
        compute, copy = self._rules.checksum, self._copy
        if event.checksum is None or compute is None or not isinstance(copy, RankedBook):
            return ""
        mine = compute(self.subject, copy)
        return "" if mine in (None, event.checksum) else f"the checksum is {mine}, the exchange's is {event.checksum}"

    def _publish(self, event: BookSnapshot | BookDelta) -> None:
        """It is in the copy: to the readers, and the best prices to those of the quotes, when they are news."""
        self._at, self._ts = event.xseq, event.ts
        if event.ts is not None and event.ts < self._begun:
            with self.not_timed():
                super().accept(event)
        else:
            super().accept(event)
        if self.top:
            self.top.follow(event)
        if self._quotes is None:
            return
        best = self._copy.bids.best(), self._copy.asks.best()
        if best != self._best:
            self._best = best
            bid, ask = (level or ("", "") for level in best)
            self._quotes(Quote(self.subject, event.ts, event.recv, *bid, *ask))

    def _is_crossed(self) -> bool:
        """Whether the copy is crossed, and may not be."""
        may = self._rules.may_cross
        return self._copy.crossed() and not (may and may(self.subject))

    def _is_same(self, event: BookSnapshot) -> bool:
        fresh = Book()
        fresh.replace(event.bids, event.asks)
        return fresh == self._copy

    def _say_what_was_missed(self, event: BookSnapshot, known: Book) -> None:
        """A snapshot of a whole book shows whether that was true, where the exchange lets one tell."""
        count = reason = None
        if self._rules.continuous and (missed := int(event.xseq) - int(self._at)) > 0:
            count, reason = missed, f"xseq {self._at} was last, then came a snapshot of {event.xseq}"
        elif self._changed and (wrong := self._changed.differences(known, self._copy, event.recv)):
            reason = f"{wrong} levels were not as the exchange's fresh book has them"
            if self._trades:  # which came over the same connection, and without numbers
                words = f"the connection had missed messages: {reason}"
                self._trades(Control(self.subject, None, event.recv, Channel.TRADES, ControlEvent.GAP, words))
        if reason:
            super().gap(event.recv, reason, count)
            if self.top:
                self.top.gap(event.recv, reason)

    def _leave_out(self, event: BookSnapshot | BookDelta) -> None:
        """An event that is of no use; it is declared lost with the next snapshot."""
        self.received += 1
        self.last = event.recv
        self._unused += 1

    def _refuse(self, event: BookSnapshot | BookDelta, reason: str, *, elsewhere: bool = True) -> None:
        """Events from here on are of no use until the next snapshot."""
        self._leave_out(event)
        self._trouble(event.recv, reason, elsewhere=elsewhere)

    def _trouble(self, now: int, reason: str, count: int | None = None, *, elsewhere: bool = True) -> None:
        """The book is no good: do what `Mending` says; where that is to wait, the book is ``down`` until then.

        ``elsewhere``: whether the exchange might say something else over another connection.
        """
        sound = now - self._since if self.whole else 0
        elsewhere = elsewhere and self._another_connection_helps and reason != NOT_UNDERSTOOD
        step = self._mending.trouble(now, connection=elsewhere, sound=sound)
        self._why, self._best = reason, _NOTHING
        if step.due > now:
            self.condition, self._due, self._given_up = Condition.PUT_OFF, step.due, True
            super().down(now, reason)
            self._tell(now, ControlEvent.DOWN, reason)
            return
        if self.live:
            super().gap(now, reason, count)
            self._tell(now, ControlEvent.GAP, reason)
        self._await(now)
        (self._resync if step.remedy is Remedy.SUBSCRIPTION else self._replace)(self.subject, reason)

    def _await(self, now: int) -> None:
        self.condition, self._since = Condition.AWAITED, now

    def _tell(self, now: int, event: ControlEvent, reason: str) -> None:
        """The streams that are made of the book are no better than it."""
        if self._quotes:
            self._quotes(Control(self.subject, None, now, Channel.QUOTES, event, reason))
        if self.top and event is ControlEvent.DOWN:
            self.top.down(now, reason)
        elif self.top:
            self.top.gap(now, reason)

    def best(self, count: int) -> tuple[Levels, Levels] | None:
        """So many of the best bids and asks of the copy, best first; ``None`` where it can't tell which they are."""
        return self._copy.bids.top(count), self._copy.asks.top(count)

    def _refresh(self, now: int) -> None:
        """Publish the copy."""
        self._publish_again(now, self._copy.bids.top(), self._copy.asks.top())

    def _publish_again(self, now: int, bids: Levels, asks: Levels) -> None:
        """It counts as received, since it stands for what was."""
        with self.not_timed():
            super().accept(BookSnapshot(self.subject, self._ts, now, self._at, bids, asks))


def _without(levels: Levels, gone: list[str]) -> Levels:
    """The levels of a delta, with a removal of those that are gone by now in the place of what it says of them."""
    if not gone:
        return levels
    numbers = {Decimal(price) for price in gone}
    return [*(level for level in levels if Decimal(level[0]) not in numbers), *((price, _GONE) for price in gone)]


def _is_repeat(xseq: str, last: str) -> bool:
    return xseq.isdecimal() and last.isdecimal() and 0 <= int(last) - int(xseq) < _REPEAT
