"""The clocks of the connector's and of Redis' hosts are set while everything runs: nothing is deleted, nothing stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.conftest import Bench
from tests.e2e.harness import Process, eventually, sequences
from tests.e2e.host_clocks import LIBFAKETIME, HostClock, remove_leftovers
from tests.e2e.test_standby import Pair, check
from tests.servers import RedisServer

HOUR = 3600
pytestmark = pytest.mark.skipif(LIBFAKETIME is None, reason="libfaketime is not installed, which sets a process' clock")


@pytest.fixture
def host_clock(tmp_path: Path) -> Iterator[HostClock]:
    yield HostClock(tmp_path / "clock")
    remove_leftovers()


@pytest.fixture
def set_server(tmp_path: Path, host_clock: HostClock) -> Iterator[RedisServer]:
    """A server on the host with that clock."""
    server = RedisServer(tmp_path, environment=host_clock.environment)
    server.start()
    yield server
    server.kill()


def grown(client: redis.Redis, key: str, by: int = 60) -> list[tuple[str, dict[str, str]]]:
    """Wait for so many more entries; all that there are then, in whose numbers nothing is missing."""
    wanted = client.xlen(key) + by
    eventually(lambda: client.xlen(key) >= wanted, f"{by} more entries of {key}")
    entries = client.xrange(key)
    assert [int(ident.split("-")[1]) for ident, _ in entries] == list(range(1, len(entries) + 1))
    return entries


def check_ids(entries: list[tuple[str, dict[str, str]]], begun: float) -> None:
    """They have the true time, whatever the clocks showed."""
    times = [int(ident.split("-")[0]) / 1000 for ident, _ in entries]
    assert begun - 5 < times[0]
    assert times == sorted(times)
    assert times[-1] < time.time() + 5


def test_the_connectors_clock_is_set(own_bench: Bench, host_clock: HostClock) -> None:
    begun = time.time()
    own_bench.simulate(rate=300)
    connector = own_bench.start(host_clock.environment)
    key = "md:{limitlex:BTC-EUR}:trades"
    client = own_bench.client
    eventually(lambda: client.xlen(key) > 50, "trades")
    for step in (30 * HOUR, -2 * HOUR, 0):
        host_clock.set(step)
        connector.wait_for("clock_set")

        def follows(step: int = step) -> bool:
            [(_, fields)] = client.xrevrange(key, count=1)
            return abs(int(fields["recv"]) / 1e9 - time.time() - step) < 30

        eventually(follows, f"recv by a clock that is {step} s ahead")
        check_ids(grown(client, key), begun)
    assert own_bench.simulated is not None
    own_bench.simulated.pause()
    assert connector.stop() == 0
    for kind in ("connection_lost", '"stale"', "replacing_connection", "events_dropped"):
        assert kind not in connector.output, connector.output
    for numbers in sequences(client).values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_clock_of_redis_is_set(own_bench: Bench, host_clock: HostClock, set_server: RedisServer) -> None:
    begun = time.time()
    own_bench.use(set_server)
    own_bench.simulate(rate=300)
    connector = own_bench.run()
    key = "md:{limitlex:BTC-EUR}:trades"
    client = own_bench.client
    eventually(lambda: client.xlen(key) > 50, "trades")
    for step in (30 * HOUR, -2 * HOUR, 0):
        host_clock.set(step)
        eventually(lambda step=step: abs(client.time()[0] - time.time() - step) < 30, "the clock of Redis")
        check_ids(grown(client, key), begun)
    assert connector.stop() == 0


def test_a_book_that_falls_silent_is_stale_although_the_clock_was_set_back(
    own_bench: Bench, host_clock: HostClock
) -> None:
    simulated = own_bench.simulate(rate=300)
    connector = own_bench.start(host_clock.environment, silence={"trades": "3s", "book": "3s"})
    client = own_bench.client
    key = "md:{limitlex:BTC-EUR}:book"
    eventually(lambda: client.xlen(key) > 50, "changes of the book")
    host_clock.set(-HOUR)
    connector.wait_for("clock_set")
    simulated.pause()
    eventually(
        lambda: [fields for _, fields in client.xrevrange(key, count=100) if fields.get("event") == "stale"],
        "stale in the book's stream",
    )
    assert connector.stop() == 0


@pytest.mark.parametrize(("whose", "step"), [("writer", HOUR), ("standby", -HOUR)], ids=["writer", "standby"])
def test_a_takeover_after_a_clock_was_set(bench: Bench, tmp_path: Path, whose: str, step: int) -> None:
    """What only the standby has received is written, although the stream's newest entries seem to be from another time.

    They are from so long before that the standby holds none of them any more.
    """
    clocks: list[HostClock] = []

    def start() -> Process:
        clocks.append(HostClock(tmp_path / f"clock-{len(clocks)}"))
        heartbeat = {"TICKBRIDGE_HEARTBEAT__INTERVAL": "3s", "TICKBRIDGE_HEARTBEAT__TTL": "30s"}
        return bench.start({**heartbeat, **clocks[-1].environment}, standby=True)

    def held() -> int:
        return int(bench.client.hget("bridge:connector:limitlex:standby", "held_bytes") or 0)

    simulated = bench.simulate(rate=200)
    pair = Pair(bench.client, "limitlex", "BTC-EUR", start)
    clocks[whose == "standby"].set(step)
    (pair.writer if whose == "writer" else pair.standby).wait_for('"clock_set"')
    grown(bench.client, "md:{limitlex:BTC-EUR}:trades", by=20)
    simulated.pause()
    eventually(lambda: not held(), "the standby holds nothing any more")
    pair.writer.send(signal.SIGSTOP)
    simulated.resume()
    eventually(held, "the standby holds what came since")
    pair.kill()
    check(bench)
    remove_leftovers()
