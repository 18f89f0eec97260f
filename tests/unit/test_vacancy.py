"""When a standby finds a connector's name free."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from bridge.keys import Keys
from bridge.redis.connected import Connected
from bridge.redis.connections import connection_name
from bridge.redis.handover import HandoverError, hand_over
from bridge.redis.presence import WANTED
from bridge.redis.rivals import identity
from bridge.redis.vacancy import Vacancy, await_vacancy
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer

KEYS = Keys()
HEARTBEAT, FENCE, STANDBY = KEYS.connector("x"), KEYS.fence("x"), KEYS.standby("x")
LONG = 1_000.0
"""An interval by which nothing is ever silent for too long."""
ELSEWHERE = {"instance": "a", "host": "elsewhere", "pid": "1", "pid_space": "other"}


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


def named(server: RedisServer, instance: str) -> Redis:
    """A client whose connections have the name of an instance's."""
    name = connection_name("", "x", instance)
    return Redis.from_url(server.url, decode_responses=True, client_name=name)


class Looks(Connected):
    """Looks at a process's connections; one may wait for the answer to a look that has begun since."""

    def __init__(self, client: Redis, own: str) -> None:
        super().__init__(client, lambda instance: connection_name("", "x", instance), own, lambda _: None)
        self._answers: asyncio.Queue[bool] = asyncio.Queue()

    async def ended(self, instance: str) -> bool:
        answer = await super().ended(instance)
        self._answers.put_nowait(answer)
        return answer

    async def answers(self, *, ended: bool) -> None:
        """Wait until a look from now on has this answer."""
        while not self._answers.empty():
            self._answers.get_nowait()
        async with asyncio.timeout(PATIENCE):
            while await self._answers.get() is not ended:
                pass


class Waiting:
    """A process that waits for the name, and what it has seen."""

    def __init__(self, client: Redis, interval: float, connected: Connected | None = None) -> None:
        self.seen: list[str] = []
        self._news = asyncio.Event()
        self.task = asyncio.create_task(await_vacancy(client, KEYS, "x", interval, self._note, connected=connected))

    def _note(self, heartbeat: object) -> None:
        self.seen.append(heartbeat["beat"])  # type: ignore[index]
        self._news.set()

    async def sees(self, beat: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while beat not in self.seen:
                self._news.clear()
                await self._news.wait()

    async def found(self) -> Vacancy:
        async with asyncio.timeout(PATIENCE):
            return await self.task


async def test_a_name_that_is_given_back_is_free_at_once(client: Redis) -> None:
    await client.set(FENCE, "1-a")
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
    waiting = Waiting(client, LONG)
    await waiting.sees("1")
    await client.hset(HEARTBEAT, "beat", "2")
    await waiting.sees("2")
    await client.delete(HEARTBEAT)
    assert await waiting.found() == Vacancy("1-a", None)


async def test_a_name_that_was_given_back_in_vain_before_is_free_at_once(client: Redis) -> None:
    """Its process has it again, while this one was not looking."""
    await client.set(FENCE, "1-a")
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "epoch": "1", "beat": "1"})
    waiting = Waiting(client, LONG)
    await waiting.sees("1")
    await client.set(FENCE, "2-a")
    await client.hset(HEARTBEAT, mapping={"epoch": "2", "beat": "2"})
    await waiting.sees("2")
    await client.delete(HEARTBEAT)
    assert await waiting.found() == Vacancy("2-a", None)


async def test_a_process_that_was_killed_here_is_gone_at_once(client: Redis) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE, env=clean_environment()
    )
    await client.set(FENCE, "1-a")
    await client.hset(HEARTBEAT, mapping={**identity(), "pid": process.pid, "instance": "a", "beat": "1"})
    waiting = Waiting(client, LONG)
    await waiting.sees("1")
    process.kill()
    await process.wait()
    assert await waiting.found() == Vacancy("1-a", "a")


async def test_a_process_that_is_silent_elsewhere_is_gone(client: Redis) -> None:
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
    assert await Waiting(client, 0.1).found() == Vacancy(None, "a")


async def test_a_process_elsewhere_whose_connections_are_closed_is_gone(
    redis_server: RedisServer, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.redis.vacancy._TO_CONNECT", 0.5 / LONG)
    async with named(redis_server, "b") as own, named(redis_server, "a") as theirs:
        await theirs.ping()
        await client.set(FENCE, "1-a")
        await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
        looks = Looks(own, "b")
        waiting = Waiting(own, LONG, looks)
        await looks.answers(ended=False)
        await theirs.aclose()
        await looks.answers(ended=True)
        await theirs.ping()
        await looks.answers(ended=False)
        assert not waiting.task.done(), "it has connected again"
        await client.hset(HEARTBEAT, "beat", "2")
        await theirs.aclose()
        assert await waiting.found() == Vacancy("1-a", "a")


@pytest.mark.parametrize("forgets_fence", [True, False])
async def test_a_heartbeat_that_redis_has_lost_is_not_given_back(client: Redis, *, forgets_fence: bool) -> None:
    """Its writer is about to renew it."""
    await client.set(FENCE, "1-a")
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
    waiting = Waiting(client, LONG)
    await waiting.sees("1")
    if forgets_fence:
        await client.delete(HEARTBEAT, FENCE)
    else:
        waiting.task.cancel()  # as after an error
        await client.delete(HEARTBEAT)
        waiting = Waiting(client, LONG)
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "2"})
    await waiting.sees("2")
    assert not waiting.task.done()
    waiting.task.cancel()


async def test_a_handover_that_nobody_takes_says_so(client: Redis) -> None:
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
    await client.hset(STANDBY, mapping={**ELSEWHERE, "instance": "b", "state": "degraded"})
    with pytest.raises(HandoverError, match=r"the standby of 'x' is not ready \(degraded\)"):
        await hand_over(client, KEYS, "x", PATIENCE)
    await client.hset(STANDBY, "state", "standby")
    with pytest.raises(HandoverError, match="was not handed over"):
        await hand_over(client, KEYS, "x", 0.2)
    assert await client.hget(STANDBY, "state") == "standby"


async def test_a_wish_that_nobody_waits_for_any_more_is_withdrawn(client: Redis) -> None:
    """Else the writer would hand over at some later time, when nobody expects it."""
    await client.hset(HEARTBEAT, mapping={**ELSEWHERE, "beat": "1"})
    await client.hset(STANDBY, mapping={**ELSEWHERE, "instance": "b", "state": "standby"})
    asking = asyncio.create_task(hand_over(client, KEYS, "x", PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while await client.hget(STANDBY, WANTED) != "a":
            await asyncio.sleep(0.01)
    assert await client.pttl(STANDBY) > 0
    asking.cancel()
    await asyncio.wait([asking])
    assert await client.hget(STANDBY, WANTED) == ""
