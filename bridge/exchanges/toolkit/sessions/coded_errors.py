"""Errors that are a number and words, as many exchanges have them: ``{"code":-1121,"msg":"Invalid symbol."}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import HttpResponse
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, SECOND
from bridge.exchanges.toolkit.values.salvage import UNREADABLE

__all__ = ["CodedError", "coded_failure", "in_words"]

_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})\b").search


class CodedError(Struct):
    """The number and the words; ``data`` is what some send besides."""

    code: int
    msg: str = ""
    data: dict[str, Any] = {}


_decode: Callable[[bytes], CodedError] = msgspec.json.Decoder(CodedError).decode


def in_words(error: CodedError, hints: Mapping[int, str]) -> str:
    """The exchange's words, and what is known of this code."""
    return f"{error.msg} ({hints[error.code]})" if error.code in hints else error.msg


def coded_failure(
    exchange: str, path: str, response: HttpResponse, *, of_key: Mapping[int, str], too_many: int
) -> RestError | None:
    """What is wrong with an answer by REST; ``None`` where nothing is.

    How long the exchange wants to be left alone stands in a header, or in the words: ``IP banned until 1659146400000``
    (ms since the epoch).

    Args:
        exchange: its name.
        path: what was asked.
        response: the answer.
        of_key: the codes by which a key is refused, with what each means.
        too_many: the code of too many requests.
    """
    status, headers = response.status, response.headers
    if status < 400:
        return None
    try:
        error = _decode(response.body)
    except UNREADABLE:
        error = CodedError(0, "no reason given")
    wait = seconds_to_wait(headers.get("retry-after", ""), headers.get("date", ""))
    if banned := _BANNED_UNTIL(error.msg):
        wait = max(wait or 0.0, (int(banned[1]) * MILLISECOND - response.recv) / SECOND)
    kind = ErrorKind.REST_LOGIN_REFUSED if error.code in of_key else None
    if error.code == too_many or (status == 403 and not error.code):  # by a firewall, before anybody has seen a key
        kind = ErrorKind.REST_RATE_LIMITED
    words = f"{error.code or ''} {in_words(error, of_key)}".strip()
    return RestError(exchange, path, status, words, wait, code=error.code or None, kind=kind)
