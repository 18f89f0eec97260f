"""How long to wait: what the header ``Retry-After`` says, in all its forms, and waits that differ from topic to topic."""

from __future__ import annotations

import zlib
from datetime import datetime
from email.utils import parsedate_to_datetime

__all__ = ["LONG_WAIT", "seconds_to_wait", "spread"]

LONG_WAIT = 60.0
"""Seconds to stay away once the exchange has refused a key."""

_A_TIME = 1e9
"""From here on a number is no wait but a time since the epoch: in seconds, or from the next on in milliseconds."""
_IN_MILLISECONDS = 1e11
_UNKNOWN = 60.0
"""Seconds to wait until a time, where the answer doesn't tell what time it is."""
_LONGEST = 24 * 3600.0


def seconds_to_wait(retry_after: str, date: str = "") -> float | None:
    """Seconds from an answer's ``Retry-After``; at most a day, ``None`` where it says nothing.

    It is whole seconds, an HTTP date, or (in older forms of LMEX's API) a time since the epoch, in seconds or
    milliseconds. A time counts from ``date``, the answer's ``Date``: so it doesn't matter what our own clock shows.
    """
    if retry_after.isascii() and retry_after.isdecimal():
        number = float(retry_after[:30])
        if number < _A_TIME:
            return min(number, _LONGEST)
        at = number / 1000 if number >= _IN_MILLISECONDS else number
    else:
        then = _moment(retry_after)
        if then is None:
            return None
        at = then.timestamp()
    there = _moment(date)
    return _UNKNOWN if there is None else min(max(at - there.timestamp(), 0.0), _LONGEST)


def spread(wait: int, name: str) -> int:
    """The wait, up to a fifth longer or shorter: always the same for one name, so that many are not due together."""
    return wait * (80 + zlib.crc32(name.encode()) % 41) // 100


def _moment(http_date: str) -> datetime | None:
    try:
        return parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
