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
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from msgspec import Struct

from bridge.errors import BridgeError
from bridge.model import Levels

__all__ = [
    "CloseRow",
    "ConnectRow",
    "ExpectRow",
    "HeaderRow",
    "HttpRow",
    "RecordingError",
    "RecvRow",
    "Row",
    "SendRow",
    "read_recording",
]

FORMAT = 2
"""Version of the format that is written; readers take it as information."""

_CHUNK = 256 * 1024


class RecordingError(BridgeError):
    """A recording that cannot be read or written; ``line`` counts from 1, or is ``None``.

    It is a mistake of the user, unless ``exit_code`` says something else.
    """

    exit_code = 1

    def __init__(self, path: Path | str, message: str, line: int | None = None, *, exit_code: int = 1) -> None:
        self.exit_code = exit_code
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
