"""How many requests a connection has made, where an exchange takes only so many in a time."""

from __future__ import annotations

from collections import deque

from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["RequestCount"]


class RequestCount:
    """Counts those of the last ``seconds``; ``most`` are as many as there should be."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self._window = int(seconds * SECOND)
        self._made: deque[int] = deque()

    def made(self, count: int, now: int) -> bool:
        """Take note of further ones; whether there are now as many as there should be, or more."""
        self._made.extend([now] * count)
        while self._made and not 0 <= now - self._made[0] < self._window:
            self._made.popleft()
        return len(self._made) >= self.most
