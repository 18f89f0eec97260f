"""What can be wrong with an exchange: it can't be reached, it refuses, it says so itself, or it can't be understood.

Errors are counted by their ``kind``. The tree of them all stands in `bridge.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bridge.errors import BridgeError
from bridge.printable import LONGEST_ERROR
from bridge.printable import code as as_code
from bridge.redaction import presentable

__all__ = [
    "BadRequestError",
    "BlockedError",
    "BufferFullError",
    "ExchangeError",
    "FrameError",
    "FrameWords",
    "HandshakeError",
    "LoginRefusedError",
    "NoAnswerError",
    "PairsNotServedError",
    "ProxyFailedError",
    "RateLimitedError",
    "ReportedError",
    "RestError",
    "RestLoginError",
    "SessionExpiredError",
    "ThrottledError",
    "TooManyFailuresError",
    "TooManyRequestsError",
    "TopicLeftOutError",
    "UnknownMarketError",
    "UnknownPairError",
    "UnknownTopicError",
    "UnreachableError",
    "kinds_of",
]


class ExchangeError(BridgeError):
    """Something about one exchange.

    ``kind`` is a short word for it that stays the same over versions: errors are counted by it.
    """

    kind: ClassVar[str] = "exchange_error"
    code: int | str | None = None
    """The exchange's own code."""
    topic: str = ""
    """What of the exchange's it is about."""
    message: str = ""
    """The exchange's words."""
    retry_after: float | None = None
    """Seconds to wait, if the exchange said so."""

    def __init__(self, exchange: str, message: str) -> None:
        self.exchange = exchange
        # It may quote the exchange: as long a text as it likes, with whatever in it.
        words = presentable(message, LONGEST_ERROR - len(exchange) - 2)
        self.message = presentable(self.message, LONGEST_ERROR) if "message" in vars(self) else words
        super().__init__(f"{exchange}: {words}")

    @property
    def about(self) -> str:
        """The text without the exchange's name in front, for where that has been said."""
        return str(self).removeprefix(f"{self.exchange}: ")


def kinds_of(error: type[ExchangeError]) -> set[str]:
    """The ``kind`` of a class of errors and of all below it."""
    return {error.kind}.union(*(kinds_of(below) for below in error.__subclasses__()))


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

    kind = "bad_frame"

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

    kind = "unknown_pair"
    exit_code = 1

    def __init__(self, exchange: str, pair: str, known: list[str]) -> None:
        self.pair = pair
        self.known = known
        hint = f"; did you mean {' or '.join(known)}?" if known else ""
        super().__init__(exchange, f"no pair {pair} at this exchange{hint}")


class PairsNotServedError(ExchangeError):
    """Configured pairs that the exchange doesn't have; ``found`` is what else a try of the exchange has shown.

    ``lines`` are both, for people.
    """

    kind = "pairs_not_served"
    exit_code = 1

    def __init__(self, exchange: str, errors: Sequence[ExchangeError], found: Sequence[str]) -> None:
        self.errors = list(errors)
        self.found = list(found)
        words = dict.fromkeys(error.about for error in errors)
        super().__init__(exchange, "; ".join(words))
        self.lines = [presentable(line, LONGEST_ERROR) for line in [*words, *found]]


class RestError(ExchangeError):
    """A REST call that failed: HTTP status (0: no answer), the exchange's code and message, seconds to wait if it said so.

    ``RestError.of`` makes the right kind of it.
    """

    kind = "rest_failed"

    def __init__(
        self,
        exchange: str,
        path: str,
        status: int,
        message: str,
        retry_after: float | None = None,
        *,
        code: int | str | None = None,
    ) -> None:
        self.path = self.topic = path
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = code if code is None or isinstance(code, int) else as_code(code)
        super().__init__(exchange, f"REST {path}: {status or 'no answer'}: {message}")

    @staticmethod
    def of(
        exchange: str,
        path: str,
        status: int,
        message: str,
        retry_after: float | None = None,
        *,
        code: int | str | None = None,
        login: bool = False,
    ) -> RestError:
        """The error for an answer, by its HTTP status; ``login``: the exchange's code says that it is about the key."""
        kinds = {0: NoAnswerError, 401: RestLoginError, 403: RestLoginError, 429: RateLimitedError}
        kind = RestLoginError if login else kinds.get(status, RestError)
        return kind(exchange, path, status, message, retry_after, code=code)


