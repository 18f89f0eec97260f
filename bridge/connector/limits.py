"""An exchange's limits (REST requests, attempts to connect, messages), kept with other processes through Redis.

Exchanges count what comes from one client address, whichever process sends it. So each request is an entry of a stream,
with its weight, before it goes: entries have the time of Redis' clock and an order that is the same for all, which makes
the sum of the last seconds exact however many processes ask at once. A refusal is a key that lasts as long as the
exchange wants no request.

It takes one round trip per request, and two where there is no room. Redis may be slow or away: then a process goes by its
own count alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio import Redis
from structlog.typing import FilteringBoundLogger

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
        self._held_key, self._spent_key = keys.limits_held(address), keys.limits_spent(address)
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
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.pttl(self._held_key)
            if limit is None:
                [held] = await pipe.execute()
                return Turn(held=_seconds(held))
            most, seconds = limit
            weight, window = min(weight, most), int(seconds * 1000) + _IN_TRANSIT
            begin = self._begin(window)
            pipe.xadd(self._spent_key, {"weight": weight}, minid=begin or None, approximate=False)
            pipe.xrange(self._spent_key, begin or "-", "+")
            pipe.pexpire(self._spent_key, 2 * window)
            held, own, entries, _ = await pipe.execute()
        now = _milliseconds(own)
        self._ahead = now - int(self._clock() * 1000)
        spent = [(at, int(fields["weight"])) for at, fields in _until(entries, own) if _milliseconds(at) > now - window]
        turn = Turn(_seconds(held), _until_room(spent, most, window, now))
        if turn != FREE:
            await self._client.xdel(self._spent_key, own)
        return turn

    async def _hold(self, milliseconds: int) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(self._held_key, "1", px=milliseconds, nx=True)
            pipe.pexpire(self._held_key, milliseconds, gt=True)
            pipe.delete(self._spent_key)
            await pipe.execute()

    def _begin(self, window: int) -> str:
        """The ID before which nothing counts; empty while Redis' clock is unknown."""
        return "" if self._ahead is None else str(max(0, int(self._clock() * 1000) + self._ahead - window))

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


def _until(entries: list[tuple[str, dict[str, str]]], own: str) -> list[tuple[str, dict[str, str]]]:
    """The entries up to one's own: later ones see it, and wait for it."""
    ids = [at for at, _ in entries]
    return entries[: ids.index(own) + 1] if own in ids else entries


def _until_room(spent: list[tuple[str, int]], most: int, window: int, now: int) -> float:
    """Seconds until enough of what was spent counts no more for the last of it to be within the limit; zero if it is."""
    over = sum(weight for _, weight in spent) - most
    until = now
    for at, weight in spent:
        if over <= 0:
            break
        over -= weight
        until = _milliseconds(at) + window
    return max(0, until - now) / 1000


def _milliseconds(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _seconds(pttl: int) -> float:
    return max(0, pttl) / 1000
