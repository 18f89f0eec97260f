"""Recordings of an exchange's traffic as JSON Lines, plain (``.jsonl``) or compressed by zstd (``.jsonl.zst``).

The first row is the header; then one row per event, in order::

    {"t":"header","format":2,"exchange":"coinbase","recorded":1786309548.0}
    {"t":"http","conn":"rest","ts":1786309548.02,"url":"https://…","data":"…"}      a REST answer
    {"t":"connect","conn":"ws.1","ts":1786309548.03,"addr":"wss://…"}
    {"t":"send","conn":"ws.1","ts":1786309548.17,"data":"…"}                        client to exchange
    {"t":"recv","conn":"ws.1","ts":1786309548.63,"data":"…"}                        exchange to client
    {"t":"close","conn":"ws.1","ts":1786309600.2,"reason":"…"}

``ts`` is in seconds since the epoch. A binary frame has ``"binary":true`` and its ``data`` in base64. Readers ignore
further keys, and rows of kinds they don't know.

A recording may be made by a program instead of recorded from an exchange. Its header says by what (``"made":"…"``), and
since that program knows its own market, it can state behind each frame what the streams should hold from then on::

    {"t":"expect","conn":"ws.1","ts":…,"pair":"BTC-USDT","bids":[["67000.10","0.5"]],"asks":[],"trades":[]}
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import msgspec
import zstandard
from msgspec import Struct

from bridge.errors import BridgeError
from bridge.model import Levels
from bridge.recordings.secrets import Redactor

__all__ = [
    "CloseRow",
    "ConnectRow",
    "ExpectRow",
    "HeaderRow",
    "HttpRow",
    "RecordingError",
    "RecordingWriter",
    "RecvRow",
    "Row",
    "SendRow",
    "read_recording",
]

FORMAT = 2
"""Version of the format that is written; readers take it as information."""

_CHUNK = 256 * 1024


class RecordingError(BridgeError):
    """A recording that cannot be read or written; ``line`` counts from 1, or is ``None``."""

    exit_code = 1

    def __init__(self, path: Path | str, message: str, line: int | None = None) -> None:
        self.path = Path(path)
        self.message = message
        self.line = line
        where = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {message}")


class HeaderRow(Struct, frozen=True, tag_field="t", tag="header", omit_defaults=True):
    """The first row; ``recorded`` is when the recording began, ``config`` what was recorded.

    ``made`` says by what the frames were made; it is empty if an exchange has sent them.
    """

    format: int | None = None
    exchange: str = ""
    recorded: float | None = None
    config: dict[str, Any] | None = None
    made: str = ""


class ConnectRow(Struct, frozen=True, gc=False, tag_field="t", tag="connect"):
    """A WebSocket was opened; ``addr`` is its URL. The same ``conn`` may open again after a reconnect."""

    conn: str
    ts: float
    addr: str = ""


class _FrameRow(Struct, frozen=True, gc=False, omit_defaults=True):
    conn: str
    ts: float
    data: str
    binary: bool = False

    @property
    def payload(self) -> bytes:
        """The frame's bytes."""
        return b64decode(self.data) if self.binary else self.data.encode()


class SendRow(_FrameRow, frozen=True, gc=False, omit_defaults=True, tag_field="t", tag="send"):
    """A frame from the client to the exchange."""


class RecvRow(_FrameRow, frozen=True, gc=False, omit_defaults=True, tag_field="t", tag="recv"):
    """A frame from the exchange to the client."""


class HttpRow(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="t", tag="http"):
    """The answer ``data`` to a REST call of ``url``."""

    ts: float
    url: str
    data: str
    conn: str = ""


class CloseRow(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="t", tag="close"):
    """A WebSocket was closed, or broke."""

    conn: str
    ts: float
    reason: str = ""


class ExpectRow(Struct, frozen=True, omit_defaults=True, tag_field="t", tag="expect"):
    """What the streams of ``pair`` should hold once the frames before it have been sent.

    ``bids`` and ``asks`` are the changed levels with their absolute sizes, in base coins; if ``whole``, they are the
    entire book. ``trades`` are those of the frame: ``id``, ``time`` (seconds), ``side``, ``price``, ``size``.
    """

    conn: str
    ts: float
    pair: str
    bids: Levels = []
    asks: Levels = []
    whole: bool = False
    trades: list[dict[str, Any]] = []


class _AnyRow(Struct, gc=False):
    t: str


Row = HeaderRow | ConnectRow | SendRow | RecvRow | HttpRow | CloseRow | ExpectRow

_KINDS = ("header", "connect", "send", "recv", "http", "close", "expect")
_DECODER: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Row)
_ENCODER = msgspec.json.Encoder()


