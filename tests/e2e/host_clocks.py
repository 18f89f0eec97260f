"""Host clocks that can be set while a process runs, a server too, by libfaketime, if it is installed.

It reaches what a process asks the system, but also how its threads wait: for machines that are not busy. Chaos has its own.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["LIBFAKETIME", "HostClock", "remove_leftovers"]


def _find() -> Path | None:
    """Libfaketime, where Linux distributions put it."""
    places = (
        "lib/*/faketime/libfaketime.so.1",
        "lib*/faketime/libfaketime.so.1",
        "local/lib*/faketime/libfaketime.so.1",
    )
    found = (path for place in places for path in sorted(Path("/usr").glob(place)))
    return next(found, None) if sys.platform == "linux" else None


LIBFAKETIME = _find()


class HostClock:
    """The clock of the processes that are started with `environment`; their monotonic clock is not affected."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead: int) -> None:
        """Set it so many seconds ahead of the true time; negative: behind."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{ahead:+d}\n", encoding="ascii")
        part.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def remove_leftovers() -> None:
    """Remove the shared memory that libfaketime leaves behind of processes that were killed."""
    for path in Path("/dev/shm").glob("*faketime_s*_*"):
        pid = path.name.rpartition("_")[2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(OSError):
                path.unlink()
