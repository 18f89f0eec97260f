"""Whether the numbers of a frame are numbers: what goes into a stream as decimal text has to be that.

Prices stay text on their way through, so nothing else would notice; a reader's book breaks on the first that is none.
One match over the joined text costs a fifth of what converting them would.
"""

from __future__ import annotations

import re

from bridge.model import Levels

__all__ = ["check_levels", "check_numbers", "check_values", "epoch_ns"]

_N = r"(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]{1,2}+)?+"
_LEVELS = re.compile(rf"(?:{_N}:{_N} )*+").fullmatch
_NUMBER = re.compile(_N).fullmatch
_LAST = 2**63 - 1


def check_levels(levels: Levels) -> None:
    """Levels of prices and sizes, none negative.

    Raises:
        ValueError: one is no such number.
    """
    text = " ".join(map(":".join, levels)) + " " if levels else ""
    if not _LEVELS(text) or text.count(":") != len(levels):
        for level in levels:
            check_numbers(*level)


def check_numbers(*texts: str) -> None:
    """Numbers, none negative or empty.

    Raises:
        ValueError: one is no such number.
    """
    for text in texts:
        if not (text.isascii() and text.replace(".", "", 1).isdecimal()) and not _NUMBER(text):
            raise ValueError(f"{text!r} is not a number of at least zero")


def check_values(*texts: str) -> None:
    """Numbers of any sign, or empty where unknown.

    Raises:
        ValueError: one is neither.
    """
    for text in texts:
        if (
            text
            and not (text.isascii() and text.replace(".", "", 1).isdecimal())
            and not _NUMBER(text.removeprefix("-"))
        ):
            raise ValueError(f"{text!r} is not a number")


def epoch_ns(count: int, unit: int) -> int:
    """A time of an exchange's, ``count`` units of ``unit`` nanoseconds since the epoch, in nanoseconds.

    Raises:
        ValueError: it is negative, or doesn't fit into 64 bits, as no time in this unit would.
    """
    if not 0 <= count <= _LAST // unit:
        raise ValueError(f"{count} is not a time in units of {unit / 1e9:g} s since 1970")
    return count * unit
