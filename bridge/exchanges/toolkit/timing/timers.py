"""What has to be renewed by REST from time to time for a connection to stay good: a listen key, a token."""

from __future__ import annotations

from collections.abc import Callable

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, Flow, Output, Replace, Said, Session
from bridge.exchanges.toolkit.timing.refresh import Refresh
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["Renewal"]


class Renewal:
    """Renews it every so often, on the clock of the session's ``tick``.

    A failed call is repeated at growing intervals, or when the exchange says. ``Session.expires`` moves with each
    success and stays with each failure: so if the exchange can't be reached until shortly before it lapses, the feed
    opens another connection, whose `Session.open` gets a new one.

    A connection that may stand for so many hours only, whatever is renewed, has a `ConnectionPlan.rotate`.

    Args:
        session: the session that uses it.
        what: its name in logs, with its article: ``the listen key``.
        renew: the call, begun at a time (ns); it ends in when the renewed one lapses (ns), or in ``None``.
        every: seconds between two renewals.
        lasts: seconds for which it is good after a renewal, where the call doesn't say.
        gone: whether an error says that the exchange no longer knows it, so that renewing is of no use: the connection
            is replaced at once.
    """

    def __init__(
        self,
        session: Session,
        what: str,
        renew: Callable[[int], Flow[int | None]],
        *,
        every: float,
        lasts: float,
        gone: Callable[[RestError], bool] = lambda _: False,
    ) -> None:
        self._session = session
        self._what = what
        self._renew = renew
        self._every = int(every * SECOND)
        self._lasts = int(lasts * SECOND)
        self._gone = gone
        self._refresh = Refresh()
        self._next: int | None = None
        """When it is to be renewed (ns); ``None`` while that is under way, or before it begins."""

    def begin(self, now: int, expires: int | None = None) -> None:
        """It is new: asked for at ``now``, and lapses at ``expires`` (ns) if the exchange has said so."""
        self._next = now + self._every
        self._session.expires = now + self._lasts if expires is None else expires

    def tick(self, now: int) -> list[Output]:
        """Begin a renewal that is due."""
        if self._next is not None and now >= self._next:
            self._next = None
            self._refresh.want(now)
        return [Fetch(self._converse(now), self._what)] if self._refresh.due(now) else []

    def _converse(self, now: int) -> Flow[list[Output]]:
        try:
            expires = yield from self._renew(now)
        except RestError as error:
            if self._gone(error):
                return [Said(error), Replace(f"{self._what} has lapsed")]
            self._refresh.failed(now, error.retry_after)
            return [Said(error, f"{self._what} is not renewed")]
        self._refresh.done(now)
        self.begin(now, expires)
        return []