def read_recording(path: Path | str) -> Iterator[Row]:
    """The rows of a recording, header first, read lazily.

    Raises:
        RecordingError: the file cannot be read, has no header, or a row cannot be understood. The rows before the
            fault have been given by then.
    """
    number = 0
    decode = _DECODER.decode
    row: Row | None
    try:
        for number, line in enumerate(_lines(_chunks(Path(path))), 1):
            try:
                row = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                _check_unusual(path, number, line, error)
                row = None
            if number == 1 and type(row) is not HeaderRow:
                raise RecordingError(path, 'no header: the first row must be {"t":"header",…}', 1)
            if row is None:
                continue
            if (type(row) is RecvRow or type(row) is SendRow) and row.binary:
                _check_base64(path, number, row)
            yield row
    except _DataError as error:
        raise RecordingError(path, f"{error} (readable up to here)", number + 1) from None
    if not number:
        raise RecordingError(path, 'the file is empty: the first row must be {"t":"header",…}')


def _check_unusual(path: Path | str, number: int, line: bytes, error: Exception) -> None:
    """Check a line that is not a known row: it may be blank, or of a kind that this version does not know.

    Raises:
        RecordingError: it is neither.
    """
    if not line.strip():
        return
    if not isinstance(error, msgspec.ValidationError):
        raise RecordingError(path, f"not JSON, perhaps cut off: {error}", number) from None
    if not _unknown_kind(line):
        raise RecordingError(path, f"not a row of a recording: {error}", number) from None


def _check_base64(path: Path | str, number: int, row: RecvRow | SendRow) -> None:
    try:
        b64decode(row.data, validate=True)
    except binascii.Error:
        raise RecordingError(path, "a binary frame whose data is not base64", number) from None


def _unknown_kind(line: bytes) -> bool:
    try:
        return msgspec.json.decode(line, type=_AnyRow).t not in _KINDS
    except msgspec.ValidationError:
        return False


class _DataError(Exception):
    """The compressed data is truncated or not zstd."""


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            raw = iter(lambda: file.read(_CHUNK), b"")
            yield from _decompress(raw) if path.suffix == ".zst" else raw
    except OSError as error:
        raise RecordingError(path, f"cannot be read: {error.strerror or error}") from error


def _decompress(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress zstd data of any number of frames.

    ``stream_reader`` is not used, because it accepts truncated data.
    """
    make = zstandard.ZstdDecompressor().decompressobj
    frame = None
    for chunk in raw:
        rest = chunk
        while rest:
            frame = frame or make()
            try:
                yield frame.decompress(rest)
            except zstandard.ZstdError as error:
                msg = f"broken zstd data: {error}"
                raise _DataError(msg) from None
            rest = b""
            if frame.eof:
                rest = frame.unused_data
                frame = None
    if frame is not None:
        msg = "the zstd data breaks off: the file is truncated"
        raise _DataError(msg)


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Split into lines. A line of many chunks is joined once, not once per chunk."""
    parts: list[bytes] = []
    for chunk in chunks:
        head, *others = chunk.split(b"\n")
        parts.append(head)
        if others:
            yield b"".join(parts)
            yield from others[:-1]
            parts = [others[-1]]
    last = b"".join(parts)
    if last:
        yield last


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def close(self) -> None: ...


class RecordingWriter:
    """Writes a recording; a context manager, and what a feed can be given as its tap.

    Secrets are masked by ``redact`` before anything is written. A frame given as bytes is written as text where it is
    UTF-8, since a feed that reads frames as bytes no longer knows, unless ``binary`` says what it was. ``ts`` is in
    seconds since the epoch, now if not given.

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
        try:
            if self._zstd is not None:
                self._zstd.flush(zstandard.FLUSH_BLOCK)
            self._file.flush()
        except OSError as error:
            raise RecordingError(self.path, f"cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Complete the file; further calls do nothing."""
        if self._file.closed:
            return
        try:
            self._sink.close()
            self._file.close()
        except OSError as error:
            raise RecordingError(self.path, f"cannot be written: {error.strerror or error}") from error

    def _at(self, ts: float | None) -> float:
        return self._clock() if ts is None else ts

    def _encoded(self, data: str | bytes) -> str:
        raw = data.encode() if isinstance(data, str) else data
        return b64encode(self._redact.binary(raw)).decode()

    def _write(self, row: Row) -> None:
        try:
            self._sink.write(_ENCODER.encode(row) + b"\n")
        except OSError as error:
            raise RecordingError(self.path, f"cannot be written: {error.strerror or error}") from error
        self.rows += 1


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
