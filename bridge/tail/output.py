"""Writes lines to standard output, even if its reader pauses or goes away, or the terminal is non-blocking."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from bridge.errors import BridgeError
from bridge.printable import printable
from bridge.process.output import write_some

__all__ = ["Output", "OutputError", "note"]

_GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET})
"""Errors of a pipe without a reader, a closed terminal, a closed socket."""


class OutputError(BridgeError):
    """Output cannot be written: the disk is full, or the output was closed at the start."""


class Output:
    """Standard output, written without Python's buffer, so that nothing has to be flushed at the end."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("standard output is closed")
        self._descriptor = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"

    def write(self, text: str) -> None:
        """Write all of it, however long that takes; a signal may interrupt it.

        Raises:
            BrokenPipeError: the reader is gone.
            OutputError: it cannot be written.
        """
        left = memoryview(text.encode(self._encoding, "backslashreplace"))
        while left:
            try:
                left = left[write_some(self._descriptor, left) :]
            except OSError as error:
                if error.errno in _GONE:
                    raise BrokenPipeError(error.errno, os.strerror(error.errno)) from None
                raise OutputError(f"cannot write: {error.strerror or error}") from None


def note(text: str) -> None:
    """Print a message to stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"tickbridge: {printable(text)}", file=sys.stderr, flush=True)  # noqa: T201 - a command's words
