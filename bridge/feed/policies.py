"""Policies as small pure things: when to try again, when to ping, when a peer counts as dead."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from random import Random
from weakref import WeakKeyDictionary

from bridge.exchanges.api import Decaying
from bridge.feed.shared import FREE, SharedBudget
from bridge.urls import Url

__all__ = [
    "Damper",
    "Pacer",
    "RequestBudget",
    "SendBudget",
    "Watchdog",
    "backoff",
    "look_every",
    "pacer_of",
    "request_budget",
    "send_budget",
]

_CALM = 60.0
_PINGS = 3
_MOST_APART = 2.0
_AT_ONCE = 4
"""Attempts of all processes behind one address that may go at once, if none has gone for as long as they take in turn."""
_LOOK_AT_MOST, _LOOK_AT_LEAST = 0.25, 0.02


def backoff(random: Random, first: float = 1.0, cap: float = 60.0, factor: float = 2.0) -> Iterator[float]:
    """Seconds to wait before each retry: none before the first, then exponential, capped.

    The jitter (half to the whole of the delay) comes after the cap, so that a crowd of clients stays spread out
    however long an outage lasts. Make a new one only when a connection has *stood* for a while: a server that accepts,
    or even sends data, and then hangs up would otherwise be stormed.
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

    Pings go out at least three times within ``dead``: a quiet connection is no dead one, however short that is. A
    process that was busy looks to itself like a silent peer: if ``check`` itself comes late, it judges nobody, once.
    """

    def __init__(self, ping: float, dead: float, now: float) -> None:
        self._ping = min(ping, dead / _PINGS)
        self._dead = dead
        self._late = max(dead / 4, 3 * look_every(dead))
        self._forgiven = False
        self._seen = now
        self._pinged = now
        self._checked = now

    def seen(self, now: float) -> None:
        """A frame came, of any kind."""
        self._seen = now
        self._forgiven = False

    def age(self, now: float) -> float:
        """Seconds since the last frame."""
        return now - self._seen

    def check(self, now: float) -> str:
        """``"dead"``, ``"ping"`` or ``""``; to be called every `look_every` seconds."""
        late = now - self._checked > self._late
        self._checked = now
        if late and not self._forgiven:
            self._forgiven = True
            self._seen = max(self._seen, now - self._dead / 2)
            return ""
        if now - self._seen > self._dead:
            return "dead"
        if now - self._pinged >= self._ping:
            self._pinged = now
            return "ping"
        return ""


def look_every(dead: float) -> float:
    """Seconds between two looks at a connection that counts as dead after so many seconds of silence."""
    return min(_LOOK_AT_MOST, max(_LOOK_AT_LEAST, dead / 8))


async def _granted(shared: SharedBudget | None, weight: int, limit: tuple[int, float] | None) -> float:
    """Ask what all processes share, until there is room; zero, or for how long the exchange wants nothing (seconds)."""
    while shared is not None and (turn := await shared.take(weight, limit)) != FREE:
        if turn.held:
            return turn.held
        await asyncio.sleep(max(_LOOK, min(turn.full, _LOOK_SHARED)))  # it may get shorter: after a refusal all is free
    return 0.0


class Pacer:
    """Keeps attempts to connect to one address apart: one for all connections and connectors of the process.

    So an outage of the exchange doesn't end in a storm of them. While attempts fail, they come ever further apart, up to
    ``_MOST_APART`` seconds: thirty a minute, however many connections wait. All processes behind one address together
    keep to the same rate, but a few may go at once.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._least = interval
        self._interval = interval
        self._clock = clock
        self._last: float | None = None
        """When the last attempt was let through."""
        self._held = 0.0
        self._queue = asyncio.Lock()

    async def turn(self, shared: SharedBudget | None = None) -> None:
        """Wait for one's turn, in this process and among all that have one address; who waits longest goes first."""
        async with self._queue:
            while True:
                while (wait := self._until() - self._clock()) > 0:  # noqa: ASYNC110 - what it waits for is a time
                    await asyncio.sleep(wait)
                if not self._interval or not (held := await _granted(shared, 1, self._limit)):
                    break
                self.hold(held)
            self._last = self._clock()

    @property
    def _limit(self) -> tuple[int, float]:
        return _AT_ONCE, _AT_ONCE * self._interval

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long, not even those who wait already."""
        self._held = max(self._held, self._clock() + seconds)

    @property
    def troubled(self) -> bool:
        """Whether attempts fail at present."""
        return self._interval > self._least

    def failed(self) -> None:
        """An attempt came to nothing, or its connection didn't last."""
        self._interval = max(self._least, min(2 * self._interval, _MOST_APART))

    def worked(self) -> None:
        """A connection lasts."""
        self._interval = self._least

    def _until(self) -> float:
        """When the next one may go, by when the last one really went: a busy loop lets nobody catch up."""
        return self._held if self._last is None else max(self._held, self._last + self._interval)


