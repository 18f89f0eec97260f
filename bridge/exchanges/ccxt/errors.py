"""CCXT's errors as ours: by the names of their classes, so that nothing of CCXT has to be imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.ccxt.driving import Task

__all__ = ["LOGIN", "is_gap", "is_goodbye", "needs_symbol", "no_address", "not_offered", "reported", "rest_error"]

LOGIN = frozenset({"AuthenticationError", "PermissionDenied", "AccountSuspended", "AccountNotEnabled"})
_KINDS = {
    **dict.fromkeys(LOGIN, (ErrorKind.LOGIN_REFUSED, ErrorKind.REST_LOGIN_REFUSED)),
    **dict.fromkeys(
        ("RateLimitExceeded", "DDoSProtection"), (ErrorKind.TOO_MANY_REQUESTS, ErrorKind.REST_RATE_LIMITED)
    ),
    **dict.fromkeys(("BadSymbol", "ContractUnavailable"), (ErrorKind.UNKNOWN_MARKET, ErrorKind.REST_FAILED)),
    **dict.fromkeys(
        ("NotSupported", "ArgumentsRequired", "BadRequest"), (ErrorKind.BAD_REQUEST, ErrorKind.REST_FAILED)
    ),
    **dict.fromkeys(("NetworkError",), (ErrorKind.REPORTED, ErrorKind.REST_NO_ANSWER)),
}
"""Class → what it is over a connection, and by REST; the first that an error is of counts."""
_GAPS = frozenset({"ChecksumError", "InvalidNonce"})


def _names(error: Any) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def is_gap(error: Any) -> bool:
    """Whether it says that a book has missed something."""
    return not _GAPS.isdisjoint(_names(error))


def is_goodbye(error: Any) -> bool:
    """Whether it only ends a subscription that was given back."""
    return "UnsubscribeError" in _names(error)


def not_offered(error: Any) -> bool:
    """Whether CCXT can't do it at this exchange."""
    return "NotSupported" in _names(error)


def needs_symbol(error: Any) -> bool:
    """Whether it wants to know of which market."""
    return "ArgumentsRequired" in _names(error)


def reported(exchange: str, error: Any, topic: str = "") -> ReportedError:
    """What the exchange has said over a connection."""
    kind = next((_KINDS[name][0] for name in _names(error) if name in _KINDS), ErrorKind.REPORTED)
    return ReportedError(exchange, _words(error), kind, topic=topic)


def rest_error(exchange: str, path: str, error: BaseException, status: int = 0) -> RestError:
    """Why a conversation over REST has come to nothing; the feed's own error, where that is the cause.

    ``status`` is that of the last answer.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RestError):
            return cause
        cause = cause.__cause__
    kind = next((_KINDS[name][1] for name in _names(error) if name in _KINDS), ErrorKind.REST_FAILED)
    if status and kind is ErrorKind.REST_NO_ANSWER:
        kind = ErrorKind.REST_FAILED  # an answer, and a bad one
    return RestError(exchange, path, status, _words(error), kind=kind)


def no_address(exchange: str, tasks: Iterable[Task]) -> RestError:
    """Why none of these calls has said where to connect: what the first that failed has failed on."""
    for task in tasks:
        try:
            task.result.result()
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            return rest_error(exchange, "", error, task.status)
    return rest_error(exchange, "", RuntimeError("CCXT names no address to connect to"))


def _words(error: Any) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
