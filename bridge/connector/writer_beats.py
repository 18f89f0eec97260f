"""The heartbeats of a writer, as its standby has seen them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from bridge.redis.tokens import epoch_of, token_of

__all__ = ["WriterBeats"]

_KEPT = 1_000


class WriterBeats:
    """Tells news from heartbeats that were there before.

    A failover to a replica that lagged behind, or a restart with older data, sets Redis back: what the writer has written
    since the heartbeat that is there then may be lost.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=_KEPT)
        """Epoch and number of each heartbeat, in this order, and when it was seen."""
        self._last = ("", "")

    def until(self, heartbeat: Mapping[str, str], now: int) -> int | None:
        """Until when (ns) the writer has written what Redis had when it got this heartbeat.

        ``now`` (ns) for one that is new; when it was first seen, for one to which Redis was set back, and 0 if it never was;
        ``None`` for the one that was there the last time.
        """
        instance, number = heartbeat.get("instance", ""), heartbeat.get("beat", "")
        if (instance, number) == self._last:
            return None
        self._last = (instance, number)
        if not (number.isascii() and number.isdigit()):
            return now
        beat = (epoch_of(token_of(heartbeat.get("epoch", ""), instance)), int(number))
        if self._seen and beat <= self._seen[-1][:2]:
            while self._seen and self._seen[-1][:2] > beat:
                self._seen.pop()
            return self._seen[-1][2] if self._seen else 0
        self._seen.append((*beat, now))
        return now
