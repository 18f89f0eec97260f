"""A log-in by a message over the connection: awaited, accepted or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.api import Fetch, Flow, Output, Reconnect, Said, Send
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["LogIn", "refused_by_rest"]


class LogIn:
    """One connection's log-in. A first refusal may be our clock's fault: only after a second one it stays away for long.

    Args:
        exchange: its name, for errors.
        memory: what the account's sessions know; of it, how the last one has logged in.
        message: the message of one of the ways to log in, at this time (ns).
        ways: names of the ways; they are tried one after the other, the one that was accepted last before the others.
        limit: seconds that an answer may take.
    """

    def __init__(
        self,
        exchange: str,
        memory: AccountMemory,
        message: Callable[[str, int], str],
        ways: Sequence[str] = ("",),
        limit: float = 10.0,
    ) -> None:
        self._exchange = exchange
        self._memory = memory
        self._message = message
        self._ways = sorted(ways, key=lambda way: way != memory.way)
        self._limit = int(limit * SECOND)
        self._since: int | None = None
        """Since when it is not answered (ns)."""

    @property
    def awaited(self) -> bool:
        """Whether an answer is to come."""
        return self._since is not None

    def begin(self, now: int) -> list[Output]:
        """Send the message of the first of the ways that are left; it is a secret."""
        self._since = now
        return [Send(self._message(self._ways[0], now), secret=True)]

    def tick(self, now: int) -> list[Output]:
        """Try the next way where no answer comes; without another one, give the connection up."""
        if self._since is None:
            return []
        self._since = min(self._since, now)  # our clock may have been set back
        if now - self._since <= self._limit:
            return []
        return self._next(now) or [Reconnect("no answer to the log-in")]

    def accepted(self) -> None:
        """The exchange takes it."""
        self._since, self._memory.refused, self._memory.way = None, 0, self._ways[0]

    def refused(self, words: str, now: int, code: int | str | None = None) -> list[Output]:
        """The exchange doesn't take it."""
        error = ReportedError(self._exchange, words, ErrorKind.LOGIN_REFUSED, code=code, topic=self._ways[0])
        if another := self._next(now):
            return [Said(error), *another]
        self._memory.refused += 1
        wait = 0.0 if self._memory.refused == 1 else LONG_WAIT
        return [Said(error), Reconnect(f"the log-in is refused: {error.words}", wait)]

    def asks_why(self, words: Flow[str], now: int, code: int | str | None = None) -> list[Output]:
        """The exchange doesn't take it, and REST may say more of why: ``words`` end in what is said of it then."""

        def ask() -> Flow[list[Output]]:
            return self.refused((yield from words), now, code)

        self._since = None
        return [Fetch(ask(), "the reason why the log-in is refused")]

    def _next(self, now: int) -> list[Output]:
        self._since = None
        if len(self._ways) == 1:
            return []
        del self._ways[0]
        return self.begin(now)


def refused_by_rest(error: RestError) -> list[Output]:
    """A key that REST refuses is of no use over the connection either: stay away for long. What else fails is nothing."""
    if error.kind is not ErrorKind.REST_LOGIN_REFUSED:
        return []
    return [Reconnect(f"REST refuses the key: {error.about}", max(LONG_WAIT, error.retry_after or 0))]
