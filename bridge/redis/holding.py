"""The states of a lease, which decide whether a process may write, and their transitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum

__all__ = ["Holding", "LeaseState", "clock"]


_LOOKS = 8


class LeaseState(Enum):
    """The states of a process's lease."""

    FREE = "free"
    """Not taken yet, or released."""
    HELD = "held"
    """Taken and renewed in time: the process may write."""
    LAPSED = "lapsed"
    """Not renewed in time: another process may have it. Nothing is written until a renewal succeeds."""
    LOST = "lost"
    """Another process has it. This process never writes again."""


def clock() -> float:
    """Monotonic seconds that include time in which the machine is suspended, if the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Holding:
    """The state of one lease.

    Args:
        patience: seconds for which a renewal is valid, from when it was sent; shorter than other processes wait.
        now: the clock.
    """

    def __init__(self, patience: float, now: Callable[[], float] = clock) -> None:
        self.patience = patience
        self.now = now
        self.changed: Callable[[LeaseState, LeaseState], None] = lambda *_: None
        """Called at each transition with the state before and after."""
        self._state = LeaseState.FREE
        self._renewed = 0.0

    @property
    def state(self) -> LeaseState:
        """The state, as of the last event."""
        return self._state

    def taken(self, sent: float) -> None:
        """Record that this process has taken the lease with a request sent at ``sent``."""
        if self._state is LeaseState.FREE:
            self._renewed = sent
            self._become(LeaseState.HELD)
            self.look()

    def renewed(self, sent: float) -> None:
        """Record that Redis accepted a renewal sent at ``sent``."""
        if self._state in (LeaseState.HELD, LeaseState.LAPSED):
            self._renewed = max(self._renewed, sent)
            if self.now() - self._renewed <= self.patience:
                self._become(LeaseState.HELD)
            self.look()

    def look(self) -> LeaseState:
        """Check the clock; returns the state."""
        if self._state is LeaseState.HELD and self.now() - self._renewed > self.patience:
            self._become(LeaseState.LAPSED)
        return self._state

    async def watch(self) -> None:
        """Check the clock several times per renewal, endlessly.

        This uses a timer, so that a process that was stopped checks before it handles anything that has arrived.
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
        """Record that another process has the lease."""
        self._become(LeaseState.LOST)

    def given_back(self) -> None:
        """Record that the lease is released."""
        if self._state is not LeaseState.LOST:
            self._become(LeaseState.FREE)

    def _become(self, state: LeaseState) -> None:
        before, self._state = self._state, state
        if before is not state:
            self.changed(before, state)
