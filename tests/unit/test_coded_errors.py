"""Errors by REST that are a number and words: what they are about, and how long to stay away."""

from __future__ import annotations

import pytest

from bridge.exchange_errors import ErrorKind
from bridge.exchanges.api import HttpResponse
from bridge.exchanges.toolkit.sessions.coded_errors import CodedError, coded_failure, in_words
from tests.unit.core import SECOND, T0

OF_KEY, TOO_MANY = {-2015: "the key is unknown"}, -1003
REFUSED = ErrorKind.REST_LOGIN_REFUSED
LIMITED = ErrorKind.REST_RATE_LIMITED
FAILED = ErrorKind.REST_FAILED
BANNED = b'{"code":-1003,"msg":"IP banned until 1700000030000."}'
"""Thirty seconds after T0."""


def failure(status, body=b"", headers=None):
    answer = HttpResponse(status, body, headers or {}, recv=T0)
    return coded_failure("paper", "/orders", answer, of_key=OF_KEY, too_many=TOO_MANY)


@pytest.mark.parametrize("status", [200, 204, 399])
def test_below_400_nothing_is_wrong(status):
    assert failure(status, b'{"code":-1003}') is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "words"),
    [
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', FAILED, -1121, "-1121 Invalid symbol."),
        (401, b'{"code":-2015,"msg":"Invalid key."}', REFUSED, -2015, "-2015 Invalid key. (the key is unknown)"),
        (403, b'{"code":-2015,"msg":"Invalid key."}', REFUSED, -2015, "-2015 Invalid key. (the key is unknown)"),
        (400, b'{"code":-1003,"msg":"Too many."}', LIMITED, -1003, "-1003 Too many."),
        (429, b"<html>", LIMITED, None, "no reason given"),
        (403, b"<html>", LIMITED, None, "no reason given"),
        (403, b'{"code":-1121,"msg":"Invalid symbol."}', REFUSED, -1121, "-1121 Invalid symbol."),
        (503, b"<html>", FAILED, None, "no reason given"),
    ],
)
def test_what_it_is_about(status, body, kind, code, words):
    error = failure(status, body)
    assert error is not None
    assert (error.kind, error.status, error.code, error.message) == (kind, status, code, words)


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        (b"{}", {}, None),
        (b"{}", {"retry-after": "9"}, 9.0),
        (BANNED, {}, 30.0),
        (BANNED, {"retry-after": "9"}, 30.0),
        (BANNED, {"retry-after": "90"}, 90.0),
        (BANNED.replace(b"17000000", b"16000000"), {}, 0.0),
    ],
    ids=["not said", "a header", "the words", "the words, later", "the header, later", "it is over"],
)
def test_how_long_to_stay_away(body, headers, wait):
    error = failure(418, body, headers)
    assert error is not None
    assert error.retry_after == wait
    assert T0 == 1_700_000_000 * SECOND


def test_what_is_known_of_a_code_is_said_with_the_words():
    assert in_words(CodedError(7, "no"), {7: "look at it"}) == "no (look at it)"
    assert in_words(CodedError(8, "no"), {7: "look at it"}) == "no"
