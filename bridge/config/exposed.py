"""Files with secrets that other users of the machine can read."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["exposed_files", "exposure"]

_OF_CONTAINERS = (Path("/run/secrets"), Path("/var/run/secrets"))
"""Where Docker and Podman mount secrets, readable by all in the container; nobody else sees them."""


def exposed_files(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Those of these files that others than their owner and group can read, each with its mode (``0644``), once."""
    found = {}
    for path in dict.fromkeys(paths):
        mode = exposure(path)
        if mode:
            found[path] = mode
    return list(found.items())


def exposure(path: Path) -> str:
    """The mode of a file that others can read; empty if they cannot, also because of a directory above it.

    Also empty for what is no file, such as a pipe, and where the system has no such modes.
    """
    try:
        whole = path.absolute()
        if any(whole.is_relative_to(folder) for folder in _OF_CONTAINERS):
            return ""
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
        if not stat.S_ISREG(mode) or not mode & stat.S_IROTH:
            return ""
        # Whoever may not enter a directory reads nothing in it.
        if not all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents):
            return ""
    except OSError:
        return ""
    return f"{stat.S_IMODE(mode):04o}"
