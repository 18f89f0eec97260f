"""Prints from a thread, so that an output that nobody reads does not block the demo."""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bridge.printable import printable
from bridge.process.output import write_some

__all__ = ["Output", "notices_from_logs"]

_MAX_WAITING = 1000
_LOOK_EVERY = 0.02


@contextmanager
def notices_from_logs(notify: Callable[[str], None]) -> Iterator[None]:
    """Turn warnings into notices, which would otherwise be written to standard error, over the live view."""
    loop = asyncio.get_running_loop()
    handler, before = _Notices(notify), loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: notify(f"{context['message']}: {context.get('exception')!r}"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        loop.set_exception_handler(before)


class _Notices(logging.Handler):
    def __init__(self, notify: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._notify = notify

    def emit(self, record: logging.LogRecord) -> None:
        self._notify(record.getMessage())


class Output:
    """Prints lines in order. ``on_closed`` is called in the event loop once nothing more can be written.

    If more than a thousand lines wait, the newest are dropped, and their number is printed later.
    """

    def __init__(self, on_closed: Callable[[], None], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._stream.flush()
        self._waiting: queue.Queue[str] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self.error: OSError | None = None
        """Why nothing more can be written; ``None`` while it can."""
        threading.Thread(target=self._run, name="output", daemon=True).start()

    def say(self, words: str) -> None:
        """Print one or more lines."""
        if self.error is not None:
            return
        try:
            if self._dropped:
                self._waiting.put_nowait(f"({self._dropped} lines dropped because they were not read in time)\n")
                self._dropped = 0
            self._waiting.put_nowait(f"{printable(words, lines=True)}\n")
        except queue.Full:
            self._dropped += 1

    async def drain(self) -> None:
        """Wait until everything is written, or nothing more can be."""
        while self._waiting.unfinished_tasks and self.error is None:  # noqa: ASYNC110  (another thread's state)
            await asyncio.sleep(_LOOK_EVERY)

    def _run(self) -> None:
        while True:
            words = self._waiting.get()
            try:
                self._write(words.encode(self._stream.encoding, errors="replace"))
            except OSError as error:
                self.error = error
                self._loop.call_soon_threadsafe(self._on_closed)
                return
            self._waiting.task_done()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[write_some(self._stream.fileno(), data) :]
