"""Types of option values, with messages that say what is wrong."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

__all__ = [
    "above_zero",
    "at_least_zero",
    "count",
    "count_above_zero",
    "duration",
    "names",
    "number",
    "place",
    "port",
    "share",
    "some_words",
    "words",
]

_LAST_PORT = 65535


def port(text: str) -> int:
    """A port to listen on; 0 is any free port.

    Raises:
        ArgumentTypeError: it is not valid.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        raise ArgumentTypeError(f"{text!r} is not a port: 0 (any free one) to {_LAST_PORT}")
    if not 0 <= int(text) <= _LAST_PORT:
        raise ArgumentTypeError(f"{text} is out of range: a port is 0 (any free one) to {_LAST_PORT}")
    return int(text)


def number(text: str) -> float:
    """A finite number.

    Raises:
        ArgumentTypeError: it is not valid.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ArgumentTypeError(f"{text!r} is not a number")
    return found


def at_least_zero(text: str) -> float:
    """A number that is not negative.

    Raises:
        ArgumentTypeError: it is not a number, or is negative.
    """
    found = number(text)
    if found < 0:
        raise ArgumentTypeError(f"{text} is out of range: it must not be negative")
    return found


def above_zero(text: str) -> float:
    """A number above zero.

    Raises:
        ArgumentTypeError: it is none.
    """
    found = number(text)
    if found <= 0:
        raise ArgumentTypeError(f"{text} is out of range: it must be above zero")
    return found


def share(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        ArgumentTypeError: it is not a number, or is out of range.
    """
    found = number(text)
    if not 0 <= found <= 1:
        raise ArgumentTypeError(f"{text} is out of range: a share is 0 to 1")
    return found


def count(text: str) -> int:
    """A whole number that is not negative.

    Raises:
        ArgumentTypeError: it is not valid.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ArgumentTypeError(f"{text!r} is not a count: a whole number that is not negative")
    return int(text)


def count_above_zero(text: str) -> int:
    """A whole number above zero.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def duration(text: str) -> float:
    """The seconds of ``5s`` or ``1m30s``, as a config has them; more than none.

    Raises:
        ArgumentTypeError: it is no duration, or none at all.
    """
    from bridge.config.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if not seconds:
        raise ArgumentTypeError("should be longer than 0")
    return seconds


def words(text: str) -> tuple[str, ...]:
    """The words of ``a,b``, each once; there may be none."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def some_words(text: str) -> tuple[str, ...]:
    """The same, at least one.

    Raises:
        ArgumentTypeError: there is none.
    """
    if found := words(text):
        return found
    raise ArgumentTypeError(f"{text!r} should be a name, or several with commas between them")


def place(text: str) -> str:
    """A place in a stream: a time, or an entry ID.

    Raises:
        ArgumentTypeError: it is neither.
    """
    from bridge.tail.start import parse_start

    try:
        return parse_start(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def names(text: str) -> tuple[str, ...]:
    """The words in upper case, as pairs are written."""
    return words(text.upper())
