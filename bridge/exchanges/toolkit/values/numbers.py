"""Whether the values of a frame are what they should be: what goes into a stream as decimal text has to be a number.

Prices stay text on their way through, so nothing else would notice; a reader's book breaks on the first that is not a
number. The string's own methods look first, since nearly all numbers are digits with a point or without: for the few
levels of a delta they are quicker than an expression, for the thousands of a snapshot not much slower. A number may have
far more digits than any exchange writes (128 characters; the largest amount of a token of 18 decimals has 78 digits),
and an exponent of two: what is longer only costs those who read it.

The expressions have neither possessive quantifiers nor atomic groups: Python 3.11.2, which is Debian 12's, accepts
``1e`` for ``[0-9]+(?:e[0-9]+)?+``. `tests/unit/test_expressions.py` looks at all that there are.
"""

from __future__ import annotations

import re
from decimal import Decimal

from bridge.model import Levels

__all__ = [
    "MICROSECOND",
    "MILLISECOND",
    "SECOND",
    "best_first",
    "check_amounts",
    "check_ids",
    "check_levels",
    "check_numbers",
    "check_values",
    "check_words",
    "epoch_ns",
    "id_or_empty",
    "number_or_empty",
    "shortened",
]

MICROSECOND, MILLISECOND, SECOND = 1_000, 1_000_000, 1_000_000_000
"""Nanoseconds in each."""

_LONGEST_NUMBER = 128
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?").fullmatch
_ID = re.compile(r"(?!true$|false$)[A-Za-z0-9_.:/+=@#|~*$-]{1,128}").fullmatch
"""Neither a JSON object nor a boolean, once they are text, is one."""
_MOST_SHOWN = 40
_MOST_SHOWN_NUMBER = 10**30
_LONGEST_WORD = 128
_FIRST = 10**18
"""September 2001 (ns since the epoch)."""
_LAST = 2**63 - 1


def check_levels(levels: Levels) -> None:
    """Levels of prices and sizes, none negative.

    Raises:
        ValueError: one is no such number.
    """
    for price, size in levels:
        plain = price.replace(".", "", 1).isdecimal() and size.replace(".", "", 1).isdecimal()
        if not (plain and price.isascii() and size.isascii() and len(price) + len(size) <= _LONGEST_NUMBER):
            check_numbers(price, size)


def check_numbers(*texts: str) -> None:
    """Numbers, none negative or empty.

    Raises:
        ValueError: one is no such number.
    """
    for text in texts:
        plain = text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER
        if not plain and not _is_number(text):
            raise ValueError(f"{shortened(text)} is not a number of at least zero")


def check_amounts(*texts: str) -> None:
    """Numbers, none negative, or empty where unknown.

    Raises:
        ValueError: one is neither.
    """
    for text in texts:
        plain = text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER
        if not plain and text and not _is_number(text):
            raise ValueError(f"{shortened(text)} is not a number of at least zero")


def check_values(*texts: str) -> None:
    """Numbers of any sign, or empty where unknown.

    Raises:
        ValueError: one is neither.
    """
    for text in texts:
        plain = text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER
        if not plain and text and not _is_number(text.removeprefix("-")):
            raise ValueError(f"{shortened(text)} is not a number")


def _is_number(text: str) -> bool:
    """The same as the quick look that comes before it in each check, for numbers in their rarer forms, too."""
    return len(text) <= _LONGEST_NUMBER and _NUMBER(text) is not None


def check_ids(*texts: str) -> None:
    """The exchange's ids: 1 to 128 ASCII letters, digits and ``_.:/+=@#|~*$-``.

    Raises:
        ValueError: one is no such id.
    """
    for text in texts:
        if not (text.isdecimal() and text.isascii() and len(text) <= _LONGEST_WORD) and not _ID(text):
            raise ValueError(f"{shortened(text)} is not an id")


def number_or_empty(text: str) -> str:
    """The text where it is a number of at least zero, else the empty string."""
    return text if len(text) <= _LONGEST_NUMBER and _NUMBER(text) else ""


def id_or_empty(text: str) -> str:
    """The text where it is an id (`check_ids`), else the empty string."""
    return text if _ID(text) else ""


def check_words(*texts: str) -> None:
    """Currency codes, clients' own ids and the like: up to 128 printable characters; empty where unknown.

    Raises:
        ValueError: one is longer, or has characters that are not printable.
    """
    for text in texts:
        if len(text) > _LONGEST_WORD or not text.isprintable():
            raise ValueError(f"{shortened(text)} is too long, or is not printable")


def epoch_ns(count: int, unit: int) -> int:
    """A time of an exchange's, ``count`` units of ``unit`` nanoseconds since the epoch, in nanoseconds.

    Raises:
        ValueError: it is before September 2001, as a time in too large a unit would be, or beyond 63 bits (2262), as
            one in too small a unit would be.
    """
    if not _FIRST // unit <= count <= _LAST // unit:
        shown = count if abs(count) < _MOST_SHOWN_NUMBER else "so large a number"
        raise ValueError(f"{shown} is not a time in units of {unit / 1e9:g} s since 1970")
    return count * unit


def shortened(text: str) -> str:
    """A text from outside as it may appear in a message: quoted, escaped, and no longer than 40 characters of it."""
    return repr(text) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!r}…"


def best_first(levels: Levels, *, bids: bool) -> Levels:
    """The levels sorted best first: highest price first for bids, lowest first for asks.

    Raises:
        ValueError: a price is no number.
    """
    try:
        return sorted(levels, key=_price, reverse=bids)
    except ArithmeticError:
        msg = "a level's price is not a number"
        raise ValueError(msg) from None


def _price(level: tuple[str, str]) -> Decimal:
    return Decimal(level[0])
