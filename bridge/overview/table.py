"""Tables for a terminal (aligned, coloured, cut to its width) and for a pipe (one tab between two columns)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bridge.printable import printable

__all__ = ["Cell", "aligned_rows", "separated_rows"]

_LONGEST = 200
"""Bytes of a cell."""


class Cell(NamedTuple):
    """A cell; a figure (``right``) is aligned to the right on a terminal."""

    text: str
    style: str = ""
    right: bool = False


def separated_rows(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The rows with a heading, for programs: one tab between two cells, no figure has separators of thousands."""
    lines = ["\t".join(head)]
    lines += ["\t".join(printable(cell.text, _LONGEST) for cell in row) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def aligned_rows(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print the rows with a heading on the terminal; what does not fit is cut."""
    shown = [[Cell(printable(cell.text, _LONGEST), cell.style, cell.right) for cell in row] for row in rows]
    figures = [any(row[place].right for row in shown) for place in range(len(head))]
    widths = [
        max(len(title), *(cell_len(row[place].text) for row in shown)) if shown else len(title)
        for place, title in enumerate(head)
    ]
    console = Console(highlight=False, soft_wrap=False)
    titles = [Cell(title.upper(), "bold", right) for title, right in zip(head, figures, strict=True)]
    for row in (titles, *shown):
        line = Text(no_wrap=True, overflow="ellipsis")
        for cell, width in zip(row, widths, strict=True):
            pad = " " * (width - cell_len(cell.text))
            line.append(pad + cell.text if cell.right else cell.text + pad, cell.style).append("  ")
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
