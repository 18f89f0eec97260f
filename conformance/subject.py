"""The subject: a process that wraps a client library, and answers each line of JSON with one."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

import msgspec

__all__ = ["Subject", "SubjectError"]

_LONGEST_LINE = 64 * 1024 * 1024
_MOST_WAITING = 100
"""Lines of the subject that nobody has asked for, after which it is no longer read."""
_STDERR_LINES = 10
_CLOSING = 2.0
"""Seconds to wait for the end of the output of a process that has ended."""
_SHOWN = 200
"""Characters of a request or an answer that a message quotes."""


class SubjectError(Exception):
    """The subject does not behave as the protocol says; ``stderr`` are its last lines."""

    def __init__(self, what: str, stderr: Sequence[str] = ()) -> None:
        self.stderr = list(stderr)
        super().__init__(what)


class Subject:
    """A running subject. Each request has ``timeout`` seconds for its answer. Leaving the context ends it.

    The process has a group of its own, so that what it starts itself (``npx``, ``go run``) ends with it.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._timeout = timeout
        try:
            self._process = subprocess.Popen(  # noqa: S603 - it is the user's own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SubjectError(f"{command[0]} cannot be started: {error.strerror or error}") from None
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        assert self._process.stdout
        assert self._process.stderr
        self._readers = [
            threading.Thread(target=self._read_stdout, args=(self._process.stdout,), name="stdout", daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), name="stderr", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            SubjectError: there is no answer in time, or it is not a JSON object.
        """
        text = msgspec.json.encode(request).decode()
        said = _shown('{"redis":…}' if "redis" in request else text)  # the URL may have a password
        with suppress(queue.Empty):
            line = self._lines.get_nowait()
            if line is None:
                raise self._ended(said)
            raise self._error(f"it wrote a line that nobody asked for: {_shown(line)}")
        self._send(text, said)
        try:
            line = self._lines.get(timeout=self._timeout)
        except queue.Empty:
            raise self._error(f"no answer within {self._timeout:g} s to {said}") from None
        if line is None:
            raise self._ended(said)
        if not line.endswith(b"\n"):
            raise self._error(f"its answer to {said} does not end with a line end: {_shown(line)}")
        try:
            answer = msgspec.json.decode(line)
        except msgspec.DecodeError:
            raise self._error(f"its answer to {said} is not JSON: {_shown(line)}") from None
        if not isinstance(answer, dict):
            raise self._error(f"its answer to {said} is not an object: {_shown(line)}")
        if "error" in answer:
            raise self._error(f"it refused {said}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Ask it to end.

        Raises:
            SubjectError: it does not end in time, or not with exit code 0.
        """
        self._send('{"end":true}', "the end")
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            code = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            raise self._error(f"it did not end within {self._timeout:g} s after the end") from None
        if code:
            raise self._error(f"after the end, it {_how(code)}")

    def kill(self) -> None:
        """End the process and whatever it has started; no effect if they have ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(OSError):  # what was not sent cannot be sent any more
            assert self._process.stdin
            self._process.stdin.close()
        self._drain()
        self._readers[1].join(_CLOSING)

    def _drain(self) -> None:
        """Let the thread that reads go on to the end. A process that left the group may still hold the pipe open."""
        deadline = time.monotonic() + _CLOSING
        while self._readers[0].is_alive() and time.monotonic() < deadline:
            with suppress(queue.Empty):
                self._lines.get(timeout=0.01)

    def _send(self, text: str, said: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended(said) from None

    def _ended(self, request: str) -> SubjectError:
        """It closed its output: say how it ended."""
        try:
            code = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            return self._error(f"it closed its standard output instead of answering {request}")
        return self._error(f"it {_how(code)} instead of answering {request}")

    def _error(self, what: str) -> SubjectError:
        if self._process.poll() is not None:
            self._readers[1].join(_CLOSING)
        return SubjectError(what, self._stderr)

    def _read_stdout(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                self._stderr.append(_shown(line))


def _shown(text: str | bytes) -> str:
    """Text as a message may quote it: on one line, printable, not too long."""
    if isinstance(text, bytes):
        text = text[: 4 * _SHOWN].decode(errors="backslashreplace")
    text = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text.rstrip("\r\n"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
