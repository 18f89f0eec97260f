"""Candles where a key, the output or the server is not as it should be."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from tests.consumers.test_candles import CLEAN, Trades
from tests.consumers.test_monitor import service
from tests.e2e.harness import eventually
from tests.servers import RedisServer


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Trades(client)


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
    assert said.endswith(f"; use its master 127.0.0.1:{redis_server.port}\n")