class NoAnswerError(RestError):
    """Nobody answered a REST call."""

    kind = "rest_no_answer"


class RateLimitedError(RestError):
    """There were too many REST calls (HTTP 429)."""

    kind = "rest_rate_limited"


class RestLoginError(RestError):
    """A REST call whose key, signature or session the exchange doesn't take."""

    kind = "rest_login_refused"
    exit_code = 1


class HandshakeError(ExchangeError):
    """The exchange refused the WebSocket: HTTP status (0: no answer), seconds to wait if it said so.

    ``HandshakeError.of`` makes the right kind of it.
    """

    kind = "handshake_refused"

    def __init__(self, exchange: str, status: int, message: str, retry_after: float | None = None) -> None:
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = status or None
        super().__init__(exchange, f"connect: {f'HTTP {status}' if status else 'no answer'}: {message}")

    @staticmethod
    def of(exchange: str, status: int, message: str, retry_after: float | None = None) -> HandshakeError:
        """The error for an answer, by its HTTP status."""
        kinds = {0: UnreachableError, 429: ThrottledError}
        return kinds.get(status, HandshakeError)(exchange, status, message, retry_after)


class UnreachableError(HandshakeError):
    """Nobody answered at the WebSocket's address."""

    kind = "unreachable"


class ProxyFailedError(HandshakeError):
    """The proxy can't be reached, refuses, or doesn't lead to the exchange; the message names it, and says what to do."""

    kind = "proxy_failed"

    def __init__(self, exchange: str, message: str) -> None:
        super().__init__(exchange, 0, message)
        self.args = (f"{exchange}: connect: {message}",)  # an answer there was


class ThrottledError(HandshakeError):
    """There were too many attempts to connect (HTTP 429)."""

    kind = "handshake_rate_limited"


class BlockedError(HandshakeError):
    """The exchange lets nobody from here in for a while; ``retry_after`` is how long at least."""

    kind = "blocked"


class ReportedError(ExchangeError):
    """The exchange said over a connection that something is wrong: its code and words, and the topic it is about.

    This class itself is for what no class below is for.
    """

    kind = "reported"

    def __init__(
        self,
        exchange: str,
        message: str,
        *,
        code: int | str | None = None,
        topic: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.code = code if code is None or isinstance(code, int) else as_code(code)
        self.topic = as_code(topic)
        self.message = presentable(message, LONGEST_ERROR)
        self.retry_after = retry_after
        super().__init__(exchange, f"{self.topic}: {self.words}" if topic else self.words)

    @property
    def words(self) -> str:
        """Code and message, as in ``1005: Topic provided does not exist``."""
        return ": ".join(str(part) for part in (self.code, self.message) if part not in (None, "")) or "no reason given"


class UnknownMarketError(ReportedError):
    """The exchange doesn't have the market."""

    kind = "unknown_market"


class UnknownTopicError(ReportedError):
    """The exchange doesn't have the topic."""

    kind = "unknown_topic"


class TopicLeftOutError(ReportedError):
    """The exchange accepted a subscription, but for this topic, and gave no reason."""

    kind = "topic_left_out"


class BadRequestError(ReportedError):
    """The exchange didn't understand what was sent, or doesn't offer it."""

    kind = "bad_request"


class BufferFullError(ReportedError):
    """The exchange's buffer for this client is full: it was read too slowly."""

    kind = "buffer_full"


class TooManyFailuresError(ReportedError):
    """Too many requests of this connection failed: the exchange gives it up."""

    kind = "too_many_failures"


class TooManyRequestsError(ReportedError):
    """There were too many requests over this connection."""

    kind = "too_many_requests"


class LoginRefusedError(ReportedError):
    """The exchange refused the log-in: most likely the key or the secret is wrong."""

    kind = "login_refused"
    exit_code = 1


class SessionExpiredError(ReportedError):
    """The log-in, or the token, counts no more."""

    kind = "session_expired"
