"""Ends the demo's processes should the demo itself die, however it dies: ``kill -9`` leaves nothing behind either.

Run by the demo as a process of its own. It reads lines from its standard input: ``+ PID`` and ``- PID`` as parts start
and end, ``now DIRECTORY`` for a hurried end (with the temporary directory to remove, if there is one). When the demo is
gone the pipe closes, and what is still there is ended: the part that was started first, the server, last.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

__all__ = ["end", "main"]

_PATIENCE = 5.0
_LOOK_EVERY = 0.05


def main(lines: Iterable[str] = sys.stdin) -> None:
    """Follow the demo until it is gone, then end what it left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pids: list[int] = []
    patience, leftover = _PATIENCE, ""
    for line in lines:
        word, _, number = line.strip().partition(" ")
        if word == "+":
            pids.append(int(number))
        elif word == "-" and int(number) in pids:
            pids.remove(int(number))
        elif word == "now":
            patience, leftover = 0.0, number
    end(pids[1:], patience)
    end(pids[:1], patience)
    if leftover:
        shutil.rmtree(leftover, ignore_errors=True)


def end(pids: Sequence[int], patience: float) -> None:
    """SIGTERM, and after ``patience`` seconds SIGKILL."""
    if patience:
        _signal(pids, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while any(map(_alive, pids)) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
    _signal([pid for pid in pids if _alive(pid)], signal.SIGKILL)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number belongs to somebody else's process by now
        return False
    return True


if __name__ == "__main__":
    main()
