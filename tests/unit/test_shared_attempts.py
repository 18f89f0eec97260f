"""Attempts to connect, and messages, of several processes that have one address: together they keep to one budget."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
import structlog

from bridge.config import load_settings
from bridge.connector.limits import RedisLimits
from bridge.connector.store import Store
from bridge.feed.policies import Pacer, SendBudget
from bridge.feed.shared import FREE, Turn
from bridge.keys import Keys
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port
from tests.unit.test_shared_limits import HOUR, connected

URL = "wss://stream.example.org/ws"


class Process:
    """What the process of a connector has; ``waits`` once the others have left no room, or the exchange wants nothing."""

    def __init__(self, inner: RedisLimits) -> None:
        self._inner = inner
        self.pacer = Pacer(HOUR, time.monotonic)
        self.sends = SendBudget(3, HOUR, time.monotonic)
        self.waits = asyncio.Event()

    async def take(self, weight: int, limit: tuple[int, float] | None) -> Turn:
        turn = await self._inner.take(weight, limit)
        if turn != FREE:
            self.waits.set()
        return turn

    async def refused(self, seconds: float) -> None:
        await self._inner.refused(seconds)

    async def attempt(self) -> bool:
        """Whether it may connect now; else it would have to wait."""
        return await self._try(asyncio.create_task(self.pacer.turn(self)))

    async def send(self) -> bool:
        """The same of a message."""
        self.sends.waiting += 1
        return await self._try(asyncio.create_task(self.sends.turn(self)))

    async def _try(self, turn: asyncio.Task[None]) -> bool:
        waiting = asyncio.create_task(self.waits.wait())
        await asyncio.wait((turn, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        went = turn.done()
        for task in (turn, waiting):
            task.cancel()
        await asyncio.wait((turn, waiting))
        return went


async def processes(stack: AsyncExitStack, redis_url: str, purpose: str, count: int) -> list[Process]:
    found = []
    for _ in range(count):
        client = await stack.enter_async_context(connected(redis_url))
        log = structlog.get_logger()
        limits = RedisLimits(client, Keys(), URL, name="", purpose=purpose, log=log, patience=PATIENCE)
        found.append(Process(limits))
    return found


async def test_a_fleet_that_restarts_tries_no_more_often_than_one_process_would(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        fleet = await processes(stack, redis_server.url, "connect", 9)
        went = await asyncio.gather(*(process.attempt() for process in fleet))
        assert sum(went) == 4, "as many as one process may in four times its pace"


async def test_attempts_and_messages_and_requests_are_counted_apart(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        one, two = await processes(stack, redis_server.url, "send", 2)
        assert [await one.send(), await two.send(), await one.send()] == [True] * 3
        assert not await two.send()
        [other] = await processes(stack, redis_server.url, "connect", 1)
        assert await other.attempt()
        [rest] = await processes(stack, redis_server.url, "", 1)
        assert await rest.attempt()


async def test_what_the_exchange_says_to_one_all_of_them_heed(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        one, two = await processes(stack, redis_server.url, "connect", 2)
        await one.refused(HOUR)
        assert not await two.attempt()


async def test_without_redis_each_goes_by_its_own_count() -> None:
    async with AsyncExitStack() as stack:
        fleet = await processes(stack, f"redis://127.0.0.1:{free_port()}/0", "connect", 6)
        assert all(await asyncio.gather(*(process.attempt() for process in fleet)))
        assert not fleet[0].waits.is_set()
        again = asyncio.create_task(fleet[0].pacer.turn(fleet[0]))
        await asyncio.sleep(0)
        assert not again.done(), "its own pace counts"
        again.cancel()


@pytest.mark.parametrize(("share", "shared"), [("true", True), ("nat-1", True), ("false", False)])
async def test_requests_attempts_and_messages_are_shared_unless_it_is_off(share: str, shared: bool) -> None:
    store = Store(load_settings(None, {"TICKBRIDGE_SHARE_LIMITS": share}), "x", "okx", structlog.get_logger())
    found = [store.limits(URL, purpose) for purpose in ("", "connect", "send")]
    assert [budget is not None for budget in found] == [shared] * 3
