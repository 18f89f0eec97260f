"""Files that are there whole or not at all, paths of streams, and where the libraries for files come from."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bridge.errors import BridgeError
from bridge.keys import Keys

__all__ = [
    "FileThereError",
    "FilesError",
    "MissingLibraryError",
    "arrow",
    "atomic",
    "library",
    "replace",
    "stream_path",
    "unfinished",
]

_UNFINISHED = ".unfinished-"


class FilesError(BridgeError):
    """A file or folder that cannot be read or written; the message says which, and why."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> FilesError:
        """From an error of the operating system."""
        return cls(f"{error.filename or path}: {error.strerror or error}")


class FileThereError(FilesError):
    """A file that exists, and is not to be replaced."""

    exit_code = 1


class MissingLibraryError(BridgeError):
    """A library that is not installed with Tickbridge itself."""

    exit_code = 1


def library(name: str, extra: str = "files") -> Any:
    """An optional library, imported.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        what = f"pip install 'tickbridge[{extra}]'" if extra else f"pip install {package}"
        raise MissingLibraryError(f"{package} is not installed; install it with: {what}") from None


def arrow() -> Any:
    """``pyarrow``.

    Raises:
        MissingLibraryError: it is not installed.
    """
    return library("pyarrow")


def stream_path(keys: Keys, key: str) -> Path:
    """The path of a stream's files, without a suffix: ``md/coinbase/BTC-USD/trades``.

    The parts of a key are escaped as in a URL, so every key has a path of its own below any folder.
    """
    if keys.parse(key) is not None:
        key = key.replace("{", "", 1).replace("}", "", 1)
    parts = (quote(part, safe="") or "%" for part in key.split(":"))
    return Path(*(re.sub(r"^\.", "%2E", part) for part in parts))


@contextlib.contextmanager
def atomic(path: Path, named: Callable[[], Path] = Path, *, fresh: bool = False) -> Iterator[Path]:
    """A path to write to; what was written is at ``path`` when the block ends, and nothing is if it fails.

    ``named`` may give it another name at the end, in the same folder. ``fresh``: nothing is replaced.

    Raises:
        FileThereError: another file has come to be there meanwhile, and ``fresh`` is set.
        FilesError: it cannot be written, for example because the disk is full.
    """
    # Not with the suffix of the file: a pattern may match hidden files, too.
    temporary = path.with_name(f"{_UNFINISHED}{os.getpid()}-{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        target = path.parent / named() if named().name else path
        if fresh:
            _link(temporary, target)
        replace(temporary, target)
    except OSError as error:
        raise FilesError.of(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename a file, also over another one, so that it survives a power failure.

    Raises:
        OSError: any error of the operating system.
    """
    source.replace(target)
    for folder in {source.parent, target.parent}:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link(source: Path, target: Path) -> None:
    """Have a file at ``target`` if there is none; file systems without links cannot do both at once.

    Raises:
        FileThereError: there is one.
    """
    try:
        target.hardlink_to(source)
    except OSError:
        if target.exists():
            raise FileThereError(f"{target}: is there already, and was not replaced") from None


def unfinished(folder: Path) -> list[Path]:
    """Files below a folder that a process did not finish, because it was killed."""
    return sorted(folder.rglob(f"{_UNFINISHED}*"))
