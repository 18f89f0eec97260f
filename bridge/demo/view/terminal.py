"""The full-screen view: drawn beside the reading, ended by a key, and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from rich.console import Console
from rich.live import Live

from bridge.demo.view.frame import Frame
from bridge.demo.view.screen import screen

__all__ = ["FullScreen"]

_EVERY = 0.2
_SWITCH_EVERY = 0.0005


class FullScreen:
    """Shows frames on the whole terminal; ``typed`` hears what is typed, key by key."""

    def __init__(self, typed: Callable[[str], None]) -> None:
        self._typed = typed
        self._stack = ExitStack()
        self.open = False

    async def keep(self, frame: Callable[[], Frame]) -> None:
        """Draw a frame several times a second, until cancelled or closed."""
        console = Console()
        self.open = True
        live = self._stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
        self._stack.enter_context(_keys(self._typed))
        # Drawing takes some milliseconds. In a thread that gives way at once they don't count as latency of the reader.
        self._stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_EVERY)
        while self.open:
            await asyncio.to_thread(self._draw, live, frame(), console)
            await asyncio.sleep(_EVERY)

    def close(self) -> None:
        """Give the terminal back; no effect if it isn't taken."""
        self.open = False
        self._stack.close()

    @staticmethod
    def _draw(live: Live, frame: Frame, console: Console) -> None:
        live.update(screen(frame, *console.size), refresh=True)


@contextmanager
def _keys(typed: Callable[[str], None]) -> Iterator[None]:
    """Hear single keys of standard input, if that is a terminal. Ctrl-C stays a signal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415  (not on every platform)
    import tty  # noqa: PLC0415

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):
            typed(os.read(number, 64).decode(errors="replace"))

    try:
        tty.setcbreak(number, termios.TCSANOW)
        loop.add_reader(number, read)
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSANOW, before)
