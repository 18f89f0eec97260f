"""The numbers of a connection's messages, of which there is one for each message, whatever it is about."""

from __future__ import annotations

from collections.abc import Callable

from bridge.exchanges.api import Output, Reconnect

__all__ = ["MessageNumbers"]

_MOST_BEHIND = 20
_FAR_BEHIND = 10_000
"""Repeats of single messages are dropped; so many in a row, or from so far back, mean that the count is no more what
it was: on this connection nothing would ever come through again."""
_MOST_UNREAD = 2
"""Messages in a row whose numbers can't be read, after which it is no single one."""


class MessageNumbers:
    """Counts from 0, and finds what is missing and what has come before.

    Args:
        field: the exchange's name of the number, for reasons.
        missed: what it means that messages are missing, of any stream: called with the time, the reason, and their number
            (``None``: unknown).
    """

    def __init__(self, field: str, missed: Callable[[int, str, int | None], list[Output]]) -> None:
        self._field = field
        self._missed = missed
        self._next = 0
        self._behind = 0
        """Messages in a row whose numbers had come before."""
        self._unread = 0
        """Messages in a row whose numbers could not be read."""

    def take(self, number: int, recv: int, out: list[Output]) -> bool:
        """Whether a message with this number is new; what is missing before it is added to ``out``."""
        expected = self._next
        self._unread = 0
        if number < expected:
            self._behind += 1
            if self._behind > _MOST_BEHIND or expected - number > _FAR_BEHIND:
                self._behind = 0
                out.append(Reconnect(f"{self._field} went back from {expected - 1} to {number}"))
            return False
        self._next = number + 1
        self._behind = 0
        if number > expected:
            out += self._missed(recv, f"{self._field} {expected} expected, {number} came", number - expected)
        return True

    def unreadable(self, recv: int, reason: str) -> list[Output]:
        """A message came whose number can't be read.

        The next one's shows what is missing; where that can't be read either, everything may be.
        """
        self._unread += 1
        return self._missed(recv, reason, None) if self._unread == _MOST_UNREAD else []
