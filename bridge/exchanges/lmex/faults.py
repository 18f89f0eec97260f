"""What LMEX says is wrong, in all forms that are known, as typed errors.

Sources: the white-label's documents and captures of BTSE; which codes come over the main endpoints isn't known, so all
are read everywhere.
"""

from __future__ import annotations

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.lmex.messages import NAME, Envelope, FaultRow, fault_code, words

__all__ = ["AUTH_FAILED", "GROUPING_IGNORED", "SESSION_EXPIRED", "of_message", "of_row"]

SESSION_EXPIRED = 10002
AUTH_FAILED = -7
GROUPING_IGNORED = 1009
"""Documented, but the live server took the subscription all the same."""
_KINDS: dict[int | str | None, ErrorKind] = {
    429: ErrorKind.TOO_MANY_REQUESTS,
    1000: ErrorKind.UNKNOWN_MARKET,
    1001: ErrorKind.BAD_REQUEST,
    1002: ErrorKind.BAD_REQUEST,
    1005: ErrorKind.UNKNOWN_TOPIC,
    1007: ErrorKind.BUFFER_FULL,
    1008: ErrorKind.TOO_MANY_FAILURES,
    GROUPING_IGNORED: ErrorKind.BAD_REQUEST,
    SESSION_EXPIRED: ErrorKind.SESSION_EXPIRED,
    AUTH_FAILED: ErrorKind.LOGIN_REFUSED,
    "MARKET_PAIR_NOT_SUPPORT": ErrorKind.UNKNOWN_MARKET,
}
"""``MARKET_PAIR_NOT_SUPPORT`` is the one that is known of the words that stood for codes until June 2023."""


def of_row(row: FaultRow) -> ReportedError:
    """An error of a topic, or without ``arg`` of the request.

    ``{"arg":"foo:BTC-PERP","error":{"code":1005,"message":"Topic provided does not exist."}}``, before June 2023
    ``{"arg":"update:BTCC-USD_0","errorCode":"MARKET_PAIR_NOT_SUPPORT"}``.
    """
    code = fault_code(row.errorCode)
    message = words(row.message)
    if row.error is not None:
        code = fault_code(row.error.code) or code
        message = words(row.error.message) or message
    return ReportedError(NAME, message, _KINDS.get(code, ErrorKind.REPORTED), code=code, topic=row.arg or "")


def of_message(message: Envelope) -> ReportedError:
    """An error that is of no single topic.

    ``{"status":400,"errorCode":10002,"message":"User session is expired. Please login again","extraData":null}``, and
    the forms that others guard against: ``{"code":7,"message":"no"}``, ``{"success":false,"message":"no"}``.
    """
    code = message.fault_code
    if code is None:
        code = message.failure_status
    return ReportedError(NAME, message.words, _KINDS.get(code, ErrorKind.REPORTED), code=code, topic=message.topic)
