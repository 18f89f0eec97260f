"""Draws the whole screen with control sequences, only the rows that have changed."""

from __future__ import annotations

import io

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.layout import Layout
from rich.segment import Segment

__all__ = ["Painter"]

_CLEAR = "\x1b[0m\x1b[2J"
_WHOLE_EVERY = 15
"""Pictures until all rows are drawn again, in case another program has written over them."""


class Painter:
    """Draws renderables over the whole screen, row by row at fixed positions, so that nothing scrolls."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._rows: list[str] = []
        self._drawn = 0

    def forget(self) -> None:
        """Clear the screen and draw everything the next time."""
        self._size = (0, 0)

    def paint(self, picture: RenderableType, columns: int, rows: int) -> str:
        """The sequences that turn the last picture into this one; empty if they are equal."""
        drawn = _draw(picture, columns, rows)
        parts = []
        if (columns, rows) != self._size:
            self._size, self._rows, self._drawn = (columns, rows), [], 0
            parts.append(_CLEAR)
        elif self._drawn % _WHOLE_EVERY == 0:
            self._rows = []
        self._drawn += 1
        for row, text in enumerate(drawn):
            if row >= len(self._rows) or self._rows[row] != text:
                parts.append(f"\x1b[{row + 1};1H{text}")
        self._rows = drawn
        return "".join(parts)


class _Printable:
    """A renderable without control characters, which text from outside may contain."""

    def __init__(self, picture: RenderableType) -> None:
        self._picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, _ in console.render(self._picture, options):
            yield Segment("".join(each for each in text if each.isprintable() or each == "\n"), style)


def _draw(picture: RenderableType, columns: int, rows: int) -> list[str]:
    """The rows, each as wide as the screen, in the colours that the environment supports."""
    console = Console(
        width=columns, height=rows, file=io.StringIO(), force_terminal=True, legacy_windows=False, highlight=False
    )
    with console.capture() as capture:
        # A layout fills all cells.
        console.print(_Printable(Layout(picture)), height=rows)
    return capture.get().split("\n")[:rows]
