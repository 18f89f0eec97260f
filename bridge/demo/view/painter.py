"""A picture of the whole screen as control sequences: what has changed since the picture before."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

__all__ = ["Painter"]

_CLEAR = "\x1b[0m\x1b[2J"


class Painter:
    """Draws renderables over the whole screen, row by row, each row at its place: nothing ever scrolls."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._rows: list[str] = []

    def forget(self) -> None:
        """Draw everything the next time: somebody else has used the screen."""
        self._size = (0, 0)

    def paint(self, picture: RenderableType, columns: int, rows: int) -> str:
        """The sequences that turn the last picture into this one; empty if they are equal."""
        drawn = _draw(picture, columns, rows)
        parts = []
        if (columns, rows) != self._size:
            self._size, self._rows = (columns, rows), []
            parts.append(_CLEAR)
        for row, text in enumerate(drawn):
            if row >= len(self._rows) or self._rows[row] != text:
                parts.append(f"\x1b[{row + 1};1H{text}")
        self._rows = drawn
        return "".join(parts)


def _draw(picture: RenderableType, columns: int, rows: int) -> list[str]:
    """The rows, each as wide as the screen, with colours as the environment has them."""
    console = Console(
        width=columns, height=rows, file=io.StringIO(), force_terminal=True, legacy_windows=False, highlight=False
    )
    with console.capture() as capture:
        console.print(picture, height=rows, crop=True, overflow="crop", no_wrap=True)
    return capture.get().split("\n")[:rows]
