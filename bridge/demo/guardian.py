"""Cleans up after the demo if it dies, even by ``kill -9``: ends its processes and removes what it leaves behind.

The demo runs it as a separate process, which reads lines from its standard input: ``+ PID`` and ``- PID`` as child
processes start and end, ``now`` for an immediate end, ``remove DIRECTORY`` for a temporary directory, ``keep`` if its
logs and data are to be kept, ``terminal STATE`` while the view uses the terminal (`give_back`), ``keys NAMESPACE URL``
for keys in a server that is not the demo's own, ``ended`` at an orderly end. When the demo dies, the pipe closes. The
guardian then restores the terminal, ends the processes that still run (the server, which was started first, last), and
removes the keys and the directory, or only the secrets in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import termios
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from bridge.view.device import modes_of

__all__ = ["end", "give_back", "main", "remove", "remove_secrets"]

_DEMO = "the demo"
_PATIENCE = 5.0
_LOOK_EVERY = 0.05
_KILLED = 1.0
"""Seconds that a killed process may take to disappear."""


def main(lines: Iterable[str] = sys.stdin, owner: str = _DEMO) -> None:
    """Read lines until the demo is gone, then clean up."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    pids: list[int] = []
    said: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "+":
            pids.append(int(rest))
        elif word != "-":
            said[word] = rest
        elif int(rest) in pids:
            pids.remove(int(rest))
    if terminal := said.get("terminal"):
        with suppress(OSError, termios.error):  # the terminal is gone too
            give_back(terminal, owner)
    patience = 0.0 if "now" in said else _PATIENCE
    end(pids[1:], patience)
    if "keys" in said and "ended" not in said:  # at an orderly end the demo does it, and reports errors
        _remove_keys(*said["keys"].split(" ", 1))
    end(pids[:1], patience)
    if directory := said.get("remove"):
        (remove_secrets if "keep" in said else remove)(Path(directory))


def give_back(state: str, owner: str = _DEMO) -> None:
    """Restore a terminal's screen, cursor and modes, unless a shell has set modes of its own since.

    ``state`` is JSON: ``path``, ``before`` and ``during`` (the modes that the view found and set) and ``leave`` (the
    sequences that restore the screen). A line says what happened, because the shell's prompt may be gone with the view.

    Raises:
        OSError, termios.error: the terminal is gone.
    """
    known = json.loads(state)
    number = os.open(known["path"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        if modes_of(number) == known["during"]:
            termios.tcsetattr(number, termios.TCSANOW, known["before"])
        words = f"tickbridge: {owner} was killed; press Enter for a prompt\n"
        os.write(number, (known["leave"] + words).encode())
    finally:
        os.close(number)


def _remove_keys(namespace: str, url: str) -> None:
    with suppress(Exception):  # nobody is left to read an error
        # Imported here: a guardian without keys to remove does not need the client library.
        asyncio.run(import_module("bridge.demo.cleanup").remove_keys(url, namespace))


def end(pids: Sequence[int], patience: float) -> None:
    """Send SIGTERM, and after ``patience`` seconds SIGKILL."""
    if patience:
        _signal(pids, signal.SIGTERM)
        _wait(pids, patience)
    left = [pid for pid in pids if _alive(pid)]
    _signal(left, signal.SIGKILL)
    _wait(left, _KILLED)


def remove(directory: Path) -> None:
    """Remove a directory, even if a killed process has just written into it."""
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(_LOOK_EVERY)


def remove_secrets(directory: Path) -> None:
    """Remove keys and configs, which may contain secrets, from a demo's directory; logs and data stay."""
    shutil.rmtree(directory / "keys", ignore_errors=True)
    for config in directory.glob("*.yaml"):
        config.unlink(missing_ok=True)


def _wait(pids: Sequence[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number now belongs to another user's process
        return False
    return True


if __name__ == "__main__":
    main(owner=" ".join(sys.argv[1:]) or _DEMO)
