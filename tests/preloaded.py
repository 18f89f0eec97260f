"""Commands of ours as processes whose libraries are loaded already: `start`.

A connector's start is 1.5 s of computing, and nearly all of it is imports of libraries. So each test process has one
server that has imported them, and nothing of ours; it forks for every start. What is ours is imported as always. As in
a process of its own, environment, folder, arguments, output, signals and exit code are those that are given.

Starts themselves are tested without it: by tests/cli, tests/demo and tests/consumers, and wherever a variable is given
that the interpreter or the loader reads.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["ROOT", "Started", "run", "start"]

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *(
        "aiohttp",
        "aiohttp.web",
        "argparse",
        "cryptography.hazmat.primitives.serialization",
        "hiredis",
        "logging.config",
    ),
    *("msgspec", "picows", "prometheus_client", "pydantic", "pydantic_settings", "redis.asyncio", "redis.sentinel"),
    *("sqlite3", "structlog", "uvloop", "websockets.asyncio.client", "yaml", "yarl", "zstandard"),
)
_OF_THE_START = ("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_", "COVERAGE_", "TZ")
"""Variables that count only when a process is started. ``PYTHONPATH`` can be made up for if all that it adds is ours."""
_PATH = "PYTHONPATH"
_STANDARD = 3


class Started:
    """A process, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid = self._number()

    def poll(self) -> int | None:
        """Its exit code, or ``None`` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code, or the number of the signal that ended it, below zero."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = self._number()
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self._status, 1)
            assert read, "the server of processes has ended"
            line += read
        return int(line)


def start(
    module: str,
    *arguments: str,
    env: dict[str, str],
    output: IO[Any],
    errors: IO[Any] | None = None,
    within: Sequence[str] = (),
) -> Started | subprocess.Popen[bytes]:
    """Run ``python -m MODULE ARGUMENTS``; what it prints goes to these files, or all of it to the one.

    ``within`` begins the command line, and becomes the command in the same process (``ip netns exec …``).
    """
    errors = errors or output
    if within or sys.platform != "linux" or any(map(_counts_at_the_start, env.items())):
        command = [*within, sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, stdout=output, stderr=errors, env=env)
    reading, writing = os.pipe()
    job = {"module": module, "arguments": arguments, "env": env, "folder": str(Path.cwd())}
    try:
        socket.send_fds(_server(), [json.dumps(job).encode()], [output.fileno(), errors.fileno(), writing])
    finally:
        os.close(writing)
    return Started(reading)


def run(module: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGUMENTS`` to its end, within `PATIENCE`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(module, *arguments, env=env, output=output, errors=errors)
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        printed = [io.TextIOWrapper(file, encoding="utf-8") for file in (output, errors)]
        for file in printed:
            file.seek(0)
        return subprocess.CompletedProcess([module, *arguments], code, *(file.read() for file in printed))


def _counts_at_the_start(variable: tuple[str, str]) -> bool:
    name, value = variable
    if name == "LANG":
        return value != clean_environment()[name]
    if name == _PATH:
        return value not in ("", str(ROOT))  # elsewhere, something may have the name of a library
    return name.startswith(_OF_THE_START)


@cache
def _server() -> socket.socket:
    """The connection to this test process's server, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.preloaded", str(theirs.fileno())]
        # Stopped by nothing but the end of the connection: a fork has the signals of a user's shell.
        server = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), pass_fds=[theirs.fileno()])

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


# --- the server ------------------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork for every job until the other side is gone; returns the job, in the fork only."""
    running: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report(running)
        if control in ready:
            data, handles, _, _ = socket.recv_fds(control, 1 << 20, 3)
            if not data:
                sys.exit()
            pid = os.fork()
            if not pid:
                job: dict[str, Any] = json.loads(data)
                _become(job, *handles[:2])
                signal.signal(signal.SIGINT, interrupt)  # that of a process in the background is ignored
                return job
            for handle in handles[:2]:
                os.close(handle)
            running[pid] = handles[2]
            _write(running[pid], pid)


def _report(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        handle = running.pop(pid)
        _write(handle, os.waitstatus_to_exitcode(status))
        os.close(handle)


def _write(handle: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(handle, b"%d\n" % number)


def _become(job: dict[str, Any], output: int, errors: int) -> None:
    """Make the fork what a process is at its start."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(_STANDARD, min(1 << 16, os.sysconf("SC_OPEN_MAX")))
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["folder"])
    sys.path[:1] = [job["folder"], *filter(None, job["env"].get(_PATH, "").split(os.pathsep))]
    sys.argv = ["-m", *job["arguments"]]


def _main() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all of it
    control = socket.socket(fileno=int(sys.argv[1]))
    job = _serve(control)
    control.detach()  # closed with all others
    runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
