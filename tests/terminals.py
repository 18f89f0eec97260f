"""Programs on a pseudo-terminal of their own: keys, window size, what the screen shows, and a reader that pauses."""

from __future__ import annotations

import copy
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyte

from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["Terminal"]

_LOOK_EVERY = 0.02
_TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes standard error the controlling terminal of the command that follows, and becomes that command.

It can be hung up there, although the tests may run under nohup.
"""


class _Screen(pyte.Screen):
    """Knows the alternate screen, too: what was on the screen before a full-screen program is there again after it."""

    _ALTERNATE = 1049
    _kept: tuple[Any, Any] | None = None

    def set_mode(self, *modes: int, **options: Any) -> None:
        super().set_mode(*modes, **options)
        if options.get("private") and self._ALTERNATE in modes and self._kept is None:
            self._kept = copy.deepcopy((self.buffer, self.cursor))
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        super().reset_mode(*modes, **options)
        if options.get("private") and self._ALTERNATE in modes and self._kept is not None:
            (self.buffer, self.cursor), self._kept = self._kept, None
            self.dirty.update(range(self.lines))


class Terminal:
    """A command on a new terminal of ``columns`` x ``rows`` cells, which is its controlling terminal.

    A thread reads what the command writes. With ``pauses`` it stops reading for that many seconds once a second, as a
    slow connection or a busy terminal does. ``extra`` are environment variables, see ``clean_environment``. ``stdin``
    and ``stdout`` put something else in the place of the terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        columns: int = 80,
        rows: int = 24,
        pauses: float = 0.0,
        stdin: int | None = None,
        stdout: int | None = None,
        **extra: str,
    ) -> None:
        self.leader, self.follower = pty.openpty()
        self._screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._resize(columns, rows)
        self.before = termios.tcgetattr(self.follower)
        self.seen = b""
        """All bytes so far."""
        self._pauses = pauses
        self._lock = threading.Lock()
        self._reading = threading.Event()
        self._reading.set()
        self._closing = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            cwd=cwd,
            env=clean_environment(**extra),
            stdin=self.follower if stdin is None else stdin,
            stdout=self.follower if stdout is None else stdout,
            stderr=self.follower,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.leader, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size, and say so to the command."""
        with self._lock:
            self._screen.resize(rows, columns)
        self._resize(columns, rows)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Read nothing meanwhile."""
        self._reading.clear()
        try:
            yield
        finally:
            self._reading.set()

    @property
    def lines(self) -> list[str]:
        """What the screen shows, row by row."""
        with self._lock:
            return list(self._screen.display)

    @property
    def shown(self) -> str:
        return "\n".join(self.lines)

    @property
    def text(self) -> str:
        """All that was ever written, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen.decode(errors="replace"))

    @property
    def attributes(self) -> list[Any]:
        """The terminal's modes, to be compared with ``before``."""
        return termios.tcgetattr(self.follower)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for a condition; its first true value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(_LOOK_EVERY)
        raise AssertionError(f"not within {seconds:g} s: {what}; the screen shows\n{self.shown}\n{self.text[-2000:]!r}")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until something was written."""
        found: re.Match[str] = self.until(lambda: re.search(pattern, self.text), pattern)
        return found

    def wait_until_shown(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows something."""
        found: re.Match[str] = self.until(lambda: re.search(pattern, self.shown), pattern)
        return found

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait for the command's end, and for all that it has written; the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {seconds:g} s; the screen shows\n{self.shown}") from None
        self.until(lambda: not select.select([self.leader], [], [], 0)[0], "all is read")
        with self._lock:  # and taken in
            return code

    def hang_up(self) -> None:
        """Close the window."""
        self._stop_reading()
        for number in (self.leader, self.follower):
            os.close(number)
        self.leader = self.follower = -1

    def close(self) -> None:
        """Kill the command if it still runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.leader >= 0:
            self.hang_up()

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _stop_reading(self) -> None:
        self._closing = True
        self._reading.set()
        self._reader.join()

    def _read(self) -> None:
        rest = time.monotonic() + 1.0
        while not self._closing:
            self._reading.wait()
            if self._pauses and time.monotonic() > rest:
                time.sleep(self._pauses)
                rest = time.monotonic() + 1.0
            if not select.select([self.leader], [], [], _LOOK_EVERY)[0]:
                continue
            with self._lock:
                try:
                    chunk = os.read(self.leader, 65536)
                except OSError:  # Linux's way to say that the other end is closed
                    return
                self.seen += chunk
                self._stream.feed(chunk)
