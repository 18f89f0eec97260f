"""One pass over the whole path: the exchange, whatever carries its messages into Redis, and Redis; all processes.

What carries them is a `Carrier`: Tickbridge itself (`benchmarks/tickbridge.py`), or a peer. Its CPU time is what the
operating system says of its process between the first message and the last entry in Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import redis
from msgspec import Struct

from benchmarks.machine import Others, Server, cpu_seconds
from benchmarks.recorded import DEFAULT, Mix
from benchmarks.samples import PAIR
from bridge.model import Channel

__all__ = [
    "NAMESPACE",
    "ROOT",
    "Carrier",
    "Load",
    "Measured",
    "Trial",
    "memory_mib",
    "python",
    "read_line",
    "recorded",
    "started",
    "trades",
]

NAMESPACE = "bench-path"
ROOT = Path(__file__).resolve().parent.parent
_POLL = 0.02
_STUCK = 60.0
_QUIET = 2.0
"""Seconds between the subscription and the first message: what starts up isn't counted."""


class Load(Struct, frozen=True):
    """What the exchange sends: ``count`` messages, ``rate`` a second (0: as fast as they are taken)."""

    name: str
    count: int
    pairs: tuple[str, ...]
    channels: tuple[Channel, ...] = (Channel.TRADES,)
    rate: float = 0.0
    recording: str = ""

    @property
    def words(self) -> list[str]:
        """The exchange's command line."""
        what = ["--recording", self.recording] if self.recording else ["--pairs", *self.pairs]
        return [*what, "--count", str(self.count), "--rate", str(self.rate)]

    def rows(self) -> dict[str, int]:
        """What is in them: ``trades``, ``books`` (changes of one), ``ticker``."""
        if self.recording:
            return {"trades": 0, "books": 0, "ticker": 0, **Mix(Path(self.recording)).rows(self.count)}
        return {"trades": self.count, "books": 0, "ticker": 0}

    def changes_by_pair(self) -> dict[str, int]:
        """How often each pair's book changes."""
        return dict(Mix(Path(self.recording)).changes(self.count)) if self.recording else {}

    @property
    def books(self) -> int:
        """Full books that are sent before the clock starts."""
        return len(Mix(Path(self.recording)).books(0)) if self.recording else 0


def trades(count: int, *, pairs: Sequence[str] = (PAIR,), rate: float = 0.0) -> Load:
    """Messages of one trade each, the pairs in turns."""
    return Load("one trade a message", count, tuple(pairs), rate=rate)


def recorded(count: int, path: Path | None = None) -> Load:
    """The recorded mix of Coinbase's trades, books and tickers."""
    path = path or DEFAULT
    channels = (Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER)
    name = "recorded mix" if path == DEFAULT else f"recorded mix of {path.name}"
    return Load(name, count, tuple(Mix(path).pairs), channels, recording=str(path))


class Carrier(Protocol):
    """What carries messages from the exchange into Redis."""

    @property
    def name(self) -> str:
        """How tables call it."""

    def command(self, server: Server, load: Load, port: int, directory: Path) -> list[str]:
        """How it is started, against the exchange on this port."""

    def keys(self, load: Load) -> list[str]:
        """The streams that it fills."""

    def entries(self, load: Load) -> tuple[int, int]:
        """How many entries there are before the first message, and how many the messages make."""

    def prove(self, server: Server, load: Load) -> dict[str, str]:
        """What it says of itself at the end.

        Raises:
            AssertionError: not everything came through.
        """


class Measured(Struct):
    """What a trial has cost; CPU in seconds, of the carrier, the server and the exchange."""

    cpu: float
    wall: float
    server_cpu: float
    exchange: dict[str, float]
    others: float
    peak_mib: float
    said: dict[str, str]

    def run(self, messages: int) -> dict[str, float]:
        """The figures of a saturated trial, by name."""
        return {
            "CPU µs/message": self.cpu / messages * 1e6,
            "messages/CPU-s": messages / self.cpu,
            "messages/s": messages / self.wall,
            "Redis CPU µs": self.server_cpu / messages * 1e6,
            "peak MiB": self.peak_mib,
            "others %": self.others,
        }


