"""The best levels of a book, as a stream of their own that follows the connector's copy of the book."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal

from bridge.model import BookDelta, BookSnapshot, Levels
from bridge.publish.stream import Stream
from bridge.sequencer.books import BookTopic
from bridge.sequencer.topic import Sink

__all__ = ["TopBook"]

_DEPTH = 10
_KEPT = 128
"""Levels a side that are kept ready: the copy, of tens of thousands maybe, is looked through when too many are gone."""

_TWO_WAYS = "a price of the book is spelled in two ways"

_Top = tuple[list[Decimal], Levels]
"""The best levels of a side by rank, and their text, the best first."""
Copy = Callable[[int], tuple[Levels, Levels] | None]
"""So many of the best bids and asks of a book's copy, best first; ``None`` where it can't tell which they are."""


class TopBook(BookTopic):
    """The ten best levels a side of a book: a snapshot, then deltas, in which ``0`` removes what has left the ten.

    What has become of the book is told by the book itself: what is in its copy (`follow`), and whatever control entry it
    has (`go_live`, `gap`, `down` and so on). So readers have ten levels exactly while the book's readers have a book. An
    entry's ``xseq`` is that of the book; changes beyond the ten make no entry.

    Args:
        stream: where it is published.
        sink: takes the entries.
        resync: has the exchange asked for a snapshot of the book, by pair and reason.
        copy: of the book.
        kept: levels a side that are kept ready, more than the ten.
    """

    def __init__(
        self, stream: Stream, sink: Sink, resync: Callable[[str, str], None], copy: Copy, *, kept: int = _KEPT
    ) -> None:
        super().__init__(stream, sink, resync)
        self._copy = copy
        self._bids, self._asks = _Side(-1, kept), _Side(1, kept)
        self._is_current = False
        """Whether the sides are as the copy has them."""
        self._is_unclear = False
        """Whether only another snapshot shows which levels are the best."""
        self._at = ""
        self._ts: int | None = None
        self._said: tuple[_Top, _Top] = (([], []), ([], []))
        """The bids and asks that readers have."""

    def follow(self, event: BookSnapshot | BookDelta) -> None:
        """The event is in the copy, which is the exchange's book."""
        changed = True
        if event.__class__ is BookSnapshot:
            self._is_current = self._is_unclear = False
        elif self._is_current:
            changed = self._bids.change(event.bids) | self._asks.change(event.asks)
        if not self._is_current or self._bids.is_short or self._asks.is_short:
            self._look(event.recv)
            if not self._is_current:
                return
        self._at, self._ts = event.xseq, event.ts
        if self.awaiting:
            self._begin(event.recv)
        elif changed:
            self._say_changes(event.recv)

    def restore(self, now: int) -> bool:
        if not (self._is_current and self.live):
            return False
        self._begin(now)
        return True

    def go_live(self, recv: int) -> None:
        self._is_current = self._is_current and self.live
        super().go_live(recv)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        """The book is no good until its next snapshot."""
        self._is_current = False
        super().gap(recv, reason, count)

    def down(self, recv: int, reason: str) -> None:
        self._is_current = False
        super().down(recv, reason)

    def stale(self, recv: int, reason: str) -> None:
        self._is_current = False
        super().stale(recv, reason)

    def _look(self, now: int) -> None:
        """Take the best levels of the copy."""
        levels = None if self._is_unclear else self._copy(self._bids.kept)
        self._is_current = levels is not None
        if levels:
            self._bids.begin(levels[0])
            self._asks.begin(levels[1])
        elif not self._is_unclear:
            self._is_unclear = True
            self.gap(now, _TWO_WAYS)
            self._resync(self.subject, _TWO_WAYS)

    def _begin(self, now: int) -> None:
        self._said = (_, bids), (_, asks) = self._bids.top(), self._asks.top()
        self.accept(BookSnapshot(self.subject, self._ts, now, self._at, bids, asks))

    def _say_changes(self, now: int) -> None:
        said, self._said = self._said, (self._bids.top(), self._asks.top())
        bids, asks = (_difference(*sides) for sides in zip(said, self._said, strict=True))
        if bids or asks:
            self.accept(BookDelta(self.subject, self._ts, now, self._at, bids, asks))

    def _refresh(self, now: int) -> None:
        """The last snapshot is old."""
        self._begin(now)


class _Side:
    """The best levels of one side, the best first; ``sign`` is 1 for asks, -1 for bids.

    ``kept`` of them at least, at most twice as many, until so many are removed that it is short.
    """

    def __init__(self, sign: int, kept: int) -> None:
        self._sign = sign
        self.kept = kept
        self._ranks: list[Decimal] = []
        """Prices of asks, negative prices of bids: the lowest is the best. Lists, since the hash of a decimal is dear."""
        self._levels: list[tuple[str, str]] = []
        self._all: bool
        """Whether the side has no other levels."""

    def begin(self, levels: Levels) -> None:
        """Take the best levels of the copy; fewer than ``kept`` are all that there are."""
        self._ranks, self._levels = [self._rank(price) for price, _ in levels], levels
        self._all = len(levels) < self.kept

    @property
    def is_short(self) -> bool:
        """Whether levels may be missing among the best."""
        return len(self._ranks) < _DEPTH and not self._all

    def change(self, levels: Levels) -> bool:
        """Take the levels of a delta; whether any may be among the best."""
        ranks, known, changed = self._ranks, self._levels, False
        for level in levels:
            rank = self._rank(level[0])
            at = bisect_left(ranks, rank)
            if at == len(ranks) and not self._all:
                continue  # it is not kept here
            changed = changed or at < _DEPTH
            is_known = at < len(ranks) and ranks[at] == rank
            if Decimal(level[1]):
                if is_known:
                    known[at] = level
                else:
                    ranks.insert(at, rank)
                    known.insert(at, level)
            elif is_known:
                del ranks[at], known[at]
        if len(ranks) > 2 * self.kept:
            del ranks[self.kept :], known[self.kept :]
            self._all = False
        return changed

    def top(self) -> _Top:
        """The best levels."""
        return self._ranks[:_DEPTH], self._levels[:_DEPTH]

    def _rank(self, price: str) -> Decimal:
        number = Decimal(price)
        return number if self._sign > 0 else number.copy_negate()  # not rounded, as by arithmetic


def _difference(before: _Top, now: _Top) -> Levels:
    """What leads from one to the other: new and changed levels, and those that are gone with size 0."""
    ranks, levels = before
    if ranks == now[0]:
        return [level for level, known in zip(now[1], levels, strict=True) if level != known]
    changed, gone, at = [], [], 0
    for rank, level in zip(*now, strict=True):
        while at < len(ranks) and ranks[at] < rank:
            gone.append((levels[at][0], "0"))
            at += 1
        if at == len(ranks) or ranks[at] != rank:
            changed.append(level)
            continue
        if levels[at] != level:
            changed.append(level)
        at += 1
    return changed + gone + [(price, "0") for price, _ in levels[at:]]
