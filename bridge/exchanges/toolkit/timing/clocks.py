"""How exchanges' clocks are read: out of an answer's JSON, or, where there is no call for it, out of its ``Date``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from bridge.exchange_errors import RestError
from bridge.exchanges.api import ClockReading, Flow, HttpRequest
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.numbers import SECOND, epoch_ns
from bridge.exchanges.toolkit.values.salvage import UNREADABLE

__all__ = ["date_reading", "iso_reading", "millis_reading", "seconds_reading"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _MILLISECOND = 1_000, 1_000_000
_decode: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=str).decode


def iso_reading(text: str) -> ClockReading:
    """``2021-06-29T18:14:30.886Z`` as a reading; its decimals, none to six, are its resolution.

    Raises:
        ValueError: it is no such time.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    tail = text.partition(".")[2]
    decimals = len(tail) - len(tail.lstrip("0123456789"))
    since = at - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return ClockReading(epoch_ns(microseconds, _MICROSECOND), max(SECOND // 10**decimals, _MICROSECOND))


def seconds_reading(exchange: str, path: str, result: bytes | msgspec.Raw, field: str) -> ClockReading:
    """Whole seconds since the epoch, a number or text, out of a field of an object that came from ``path``.

    Raises:
        RestError: it doesn't hold one.
    """
    try:
        return ClockReading(epoch_ns(int(_decode(bytes(result))[field]), SECOND), SECOND)
    except (*UNREADABLE, LookupError, TypeError, ValueError, OverflowError) as error:
        raise RestError(exchange, path, 200, f"not a time: {type(error).__name__}: {error}") from None


def millis_reading(exchange: str, path: str, *way: str | int) -> Flow[ClockReading]:
    """Milliseconds since the epoch, a number or text, out of the JSON answer to ``GET path``; ``way`` leads to it.

    Raises:
        RestError: no answer, an error, or one without this field.
    """
    response = yield HttpRequest("GET", path)
    if response.status >= 400:
        wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
        raise RestError(exchange, path, response.status, "no time", wait)
    try:
        found = _decode(response.body)
        for step in way:
            found = found[step]
        at = epoch_ns(int(found), _MILLISECOND)
    except (*UNREADABLE, LookupError, TypeError, ValueError, OverflowError) as error:
        raise RestError(exchange, path, response.status, f"not a time: {type(error).__name__}: {error}") from None
    return ClockReading(at, _MILLISECOND)


def date_reading(exchange: str, path: str) -> Flow[ClockReading]:
    """The header ``Date`` (whole seconds) of the answer to ``HEAD path``, whatever the answer is.

    Raises:
        RestError: no answer, one that asks to wait, or without this header.
    """
    response = yield HttpRequest("HEAD", path)
    if response.status in (429, 503):
        wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
        raise RestError(exchange, path, response.status, "the clock is not to be read now", wait)
    try:
        at = parsedate_to_datetime(response.headers.get("date", ""))
        return ClockReading(epoch_ns(int(at.timestamp()), SECOND), SECOND)
    except (TypeError, ValueError, OverflowError):
        raise RestError(exchange, path, response.status, "the answer has no Date") from None
