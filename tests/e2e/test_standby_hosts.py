"""A writer and its standby on two hosts: the writer's process dies, or its host is cut off from Redis."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Run
from tests.e2e.harness import Process, Simulated
from tests.e2e.hosts import Host, hosts, no_hosts
from tests.e2e.observing import check_streams, connect, none_missing, settled
from tests.e2e.test_standby import HEARTBEAT, SLOW_MACHINE, Pair, words
from tests.servers import RedisServer


class Rig:
    """A simulated Limitlex, Redis, and a connector on each of two hosts."""

    def __init__(self, run: Run, server: RedisServer, directory: Path, exchange: str, two: list[Host]) -> None:
        self.hosts = two
        self.client = connect(server)
        arguments = ("--host", exchange, "--tls-dir", str(directory / "tls"))
        self.simulated = Simulated(directory, server.url, *arguments, rate=100)
        self._run = run
        self._server = server
        self._directory = directory
        self._started = 0
        self.pair = Pair(self.client, "limitlex", "BTC-EUR", self._start)

    def _start(self) -> Process:
        """On one host and the other in turn."""
        host = self.hosts[self._started % 2]
        self._started += 1
        config = self.simulated.write(self._directory / f"{host.name}.yaml", standby=True)
        found = yaml.safe_load(config.read_text())
        found["redis"]["url"] = f"redis://{host.redis}:{self._server.port}/0"
        config.write_text(yaml.safe_dump(found))
        environment = {**SLOW_MACHINE, "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]}
        return self._run("run", "--config", str(config), within=host.within, **environment)

    def check(self) -> None:
        for name in self.simulated.pairs:
            for channel in ("trades", "book", "quotes", "ticker"):
                assert words(self.client, f"md:{{limitlex:{name}}}:{channel}") == [("live", "")], channel
        settled(self.client, self.simulated)
        check_streams(self.client, self.simulated)
        none_missing(self.client, self.simulated)


@pytest.fixture
def rig(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Rig]]:
    if reason := no_hosts():
        pytest.skip(reason)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "ca.pem"))  # of the exchange
    server = RedisServer(tmp_path / "redis", options=("bind 0.0.0.0", "protected-mode no"))
    server.start()
    with hosts(2) as (exchange, two):
        made: list[Rig] = []

        def make() -> Rig:
            made.append(Rig(run, server, tmp_path, exchange, two))
            return made[-1]

        try:
            yield make
        finally:
            for one in made:
                one.simulated.process.kill()
            server.kill()


def test_the_writer_dies_on_another_host(rig: Callable[[], Rig]) -> None:
    made = rig()
    pair = made.pair
    for _ in range(2):
        host = made.client.hget(HEARTBEAT, "host")
        pair.kill()
        assert made.client.hget(HEARTBEAT, "host") != host
        pair.replace()
    made.check()


def test_the_writers_host_is_cut_off_from_redis(rig: Callable[[], Rig]) -> None:
    """It still has the exchange, and must not write a thing once it reaches Redis again: it stands by from then on."""
    made = rig()
    pair = made.pair
    made.hosts[0].cut_from_redis()
    pair.taken_over()
    assert pair.writer.running
    made.hosts[0].join_redis()
    assert "another process has taken over (on host host-2" in pair.writer.wait_for("standing_by_again")
    pair.swapped()
    assert made.client.hget(HEARTBEAT, "host") == "host-2"
    pair.kill()
    assert made.client.hget(HEARTBEAT, "host") == "host-1"
    made.check()
