"""The terminal, opened for the view alone: its keys, its size, its modes.

Standard input, output and error of a program on a terminal are usually one open file, shared with the shell: a flag
such as ``O_NONBLOCK``, set on one of them, applies to all. The terminal is therefore opened once more, so that flags set
on it affect no other program.
"""

from __future__ import annotations

import json
import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

__all__ = ["Device", "modes_of", "open_terminal"]

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_USUAL = (80, 24)


class Device:
    """An open, non-blocking terminal; ``number`` is its descriptor, ``path`` its file."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self._path = path
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with the state for the guardian of the demo (`bridge.demo.guardian.give_back`) on entering, and with ``""`` on leaving."""
        self._before: list[Any] | None = None

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a terminal.

        Raises:
            OSError: it cannot be opened, or is not a terminal.
        """
        number = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not os.isatty(number):
            os.close(number)
            raise OSError(f"{path} is not a terminal")
        return cls(number, path)

    @property
    def in_foreground(self) -> bool:
        """Whether this program is in the foreground; a background job must not use the terminal."""
        try:
            return os.tcgetpgrp(self.number) == os.getpgrp()
        except OSError:  # not the controlling terminal: there is no job control
            return True

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 x 24 if the terminal does not report them."""
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self.number)
            if columns > 0 and rows > 0:
                return columns, rows
        return _USUAL

    @property
    def entered(self) -> bool:
        return self._before is not None

    def enter(self) -> bytes:
        """Enter cbreak mode: keys are read one by one and not echoed; Ctrl-C remains a signal.

        Returns:
            The control sequences to write next.

        Raises:
            OSError: the terminal is gone.
        """
        try:
            if self._before is None:
                self._before = modes_of(self.number)
            tty.setcbreak(self.number, termios.TCSANOW)
            known = {"path": self._path, "before": self._before, "during": modes_of(self.number)}
        except termios.error as error:
            raise OSError(*error.args) from None
        self.on_change(json.dumps({**known, "leave": _LEAVE.decode()}))
        return _ENTER

    def leave(self) -> bytes:
        """Restore the terminal's modes; returns the control sequences to write next."""
        before, self._before = self._before, None
        if before is None:
            return b""
        self.on_change("")
        if self.in_foreground:
            with suppress(termios.error):
                # Output that Ctrl-S stopped would block everything that is still to be written. Linux resumes it only if
                # it was stopped this way.
                termios.tcflow(self.number, termios.TCOOFF)
                termios.tcflow(self.number, termios.TCOON)
                termios.tcsetattr(self.number, termios.TCSANOW, before)
        return _LEAVE

    def discard_output(self) -> None:
        """Discard output that the terminal has not read."""
        with suppress(termios.error):
            termios.tcflush(self.number, termios.TCOFLUSH)

    def close(self) -> None:
        os.close(self.number)


def open_terminal(number: int) -> Device | None:
    """Open the terminal of a descriptor once more; ``None`` if that is not possible."""
    for path in _paths(number):
        with suppress(OSError):
            return Device.open(path)
    return None


def _paths(number: int) -> Iterator[str]:
    """The terminal's own name, which fails if the terminal belongs to another user; then the controlling terminal."""
    with suppress(OSError):
        yield os.ttyname(number)
    yield "/dev/tty"


def modes_of(number: int) -> list[Any]:
    """A terminal's modes as plain numbers, for ``termios.tcsetattr``."""
    *flags, characters = termios.tcgetattr(number)
    return [*flags, [sign if isinstance(sign, int) else sign[0] for sign in characters]]
