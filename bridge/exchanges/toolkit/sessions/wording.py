"""Errors of exchanges that have no codes: what they are about follows from their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.api import HttpResponse
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT, seconds_to_wait

__all__ = ["Wording"]

_THROTTLED = 15.0
"""Seconds to stay away after too many calls, where the exchange doesn't say how many."""
_OF_REST = {
    ErrorKind.TOO_MANY_REQUESTS: (ErrorKind.REST_RATE_LIMITED, _THROTTLED),
    ErrorKind.LOGIN_REFUSED: (ErrorKind.REST_LOGIN_REFUSED, LONG_WAIT),
}
_UNSAID = "no reason given"


class Wording:
    """The errors of one exchange.

    Args:
        exchange: its name.
        kinds: what an error is about that has one of these texts in it; the first counts.
        waits: seconds to stay away from REST after an error that has this text in it.
        hints: what else is to be said of an error by REST that has this text in it: by the end of the path, or always
            (with an empty one).
    """

    def __init__(
        self,
        exchange: str,
        kinds: Mapping[ErrorKind, Sequence[str]],
        *,
        waits: Mapping[str, float],
        hints: Mapping[tuple[str, str], str],
    ) -> None:
        self._exchange = exchange
        self._kinds = [(text, kind) for kind, texts in kinds.items() for text in texts]
        self._waits = waits
        self._hints = hints

    def kind(self, words: str) -> ErrorKind:
        """What an error is about."""
        return next((kind for text, kind in self._kinds if text in words), ErrorKind.REPORTED)

    def reported(self, words: str, topic: str = "") -> ReportedError:
        """An error that came over a connection."""
        return ReportedError(self._exchange, words or _UNSAID, self.kind(words), topic=topic)

    def by_rest(self, path: str, response: HttpResponse, words: str, until: str = "") -> RestError:
        """An error that came by REST; ``until`` is the time that the exchange names for the next call (s since 1970)."""
        date = response.headers.get("date", "")
        said = seconds_to_wait(until or response.headers.get("retry-after", ""), date)
        kind, least = _OF_REST.get(self.kind(words), (None, None))
        least = next((seconds for text, seconds in self._waits.items() if text in words), least)
        wait = (
            said if said is not None and kind is ErrorKind.REST_RATE_LIMITED else max(said or 0.0, least or 0.0) or None
        )
        hints = (hint for (text, end), hint in self._hints.items() if text in words and path.endswith(end))
        return RestError(self._exchange, path, response.status, ": ".join([words or _UNSAID, *hints]), wait, kind=kind)
