"""Ids that rise by one from event to event: a hole shows what is missing."""

from __future__ import annotations

from bridge.exchanges.api import Subscription
from bridge.model import Control, ControlEvent

__all__ = ["ConsecutiveIds"]


class ConsecutiveIds:
    """The highest id of each stream over one connection."""

    def __init__(self) -> None:
        self._highest: dict[Subscription, int] = {}

    def note(self, stream: Subscription, ident: int, recv: int) -> list[Control]:
        """An event with this id has come: a ``gap`` with the number of events that should have come before it, if any.

        The first id says nothing of what was before it, and an id that is not above the highest is a repeat.
        """
        known = self._highest.get(stream, ident)
        self._highest[stream] = max(known, ident)
        missing = ident - known - 1
        if missing < 1:
            return []
        reason = f"id {known} was last, then came {ident}"
        return [Control(stream.subject, None, recv, stream.channel, ControlEvent.GAP, reason, missing)]

    def forget(self, stream: Subscription | None = None) -> None:
        """Something of this stream (``None``: of any) could not be read, and its ``gap`` has been told."""
        if stream is None:
            self._highest.clear()
        else:
            self._highest.pop(stream, None)
