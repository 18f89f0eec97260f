"""A log-in by a message over the connection: awaited, accepted or refused."""

from __future__ import annotations

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Output, Reconnect, Said, Send
from bridge.exchanges.toolkit.history import AccountMemory
from bridge.exchanges.toolkit.numbers import SECOND

__all__ = ["LONG_WAIT", "LogIn"]

LONG_WAIT = 60.0
"""Seconds to stay away once the exchange has refused a key."""
_ANSWER_LIMIT = 10 * SECOND


class LogIn:
    """One connection's log-in. A first refusal may be our clock's fault: only after a second one it stays away for long."""

    def __init__(self, exchange: str, memory: AccountMemory) -> None:
        self._exchange = exchange
        self._memory = memory
        self._since: int | None = None
        """Since when it is not answered (ns)."""

    def send(self, text: str, now: int) -> list[Output]:
        """Send the message; it is a secret."""
        self._since = now
        return [Send(text, secret=True)]

    def tick(self, now: int) -> list[Output]:
        """Give the connection up where no answer comes."""
        if self._since is None or now - self._since <= _ANSWER_LIMIT:
            return []
        self._since = None
        return [Reconnect("no answer to the log-in")]

    def accepted(self) -> None:
        """The exchange takes it."""
        self._since, self._memory.refused = None, 0

    def refused(self, words: str) -> list[Output]:
        """The exchange doesn't take it."""
        self._since = None
        self._memory.refused += 1
        wait = 0.0 if self._memory.refused == 1 else LONG_WAIT
        error = ReportedError(self._exchange, words, ErrorKind.LOGIN_REFUSED)
        return [Said(error), Reconnect(f"the log-in is refused: {words}", wait)]
