"""The session of an account that logs in by a message, and then asks for topics; its state is on REST, too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow, Output, Target
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.login import LogIn
from bridge.exchanges.toolkit.accounts.private import PrivateState
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.sessions.session import TopicSession
from bridge.exchanges.toolkit.values.fields import Row
from bridge.model import Event

__all__ = ["LoggedInSession"]


class LoggedInSession(TopicSession):
    """What such sessions have in common; to be put before the exchange's own `TopicSession` among the bases.

    The exchange's session sets the attributes, and begins its topics once the log-in is accepted.
    """

    _account: Credentials
    _rest: TimedRest[Any]
    _memory: AccountMemory
    _login: LogIn
    _state: PrivateState

    def open(self, now: int) -> Flow[Target]:
        """Where a log-in was refused, our clock may be why."""
        if self._memory.refused:
            with suppress(RestError):
                self._rest.clock_offset = (yield from self._time()) - now
        return (yield from super().open(now))

    def connected(self, now: int) -> Sequence[Output]:
        """Log in; nothing else may be sent before that."""
        self._pings.begin(now)
        return self._login.begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        return self._login.tick(now) or [*super().tick(now), *self._state.tick(now)]

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return super().rejected(recv)

    @abstractmethod
    def _time(self) -> Flow[int]:
        """The exchange's time (ns).

        Raises:
            RestError: it isn't to be had.
        """

    @abstractmethod
    def _rows(self, message: Any) -> list[Row]:
        """The rows of a message."""

    @abstractmethod
    def _read(self, topic: str, row: Row, recv: int) -> list[Event]:
        """What a row says.

        Raises:
            one of `WRONG`: it can't be understood.
        """

    def _news(self, events: Sequence[Event]) -> list[Output]:
        """Take note of what the connection tells."""
        return self._state.news(events)

    def _data(self, topic: str, message: Any, recv: int) -> list[Output]:
        return self._news([event for row in self._rows(message) for event in self._read(topic, row, recv)])

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """Row by row; what is missing is fetched by REST."""
        self._state.want(recv)
        if message is None:
            return super()._salvage(topic, message, frame, recv=recv, error=error)
        rows = self._rows(message)
        return self._each(topic, rows, lambda row: self._news(self._read(topic, row, recv)), frame, recv)

    def _whole_list(self, path: str, query: str, now: int) -> Flow[list[Row]]:
        """All rows of a list of the account's.

        Raises:
            RestError: as `TimedRest.get`; or the list has no end.
        """
        rows, whole = yield from self._rest.pages(path, query, now, self._account)
        if not whole:
            raise RestError(self._exchange, path, 200, "the list has no end")
        return rows
