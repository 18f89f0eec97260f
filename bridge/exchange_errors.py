"""Errors of exchanges: unreachable, refused, reported by the exchange, or frames that cannot be parsed.

The classes differ in their data. What an error is about is its `ErrorKind`, by which errors are counted. The tree of all
errors is in `bridge.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from bridge.errors import BridgeError
from bridge.printable import LONGEST_ERROR
from bridge.printable import code as as_code
from bridge.redaction import presentable

__all__ = [
    "OPENING",
    "ErrorKind",
    "ExchangeError",
    "FrameError",
    "FrameWords",
    "HandshakeError",
    "PairsNotServedError",
    "ReportedError",
    "RestError",
    "UnknownPairError",
]


class ErrorKind(StrEnum):
    """What an error is about: a stable short word, used in metrics, logs and heartbeats.

    ``meaning`` describes it; ``mistake`` says whether it is a mistake of the user, so that a command exits with 1, not 2.
    """

    meaning: str
    mistake: bool

    def __new__(cls, word: str, meaning: str, mistake: bool = False) -> Self:
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.meaning = meaning
        kind.mistake = mistake
        return kind

    EXCHANGE_ERROR = "exchange_error", "any other error of an exchange"
    BAD_FRAME = "bad_frame", "a frame cannot be parsed"
    UNKNOWN_PAIR = "unknown_pair", "the exchange does not list a configured pair", True
    PAIRS_NOT_SERVED = "pairs_not_served", "it does not have configured pairs; all those found by a check", True
    # A REST call failed.
    REST_FAILED = "rest_failed", "any other HTTP status, or an answer that is none of this API"
    REST_NO_ANSWER = "rest_no_answer", "nobody answered"
    REST_RATE_LIMITED = (
        "rest_rate_limited",
        "there were too many calls (HTTP 429, or 418 where the exchange blocks for it)",
    )
    REST_LOGIN_REFUSED = "rest_login_refused", "the exchange doesn't take the key, the signature or the session", True
    # The WebSocket could not be opened.
    HANDSHAKE_REFUSED = "handshake_refused", "any other HTTP status, or an answer that is not a WebSocket's"
    UNREACHABLE = "unreachable", "there was no answer"
    PROXY_FAILED = "proxy_failed", "the proxy is unreachable, refuses, or does not lead to the exchange"
    HANDSHAKE_RATE_LIMITED = "handshake_rate_limited", "there were too many attempts (HTTP 429)"
    BLOCKED = "blocked", "the exchange blocks this address for a while"
    # The exchange said so over a connection.
    REPORTED = "reported", "anything not covered by another word"
    UNKNOWN_MARKET = "unknown_market", "it does not have the market"
    UNKNOWN_TOPIC = "unknown_topic", "it does not have the topic"
    TOPIC_LEFT_OUT = "topic_left_out", "it accepted a subscription without this topic, and gave no reason"
    BAD_REQUEST = "bad_request", "it did not understand a request, or does not support it"
    BUFFER_FULL = "buffer_full", "its buffer for this client is full: it was read too slowly"
    TOO_MANY_FAILURES = "too_many_failures", "too many requests of this connection failed, so the exchange closes it"
    TOO_MANY_REQUESTS = "too_many_requests", "there were too many requests over this connection"
    LOGIN_REFUSED = "login_refused", "it refused the log-in: most likely the key or the secret is wrong", True
    SESSION_EXPIRED = "session_expired", "the log-in or the token has expired"


_OF_REST = {
    0: ErrorKind.REST_NO_ANSWER,
    401: ErrorKind.REST_LOGIN_REFUSED,
    403: ErrorKind.REST_LOGIN_REFUSED,
    418: ErrorKind.REST_RATE_LIMITED,
    429: ErrorKind.REST_RATE_LIMITED,
}
_OF_HANDSHAKES = {0: ErrorKind.UNREACHABLE, 429: ErrorKind.HANDSHAKE_RATE_LIMITED}
OPENING = frozenset(
    {
        *(ErrorKind.REST_FAILED, ErrorKind.HANDSHAKE_REFUSED, ErrorKind.PROXY_FAILED, ErrorKind.BLOCKED),
        *_OF_REST.values(),
        *_OF_HANDSHAKES.values(),
    }
)
"""Kinds of errors that prevent a connection from being opened."""


class ExchangeError(BridgeError):
    """Any error of one exchange."""

    code: int | str | None = None
    """The exchange's error code."""
    topic: str = ""
    """The exchange's topic that it is about."""
    message: str = ""
    """The exchange's message."""
    retry_after: float | None = None
    """Seconds to wait, if the exchange gave a time."""

    def __init__(self, exchange: str, message: str, kind: ErrorKind = ErrorKind.EXCHANGE_ERROR) -> None:
        self.exchange = exchange
        self.kind = kind
        self.exit_code = 1 if kind.mistake else 2
        # It may quote the exchange: text of any length and content.
        words = presentable(message, LONGEST_ERROR - len(exchange) - 2)
        self.message = presentable(self.message, LONGEST_ERROR) if "message" in vars(self) else words
        super().__init__(f"{exchange}: {words}")

    @property
    def about(self) -> str:
        """The message without the exchange's name at its start, for output that already names it."""
        return str(self).removeprefix(f"{self.exchange}: ")


