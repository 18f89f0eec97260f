"""When the entries of another process were received, by the clock of this one.

Both hosts' clocks may be wrong, and may be set at any time. Each process has a steady clock that nobody sets
(`bridge.clock`); heartbeats show the writer's, so that the two are compared. An entry has two times: ``recv`` is by the
clock of the writer's host, as it was set at that moment, and the ID is by Redis' clock where the host's is wrong
(`bridge.publish.clock`).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["WriterClock"]

_SAME = 1_000_000_000
"""Nanoseconds by which a heartbeat may be late, or an ID another time than ``recv``, without a clock being the cause."""
_LONGEST_TIME = 20
"""Digits of a time in nanoseconds."""


class WriterClock:
    """The clock of a writer, as its heartbeats show it."""

    def __init__(self) -> None:
        self._instance = ""
        self._behind = 0
        """By how much (ns) the writer's steady clock is behind this process' at most."""
        self._set = 0
        """By how much (ns) the clock of its host is ahead of its steady clock."""
        self._ids_ahead = 0
        """By how much (ns) the IDs of entries are ahead of its steady clock."""

    def seen(self, heartbeat: Mapping[str, str], now: int) -> None:
        """Take a new heartbeat of the writer, that was seen at ``now`` (ns, by the steady clock of this process)."""
        at = _time(heartbeat, "at")
        if at is None:
            return
        steady = _time(heartbeat, "steady") or at  # an earlier version shows only one
        behind, instance = now - steady, heartbeat.get("instance", "")
        self._behind = min(behind, self._behind) if instance == self._instance else behind
        self._instance = instance
        self._set = at - steady
        self._ids_ahead = _time(heartbeat, "ids_ahead") or 0

    def received(self, recv: int, ms: int, now: int) -> int:
        """When an entry was received (ns) whose ID has the time ``ms``, by the steady clock of this process.

        ``recv`` is more exact, unless its host's clock was set between that entry and the newest heartbeat. A process whose
        clock is behind writes IDs that are ahead of its time, until it passes the newest ID of the stream.
        """
        by_recv, by_id = recv - self._set, ms * 1_000_000 - self._ids_ahead
        exact = abs(by_recv - by_id) <= _SAME or by_id + self._offset > now + _SAME
        return min((by_recv if exact else by_id) + self._offset, now)

    def id_time(self, received: int) -> int:
        """The time (ns) in the ID of an entry that was received at that time by the steady clock of this process."""
        return received - self._offset + self._ids_ahead

    @property
    def _offset(self) -> int:
        return self._behind if abs(self._behind) > _SAME else 0


def _time(heartbeat: Mapping[str, str], name: str) -> int | None:
    text = heartbeat.get(name, "")
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < _LONGEST_TIME else None