class Trial:
    """Everything is started and subscribed when the block begins, and ended when it ends."""

    def __init__(self, server: Server, carrier: Carrier, load: Load, *, errors: int | None = None) -> None:
        self.server = server
        self._errors = errors
        """Where the carrier's error output goes, as `subprocess` has it."""
        self.carrier = carrier
        self.load = load
        self._stack = contextlib.ExitStack()
        self._keys = carrier.keys(load)
        self._before, self._expected = carrier.entries(load)

    def __enter__(self) -> Self:
        self.server.forget(NAMESPACE)
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickbridge-bench-")))
            self._exchange = stack.enter_context(started(python("benchmarks.exchange", *self.load.words)))
            port = int(read_line(self._exchange))
            command = self.carrier.command(self.server, self.load, port, directory)
            self.process = stack.enter_context(started(command, stdout=subprocess.DEVNULL, stderr=self._errors))
            self._await_ready()
            self.await_entries(self._before)
            time.sleep(_QUIET)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        with contextlib.suppress(redis.ConnectionError):  # a server may have been ended on purpose
            self.server.forget(NAMESPACE)

    def go(self, *further: int) -> None:
        """Start the clock, and have the exchange send; ``further`` processes are ours too."""
        ours = [self.process.pid, self._exchange.pid, *further] + ([self.server.pid] if self.server.pid else [])
        self._others = Others(*ours)
        self._cpu, self._server_cpu = cpu_seconds(self.process.pid), self._server_seconds()
        self._began = time.monotonic()
        assert self._exchange.stdin is not None
        self._exchange.stdin.write("go\n")
        self._exchange.stdin.flush()

    def finish(self) -> Measured:
        """Wait until all that was sent stands in Redis, stop the clock, and have it proved."""
        self.await_entries(self._before + self._expected)
        wall = time.monotonic() - self._began
        cpu = cpu_seconds(self.process.pid) - self._cpu
        server_cpu, others = self._server_seconds() - self._server_cpu, self._others.share()
        sent = json.loads(read_line(self._exchange))
        peak = memory_mib(self.process.pid, "VmHWM")
        said = self.carrier.prove(self.server, self.load)
        return Measured(cpu, wall, server_cpu, sent, others, peak, said)

    def await_entries(self, wanted: int) -> None:
        """Until so many entries stand in the carrier's streams.

        Raises:
            RuntimeError: it has ended, or no more come.
        """
        last, moved = -1, time.monotonic()
        while True:
            pipe = self.server.client.pipeline(transaction=False)
            for key in self._keys:
                pipe.xlen(key)
            length = sum(pipe.execute())
            if length >= wanted:
                assert length == wanted, f"{self.carrier.name}: {length} entries, not {wanted}"
                return
            if length != last:
                last, moved = length, time.monotonic()
            self._check_alive()
            if time.monotonic() - moved > _STUCK:
                raise RuntimeError(f"{self.carrier.name}: {length} entries of {wanted}, and no more come")
            time.sleep(_POLL)

    def _await_ready(self) -> None:
        """Until everything is subscribed to."""
        deadline = time.monotonic() + _STUCK
        assert self._exchange.stdout is not None
        while not select.select([self._exchange.stdout], [], [], _POLL)[0]:
            self._check_alive()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.carrier.name} didn't subscribe to everything")
        read_line(self._exchange)

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.carrier.name} ended with {self.process.returncode}; what it says stands above")

    def _server_seconds(self) -> float:
        return cpu_seconds(self.server.pid) if self.server.pid else 0.0


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process in MiB: at present (``VmRSS``), or at most so far (``VmHWM``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {what} of process {pid}")


@contextlib.contextmanager
def started(
    command: list[str], *, stdout: int = subprocess.PIPE, stderr: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process of ours, killed at the end; nothing in its environment changes what Python, Tickbridge or a socket does."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "TICKBRIDGE_", "COVERAGE_")) and not name.lower().endswith("_proxy")
    }
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, text=True, cwd=ROOT, env=kept
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints.

    Raises:
        RuntimeError: it has ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended early; what it says stands above")
    return line.strip()


def python(module: str, *words: str) -> list[str]:
    """A command that runs one of our modules."""
    return [sys.executable, "-m", module, *words]
