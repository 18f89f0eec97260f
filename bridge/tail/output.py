"""The way out for lines: a reader may pause or go away, and the terminal may be set not to wait."""

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
"""A pipe without a reader, a terminal that was closed, a socket's other end."""


class OutputError(BridgeError):
    """What was to be shown can't be written: the disk is full, or the output was closed at the start."""


class Output:
    """Standard output, written past Python's buffer: nothing is left over that the end of the process would wait for."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputError("standard output is closed")
        self._descriptor = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"

    def write(self, text: str) -> None:
        """Write all of it, for as long as that takes; a signal may end it in the middle.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: it can't be written.
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
    """Say something to the user, beside the output; if nobody listens, nothing is said."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"tickbridge: {printable(text)}", file=sys.stderr, flush=True)  # noqa: T201 - a command's words
