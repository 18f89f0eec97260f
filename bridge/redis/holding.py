"""Whether a process may write: the states of its lease, and what leads from one to another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum

__all__ = ["Holding", "LeaseState", "clock"]


_LOOKS = 8


class LeaseState(Enum):
    """How a process stands to its lease."""

    FREE = "free"
    """Not taken yet, or given back."""
    HELD = "held"
    """Taken, and renewed in time: the process may write."""
    LAPSED = "lapsed"
    """Not renewed in time: another process may have it by now. Nothing is written until a renewal says otherwise."""
    LOST = "lost"
    """Another process has it. This one never writes again."""


def clock() -> float:
    """Seconds that never go back, and go on while the machine is suspended (where the system has such a clock)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Holding:
    """The state of one lease.

    Args:
        patience: seconds after a renewal was sent for which it holds; less than any other process waits.
        now: the clock.
    """

    def __init__(self, patience: float, now: Callable[[], float] = clock) -> None:
        self.patience = patience
        self.now = now
        self.changed: Callable[[LeaseState, LeaseState], None] = lambda *_: None
        """Hears of each transition as it happens: the state before, and the one after."""
        self._state = LeaseState.FREE
        self._renewed = 0.0

    @property
    def state(self) -> LeaseState:
        """The state, as of the last event."""
        return self._state

    def taken(self, sent: float) -> None:
        """The lease was free, and Redis has given it to this process; the request was sent at ``sent``."""
        if self._state is LeaseState.FREE:
            self._renewed = sent
            self._become(LeaseState.HELD)
            self.look()

    def renewed(self, sent: float) -> None:
        """Redis has taken a renewal that was sent at ``sent``."""
        if self._state in (LeaseState.HELD, LeaseState.LAPSED):
            self._renewed = max(self._renewed, sent)
            if self.now() - self._renewed <= self.patience:
                self._become(LeaseState.HELD)
            self.look()

    def look(self) -> LeaseState:
        """Look at the clock; the state."""
        if self._state is LeaseState.HELD and self.now() - self._renewed > self.patience:
            self._become(LeaseState.LAPSED)
        return self._state

    async def watch(self) -> None:
        """Look at the clock several times while a renewal holds, for as long as the task lives.

        By a timer, not by the task: a process that was stopped looks before it does anything else of what has come meanwhile.
        """
        loop = asyncio.get_running_loop()

        def look() -> None:
            self.look()
            timer[:] = [loop.call_later(self.patience / _LOOKS, look)]

        timer: list[asyncio.TimerHandle] = []
        look()
        try:
            await asyncio.Event().wait()
        finally:
            timer[0].cancel()

    def displaced(self) -> None:
        """Another process has the lease."""
        self._become(LeaseState.LOST)

    def given_back(self) -> None:
        """The lease is free for others."""
        if self._state is not LeaseState.LOST:
            self._become(LeaseState.FREE)

    def _become(self, state: LeaseState) -> None:
        before, self._state = self._state, state
        if before is not state:
            self.changed(before, state)
