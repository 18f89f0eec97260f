"""What the user has chosen: page, row, order, filter. Keys change it; nothing here reads or draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from bridge.overview.choice import matches
from bridge.overview.look import Overview
from bridge.overview.rows import LIVE, StreamRow

__all__ = ["SORTS", "Page", "ViewState"]


class Page(StrEnum):
    """What is shown."""

    STREAMS = "streams"
    CONNECTORS = "connectors"
    LOG = "log"
    PAIR = "pair"
    ACCOUNT = "account"


SORTS = ("name", "state", "seq", "age", "rate", "connector")
"""Orders of the streams; ``r`` reverses each."""

_DETAILS = frozenset({Page.PAIR, Page.ACCOUNT})


class ViewState:
    """Page, selected row, order and filter.

    ``room`` is the number of rows that the page shows; set it before `press`. ``rows`` are the streams that pass the
    filter, in order: `refresh` makes them.
    """

    def __init__(self, words: str = "", *, not_live: bool = False) -> None:
        self.page = Page.STREAMS
        self.opened: StreamRow | None = None
        """The stream that was chosen for the page of a pair or an account."""
        self.rows: list[StreamRow] = []
        self.selected = ""
        """The key of the selected row."""
        self.offset = 0
        """The first row shown, of the page's list."""
        self.room = 1
        self.sort = SORTS[0]
        self.reverse = False
        self.not_live = not_live
        self.filter = words
        self.typing = False
        """Whether the filter is being typed."""
        self.helping = False
        self.ended = False
        self._length = 0
        self._before = ""

    def refresh(self, overview: Overview) -> None:
        """Filter and sort the streams; the selected one stays selected, wherever it is now."""
        words = self.filter.split()
        rows = [row for row in overview.streams.values() if not (self.not_live and row.live)]
        rows = [row for row in rows if all(_contains(row, word) for word in words)]
        rows.sort(key=_orders(overview)[self.sort], reverse=self.reverse)
        place = self.place
        self.rows = rows
        if self.page is Page.STREAMS:
            self._length = len(rows)
        if rows and not any(row.key == self.selected for row in rows):
            self.selected = rows[min(place, len(rows) - 1)].key
        self._scroll()

    @property
    def place(self) -> int:
        """The selected row's place."""
        return next((place for place, row in enumerate(self.rows) if row.key == self.selected), 0)

    @property
    def visible(self) -> Sequence[StreamRow]:
        """The rows that the page of streams shows."""
        return self.rows[self.offset : self.offset + self.room] if self.page is Page.STREAMS else ()

    def measure(self, room: int, length: int) -> None:
        """Say how many rows fit, and how many there are on a page without a selected row."""
        self.room = max(1, room)
        self._length = len(self.rows) if self.page is Page.STREAMS else length
        self._scroll()

    def press(self, key: str) -> None:
        """Take a key."""
        if self.typing:
            self._type(key)
        elif key in ("q", "Q"):
            self.ended = True
        elif key in ("?", "h"):
            self.helping = not self.helping
        elif self.helping:
            self.helping = key not in ("escape", "enter", "backspace")
        elif key in ("escape", "backspace", "left"):
            self._back(clear=key == "escape")
        elif key in ("enter", "right"):
            self._open()
        elif key in ("l", "c"):
            self._go(Page.LOG if key == "l" else Page.CONNECTORS)
        elif key == "/":
            self.typing, self._before = True, self.filter
        else:
            self._change(key)

    def _change(self, key: str) -> None:
        if not self._arrange(key):
            self._move(key)

    def _type(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, self.filter = False, self._before
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < 60:
            self.filter += key

    def _arrange(self, key: str) -> bool:
        """Change order or filter; returns whether the key is one of these."""
        if key == "n":
            self.not_live = not self.not_live
        elif key in ("<", ">", "s"):
            step = -1 if key == "<" else 1
            self.sort = SORTS[(SORTS.index(self.sort) + step) % len(SORTS)]
            self.reverse = False
        elif key == "r":
            self.reverse = not self.reverse
        else:
            return False
        return True

    def _move(self, key: str) -> None:
        """Move the selected row, or scroll a page without one."""
        steps: dict[str, int] = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page-up": -self.room,
            "b": -self.room,
            "page-down": self.room,
            " ": self.room,
            "home": -self._length,
            "g": -self._length,
            "end": self._length,
            "G": self._length,
        }
        if key not in steps:
            return
        if self.page is not Page.STREAMS:
            self.offset += steps[key]
        elif self.rows:
            self.selected = self.rows[max(0, min(self.place + steps[key], len(self.rows) - 1))].key
        self._scroll()

    def _open(self) -> None:
        if self.page is Page.STREAMS and self.rows:
            row = self.rows[self.place]
            self.opened = row
            self._go(Page.PAIR if row.stream.public else Page.ACCOUNT)

    def _back(self, *, clear: bool) -> None:
        """Return to the streams; there, ``escape`` clears the filter."""
        if self.page is not Page.STREAMS:
            self._go(Page.STREAMS)
        elif clear:
            self.filter, self.not_live = "", False

    def _go(self, page: Page) -> None:
        """Show a page; the key of the page that is shown returns to the streams."""
        self.page = Page.STREAMS if page is self.page else page
        if self.page not in _DETAILS:
            self.opened = None
        self.offset = 0
        self._scroll()

    def _scroll(self) -> None:
        """Keep the selected row, or any rows, in sight."""
        if self.page is Page.STREAMS:
            place = self.place
            self.offset = min(self.offset, place)
            self.offset = max(self.offset, place - self.room + 1)
        self.offset = max(0, min(self.offset, self._length - self.room))


def _contains(row: StreamRow, word: str) -> bool:
    return matches(f"{' '.join(row.name)} {row.state} {row.writer}", word)


def _orders(overview: Overview) -> dict[str, Callable[[StreamRow], Any]]:
    """The keys to sort by: the worst states, the longest silence and the highest figures come first."""
    tails = overview.tails

    def figure(name: str) -> Callable[[StreamRow], Any]:
        def order(row: StreamRow) -> Any:
            tail = tails.get(row.key)
            return (-(getattr(tail, name) if tail else -1), row.name)

        return order

    def age(row: StreamRow) -> Any:
        return (-(overview.age(row.key) or 0.0), row.name)

    return {
        "name": lambda row: row.name,
        "state": lambda row: (row.state == LIVE, row.state, row.name),
        "seq": figure("seq"),
        "age": age,
        "rate": figure("rate"),
        "connector": lambda row: (row.writer, row.name),
    }
