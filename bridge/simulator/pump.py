"""Drives the market at a given rate, and can pause it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Pump"]

_NAP = 0.001  # the shortest sleep: one wake-up serves all events due by then
_SLICE = 0.02  # the longest time spent in one go before sockets are served
_DEBT = 0.5  # seconds of events that are made up for after a stall; beyond that they are let go


class Pump:
    """Calls ``step`` (which returns the number of events that it made) so that ``rate`` events are made per second.

    ``flush`` follows each batch of steps without a pause between, so that between two awaits nothing is half done.
    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self, step: Callable[[], int], flush: Callable[[], None], clock: Callable[[], float], rate: float
    ) -> None:
        self._step = step
        self._flush = flush
        self._clock = clock
        self._rate = rate
        self._paused = False
        self._changed = asyncio.Event()
        self.forgiven = 0.0

    @property
    def rate(self) -> float:
        """Events per second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        self._changed.set()

    @property
    def paused(self) -> bool:
        """Whether the market is paused."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._changed.clear()
            if self._paused or self._rate <= 0:
                await self._changed.wait()
            else:
                await self._keep_pace(self._rate)

    async def _keep_pace(self, rate: float) -> None:
        """Make events at ``rate`` until a setting changes."""
        started = self._clock()
        made = 0
        while not self._changed.is_set():
            now = self._clock()
            due = (now - started) * rate
            if due - made > max(1.0, _DEBT * rate):
                # Stalled, or the rate is more than this machine can do: do not try to catch up forever.
                self.forgiven += due - made
                started = now - made / rate
                due = made
            while made < due and self._clock() - now < _SLICE:
                made += self._step()
            self._flush()
            behind = made < due
            await asyncio.sleep(0 if behind else max(_NAP, min(0.05, (made + 1 - due) / rate)))
