"""Clocks of processes that can be set, by libfaketime: that of the host as those processes see it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MISSING", "HostClock", "find_library"]

MISSING = "libfaketime is not installed"
_PLACES = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)


def find_library() -> Path | None:
    """Where libfaketime is; ``None`` without one (it is for Linux)."""
    root = Path("/")
    found = [path for place in _PLACES for path in sorted(root.glob(place.removeprefix("/")))]
    return found[0] if found else None


class HostClock:
    """The clock of the processes that have ``environment``; ``file`` says how far it is off."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let it be ahead of the true time by so much."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n")
        part.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """Only the clock that can be set is another one; the steady clock is not."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
