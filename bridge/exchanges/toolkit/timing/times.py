"""Times in text."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from bridge.exchanges.toolkit.values.numbers import MILLISECOND, SECOND, check_numbers, epoch_ns, shortened

__all__ = ["UtcTimes", "milliseconds", "unix_ns"]

_LONGEST = 16
_DECIMALS = 9
_NANOSECONDS = [10 ** (_DECIMALS - digits) for digits in range(_DECIMALS + 1)]
"""What the last of so many decimals of a second counts for."""

_ZERO_TIMES = (int(datetime(1, 1, 1, tzinfo=UTC).timestamp()), 0)
"""The zero times of programming languages (seconds since the epoch): they stand for an unknown time."""


def milliseconds(text: str) -> int:
    """Milliseconds since the epoch, as text, in nanoseconds.

    Raises:
        ValueError: it is no such time.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST):
        raise ValueError(f"{shortened(text)} is not a time in ms since 1970")
    return epoch_ns(int(text), MILLISECOND)


class UtcTimes:
    """Reads ``2026-08-09T21:05:48.228568804Z``; the second that was read last is not parsed again."""

    def __init__(self) -> None:
        self._second = ("", 0)

    def ns(self, text: str) -> int | None:
        """Nanoseconds since the epoch; up to 9 decimals count, or none. ``None`` for the years 1 and 1970: unknown.

        Raises:
            ValueError: it is no such time, or is before September 2001.
        """
        second = text[:19]
        if second != self._second[0]:
            seconds = int(datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())
            self._second = (second, 0 if seconds in _ZERO_TIMES else epoch_ns(seconds, SECOND))
        known = self._second[1]
        decimals = text[20:-1]
        if decimals.isdecimal() and text[19] == "." and text[-1] == "Z":
            if len(decimals) > _DECIMALS:
                decimals = decimals[:_DECIMALS]
            return known + int(decimals) * _NANOSECONDS[len(decimals)] if known else None
        if text[19:] == "Z":
            return known or None
        raise ValueError(f"{shortened(text)} is not a time in UTC")

    def known(self, value: object) -> int | None:
        """The same of a decoded value; ``None`` where there is none.

        Raises:
            ValueError, TypeError: it is no such time.
        """
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise TypeError(f"{shortened(repr(value))} is not a time")
        return self.ns(value)


def unix_ns(text: str) -> int:
    """Seconds since the epoch, with a fraction or without, in nanoseconds.

    Raises:
        ValueError: it is no such time, or is before September 2001.
    """
    check_numbers(text)
    try:
        return epoch_ns(int(Decimal(text).scaleb(9)), 1)
    except ArithmeticError:
        raise ValueError(f"{shortened(text)} is not a time") from None
