"""What the demo prints, written by a thread: an output that nobody reads holds up nothing."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import TextIO

__all__ = ["Output"]

_MOST_WAITING = 1000
_LOOK_EVERY = 0.02


class Output:
    """Prints lines in order. ``on_closed`` is called in the event loop once nothing more can be written.

    Of more than a thousand lines that wait, the newest are dropped, and their number is printed later.
    """

    def __init__(self, on_closed: Callable[[], None], stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        stream.flush()
        self._number = stream.fileno()
        self._encoding = stream.encoding
        self._waiting: queue.Queue[str] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self.error: OSError | None = None
        """Why nothing more can be written."""
        threading.Thread(target=self._run, name="output", daemon=True).start()

    def say(self, words: str) -> None:
        """Print one or more lines."""
        if self.error is not None:
            return
        try:
            if self._dropped:
                self._waiting.put_nowait(f"({self._dropped} lines are left out: nobody read them in time)\n")
                self._dropped = 0
            self._waiting.put_nowait(f"{words}\n")
        except queue.Full:
            self._dropped += 1

    async def drain(self) -> None:
        """Wait until all is written, or nothing can be."""
        while self._waiting.unfinished_tasks and self.error is None:  # noqa: ASYNC110  (another thread's state)
            await asyncio.sleep(_LOOK_EVERY)

    def _run(self) -> None:
        while True:
            words = self._waiting.get()
            try:
                self._write(words.encode(self._encoding, errors="replace"))
            except OSError as error:
                self.error = error
                self._loop.call_soon_threadsafe(self._on_closed)
                return
            self._waiting.task_done()

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._number, data) :]
            except BlockingIOError:
                # Whoever shares this file with us has made it so.
                select.select([], [self._number], [])
