"""Full books, of tens of thousands of levels: a copy that costs little per delta, and is looked at now and then."""

from __future__ import annotations

import zlib
from decimal import Decimal
from heapq import nlargest, nsmallest
from itertools import pairwise

from bridge.exchanges.rules import BestPrices
from bridge.model import BookDelta, BookSnapshot, Levels
from bridge.sequencer.books import BookTopic
from bridge.sequencer.checked import CheckedBook, Condition

__all__ = ["LargeBook"]

_PER_LEVEL = 1_000_000
"""Nanoseconds from one look at a book to the next, for each of its levels: a look takes less than a thousandth of it."""
_LEAST = 1_000_000_000
_WHOLE = Condition.WHOLE
_publish = BookTopic.accept


class LargeBook(CheckedBook):
    """A held book whose copy is the texts that came, price → size: zeros stay in it until somebody looks.

    A crossed book is found by a look, once a second for up to 1,000 levels, every 50 s for 50,000. No quotes come out of
    it.
    """

    def _set_up(self) -> None:
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._newest: BookSnapshot | BookDelta | None = None
        self._look_at = 0
        """When the copy is looked at next (ns)."""

    def accept(self, event: BookSnapshot | BookDelta | BestPrices) -> None:
        if event.__class__ is BookDelta and self.condition is _WHOLE:
            # Most of a connector's events may be these: nothing is looked up or called that needn't be.
            side = self._bids
            for price, size in event.bids:
                side[price] = size
            side = self._asks
            for price, size in event.asks:
                side[price] = size
            self._newest = event
            _publish(self, event)
            if self.top:
                self.top.follow(event)
        else:
            super().accept(event)

    def tick(self, now: int) -> None:
        super().tick(now)
        if self.whole and now >= self._look_at:
            self._purge()
            self._look_at = now + self._apart()
            if self._bids and self._asks and max(map(Decimal, self._bids)) >= min(map(Decimal, self._asks)):
                self._trouble(now, "the book is crossed")

    def _take_snapshot(self, event: BookSnapshot) -> None:
        if event.bids and event.asks and Decimal(event.bids[0][0]) >= Decimal(event.asks[0][0]):
            self._refuse(event, "the snapshot is crossed")
            return
        self._bids, self._asks = dict(event.bids), dict(event.asks)
        # Books that begin together aren't looked at together.
        self._look_at = event.recv + self._apart() * (zlib.crc32(self.subject.encode()) % 100 + 1) // 100
        self._newest = event
        self._take(event)

    def _refresh(self, now: int) -> None:
        self._purge()
        bids, asks = _ranked(self._bids), _ranked(self._asks)
        if bids is None or asks is None:
            self._resync(self.subject, "the last snapshot is old")
        elif newest := self._newest:
            self._at, self._ts = newest.xseq, newest.ts
            self._publish_again(now, bids[::-1], asks)

    def best(self, count: int) -> tuple[Levels, Levels] | None:
        self._purge()
        bids = nlargest(count + 1, self._bids.items(), key=_price)
        asks = nsmallest(count + 1, self._asks.items(), key=_price)
        if any(_price(level) == _price(following) for side in (bids, asks) for level, following in pairwise(side)):
            return None
        return bids[:count], asks[:count]

    def _purge(self) -> None:
        self._bids = {price: size for price, size in self._bids.items() if size.strip("0.")}
        self._asks = {price: size for price, size in self._asks.items() if size.strip("0.")}

    def _apart(self) -> int:
        return max(_LEAST, (len(self._bids) + len(self._asks)) * _PER_LEVEL)


def _price(level: tuple[str, str]) -> Decimal:
    return Decimal(level[0])


def _ranked(side: dict[str, str]) -> Levels | None:
    """Lowest price first; ``None`` where a price is spelled in two ways: which of the levels counts isn't known."""
    ranked = sorted((Decimal(price), price, size) for price, size in side.items())
    if any(level[0] == following[0] for level, following in pairwise(ranked)):
        return None
    return [(price, size) for _, price, size in ranked]
