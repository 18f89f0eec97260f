"""The Redis that the cases are played on: one of the runner's own, or an empty database of the user's."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from bridge.demo.embedded import find_server, free_port, server_command
from bridge.redis.errors import explained
from bridge.redis.topology import Kind, Topology

__all__ = ["ServerError", "own_server", "users_server"]

_STARTING = 30.0
"""Seconds until a server has to answer."""
_ATTEMPTS = 5
"""Another process may take the free port first."""


class ServerError(Exception):
    """There is no server that the cases can be played on."""


@contextmanager
def own_server() -> Iterator[tuple[str, redis.Redis]]:
    """Start a server; yields its URL and a client with decoded replies.

    Raises:
        ServerMissingError: there is none on this machine.
        ServerError: it does not start.
    """
    binary = find_server()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        log = Path(folder) / "server.log"
        for _ in range(_ATTEMPTS):
            port = free_port()
            with log.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - our own command
                    server_command(binary, port, Path(folder)), stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
            client = redis.Redis(port=port, decode_responses=True)
            try:
                if _answers(client, process):
                    yield f"redis://127.0.0.1:{port}/0", client
                    return
            finally:
                client.close()
                process.kill()
                process.wait()
        raise ServerError(f"{binary} does not start: {log.read_text(errors='replace')[-1000:].strip() or 'no output'}")


def _answers(client: redis.Redis, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers; ``False`` if it ends before, or if it is another process that has the port."""
    deadline = time.monotonic() + _STARTING
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(RedisError, OSError):
            info: Any = client.info("server")
            return bool(info["process_id"] == process.pid)
        time.sleep(0.01)
    return False


@contextmanager
def users_server(url: str) -> Iterator[tuple[str, redis.Redis]]:
    """Connect to a server of the user's, whose database has to be empty: it is emptied before each case.

    Raises:
        RedisUrlError: it is not a Redis URL.
        RedisUnavailableError: it does not answer.
        ServerError: it cannot be used.
    """
    topology = Topology(url)
    if topology.kind is not Kind.SERVER:
        raise ServerError(f"{topology.address}: the cases are played on a single server, not on a {topology.kind}")
    client = topology.sync_client(decode_responses=True)
    try:
        with explained(topology.address):
            size: Any = client.dbsize()
        if size:
            raise ServerError(
                f"{topology.address}: the database is not empty (DBSIZE is {size}), and would be emptied before each case; "
                "give the URL of an empty one, or leave out --redis to start a server for this run"
            )
        try:
            yield url, client
        finally:  # also after a mistake or Ctrl-C, or the next run would be refused
            with explained(topology.address):
                client.flushdb()
    finally:
        client.close()