class FrameWords:
    """A description of what is wrong with a frame; text from outside is made presentable only when it is needed.

    In a flood of bad frames, most are counted and never shown. It does not keep the frame.
    """

    __slots__ = ("_exchange", "_words")

    def __init__(self, exchange: str, words: str) -> None:
        self._exchange = exchange
        self._words = words

    @property
    def message(self) -> str:
        """The words, without the exchange's name."""
        return presentable(self._words, LONGEST_ERROR - len(self._exchange) - 2)

    def __str__(self) -> str:
        return f"{self._exchange}: {self.message}"


class FrameError(ExchangeError):
    """A frame that cannot be parsed; ``raw`` is the frame as received, ``words`` describe what is wrong."""

    kind = ErrorKind.BAD_FRAME

    def __init__(self, exchange: str, raw: bytes, message: str) -> None:
        # The base's constructor is not called: it would clean the words of thousands of errors a second. There are no
        # arguments either, because `repr` and pickling would show them unredacted.
        Exception.__init__(self)
        self.exchange = exchange
        self.raw = raw
        self.words = FrameWords(exchange, message)

    @property
    def message(self) -> str:
        """What is wrong with the frame, as presentable text."""
        return self.words.message

    @message.setter
    def message(self, words: str) -> None:
        self.words = FrameWords(self.exchange, words)

    def __str__(self) -> str:
        return str(self.words)

    def __repr__(self) -> str:
        return f"FrameError({str(self)!r})"


class UnknownPairError(ExchangeError):
    """A configured pair that the exchange does not list; ``known`` are the closest listed names.

    ``why`` replaces the first words of the message, where more is known.
    """

    def __init__(self, exchange: str, pair: str, known: list[str], why: str = "") -> None:
        self.pair = pair
        self.known = known
        hint = f"; did you mean {' or '.join(known)}?" if known else ""
        words = why or f"no pair {pair} at this exchange"
        super().__init__(exchange, f"{words}{hint}", ErrorKind.UNKNOWN_PAIR)


class PairsNotServedError(ExchangeError):
    """Configured pairs that the exchange does not have; ``found`` are the other findings of a check.

    ``lines`` are both, as text.
    """

    def __init__(self, exchange: str, errors: Sequence[ExchangeError], found: Sequence[str]) -> None:
        self.errors = list(errors)
        self.found = list(found)
        words = dict.fromkeys(error.about for error in errors)
        super().__init__(exchange, "; ".join(words), ErrorKind.PAIRS_NOT_SERVED)
        self.lines = [presentable(line, LONGEST_ERROR) for line in [*words, *found]]


class RestError(ExchangeError):
    """A REST call that failed: HTTP status (0: no answer), the exchange's code and message, seconds to wait if given.

    Its kind follows from the status, unless given.
    """

    def __init__(
        self,
        exchange: str,
        path: str,
        status: int,
        message: str,
        retry_after: float | None = None,
        *,
        code: int | str | None = None,
        kind: ErrorKind | None = None,
    ) -> None:
        self.path = self.topic = path
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = code if code is None or isinstance(code, int) else as_code(code)
        words = f"REST {path}: {status or 'no answer'}: {message}"
        super().__init__(exchange, words, kind or _OF_REST.get(status, ErrorKind.REST_FAILED))


class HandshakeError(ExchangeError):
    """The exchange refused the WebSocket: HTTP status (0: no answer), seconds to wait if given.

    Its kind follows from the status, unless given.
    """

    def __init__(
        self,
        exchange: str,
        status: int,
        message: str,
        retry_after: float | None = None,
        *,
        kind: ErrorKind | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = status or None
        kind = kind or _OF_HANDSHAKES.get(status, ErrorKind.HANDSHAKE_REFUSED)
        said = f"HTTP {status}: " if status else "" if kind is ErrorKind.PROXY_FAILED else "no answer: "
        super().__init__(exchange, f"connect: {said}{message}", kind)


class ReportedError(ExchangeError):
    """An error that the exchange reported over a connection: its code, message and topic."""

    def __init__(
        self,
        exchange: str,
        message: str,
        kind: ErrorKind = ErrorKind.REPORTED,
        *,
        code: int | str | None = None,
        topic: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.code = code if code is None or isinstance(code, int) else as_code(code)
        self.topic = as_code(topic)
        self.message = presentable(message, LONGEST_ERROR)
        self.retry_after = retry_after
        super().__init__(exchange, f"{self.topic}: {self.words}" if topic else self.words, kind)

    @property
    def words(self) -> str:
        """Code and message, as in ``1005: Topic provided does not exist``."""
        return ": ".join(str(part) for part in (self.code, self.message) if part not in (None, "")) or "no reason given"
