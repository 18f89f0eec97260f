"""Redis' clock, by which entries grow old: whoever sets the connector's clock deletes nothing.

``TIME`` is asked with the housekeeping, and between the answers the clock is carried on by the process' own, which
nobody can set. When Redis' clock itself jumps, or is ahead of the connector's from the start, that isn't believed at
once: only after it has shown that time for `_PROVEN` seconds, so a step that is taken back again harms nothing either.
"""

from __future__ import annotations

import hiredis

__all__ = ["RedisClock"]

_SECOND = 1_000_000_000
_NEAR = _SECOND
"""Two clocks that are no further apart (ns) show the same time."""
_PROVEN = 300
_VAGUE = 5 * _SECOND
"""An answer that took longer (ns) doesn't tell the time."""


class RedisClock:
    """What one server's clock shows, by the steady clock of this process (`bridge.clock`); all times in ns."""

    def __init__(self) -> None:
        self._ahead: int | None = None
        """How far Redis' clock is ahead of the steady one, as far as it is believed."""
        self._claimed: int | None = None
        """How far it is ahead by its last answers, which aren't believed yet."""
        self._claimed_since: int

    def told(self, reply: object, asked: int, answered: int) -> None:
        """Take in the answer to a ``TIME`` that was sent at ``asked``.

        Where Redis doesn't let this user ask, the steady clock stands in.
        """
        middle = (asked + answered) // 2
        shown = middle if _denied(reply) else _nanoseconds(reply)
        if shown is None or answered - asked > _VAGUE:
            return
        ahead = shown - middle
        near = _NEAR + (answered - asked) // 2
        if self._ahead is None:
            self._ahead = 0 if ahead > near else ahead
        if abs(ahead - self._ahead) <= near:
            self._ahead, self._claimed = ahead, None
        elif self._claimed is None or abs(ahead - self._claimed) > near:
            self._claimed, self._claimed_since = ahead, answered
        elif answered - self._claimed_since >= _PROVEN * _SECOND:
            self._ahead, self._claimed = ahead, None

    def milliseconds(self, now: int) -> int | None:
        """What it shows at ``now``, in milliseconds since the epoch; ``None`` while that is unknown."""
        return None if self._ahead is None else (now + self._ahead) // 1_000_000

    def lead(self, shift: int) -> int:
        """What to add to a time of receipt for its entry's ID, where the host's clock was set by ``shift``.

        IDs have the host's time, and Redis' where the two differ: what is written must not look old to who trims it, nor
        stand in the way of later entries because it looks new.
        """
        return shift if self._ahead is None or abs(self._ahead - shift) <= _NEAR else self._ahead


def _denied(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(("NOPERM", "ERR unknown command"))


def _nanoseconds(reply: object) -> int | None:
    if not isinstance(reply, list):
        return None
    try:
        seconds, microseconds = map(int, reply)
    except (TypeError, ValueError):
        return None
    return seconds * _SECOND + microseconds * 1_000
