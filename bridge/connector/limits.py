"""An exchange's limits (REST requests, attempts to connect, messages), kept with other processes through Redis.

Exchanges count what comes from one client address, whichever process sends it. So each request is a member of a sorted
set, with its weight in the member and Redis' clock as its score, before it goes. It is added and the set read in one
transaction: however many processes ask at once, each sees those that came before it, and together they never have more
than there is. A refusal is a key that lasts as long as the exchange wants no request.

It takes one round trip per request, and two where there is no room. Redis may be slow or away: then a process goes by its
own count alone.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio import Redis
from structlog.typing import FilteringBoundLogger

from bridge.exchanges.api import Decaying
from bridge.feed.shared import FREE, Turn
from bridge.keys import Keys
from bridge.redis.errors import FAILURES, is_passing, said
from bridge.urls import Url

__all__ = ["RedisLimits"]

_AWAY, _REFUSED = 5.0, 300.0
"""Seconds for which Redis is left alone after it was away, or has refused a command."""
_IN_TRANSIT = 250
"""Milliseconds by which what is sent apart may arrive closer together."""
_LONGEST_NAME = 255
_KEPT = 4
"""Windows for which what was used is kept: the window of another process may be longer, while its attempts fail."""
T = TypeVar("T")


class RedisLimits:
    """What one connector tells and learns about the requests to one address: a `SharedBudget` of the feed.

    Args:
        client: returns text, and repeats no command by itself.
        keys: the keys of the namespace.
        url: the address; its host and port count.
        purpose: what is counted, if it is not REST requests: ``connect``, ``send``.
        name: of the processes that have one client address; empty: all that use this Redis and namespace.
        log: says when nothing can be shared.
        patience: seconds that Redis gets for an answer; a request is never later than that because of it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        url: str,
        *,
        name: str,
        purpose: str = "",
        log: FilteringBoundLogger,
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host = Url.of(url).hosts.lower()[:_LONGEST_NAME]
        address = "".join((f"{purpose}:" if purpose else "", f"{name}@" if name else "", host))
        self._client = client
        self._held_key, self._used_key = keys.limits_held(address), keys.limits_used(address)
        self._name = uuid.uuid4().hex
        self._asked = 0
        self._log = log
        self._patience = patience
        self._clock = clock
        self._not_before = 0.0
        """When Redis is asked again."""
        self._ahead: int | None = None
        """Milliseconds by which Redis' clock is ahead of ours, at least; ``None`` until it has been seen."""

    async def take(self, weight: int, limit: tuple[int, float] | None) -> Turn:
        """Count a request, if nobody is held and there is room; always `FREE` while Redis is not there."""
        return await self._ask(self._take(weight, limit), FREE)

    async def refused(self, seconds: float) -> None:
        """Hold everybody for so long; a longer hold that is there stays."""
        await self._ask(self._hold(max(1, int(seconds * 1000))), None)

    async def _take(self, weight: int, limit: tuple[int, float] | None) -> Turn:
        if limit is None:
            return Turn(_seconds(await self._client.pttl(self._held_key)))
        most, seconds = limit
        weight, window = min(weight, most), int(seconds * 1000) + _IN_TRANSIT
        span = _KEPT * window if isinstance(limit, Decaying) else window
        self._asked += 1
        own, about = f"{self._name}:{self._asked}:{weight}", self._redis_time()
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zadd(self._used_key, {own: about})
            pipe.zrange(self._used_key, self._since(span), "+inf", byscore=True, withscores=True)
            pipe.zremrangebyscore(self._used_key, "-inf", self._since(_KEPT * window))
            pipe.pttl(self._held_key)
            pipe.pexpire(self._used_key, _KEPT * window)
            pipe.pexpiretime(self._used_key)  # which says what time it is there
            _, found, _, held, _, expires = await pipe.execute()
        now = expires - _KEPT * window
        self._ahead = now - self._own_time()
        used = [(int(at), _weight(member)) for member, at in found if member != own and abs(now - at) < span]
        until_room = _until_decayed if isinstance(limit, Decaying) else _until_room
        turn = Turn(_seconds(held), until_room([*used, (now, weight)], most, window, now))
        if turn != FREE:
            await self._client.zrem(self._used_key, own)
        elif abs(now - about) > _IN_TRANSIT:
            await self._client.zadd(self._used_key, {own: now})
        return turn

    async def _hold(self, milliseconds: int) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(self._held_key, "1", px=milliseconds, nx=True)
            pipe.pexpire(self._held_key, milliseconds, gt=True)
            pipe.delete(self._used_key)
            await pipe.execute()

    def _own_time(self) -> int:
        return int(self._clock() * 1000)

    def _redis_time(self) -> int:
        """Redis' clock, in milliseconds, as far as it is known: early by no more than an answer took; ours, until it is."""
        return int(time.time() * 1000) if self._ahead is None else self._own_time() + self._ahead

    def _since(self, window: int) -> int | str:
        """The score from which on the last window has been used; all, until Redis' clock is known."""
        return "-inf" if self._ahead is None else self._redis_time() - window

    async def _ask(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        """The answer, or ``otherwise`` where there is none in time."""
        if self._clock() < self._not_before:
            work.close()
            return otherwise
        try:
            async with asyncio.timeout(self._patience):
                return await work
        except (*FAILURES, TimeoutError) as error:
            pause = _AWAY if isinstance(error, TimeoutError) or is_passing(error) else _REFUSED
            self._not_before = self._clock() + pause
            words = said(error) if str(error) else "no answer in time"
            self._log.warning("limits_not_shared", error=words, again_in=pause)
            return otherwise


def _until_room(used: list[tuple[int, int]], most: int, window: int, now: int) -> float:
    """Seconds until enough of what was used counts no more for all of it to be within the limit; zero if it is."""
    over = sum(weight for _, weight in used) - most
    until = now
    for at, weight in sorted(used):
        if over <= 0:
            break
        over -= weight
        until = at + window
    return max(0, until - now) / 1000


def _until_decayed(used: list[tuple[int, int]], most: int, window: int, now: int) -> float:
    """The same where it is counted down evenly; what came before all that is kept may have been as much as there is."""
    *before, (_, weight) = used
    full = Decaying((most, window)).full_until([(now - _KEPT * window, most), *sorted(before)], weight)
    return max(0, full - now) / 1000


def _weight(member: str) -> int:
    return int(member.rpartition(":")[2])


def _seconds(pttl: int) -> float:
    return max(0, pttl) / 1000
