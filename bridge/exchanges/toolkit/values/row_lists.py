"""Lists of rows by REST: each row is read for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bridge.exchange_errors import FrameError
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.numbers import id_or_empty
from bridge.exchanges.toolkit.values.salvage import WRONG
from bridge.model import Event

__all__ = ["BAD_ROW", "Read", "named", "read_rows"]

Read = Callable[[Row], list[Event]]
"""What a row says; raises one of `WRONG` where it can't be understood."""
BAD_ROW = "a row of a REST answer could not be understood"
"""The reason of the ``gap``."""


def named(field: str) -> Callable[[Row], str]:
    """Reads what a row is of; empty where that isn't told."""
    return lambda row: id_or_empty(row.get(field, ""))


def read_rows(exchange: str, rows: Sequence[Row], read: Read) -> tuple[list[Event], list[FrameError], list[Row]]:
    """The events of a list by REST, and what could not be understood of it: the errors, and the rows themselves."""
    events: list[Event] = []
    errors: list[FrameError] = []
    bad: list[Row] = []
    for row in rows:
        try:
            events += read(row)
        except WRONG as error:
            what = f"{BAD_ROW}: {type(error).__name__}: {error}"
            errors.append(FrameError(exchange, msgspec.json.encode(row), what))
            bad.append(row)
    return events, errors, bad
