"""Writes logs and printed lines without ever blocking the process, however slow their reader is.

`queued_output` puts a bounded queue and a writing thread between a command and its standard output and error. Printing
and logging never wait. Lines that do not fit, because nobody reads or the disk is full, are dropped and counted, and the
count is reported once lines can be written again.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = [
    "LineQueue",
    "QueuedText",
    "before_end",
    "drain_output",
    "dropped_lines",
    "open_missing_streams",
    "queued_output",
    "write_some",
]

MOST_WAITING = 4 * 1024 * 1024
"""Bytes that may wait per stream."""
_LINE_COST = 64
"""Bytes added to the size of each line, since empty lines take memory too."""
_CHUNK = 64 * 1024
_PAUSE = 1.0
"""Seconds before the next attempt after a failed write."""
_REPORT_EVERY = 10.0
"""Seconds between two notes on dropped lines, while a slow reader keeps the queue filled."""
_PATIENCE = 1.0
"""Seconds to wait at the end for a reader that reads nothing."""
_LONGEST_END = 5.0
"""Seconds to wait at the end for a slow reader."""


class LineQueue:
    """Lines for one file descriptor, written by a thread.

    ``noted`` is called from that thread with the number of dropped lines, once lines can be written again.
    """

    def __init__(self, fd: int, noted: Callable[[int], None], most: int = MOST_WAITING) -> None:
        self._fd = fd
        self._noted = noted
        self._most = most
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self._moved_at = 0.0
        """When the thread started a write, or last wrote something."""
        self._unreported = 0
        """Dropped lines that have not been reported."""
        self._reported_at = 0.0
        self._line_cut = False
        """Whether the last line was written only in part."""
        self.dropped = 0
        """Lines dropped since the start."""
        self.trouble = ""
        """Why the last write failed; empty while writes succeed."""
        self.gone = False
        """Whether it failed because the reader is gone (``… | head``)."""

    def put(self, line: bytes) -> None:
        """Queue a line, which includes its line feed; never waits and never fails."""
        cost = len(line) + _LINE_COST
        with self._changed:
            if self._closed or self._bytes + cost > self._most:
                self._drop(1)
                return
            self._lines.append(line)
            self._bytes += cost
            if self._thread is None:
                # Not joined at the end, because it may be stuck in a write.
                self._thread = threading.Thread(target=self._run, name=f"output-{self._fd}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, patience: float = _PATIENCE, longest: float = _LONGEST_END) -> bool:
        """Wait until everything is written, at most ``longest`` seconds, or until nothing moves for ``patience`` seconds.

        Returns:
            Whether everything was written.
        """
        end = time.monotonic() + longest
        with self._changed:
            while self._lines or self._busy:
                still_since = self._moved_at if self._busy else time.monotonic()
                left = min(still_since + patience, end) - time.monotonic()
                if left <= 0 or self.trouble:
                    return False
                self._changed.wait(min(left, 0.1))
            return not self.trouble

    def close(self) -> None:
        """Accept no more lines; the thread ends when the queued ones are written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unreported += count

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._lines:
                    if self._closed:
                        return
                    self._changed.wait()
                self._busy, self._moved_at = True, time.monotonic()
                chunk = self._chunk()
            self._write(chunk)
            self._note()

    def _chunk(self) -> list[bytes]:
        chunk: list[bytes] = []
        size = 0
        while self._lines and size < _CHUNK:
            line = self._lines.popleft()
            chunk.append(line)
            size += len(line)
            self._bytes -= len(line) + _LINE_COST
        return chunk

    def _write(self, chunk: list[bytes]) -> None:
        """Write lines; if that fails, drop them and pause before the next attempt."""
        data = memoryview(b"".join(chunk))
        done = 0
        try:
            if self._line_cut:
                write_some(self._fd, memoryview(b"\n"))
                self._line_cut = False
            while done < len(data):
                wrote = write_some(self._fd, data[done:])
                done += wrote
                self._moved_at = time.monotonic()
            self.trouble, self.gone = "", False
        except OSError as error:
            whole = 0
            for line in chunk:
                if done < len(line):
                    break
                done -= len(line)
                whole += 1
            self._line_cut = self._line_cut or done > 0
            with self._changed:
                self.trouble = error.strerror or str(error)
                self.gone = isinstance(error, BrokenPipeError)
                self._drop(len(chunk) - whole)
                self._busy = False
                self._changed.notify_all()
            time.sleep(_PAUSE)

    def _note(self) -> None:
        """Report dropped lines when the reader has caught up, or after a while."""
        with self._changed:
            late = time.monotonic() - self._reported_at >= _REPORT_EVERY
            if not self._unreported or self.trouble or (self._lines and not late):
                return
            count, self._unreported = self._unreported, 0
            self._reported_at = time.monotonic()
        self._noted(count)


