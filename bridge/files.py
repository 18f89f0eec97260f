"""Names the file in errors of writing and closing: the system names it only in those of opening."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["naming"]


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let an ``OSError`` of the block have ``path`` as its ``filename``, unless it names a file itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
