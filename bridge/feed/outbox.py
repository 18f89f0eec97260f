"""What a connection has to send and has not sent yet: it goes out in order, no faster than the exchange takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from bridge.clock import CLOCK
from bridge.exchanges.api import Send
from bridge.feed.policies import SendBudget
from bridge.feed.shared import SharedBudget
from bridge.feed.sockets import Socket
from bridge.feed.tap import FeedTap

__all__ = ["Outbox"]


class Outbox:
    """The messages of one connection, sent by a task that ``start`` makes whenever there are some.

    ``budget`` is shared with the other connections to the exchange (``None``: no limit), and ``shared`` is what other
    processes see of it; the tap sees secrets as ``***``.
    """

    def __init__(
        self,
        connection: str,
        budget: SendBudget | None,
        shared: SharedBudget | None,
        tap: FeedTap | None,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._connection = connection
        self._budget = budget
        self._shared = shared
        self._tap = tap
        self._start = start
        self._waiting: deque[Send] = deque()
        self._sending = False
        self._socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        """The connection has its socket; without one, messages are dropped in their turn."""
        self._socket = socket

    def put(self, message: Send) -> None:
        """Have a message sent behind those that wait."""
        self._waiting.append(message)
        if self._budget is not None:
            self._budget.waiting += 1
        if not self._sending:
            self._sending = True
            self._start(self._send())

    def close(self) -> None:
        """Send nothing more, and leave the budget to others; the task has been cancelled."""
        if self._budget is not None:
            self._budget.waiting -= len(self._waiting)
        self._waiting.clear()

    async def _send(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if self._budget is not None:
                await self._budget.turn(self._shared)
            if self._socket:
                if self._tap:
                    self._tap.sent(self._connection, "***" if message.secret else message.text, CLOCK.now() / 1e9)
                await self._socket.send(message.text)
        self._sending = False
