"""Colours, bars, sparklines and number formats of the view."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.text import Text

__all__ = [
    "ASK", "ASK_DIM", "BAD", "BID", "BID_DIM", "DIM", "FRAME", "GOOD", "HEAD", "TITLE", "WARN", "aligned", "bar", "clock",
    "column", "spark", "two_sides",
]  # fmt: skip

# Readable on dark and light backgrounds, in true colour and with sixteen colours.
BID, BID_DIM = "#2db34a", "#1d4a37"
ASK, ASK_DIM = "#e5484d", "#5a2a2e"
GOOD, WARN, BAD = "#2db34a", "#c9822b", "#e5484d"
HEAD, TITLE, DIM, FRAME = "bold #4f86f7", "bold default", "#6f7683", "#4c566a"

_BLOCKS = " ▏▎▍▌▋▊▉█"
_STEPS = "▁▂▃▄▅▆▇█"
_MAX_DECIMALS = 5


def bar(inner: float, outer: float, width: int, bright: str, dim: str) -> Text:
    """A bar in two tones: a level's size within the depth up to it. ``inner`` and ``outer`` are fractions of ``width``."""
    text = Text(no_wrap=True)
    inner_cells = max(0.0, min(1.0, inner)) * width
    outer_cells = max(inner_cells, min(1.0, outer) * width)
    for cell in range(width):
        own, total = inner_cells - cell, outer_cells - cell
        if total <= 0:
            break
        if own >= 1:
            # Also in the background, because fonts leave gaps between blocks.
            text.append("█", f"{bright} on {bright}")
        elif own > 0:
            style = f"{bright} on {dim}" if total >= 1 else bright
            text.append(_BLOCKS[max(1, round(own * 8))], style)
        else:
            text.append(_BLOCKS[max(1, round(min(1.0, total) * 8))], f"{dim} on {dim}" if total >= 1 else dim)
    return text


def spark(counts: Sequence[int]) -> str:
    """A sparkline with one character per count."""
    most = max(counts, default=0) or 1
    return "".join(_STEPS[round(count / most * (len(_STEPS) - 1))] for count in counts)


def aligned(texts: Sequence[str], width: int = 0) -> list[str]:
    """Numbers as they are written, padded to a common width (at least ``width``), with aligned decimal points."""
    parts = [text.partition(".") for text in texts]
    places = max((len(point + decimals) for _, point, decimals in parts), default=0)
    shown = [whole + (point + decimals).ljust(places) for whole, point, decimals in parts]
    width = max([width, *map(len, shown)])
    return [text.rjust(width) for text in shown]


def column(texts: Sequence[str], width: int) -> list[str]:
    """Numbers with the same number of decimals, as many as fit into ``width``."""
    values = [Decimal(text or 0) for text in texts]
    for places in range(_MAX_DECIMALS, -1, -1):
        shown = [f"{value:,.{places}f}" for value in values]
        if max(map(len, shown), default=0) <= width:
            return shown
    return [f"{value:.2e}" for value in values]


def two_sides(left: Text, right: Text, width: int) -> Text:
    """Both texts in one line; if they do not fit, only the left one."""
    room = width - left.cell_len
    if room <= right.cell_len:
        line = left.copy()
        line.truncate(width, overflow="ellipsis")
        return line
    return left + Text(" " * (room - right.cell_len)) + right


def clock(seconds: float) -> str:
    """``mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"
