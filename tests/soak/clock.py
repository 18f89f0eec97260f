"""A clock that runs as fast as the machine can: time passes while nothing is left to do, and only then.

Everything under test runs in one process on one `FastLoop`: simulator, connector and what watches them, over real
sockets. Whenever the loop is idle, time goes on to the next timer, in steps of `STEP` seconds. Nothing that happens
inside the process takes any time, so limits (30 s of silence, 10 s for a handshake) keep their meaning however busy the
machine is. Only what is outside, Redis, does its work in real time: while redis-py waits for an answer, no time passes.
For what comes to the publisher's own connections, Redis is given `GRACE` before each step, and limits must be wide.

`install` must come before anything is imported that keeps ``time.monotonic`` or ``time.time_ns``.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

__all__ = ["GRACE", "STEP", "FastClock", "FastLoop", "install"]

STEP = 1.0
"""Timers are due at whole steps only: links, polls and the simulator look at the time four to fifty times a second,
which in 48 hours would be all that the run does."""
GRACE = 0.0002
"""Real seconds."""
_NANO = 1_000_000_000


class FastClock:
    """Seconds since ``begun`` (seconds since the epoch), moved by `FastLoop`."""

    def __init__(self, begun: float) -> None:
        self._begun = int(begun * _NANO)
        self._passed = 0

    def advance(self, seconds: float) -> None:
        """Let time pass, on to the next whole step."""
        steps = max(1, math.ceil((self.monotonic() + seconds) / STEP) - int(self.monotonic() / STEP))
        self._passed += int(steps * STEP * _NANO)

    def time_ns(self) -> int:
        return self._begun + self._passed

    def time(self) -> float:
        return self.time_ns() / _NANO

    def monotonic(self) -> float:
        return self._passed / _NANO

    def monotonic_ns(self) -> int:
        return self._passed


class _Selector(selectors.SelectSelector):
    """Says what sockets are ready; when none is, time passes instead."""

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        self.outside = 0
        """What is under way in other threads."""
        self.asked: set[object] = set()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.outside or self.asked:
            return super().select(0.01)
        ready = super().select(GRACE)
        if not ready:
            self._clock.advance(timeout)
        return ready


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop by that clock."""

    def __init__(self, clock: FastClock) -> None:
        self._clock = clock
        self._fast = _Selector(clock)
        self.asked = self._fast.asked
        """Who waits for an answer from outside: no time passes while there is anybody."""
        super().__init__(self._fast)

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        self._fast.outside += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self._fast.outside -= 1


def install() -> FastClock:
    """Put a clock in place of the machine's, for the rest of the process; it begins now."""
    clock = FastClock(time.time())
    for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
        setattr(time, name, getattr(clock, name))
    return clock
