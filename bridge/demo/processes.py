"""The demo's child processes: starts and watches them, restarts those that die, and ends them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import bridge
from bridge.demo.log_pipe import LogPipe
from bridge.errors import BridgeError

__all__ = ["ChildProcess", "ProcessFailedError", "Processes", "python_module", "tail"]

_DEMO = "the demo"
_PAUSE = 1.0
"""Seconds before a dead process is restarted: time to see that it is dead, or to start it by hand."""
_LOOK_EVERY = 0.2
_SHORT_LIFE = 3.0
_MAX_SHORT_LIVES = 5
_PATIENCE = 6.0
_TAIL = 2_000
_REGISTER = """
import os, sys
pipe = int(sys.argv[1])
os.write(pipe, b"+ %d\\n" % os.getpid())
os.set_inheritable(pipe, False)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A child registers with the guardian before it runs its command, because the demo may be killed at that moment."""


async def _always() -> bool:
    return True


class ProcessFailedError(BridgeError):
    """A child process ended repeatedly or did not start; ``tail`` is the end of its log."""

    def __init__(self, name: str, reason: str, log: Path, owner: str = _DEMO) -> None:
        self.name = name
        self.log = log
        self.tail = tail(log)
        said = "\n".join(f"  {line}" for line in self.tail.splitlines()[-12:]) or "  (nothing)"
        super().__init__(f"{owner}'s {name} {reason}; its log {log} ends with\n{said}")


class ChildProcess:
    """One child process: its command, its log, and its state.

    ``free`` returns whether it may be restarted after it died: the user may have started it already. At the end,
    processes of a higher ``rank`` end first: 0 is the server, 1 an exchange, 2 their clients. ``piped``: its output goes
    into its log through a `LogPipe`, which is new with each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        rank: int,
        *,
        owner: str = _DEMO,
        piped: bool = False,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env)
        self.rank = rank
        self.owner = owner
        self.piped = piped
        self.pipe: LogPipe | None = None
        self.free: Callable[[], Awaitable[bool]] = _always
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0
        self.began = 0.0
        self.ended = ""
        """How it ended, in words; empty while it runs."""
        self.killed = False
        """Whether it was asked to die, by `kill`."""

    @property
    def pid(self) -> int:
        """The newest process ID, even after it has ended; 0 before the first."""
        return self.process.pid if self.process else 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def kill(self) -> bool:
        """Kill it, so that it is restarted; ``False`` if it does not run. However often, this is no fault of its own."""
        if self.process is None or not self.running:
            return False
        self.killed = True
        self.process.kill()
        return True


