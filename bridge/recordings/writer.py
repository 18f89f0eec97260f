"""Writes recordings (`bridge.recordings.recording`)."""

from __future__ import annotations

import mmap
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import msgspec
import zstandard

from bridge.recordings.recording import (
    FORMAT,
    CloseRow,
    ConnectRow,
    HeaderRow,
    HttpRow,
    RecordingError,
    RecvRow,
    Row,
    SendRow,
)
from bridge.recordings.secrets import Redactor

__all__ = ["RecordingWriter"]

_ENCODER = msgspec.json.Encoder()


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def close(self) -> None: ...


class RecordingWriter:
    """Writes a recording; a context manager, and what a feed can be given as its tap.

    Secrets are masked by ``redact`` before anything is written. A frame given as bytes is written as text where it is
    UTF-8, since a feed that reads frames as bytes no longer knows, unless ``binary`` says what it was. ``ts`` is in
    seconds since the epoch, now if not given.

    When the file cannot be written any more, it is closed, after its last complete row, and further rows are dropped.
    That is raised at once, or, if there is ``on_failure``, which is called then, by `close`: what a tap raises ends up in
    the feed, or in the library that reads the socket.

    Raises:
        RecordingError: the file exists (and ``force`` is not set), has another suffix, or cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        exchange: str,
        *,
        redact: Redactor | None = None,
        config: Mapping[str, Any] | None = None,
        force: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.rows = 0
        self.on_failure: Callable[[], None] | None = None
        self._unsaid: RecordingError | None = None
        self._redact = redact or Redactor()
        self._clock = clock
        self._file = self._open(force=force)
        self._zstd = zstandard.ZstdCompressor().stream_writer(self._file) if self.path.suffix == ".zst" else None
        self._sink: _Sink = self._zstd or self._file
        self._write(HeaderRow(FORMAT, exchange, clock(), dict(config) if config else None))
        self.rows = 0

    def _open(self, *, force: bool) -> IO[bytes]:
        if not self.path.name.endswith((".jsonl", ".jsonl.zst")):
            raise RecordingError(self.path, "a recording's name ends in .jsonl or .jsonl.zst")
        try:
            return self.path.open("wb" if force else "xb")
        except FileExistsError:
            raise RecordingError(self.path, "the file exists; name another or say that it may be replaced") from None
        except OSError as error:
            raise RecordingError(self.path, f"cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connected(self, conn: str, addr: str, ts: float | None = None) -> None:
        """A WebSocket to ``addr`` was opened."""
        self._write(ConnectRow(conn, self._at(ts), self._redact.url(addr)))

    def sent(self, conn: str, data: str | bytes, ts: float | None = None, *, binary: bool | None = None) -> None:
        """The client sent a frame."""
        text = _text(data, binary=binary)
        if text is None:
            self._write(SendRow(conn, self._at(ts), self._encoded(data), binary=True))
        else:
            self._write(SendRow(conn, self._at(ts), self._redact.sent(text)))

    def received(self, conn: str, data: str | bytes, ts: float | None = None, *, binary: bool | None = None) -> None:
        """The client received a frame."""
        text = _text(data, binary=binary)
        if text is None:
            self._write(RecvRow(conn, self._at(ts), self._encoded(data), binary=True))
        else:
            self._write(RecvRow(conn, self._at(ts), self._redact.text(text)))

    def http(self, conn: str, url: str, data: str, ts: float | None = None) -> None:
        """A REST call of ``url`` was answered with ``data``."""
        self._write(HttpRow(self._at(ts), self._redact.url(url), self._redact.answer(data), conn))

    def closed(self, conn: str, reason: str, ts: float | None = None) -> None:
        """A WebSocket was closed, or broke."""
        self._write(CloseRow(conn, self._at(ts), self._redact.text(reason)))

    def flush(self) -> None:
        """Pass all rows to the operating system, so that they survive this process."""
        if self._file.closed:
            return
        try:
            if self._zstd is not None:
                self._zstd.flush(zstandard.FLUSH_BLOCK)
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Complete the file; further calls do nothing.

        Raises:
            RecordingError: it could not be written, and that has not been raised.
        """
        if not self._file.closed:
            try:
                self._sink.close()
                self._file.close()
            except OSError as error:
                self._fail(error)
        unsaid, self._unsaid = self._unsaid, None
        if unsaid is not None:
            raise unsaid

    def _at(self, ts: float | None) -> float:
        return self._clock() if ts is None else ts

    def _encoded(self, data: str | bytes) -> str:
        raw = data.encode() if isinstance(data, str) else data
        return b64encode(self._redact.binary(raw)).decode()

    def _write(self, row: Row) -> None:
        if self._file.closed:
            return
        try:
            self._sink.write(_ENCODER.encode(row) + b"\n")
        except OSError as error:
            self._fail(error)
        else:
            self.rows += 1

    def _fail(self, error: OSError) -> None:
        with suppress(OSError):
            self._file.close()
        if self._zstd is None:
            self._cut()
        failure = RecordingError(self.path, f"cannot be written: {error.strerror or error}", exit_code=2)
        if self.on_failure is None:
            raise failure from error
        self._unsaid = failure
        self.on_failure()

    def _cut(self) -> None:
        """Leave out the part of a row at the end."""
        with suppress(OSError, ValueError), self.path.open("rb+") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                whole = content.rfind(b"\n") + 1
            file.truncate(whole)


def _text(data: str | bytes, *, binary: bool | None) -> str | None:
    """The frame as text; ``None`` when it goes into the recording as a binary one."""
    if binary:
        return None
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
