"""Host clocks that can be set while a process runs: ``python -m bridge.chaos.clocks FILE run …`` is ``tickbridge run …``.

Whatever asks Python for the time is told the host's as ``FILE`` sets it. What asks the operating system directly (OpenSSL
for certificates, ``datetime``) sees the true time. Libraries that are loaded before all others and take the system's calls
over reach further, but they also take over how threads wait: on a busy machine the process then computes in vain.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

__all__ = ["HostClock"]

_AHEAD = struct.Struct("=q")
"""Nanoseconds: what the file holds."""


class HostClock:
    """The clock of the processes that run by `command`; their monotonic clock is not affected."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(_AHEAD.pack(0))

    def set(self, ahead: int) -> None:
        """Set it so many seconds ahead of the true time; negative: behind."""
        with self._file.open("r+b", buffering=0) as file:  # in place: processes have it mapped
            file.write(_AHEAD.pack(ahead * 1_000_000_000))

    def command(self, *arguments: str) -> list[str]:
        """The command that runs ``tickbridge`` with this clock."""
        return [sys.executable, "-m", "bridge.chaos.clocks", str(self._file), *arguments]


def _follow(file: Path) -> None:
    """Let Python's clock follow the file, before anything of ours is imported that reads it."""
    with file.open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), _AHEAD.size, access=mmap.ACCESS_READ)
    true = time.time_ns

    def shown() -> int:
        return true() + int(_AHEAD.unpack_from(shared)[0])

    time.time_ns = shown
    time.time = lambda: shown() / 1e9


if __name__ == "__main__":
    _follow(Path(sys.argv.pop(1)))
    runpy.run_module("bridge", run_name="__main__", alter_sys=True)