class RequestBudget(Pacer):
    """Lets requests of no more than so much weight out within a time; they go in the order in which they were made.

    One for all that calls a REST address, since exchanges count what comes from one client address. Once the exchange
    has said that it was too much, nothing goes until that is over, and then as much as at first. While nobody answers
    there, requests are kept apart as attempts to connect are; else only their weight counts.

    Args:
        limit: the most weight, and the seconds within which it may be spent; ``None``: as much as there is.
        interval: least seconds between two requests while nobody answers.
        clock: the time in seconds, never set.
    """

    def __init__(self, limit: tuple[int, float] | None, interval: float, clock: Callable[[], float]) -> None:
        super().__init__(interval, clock)
        self.limit = limit
        self._spent = deque[tuple[float, float]]()
        """When requests really went, and their weight; of a limit that decays, what was counted with the last one."""

    async def spend(self, weight: int, shared: SharedBudget | None = None) -> float:
        """Wait until a request of this weight may go, by this process' count and by that of all that have one address.

        One of no weight doesn't wait behind others, and is in no count.

        Returns:
            Zero; or the seconds for which the exchange wants to hear nothing, where that is too long to wait.
        """
        limit = self.limit if weight else None
        async with self._queue if weight or self.troubled else nullcontext():
            while True:
                while (wait := self._until(weight) - self._clock()) > 0:
                    if (held := self._held - self._clock()) > _PATIENCE:
                        return held
                    await asyncio.sleep(
                        min(wait, _LOOK)
                    )  # it may get shorter: after a refusal the budget is full again
                if not (held := await _granted(shared, weight, limit)):
                    break
                self._heed(held)
            self._last = self._clock()
            if limit is not None:
                before = 0.0
                if isinstance(limit, Decaying):
                    before = limit.counted(self._spent, self._last)
                    self._spent.clear()
                self._spent.append((self._last, before + weight))
        return 0.0

    def refused(self, retry_after: float | None) -> float:
        """The exchange has had too many requests: ``retry_after`` is how long it wants none, in seconds, if it said so.

        Returns:
            The seconds for which nothing goes; zero if nobody knows.
        """
        wait = retry_after if retry_after is not None or self.limit is None else self.limit[1]
        if wait is None:
            return 0.0
        self._heed(max(wait, _LEAST_HOLD))
        return max(wait, _LEAST_HOLD)

    def _heed(self, seconds: float) -> None:
        self.hold(seconds)
        self._spent.clear()

    def _until(self, weight: int = 1) -> float:
        until = super()._until() if self.troubled else self._held
        if self.limit is None or not weight:
            return until
        if isinstance(self.limit, Decaying):
            return max(until, self.limit.full_until(self._spent, weight) + _IN_TRANSIT)
        most, seconds = self.limit
        window = seconds + _IN_TRANSIT
        while self._spent and self._spent[0][0] + window <= self._clock():
            self._spent.popleft()
        over = sum(spent for _, spent in self._spent) + min(weight, most) - most
        for at, spent in self._spent:
            if over <= 0:
                break
            over -= spent
            until = max(until, at + window)
        return until


class SendBudget:
    """Lets never more than ``most`` messages out within ``window`` seconds.

    One for all connections to one address, since exchanges count what comes from one client address. Connections take
    turns, so that each of them is heard soon; none is refused.
    """

    def __init__(self, most: int, window: float, clock: Callable[[], float]) -> None:
        self._limit = (most, window)
        self._window = window
        self._clock = clock
        self._times: deque[float] = deque(maxlen=most)
        """When the newest messages really went: a busy loop lets nobody catch up."""
        self._queue = asyncio.Lock()
        self.waiting = 0
        """Messages that wait for their turn; who queues them counts them up, and down where they won't be sent."""

    async def turn(self, shared: SharedBudget | None = None) -> None:
        """Wait until one of the messages that wait may go, by this process' count and that of all with one address."""
        try:
            async with self._queue:
                while (wait := self._until() - self._clock()) > 0:  # noqa: ASYNC110 - what it waits for is a time
                    await asyncio.sleep(wait)
                await _granted(shared, 1, self._limit)
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
_LOOK_SHARED = 5.0
"""Most seconds between two looks at how much other processes have sent."""
_IN_TRANSIT = 0.25
"""Seconds by which what is sent apart may arrive closer together."""
_PATIENCE = 60.0
"""Seconds for which a request waits until an exchange wants to hear something again; beyond, it fails at once."""
_LEAST_HOLD = 1.0
_Loop = asyncio.AbstractEventLoop
_budgets: WeakKeyDictionary[_Loop, dict[str, SendBudget]] = WeakKeyDictionary()
_pacers: WeakKeyDictionary[_Loop, dict[str, Pacer]] = WeakKeyDictionary()
_requests: WeakKeyDictionary[_Loop, dict[str, RequestBudget]] = WeakKeyDictionary()


def send_budget(url: str, per_second: float | None) -> SendBudget | None:
    """The budget of this process for messages to a URL's host; ``None`` where the exchange names no limit.

    Less than one a second is one in a longer time.
    """
    if per_second is None:
        return None
    known = _budgets.setdefault(asyncio.get_running_loop(), {})
    most = max(1, int(per_second))
    seconds = max(1.0, 1.0 / per_second)
    return known.setdefault(_server(url), SendBudget(most, seconds + _IN_TRANSIT, time.monotonic))


def request_budget(url: str, limit: tuple[int, float] | None, interval: float) -> RequestBudget:
    """The budget of this process for requests to a URL's host; the first limit that an exchange names there counts."""
    known = _requests.setdefault(asyncio.get_running_loop(), {})
    budget = known.setdefault(_server(url), RequestBudget(limit, interval, time.monotonic))
    budget.limit = budget.limit or limit
    return budget


def pacer_of(url: str, interval: float) -> Pacer:
    """What keeps this process' attempts to reach a URL's server apart, by ``interval`` seconds at least."""
    known = _pacers.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(_server(url), Pacer(interval, time.monotonic))


def _server(url: str) -> str:
    """Scheme and host: REST and WebSockets may be two services under one name, of which one is away."""
    parts = Url.of(url)
    return f"{parts.scheme}://{parts.hosts.lower()}"