class Processes:
    """All child processes; leaving the block ends them, by descending rank. ``owner`` names the whole in messages."""

    def __init__(self, directory: Path, notify: Callable[[str], None], *, temporary: bool, owner: str = _DEMO) -> None:
        self.all: dict[str, ChildProcess] = {}
        self._directory = directory
        self._temporary = temporary
        self._owner = owner
        self._notify = notify
        self._guardian: asyncio.subprocess.Process | None = None
        self._guardian_pipe = -1
        self._ending = False
        self._ended: set[str] = set()

    async def __aenter__(self) -> Self:
        # Our own pipe: what is written has arrived, even if this process ends at the same moment.
        guardians_end, self._guardian_pipe = os.pipe()
        try:
            self._guardian = await asyncio.create_subprocess_exec(
                *python_module("bridge.demo.guardian", self._owner),
                env=_environment(),
                stdin=guardians_end,
                start_new_session=True,
            )
        finally:
            os.close(guardians_end)
        if self._temporary:
            self._register(f"remove {self._directory}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        # Exchanges and Redis end last, so that connectors and consumers can close in order.
        for rank in sorted({child.rank for child in self.all.values()}, reverse=True):
            await asyncio.gather(*(self.end(child) for child in self.all.values() if child.rank == rank))
        if self._guardian:
            self._register("ended")
            os.close(self._guardian_pipe)
            self._guardian_pipe = -1
            await self._guardian.wait()

    def __iter__(self) -> Iterator[ChildProcess]:
        return iter(self.all.values())

    def __getitem__(self, name: str) -> ChildProcess:
        return self.all[name]

    async def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        rank: int = 2,
        piped: bool = False,
    ) -> ChildProcess:
        """Add a process and start it; its output goes to ``<name>.log``."""
        child = self.all[name] = ChildProcess(
            name, command, self._directory / f"{name}.log", env or {}, rank, owner=self._owner, piped=piped
        )
        await self._launch(child)
        return child

    async def supervise(self, child: ChildProcess, *, final: Collection[int] = ()) -> None:
        """Restart a process whenever it dies, unless with one of the ``final`` exit codes.

        Raises:
            ProcessFailedError: it keeps dying, or ended with a final exit code, which is then that of the error.
        """
        short_lives = 0
        while True:
            assert child.process
            await child.process.wait()
            self._note_end(child)
            if self._ending or child.name in self._ended:
                return
            self._notify(f"{child.name} (pid {child.pid}) {child.ended}")
            if child.process.returncode in final:
                failed = ProcessFailedError(child.name, child.ended, child.log, self._owner)
                failed.exit_code = child.process.returncode or failed.exit_code
                raise failed
            short = time.monotonic() - child.began < _SHORT_LIFE and not child.killed
            short_lives = short_lives + 1 if short else 0
            if short_lives >= _MAX_SHORT_LIVES:
                reason = f"ended {short_lives} times in a row ({child.ended})"
                raise ProcessFailedError(child.name, reason, child.log, self._owner)
            await asyncio.sleep(_PAUSE)
            while not await child.free():
                short_lives = 0
                await asyncio.sleep(_LOOK_EVERY)
            await self._launch(child)
            self._notify(f"{child.name} started again (pid {child.pid})")

    async def end(self, child: ChildProcess, patience: float = _PATIENCE) -> None:
        """End a process for good: by SIGTERM, and after so many seconds by SIGKILL."""
        self._ended.add(child.name)
        process = child.process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), patience)
        self._note_end(child)

    def keep_logs(self) -> None:
        """Keep a temporary directory at the end, except the secrets in it."""
        self._register("keep")

    def remember_keys(self, url: str, namespace: str) -> None:
        """Have the guardian remove the keys of this namespace if the demo is killed."""
        self._register(f"keys {namespace} {url}")

    def remember_terminal(self, words: str) -> None:
        """Have the guardian restore the terminal if the demo is killed; see `Device.on_change`. Thread-safe."""
        self._register(f"terminal {words}")

    def abandon(self) -> NoReturn:
        """Exit at once; the guardian kills the processes."""
        self._register("now")
        os._exit(128 + signal.SIGINT)

    async def _launch(self, child: ChildProcess) -> None:
        with child.log.open("ab") as log, ExitStack() as stack:
            output = log.fileno()
            if child.piped:
                if child.pipe:
                    child.pipe.close()
                child.pipe = LogPipe(child.log)
                output = child.pipe.write_end
                stack.callback(os.close, output)
            child.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _REGISTER, str(self._guardian_pipe)),
                *child.command,
                pass_fds=(self._guardian_pipe,),
                env=_environment() | child.env,
                cwd=self._directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Only the demo receives Ctrl-C; it ends its processes in order.
                start_new_session=True,
            )
        child.starts += 1
        child.began = time.monotonic()
        child.ended = ""
        child.killed = False

    def _note_end(self, child: ChildProcess) -> None:
        if not child.ended and child.process is not None:
            child.ended = _words(child.process.returncode)
            if child.pipe:
                child.pipe.close()
            self._register(f"- {child.pid}")

    def _register(self, line: str) -> None:
        if self._guardian_pipe >= 0:
            with suppress(OSError):  # the guardian was killed
                os.write(self._guardian_pipe, f"{line}\n".encode())


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]


def tail(log: Path) -> str:
    """The end of a log; empty if there is no log."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    except OSError:
        return ""


def _environment() -> dict[str, str]:
    """This environment without the user's own settings, and with this package on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("TICKBRIDGE_")}
    root = str(Path(bridge.__file__).resolve().parent.parent)
    paths = [root, *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _words(code: int | None) -> str:
    if code is None:
        return "has disappeared"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
