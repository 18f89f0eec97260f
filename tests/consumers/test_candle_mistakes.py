"""Candles where a key, the output or the server is not as it should be."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from consumers.candles import Candles
from consumers.notices import Notices
from tests.consumers.streams import until
from tests.consumers.test_candles import CLEAN, KEYS, SECOND, Trades, making, same_as_uninterrupted
from tests.consumers.test_monitor import get, service
from tests.e2e.harness import eventually
from tests.servers import RedisServer


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Trades(client)


async def discovered(candles: Candles, trades: Trades, notices: Notices) -> None:
    """Have a stream found once more, as by the next look at the catalog."""
    await candles.found(trades.key, KEYS.parse(trades.key))
    notices.clear_problem(trades.key)


async def test_an_interval_that_is_refused_at_the_start_stops_only_itself(redis_server, trades) -> None:
    trades.client.set(SECOND, "something else")
    for at in range(0, 20_000, 900):
        trades.at(at)
    five = KEYS.candles("limitlex", "BTC-EUR", "5s")
    notices = Notices("candles")
    async with making(redis_server, intervals=("1s", "5s"), notices=notices) as (candles, writer):
        assert notices.problems() == [
            f"{trades.key}: {SECOND}: WRONGTYPE Operation against a key holding the wrong kind of value"
        ]
        await until(lambda: same_as_uninterrupted(trades, five, "5s", 0))
        trades.client.delete(SECOND)
        for at in range(20_000, 30_000, 900):
            trades.at(at)
        await discovered(candles, trades, notices)
        assert notices.problems() == []
        await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))
        trades.at(40_000)
        for key, name in ((SECOND, "1s"), (five, "5s")):
            await until(lambda key=key, name=name: same_as_uninterrupted(trades, key, name, 0))
        assert candles.degraded() == []
        assert not writer.refused


def test_what_cannot_be_read_at_the_start_is_degraded(redis_server, trades) -> None:
    trades.client.set(SECOND, "something else")
    words = ("limitlex:BTC-EUR", "--interval", "1s", "5s", "--redis", redis_server.url, "--http", ":0")
    with service("candles", *words) as (_, url):
        eventually(lambda: SECOND in str(json.loads(get(f"{url}/readyz")[1])["degraded"]), "the key")
        eventually(lambda: trades.key in str(json.loads(get(f"{url}/status")[1])["streams"]), "the pair")
        trades.client.delete(SECOND)
        eventually(lambda: json.loads(get(f"{url}/readyz")[1])["degraded"] == [], "no problem any more")


def test_head_ends_it(redis_server, trades) -> None:
    words = [sys.executable, "-m", "bridge", "candles", "--interval", "1s", "--redis", redis_server.url]
    with subprocess.Popen(words, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        trades.at(0)
        trades.at(10_000)
        assert process.stdout.readline()
        process.stdout.close()

        def ended() -> bool:
            trades.at(10_000 * (trades.seq + 1))
            return process.poll() is not None

        try:
            eventually(ended, "its end")
        finally:
            process.kill()
        assert process.returncode == 0
        assert "unreachable" not in process.stderr.read()


def test_a_replica_is_named_with_its_master(own_server, redis_server) -> None:
    with own_server.client() as client, redis_server.client() as master:
        writer = Trades(master)
        writer.at(0)
        writer.at(200_000)
        client.replicaof("127.0.0.1", redis_server.port)
        eventually(lambda: client.exists(writer.key), "what the master has")
        with service("candles", "--redis", own_server.url, "--http", ":0") as (process, first):
            said = next(line for line in itertools.chain([first], process.stderr) if "waiting" in line)
    address = f"redis://127.0.0.1:{own_server.port}/0"
    assert f"Redis at {address} accepts no writes, waiting: this is a read-only replica" in said
    assert said.endswith(f"; use its master (127.0.0.1:{redis_server.port})\n")
