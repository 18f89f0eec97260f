"""The reader while Redis is away, and at one that it can't get into."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ClusterDownError, ClusterError

from bridge.errors import RedisUnavailableError
from bridge.model import Channel
from bridge.redis.errors import AWAY
from consumers.connection import Outages
from consumers.reader import Position as Where
from consumers.reader import Reader
from tests.consumers.streams import Stream, gather, until
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port


@pytest.mark.parametrize("hard", [False, True], ids=["shutdown", "kill -9"])
async def test_a_blocked_reader_survives_a_restart_of_redis(own_server: RedisServer, hard: bool) -> None:
    told = asyncio.Event()
    reports: list[BaseException | None] = []

    def report(error: BaseException | None) -> None:
        reports.append(error)
        told.set()

    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(3)
        outages = Outages(report)
        async with Reader(own_server.url, {stream.key: Where.START}, block=30, outages=outages) as reader:
            batches = reader.batches()
            assert len(await anext(batches)) == 3
            waiting = asyncio.create_task(anext(batches), name="blocked read")
            await until(lambda: client.info("clients")["blocked_clients"])
            own_server.kill() if hard else own_server.stop()
            await asyncio.wait_for(told.wait(), PATIENCE)
            assert not waiting.done()
            await asyncio.to_thread(own_server.start)
            stream.trade()
            (item,) = await asyncio.wait_for(waiting, PATIENCE)
            await batches.aclose()
    assert item.seq == 4
    assert isinstance(reports[0], AWAY)
    assert reports[-1] is None
    assert len(reports) == 2


async def test_a_slot_that_redis_py_looks_for_in_vain_is_looked_for_again() -> None:
    """redis-py gives up after so many redirections, as happens while a slot of a Cluster moves."""
    answers: list[Any] = [ClusterError("TTL exhausted."), ClusterDownError("CLUSTERDOWN"), "found"]
    reports: list[BaseException | None] = []

    async def call() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await Outages(reports.append, sleep=lambda _: asyncio.sleep(0)).outlive(call) == "found"
    assert [type(report) for report in reports] == [ClusterError, type(None)]


async def test_waits_between_retries_grow_and_end(own_server: RedisServer) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            own_server.start()
        await asyncio.sleep(0)

    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        async with Reader(own_server.url, {stream.key: Where.NOW}, outages=Outages(sleep=sleep)) as reader:
            own_server.stop()
            reading = asyncio.create_task(gather(reader, 1), name="reading")
            await until(lambda: own_server.running)
            stream.trade()
            assert [item.seq for item in await reading] == [1]
    assert waits[0] == 0
    assert 0.025 <= waits[1] <= 0.05
    assert all(1 <= wait <= 2 for wait in waits[8:12])


async def test_redis_out_of_reach_at_the_start_is_an_error_without_the_password() -> None:
    port = free_port()
    with pytest.raises(RedisUnavailableError) as caught:
        await Reader(f"redis://me:hunter2@127.0.0.1:{port}/0").__aenter__()
    assert f"redis://127.0.0.1:{port}/0" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_refused_password_is_an_error_not_an_outage(own_server: RedisServer) -> None:
    with own_server.client() as client:
        client.config_set("requirepass", "right")
        with pytest.raises(RedisUnavailableError) as caught:
            await Reader(own_server.url.replace("//", "//:hunter2@")).__aenter__()
    assert "wrong user or password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
