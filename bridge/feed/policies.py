"""Policies as small pure things: when to try again, when to ping, when a peer counts as dead."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from weakref import WeakKeyDictionary

__all__ = ["Damper", "Pacer", "SendBudget", "Watchdog", "backoff", "send_budget"]

_CALM = 60.0


def backoff(random: Random, first: float = 1.0, cap: float = 60.0, factor: float = 2.0) -> Iterator[float]:
    """Seconds to wait before each retry: none before the first, then exponential, capped.

    The jitter (half to the whole of the delay) comes after the cap, so that a crowd of clients stays spread out
    however long an outage lasts. Make a new one only when *data* has come, for a while: a server that accepts, or even
    greets, and then hangs up would otherwise be stormed.
    """
    yield 0.0
    delay = first
    while True:
        yield min(delay, cap) * random.uniform(0.5, 1.0)
        delay = min(delay * factor, cap)


class Damper:
    """Heeds a call at once, and calls that repeat ever later, up to a minute; times in seconds of one monotonic clock.

    So a frame that is bad every second doesn't cost a connection every second. Once no call has been due for a minute,
    the next one is heeded at once again.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waits = backoff(random)
        self._next = 0.0

    def heed(self, now: float) -> bool:
        """Whether a call is to be heeded now; if so, the time to the next one begins."""
        if now < self._next:
            return False
        if now - self._next > _CALM:
            self._waits = backoff(self._random)
            next(self._waits)
        self._next = now + next(self._waits)
        return True


class Watchdog:
    """Says when a connection needs a ping, and when it is dead; times in seconds of one monotonic clock.

    A process that was busy looks to itself like a silent peer: if ``check`` itself comes late, it judges nobody.
    """

    def __init__(self, ping: float, dead: float, now: float) -> None:
        self._ping = ping
        self._dead = dead
        self._seen = now
        self._pinged = now
        self._checked = now

    def seen(self, now: float) -> None:
        """A frame came, of any kind."""
        self._seen = now

    def age(self, now: float) -> float:
        """Seconds since the last frame."""
        return now - self._seen

    def check(self, now: float) -> str:
        """``"dead"``, ``"ping"`` or ``""``."""
        late = now - self._checked > self._dead / 4
        self._checked = now
        if late:
            self._seen = max(self._seen, now - self._dead / 2)
            return ""
        if now - self._seen > self._dead:
            return "dead"
        if now - self._pinged >= self._ping:
            self._pinged = now
            return "ping"
        return ""


class Pacer:
    """Keeps connection attempts apart, so that an outage of the exchange doesn't end in a storm of them."""

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._last: float | None = None
        """When the last attempt was let through."""
        self._held = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for one's turn; who waits longest goes first."""
        async with self._queue:
            while (wait := self._until() - self._clock()) > 0:  # noqa: ASYNC110 - what it waits for is a time
                await asyncio.sleep(wait)
            self._last = self._clock()

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long, not even those who wait already."""
        self._held = max(self._held, self._clock() + seconds)

    def _until(self) -> float:
        """When the next one may go, by when the last one really went: a busy loop lets nobody catch up."""
        return self._held if self._last is None else max(self._held, self._last + self._interval)


class SendBudget:
    """Lets never more than ``most`` messages out within ``window`` seconds.

    One for all connections to one address, since exchanges count what comes from one client address. Connections take
    turns, so that each of them is heard soon; none is refused.
    """

    def __init__(self, most: int, window: float, clock: Callable[[], float]) -> None:
        self._window = window
        self._clock = clock
        self._times: deque[float] = deque(maxlen=most)
        """When the newest messages really went: a busy loop lets nobody catch up."""
        self._queue = asyncio.Lock()
        self.waiting = 0
        """Messages that wait for their turn; who queues them counts them up, and down where they won't be sent."""

    async def turn(self) -> None:
        """Wait until one of the messages that wait may go."""
        try:
            async with self._queue:
                while (wait := self._until() - self._clock()) > 0:  # noqa: ASYNC110 - what it waits for is a time
                    await asyncio.sleep(wait)
                self._times.append(self._clock())
        finally:
            self.waiting -= 1

    async def room(self, seconds: float) -> None:
        """Wait until what waits will be gone within so many seconds."""
        step = self._window / (self._times.maxlen or 1)
        while self.waiting * step > seconds:  # noqa: ASYNC110 - it is a rate that is waited for
            await asyncio.sleep(min(step, _LOOK))

    def _until(self) -> float:
        return self._times[0] + self._window if len(self._times) == self._times.maxlen else 0.0


_LOOK = 0.1
"""Seconds between two looks at how much waits."""
_WINDOW = 1.25
"""Seconds that a limit per second is kept over: what is sent a second apart may arrive closer together."""
_Loop = asyncio.AbstractEventLoop
_budgets: WeakKeyDictionary[_Loop, dict[str, SendBudget]] = WeakKeyDictionary()


def send_budget(address: str, per_second: int | None) -> SendBudget | None:
    """The budget of this process for messages to an address; ``None`` where the exchange names no limit."""
    if per_second is None:
        return None
    known = _budgets.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(address, SendBudget(per_second, _WINDOW, time.monotonic))
