"""The terminal itself, opened for the view alone: its keys, its cells, its modes.

Standard input, output and error of a program on a terminal are usually one open file, shared with the shell: a flag
that is set on one of them, such as ``O_NONBLOCK``, holds for all. So the terminal is opened once more, and what is set
on that is seen by nobody else.
"""

from __future__ import annotations

import json
import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

from bridge.demo.guardian import modes_of

__all__ = ["Device", "open_terminal"]

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_USUAL = (80, 24)


class Device:
    """An open terminal, without blocking; ``number`` is its descriptor, ``path`` what was opened."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self._path = path
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with what `bridge.demo.guardian.give_back` needs once the terminal is entered, and ``""`` once it is left."""
        self._before: list[Any] | None = None

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a terminal.

        Raises:
            OSError: it can't be opened, or is no terminal.
        """
        number = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not os.isatty(number):
            os.close(number)
            raise OSError(f"{path} is not a terminal")
        return cls(number, path)

    @property
    def in_foreground(self) -> bool:
        """Whether the shell has left the terminal to this program: a job in the background must not touch it."""
        try:
            return os.tcgetpgrp(self.number) == os.getpgrp()
        except OSError:  # not the terminal that controls this process: nobody shares it out
            return True

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 x 24 where the terminal doesn't say."""
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self.number)
            if columns > 0 and rows > 0:
                return columns, rows
        return _USUAL

    @property
    def entered(self) -> bool:
        return self._before is not None

    def enter(self) -> bytes:
        """Have keys come one by one and unseen; Ctrl-C stays a signal.

        Returns:
            What is to be written then.

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
        """Give the terminal its modes back; returns what is to be written before the terminal is as it was."""
        before, self._before = self._before, None
        if before is None:
            return b""
        self.on_change("")
        if self.in_foreground:
            with suppress(termios.error):
                # Output that Ctrl-S has stopped would hold up all that is still to be said. Linux lets it go on only if it
                # was stopped this way.
                termios.tcflow(self.number, termios.TCOOFF)
                termios.tcflow(self.number, termios.TCOON)
                termios.tcsetattr(self.number, termios.TCSANOW, before)
        return _LEAVE

    def discard_output(self) -> None:
        """Drop what was written and has not been taken: nobody reads."""
        with suppress(termios.error):
            termios.tcflush(self.number, termios.TCOFLUSH)

    def close(self) -> None:
        os.close(self.number)


def open_terminal(number: int) -> Device | None:
    """Open the terminal behind a descriptor once more; ``None`` if that can't be."""
    for path in _paths(number):
        with suppress(OSError):
            return Device.open(path)
    return None


def _paths(number: int) -> Iterator[str]:
    """The terminal's own name, which another user's terminal doesn't let open; then the one that controls us."""
    with suppress(OSError):
        yield os.ttyname(number)
    yield "/dev/tty"
