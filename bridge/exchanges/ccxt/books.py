"""CCXT's order books and caches, which note what changes: nothing is read out of them that nobody has looked at yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from ccxt.async_support.base.ws import order_book, order_book_side
from msgspec import Struct

from bridge.exchanges.ccxt.digits import exact, text
from bridge.model import Levels

__all__ = ["Change", "RecordingBook", "RecordingCountedBook", "RecordingIndexedBook", "fresh_rows", "recording"]

_ZERO = Decimal(0)


class Change(Struct, frozen=True):
    """What has become of a book since the last look: all of it (``whole``), or the levels that have changed."""

    bids: Levels
    asks: Levels
    whole: bool = False


class _Side(list[Any]):
    """Notes the size at each price that is touched. The class beside it in the bases keeps the levels."""

    _index: list[Decimal]
    side: bool
    noted: dict[Decimal, Decimal]

    def storeArray(self, delta: Sequence[Any]) -> None:  # noqa: N802 - CCXT's name
        level = list(delta)
        level[0], level[1] = exact(level[0]), exact(level[1])
        super().storeArray(level)  # type: ignore[misc]  # of the class beside it
        self.noted[level[0]] = level[1] if self._stands(level) else _ZERO

    def _stands(self, level: Sequence[Any]) -> bool:
        return bool(level[1])

    def remove_index(self, order: Sequence[Any]) -> None:
        """A level falls off the depth that the book is kept to."""
        super().remove_index(order)  # type: ignore[misc]
        self.noted[order[0]] = _ZERO

    def levels(self) -> Levels:
        """All that there is, best first."""
        return [(text(level[0]), text(level[1])) for level in self]

    def changed(self) -> Levels:
        """The levels that were touched, with their sizes now."""
        return [(text(price), text(size) if size else "0") for price, size in self.noted.items()]

    def clear(self) -> None:
        super().clear()
        self.noted.clear()


class _Counted(_Side):
    def _stands(self, level: Sequence[Any]) -> bool:
        return bool(level[1] and exact(level[2]))


class _Indexed(_Side):
    """Of single orders; their sizes at one price are one level."""

    _hashmap: dict[Any, Decimal]

    def storeArray(self, delta: Sequence[Any]) -> None:  # noqa: N802 - CCXT's name
        level = list(delta)
        before = self._hashmap.get(level[2])
        if level[0] is not None:
            level[0] = exact(level[0])
            self.noted[level[0]] = _ZERO
        if before is not None:
            self.noted[abs(before)] = _ZERO
        level[1] = exact(level[1])
        super(_Side, self).storeArray(level)  # type: ignore[misc]

    def levels(self) -> Levels:
        sizes: dict[Decimal, Decimal] = {}
        for level in self:
            sizes[level[0]] = sizes.get(level[0], _ZERO) + level[1]
        return [(text(price), text(size)) for price, size in sizes.items()]

    def changed(self) -> Levels:
        for price in self.noted:
            self.noted[price] = sum((level[1] for level in self if level[0] == price), _ZERO)
        return super().changed()

    def clear(self) -> None:
        super().clear()
        self._hashmap.clear()


def _sides(kind: type[_Side], asks: type, bids: type) -> tuple[type, type]:
    """CCXT's two sides of a kind of book, as recording ones."""

    def made(base: type) -> type:
        def begin(self: Any, deltas: Sequence[Any] = (), depth: int | None = None) -> None:
            self.noted = {}
            base.__init__(self, list(deltas), depth)  # type: ignore[misc]

        return type(base.__name__, (kind, base), {"__init__": begin})

    return made(asks), made(bids)


class RecordingBook(order_book.OrderBook):  # type: ignore[misc]  # CCXT has no types
    """A book that says what has become of it since the last look."""

    kinds = _sides(_Side, order_book_side.Asks, order_book_side.Bids)

    def __init__(self, snapshot: Mapping[str, Any] | None = None, depth: int | None = None) -> None:
        self.renewed = True
        given = dict(snapshot or {})
        asks, bids = self.kinds
        given["asks"] = asks(given.get("asks") or (), depth)
        given["bids"] = bids(given.get("bids") or (), depth)
        super().__init__(given, depth)

    def reset(self, snapshot: Mapping[str, Any] | None = None) -> None:
        self.renewed = True
        super().reset(snapshot or {})

    def take(self) -> Change | None:
        """What has changed, once; ``None`` where nothing was touched."""
        self.limit()
        bids, asks = self["bids"], self["asks"]
        if self.renewed:
            change = Change(bids.levels(), asks.levels(), whole=True)
        elif bids.noted or asks.noted:
            change = Change(bids.changed(), asks.changed())
        else:
            return None
        self.renewed = False
        bids.noted.clear()
        asks.noted.clear()
        return change


class RecordingCountedBook(RecordingBook):
    """One whose levels come with the number of their orders."""

    kinds = _sides(_Counted, order_book_side.CountedAsks, order_book_side.CountedBids)


class RecordingIndexedBook(RecordingBook):
    """One of single orders, by their ids."""

    kinds = _sides(_Indexed, order_book_side.IndexedAsks, order_book_side.IndexedBids)


class _Noting(deque[Any]):
    """The rows of one of CCXT's caches, and those of them that are new."""

    def __init__(self, rows: Sequence[Any], most: int | None) -> None:
        super().__init__(rows, most)
        self.fresh: list[Any] = []

    def append(self, row: Any) -> None:
        self.fresh.append(
            dict(row) if isinstance(row, dict) else row
        )  # CCXT changes an order's row in place when more comes of it
        super().append(row)


@cache
def recording(kind: type) -> type:
    """A kind of CCXT's caches, whose rows are noted from the first on."""

    def begin(self: Any, *arguments: Any) -> None:
        kind.__init__(self, *arguments)  # type: ignore[misc]
        self._deque = _Noting(self._deque, self._deque.maxlen)

    return type(kind.__name__, (kind,), {"__init__": begin, "records": True})


def fresh_rows(cache: Any) -> list[Any] | None:
    """The rows that were appended to a recording cache since the last look, repeats included, however many.

    ``None``: it is none.
    """
    rows = getattr(cache, "_deque", None)
    if not isinstance(rows, _Noting):
        return None
    fresh, rows.fresh = rows.fresh, []
    return fresh
