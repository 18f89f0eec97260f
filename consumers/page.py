"""A page of a stream: entries in order, as lists, or as a grid that becomes lists only where somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Page"]


class Page:
    """Entries in order: their ``ids``, and of each its fields and values in turn (``flats``); at least one.

    ``grid`` (`consumers.grid.Grid`) has the same as columns, if all entries have the same fields; else ``None``.
    ``size`` is the number of bytes that they take, about.
    """

    __slots__ = ("_flats", "_ids", "_parse", "grid", "size")

    def __init__(self, ids: list[bytes], flats: list[list[bytes]], size: int = 0) -> None:
        self._ids = ids
        self._flats = flats
        self._parse: Callable[[], tuple[list[bytes], list[list[bytes]]]] | None = None
        self.grid: Any = None
        self.size = size

    @classmethod
    def of_grid(cls, grid: Any, parse: Callable[[], tuple[list[bytes], list[list[bytes]]]], size: int) -> Page:
        """The entries of a grid; ``parse`` returns their ``ids`` and ``flats``."""
        page = cls([], [], size)
        page.grid, page._parse = grid, parse
        return page

    @property
    def ids(self) -> list[bytes]:
        return self._lists()[0]

    @property
    def flats(self) -> list[list[bytes]]:
        return self._lists()[1]

    def __len__(self) -> int:
        return len(self._ids) if self._parse is None else len(self.grid.ms)

    def id(self, place: int) -> bytes:
        """The ID of one entry; ``-1`` is the last one."""
        if self._parse is None:
            return self._ids[place]
        return b"%d-%d" % (self.grid.ms[place].as_py(), self.grid.seq[place].as_py())

    def cut(self, begin: int, stop: int) -> Page:
        """The entries from ``begin`` to before ``stop``."""
        if self.grid is None:
            return Page(self._ids[begin:stop], self._flats[begin:stop])
        return Page.of_grid(
            self.grid.cut(begin, stop), lambda: (self.ids[begin:stop], self.flats[begin:stop]), self.size
        )

    def _lists(self) -> tuple[list[bytes], list[list[bytes]]]:
        if self._parse is not None:
            self._ids, self._flats = self._parse()
            self._parse = None
        return self._ids, self._flats
