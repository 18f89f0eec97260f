"""Lists that an exchange gives only for so much time at once, and only so many rows of."""

from __future__ import annotations

from collections.abc import Callable

from bridge.exchanges.api import Flow
from bridge.exchanges.toolkit.values.fields import Row

__all__ = ["in_windows"]

_MOST_CALLS = 100
_LONGEST_TIME = 16
"""Digits; more are no time."""


def in_windows(
    ask: Callable[[int, int], Flow[list[Row]]], start: int, end: int, *, span: int, most: int, ident: str, time: str
) -> Flow[tuple[list[Row], bool]]:
    """The rows from ``start`` to ``end``, and whether they are all there; both as the rows tell their time.

    An answer with as many rows as one may have goes on where it ends. A row that comes twice, by its id, counts once.

    Args:
        ask: the rows from one time to another, both included, oldest first.
        start: the first time.
        end: the last time.
        span: how much one question may span.
        most: rows of one answer.
        ident: the field of a row's id.
        time: the field of its time.
    """
    found: dict[str, Row] = {}
    for _ in range(_MOST_CALLS):
        if start > end:
            return [*found.values()], True
        until = min(start + span - 1, end)
        rows = yield from ask(start, until)
        found |= {row.get(ident) or repr(row): row for row in rows}
        if len(rows) < most:
            start = until + 1
            continue
        times = [int(at) for row in rows if (at := row.get(time, "")).isdecimal() and len(at) <= _LONGEST_TIME]
        newest = max(times, default=start)
        if newest <= start:
            break  # more rows at one time than an answer has
        start = newest
    return [*found.values()], False
