"""What can be wrong with an exchange: it can't be reached, it refuses, it says so itself, or it can't be understood.

The classes differ in what they carry; what an error is about is its `ErrorKind`, by which errors are counted. The tree of
all errors stands in `bridge.errors`.
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
    """What an error is about: a short word that stays the same over versions, as it stands in metrics, logs, heartbeats.

    ``meaning`` says it in a sentence's part; ``mistake`` whether it is the user's, by which a command ends with 1, and not 2.
    """

    meaning: str
    mistake: bool

    def __new__(cls, word: str, meaning: str, mistake: bool = False) -> Self:
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.meaning = meaning
        kind.mistake = mistake
        return kind

    EXCHANGE_ERROR = "exchange_error", "anything else about an exchange"
    BAD_FRAME = "bad_frame", "a frame cannot be understood"
    UNKNOWN_PAIR = "unknown_pair", "the exchange doesn't list a configured pair", True
    PAIRS_NOT_SERVED = "pairs_not_served", "it doesn't have configured pairs: all that a try of it has shown", True
    # A REST call failed.
    REST_FAILED = "rest_failed", "any other HTTP status, or an answer that is none of this API"
    REST_NO_ANSWER = "rest_no_answer", "nobody answered"
    REST_RATE_LIMITED = (
        "rest_rate_limited",
        "there were too many calls (HTTP 429, or 418 where the exchange blocks for it)",
    )
    REST_LOGIN_REFUSED = "rest_login_refused", "the exchange doesn't take the key, the signature or the session", True
    # The WebSocket could not be opened.
    HANDSHAKE_REFUSED = "handshake_refused", "any other HTTP status, or an answer that is no WebSocket's"
    UNREACHABLE = "unreachable", "nobody answered"
    PROXY_FAILED = "proxy_failed", "the proxy can't be reached, refuses, or doesn't lead to the exchange"
    HANDSHAKE_RATE_LIMITED = "handshake_rate_limited", "there were too many attempts (HTTP 429)"
    BLOCKED = "blocked", "the exchange lets nobody from here in for a while"
    # The exchange said so over a connection.
    REPORTED = "reported", "what no other word is for"
    UNKNOWN_MARKET = "unknown_market", "it doesn't have the market"
    UNKNOWN_TOPIC = "unknown_topic", "it doesn't have the topic"
    TOPIC_LEFT_OUT = "topic_left_out", "it accepted a subscription, but for this topic, and gave no reason"
    BAD_REQUEST = "bad_request", "it didn't understand what was sent, or doesn't offer it"
    BUFFER_FULL = "buffer_full", "its buffer for this client is full: it was read too slowly"
    TOO_MANY_FAILURES = "too_many_failures", "too many requests of this connection failed: the exchange gives it up"
    TOO_MANY_REQUESTS = "too_many_requests", "there were too many requests over this connection"
    LOGIN_REFUSED = "login_refused", "it refused the log-in: most likely the key or the secret is wrong", True
    SESSION_EXPIRED = "session_expired", "the log-in, or the token, counts no more"


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
"""Kinds of which a connection can't be opened."""


class ExchangeError(BridgeError):
    """Something about one exchange."""

    code: int | str | None = None
    """The exchange's own code."""
    topic: str = ""
    """What of the exchange's it is about."""
    message: str = ""
    """The exchange's words."""
    retry_after: float | None = None
    """Seconds to wait, if the exchange said so."""

    def __init__(self, exchange: str, message: str, kind: ErrorKind = ErrorKind.EXCHANGE_ERROR) -> None:
        self.exchange = exchange
        self.kind = kind
        self.exit_code = 1 if kind.mistake else 2
        # It may quote the exchange: as long a text as it likes, with whatever in it.
        words = presentable(message, LONGEST_ERROR - len(exchange) - 2)
        self.message = presentable(self.message, LONGEST_ERROR) if "message" in vars(self) else words
        super().__init__(f"{exchange}: {words}")

    @property
    def about(self) -> str:
        """The text without the exchange's name in front, for where that has been said."""
        return str(self).removeprefix(f"{self.exchange}: ")


class FrameWords:
    """What is wrong with a frame, in words: text from outside, made presentable only when somebody asks for it.

    Of a storm of bad frames most are counted and never shown. It doesn't hold on to the frame.
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
    """A frame that cannot be understood; ``raw`` is the frame as it came, and ``words`` say what is wrong with it."""

    kind = ErrorKind.BAD_FRAME

    def __init__(self, exchange: str, raw: bytes, message: str) -> None:
        # Not the base's: that would clean the words of each of thousands a second. Without arguments, for the same
        # reason: they would be what `repr` and pickling show of it, as they came.
        Exception.__init__(self)
        self.exchange = exchange
        self.raw = raw
        self.words = FrameWords(exchange, message)

    @property
    def message(self) -> str:
        """What is wrong with the frame, fit to be read."""
        return self.words.message

    @message.setter
    def message(self, words: str) -> None:
        self.words = FrameWords(self.exchange, words)

    def __str__(self) -> str:
        return str(self.words)

    def __repr__(self) -> str:
        return f"FrameError({str(self)!r})"


class UnknownPairError(ExchangeError):
    """A configured pair that the exchange doesn't list; ``known`` are the nearest names that it does."""

    def __init__(self, exchange: str, pair: str, known: list[str]) -> None:
        self.pair = pair
        self.known = known
        hint = f"; did you mean {' or '.join(known)}?" if known else ""
        super().__init__(exchange, f"no pair {pair} at this exchange{hint}", ErrorKind.UNKNOWN_PAIR)


class PairsNotServedError(ExchangeError):
    """Configured pairs that the exchange doesn't have; ``found`` is what else a try of the exchange has shown.

    ``lines`` are both, for people.
    """

    def __init__(self, exchange: str, errors: Sequence[ExchangeError], found: Sequence[str]) -> None:
        self.errors = list(errors)
        self.found = list(found)
        words = dict.fromkeys(error.about for error in errors)
        super().__init__(exchange, "; ".join(words), ErrorKind.PAIRS_NOT_SERVED)
        self.lines = [presentable(line, LONGEST_ERROR) for line in [*words, *found]]


class RestError(ExchangeError):
    """A REST call that failed: HTTP status (0: no answer), the exchange's code and message, seconds to wait if it said so.

    Its kind is by the status, unless one is given.
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
    """The exchange refused the WebSocket: HTTP status (0: no answer), seconds to wait if it said so.

    Its kind is by the status, unless one is given.
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
    """The exchange said over a connection that something is wrong: its code and words, and the topic it is about."""

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
