"""What shows that a book without numbers is wrong: the best prices told beside it, and another connection's book."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from bridge.book import Book
from bridge.exchanges.rules import BestPrices
from bridge.model import BookDelta

__all__ = ["Agreement", "LateChanges"]

_MOST_CHANGES = 4_096


class Agreement:
    """Holds a book against the best prices that are told beside it: they may differ for a moment, not for ``limit`` s.

    ``paused`` says how much of the time since a moment (ns) doesn't count, because nothing was read: what is missing may
    have been sent long ago.
    """

    def __init__(self, limit: float, paused: Callable[[int], int] = lambda _: 0) -> None:
        self._limit = limit * 1e9
        self._paused = paused
        self._told: tuple[Decimal | None, Decimal | None] | None = None
        """``None``: they aren't known."""
        self._wrong_since: int | None = None
        self._looked_at = 0

    def told(self, event: BestPrices) -> None:
        """The exchange has told them."""
        self._told = (_price(event.bid), _price(event.ask)) if event.known else None

    def begin(self) -> None:
        """There is a fresh book, of another connection maybe: what was told before doesn't count."""
        self._told = self._wrong_since = None

    def trouble(self, book: Book, now: int) -> str:
        """What is wrong with the book, once it has been wrong for too long; else the empty string."""
        wrong = self._difference(book)
        # This process may have been busy: of a long time between two looks nothing is known.
        late, self._looked_at = now - self._looked_at > self._limit, now
        if not wrong:
            self._wrong_since = None
        elif self._wrong_since is None or late:
            self._wrong_since = now
        elif now - self._wrong_since - self._paused(self._wrong_since) >= self._limit:
            return wrong
        return ""

    def _difference(self, book: Book) -> str:
        if book.crossed():
            return "the book is crossed"
        bid, ask = book.bids.best_price(), book.asks.best_price()
        if self._told is None or self._told == (bid, ask):
            return ""
        return f"the book's best prices {bid} {ask} are not {self._told[0]} {self._told[1]}, which the exchange tells"


def _price(text: str) -> Decimal | None:
    return Decimal(text) if text else None


class LateChanges:
    """Levels that have changed within the last ``window`` s: two connections needn't agree on them."""

    def __init__(self, window: float) -> None:
        self._window = int(window * 1e9)
        self._at: dict[tuple[bool, Decimal], int] = {}
        """Side is a bid, price → when it was changed last (ns)."""

    def note(self, event: BookDelta) -> None:
        """A delta has come."""
        now = event.recv
        for bids, levels in ((True, event.bids), (False, event.asks)):
            for price, _ in levels:
                self._at[bids, Decimal(price)] = now
        if len(self._at) > _MOST_CHANGES:
            self._at = {level: at for level, at in self._at.items() if now - at < self._window}

    def differences(self, known: Book, fresh: Book, now: int) -> int:
        """How many levels of a fresh book, of ``now``, are not as they were known to be, and haven't changed lately."""
        found = 0
        for bids, old, new in (
            (True, known.bids.numbers(), fresh.bids.numbers()),
            (False, known.asks.numbers(), fresh.asks.numbers()),
        ):
            prices = {price for price in old.keys() | new.keys() if old.get(price) != new.get(price)}
            found += sum(now - self._at.get((bids, price), -self._window) >= self._window for price in prices)
        return found