class QueuedText(io.TextIOBase):
    """A write-only standard stream for ``print`` and logs, over a `LineQueue`."""

    def __init__(self, queue: LineQueue, stream: TextIO) -> None:
        self.queue = queue
        self._fd = stream.fileno()
        self._terminal = stream.isatty()
        self._encoding = stream.encoding or "utf-8"
        self._begun = threading.local()
        """The unfinished line of each thread."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def write(self, text: str) -> int:
        """Take text; complete lines are queued at once."""
        begun = getattr(self._begun, "text", "") + text
        self._begun.text = ""
        if "\n" in text:
            self._put(begun)
        else:
            self._begun.text = begun
        return len(text)

    def flush(self) -> None:
        """Queue an unfinished line too, such as a prompt."""
        begun, self._begun.text = getattr(self._begun, "text", ""), ""
        if begun:
            self._put(begun)

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def _put(self, text: str) -> None:
        self.queue.put(text.encode(self._encoding, "backslashreplace"))


def write_some(fd: int, data: bytes | memoryview) -> int:
    """Write at least one byte; returns how many. Waits even if the descriptor, which others share, is non-blocking.

    Raises:
        OSError: it cannot be written.
    """
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


_queues: dict[str, LineQueue] = {}
"""The queues of this process, by name of the stream."""
_before_end: dict[str, Callable[[], None]] = {}


@contextmanager
def queued_output(noted: Callable[[str, int], None] | None = None) -> Iterator[None]:
    """Print and log through queues while the block runs; at its end, write what waits, if it is read.

    ``noted`` is called, from another thread, with a stream's name (``stdout``, ``stderr``) and the number of its lines
    that were dropped; by default, a line on stderr reports it. A stream that is not a file is left as it is.
    """
    previous = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    made = [name for name, stream in previous.items() if not isinstance(stream, QueuedText) and _has_file(stream)]
    for name in made:
        previous[name].flush()
        queue = LineQueue(previous[name].fileno(), _noted(name, noted or _say))
        _queues[name] = queue
        setattr(sys, name, QueuedText(queue, previous[name]))
    try:
        yield
    finally:
        drain_output()
        for name in made:
            setattr(sys, name, previous[name])
            _queues.pop(name).close()


def before_end(name: str, say: Callable[[], None]) -> None:
    """Have ``say`` called before the process ends, to print what is pending; it replaces an earlier one of that name."""
    _before_end[name] = say


def drain_output(patience: float = _PATIENCE, longest: float = _LONGEST_END) -> None:
    """Wait for the queues of both streams, like `LineQueue.drain`."""
    for say in list(_before_end.values()):
        say()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, QueuedText):
            stream.flush()
    end = time.monotonic() + longest
    for queue in list(_queues.values()):
        queue.drain(patience, max(0.0, end - time.monotonic()))


def dropped_lines() -> dict[str, int]:
    """Lines dropped since the start, by stream; empty if no stream has a queue."""
    return {name: queue.dropped for name, queue in _queues.items()}


def open_missing_streams() -> None:
    """Open ``/dev/null`` for standard streams that are closed at the start (``2>&-``).

    Otherwise the first socket would get number 2, and tracebacks would go to it. ``sys.stderr`` stays ``None``.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one


def _has_file(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError):  # replaced in a test, or closed
        return False


def _noted(name: str, noted: Callable[[str, int], None]) -> Callable[[int], None]:
    return lambda count: noted(name, count)


def _say(name: str, count: int) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{count} lines of {name} were dropped because nothing read them\n")
