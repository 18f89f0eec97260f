"""Files and folders that the user names: whether they can be used, and their names in errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import ConfigError, Problem

__all__ = ["OF_THE_MACHINE", "check_file", "make_folder", "naming"]

OF_THE_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
)
"""Errors for which another name would not help, unless it is on another disk."""
_ELSEWHERE = "choose another place"


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let an ``OSError`` of the block have ``path`` as its ``filename``: the system names it only where a file is opened."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def make_folder(path: Path, option: str, source: str) -> None:
    """Make a folder, unless it exists, and check that files can be made in it.

    Raises:
        ConfigError: they can't; it names the option.
    """
    with _mistaken(path, option, source):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_file(path: Path, option: str, source: str) -> None:
    """Check that a file can be written, without changing it.

    Raises:
        ConfigError: it can't; it names the option.
    """
    there = os.path.lexists(path)
    with _mistaken(path, option, source):
        path.open("ab").close()
    if not there:
        path.unlink()


@contextmanager
def _mistaken(path: Path, option: str, source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([Problem(option, f"{path}: {error.strerror}", _ELSEWHERE)], source) from None
