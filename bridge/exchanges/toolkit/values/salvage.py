"""What can still be read of a frame that can't be understood, so that the damage stays with the row that is bad.

A session decodes strictly first. Only what fails comes here: the frame is made readable, its rows are taken one by one,
and where not even that works, its channel or pair is looked for in its first bytes. All of it is linear in the frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import NOT_UNDERSTOOD, Output, Reject, Session, Subscription
from bridge.model import Control, ControlEvent

__all__ = ["UNREADABLE", "WRONG", "Damage", "peek", "peek_count", "readable", "rows_of"]

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises for a frame that is none, or not of the expected shape."""
WRONG = (*UNREADABLE, ValueError, LookupError, ArithmeticError, TypeError)
"""What is raised for a message, or a row of one, that can't be understood."""

_NOT_JSON = re.compile(rb"(?<=[:,\[\s])-?(?:NaN|Infinity)(?=\s*[,\]}])")
_N, _I = b"NI"
_LOOKED_AT = 4_096
"""Bytes at a frame's beginning in which a field is looked for."""
_PEEKED = rb'"%s"\s*:\s*"([^"\\]{1,200})"'
_COUNTED = rb'"%s"\s*:\s*([0-9]{1,18})\s*[,}]'


def readable(frame: bytes) -> bytes:
    """The frame with the bare ``NaN`` and ``Infinity`` that some encoders write, and JSON doesn't have, as ``{}``.

    So it can be decoded, and the value in its place is refused wherever a number or a text is expected. (The like inside
    of a string is replaced, too: nothing that may have a colon or comma before it goes into a stream.)
    """
    # Looking for a byte first is many times faster than looking for a word, in a frame of megabytes.
    if (_N in frame and b"NaN" in frame) or (_I in frame and b"Infinity" in frame):
        return _NOT_JSON.sub(b"{}", frame)
    return frame


def peek(frame: bytes, name: str) -> str:
    """The first text of a field of this name near the beginning of a frame of any form; empty without one."""
    found = re.search(_PEEKED % re.escape(name).encode(), frame[:_LOOKED_AT])
    return found[1].decode(errors="replace") if found else ""


def peek_count(frame: bytes, name: str) -> int | None:
    """The first whole number of a field of this name near the beginning of a frame of any form; ``None`` without one."""
    found = re.search(_COUNTED % re.escape(name).encode(), frame[:_LOOKED_AT])
    return int(found[1]) if found else None


def rows_of(data: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The rows of a JSON array, or a single value as one row; so is nothing at all.

    Raises:
        MsgspecError: it isn't JSON.
    """
    text = bytes(data) or b"null"
    if text.lstrip()[:1] == b"[":
        return _raw_rows(text)
    return [_raw_row(text)]


_raw_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_raw_row = msgspec.json.Decoder(msgspec.Raw).decode


class Damage:
    """The rows of one frame that were left out: one reject for the frame, one ``gap`` for each stream that misses some.

    ``counted`` says whether a row is one event, so that the ``gap`` can say how many are missing.
    """

    def __init__(self, exchange: str, frame: bytes, *, counted: bool = False) -> None:
        self._exchange = exchange
        self._frame = frame
        self._counted = counted
        self._reason = ""
        self._rows = 0
        self._missing: dict[Subscription, tuple[int, int]] = {}
        """Stream → the place among the events at which the first row is missing, and the number of rows."""

    def __bool__(self) -> bool:
        return self._rows > 0

    def row(
        self, error: Exception, streams: Iterable[Subscription], place: int = 0, raw: bytes | msgspec.Raw = b""
    ) -> None:
        """A row is left out, which these streams miss; ``place`` is the number of the frame's events before it.

        ``raw``: the row, which goes to the rejects in place of the whole frame, if it is the first one.
        """
        if raw and not self._rows:
            self._frame = bytes(raw)
        self._reason = self._reason or f"{type(error).__name__}: {error}"
        self._rows += 1
        for stream in streams:
            first, count = self._missing.get(stream, (place, 0))
            self._missing[stream] = first, count + 1

    def settle(self, session: Session, events: list[Output], recv: int) -> list[Output]:
        """The frame for the rejects, then its events with the gaps in their places."""
        if not self._rows:
            return events
        more = f" (and {self._rows - 1} more rows)" if self._rows > 1 else ""
        reject = Reject(FrameError(self._exchange, self._frame, self._reason + more))
        gaps = [
            (place, Control(stream.subject, None, recv, stream.channel, ControlEvent.GAP, NOT_UNDERSTOOD, count))
            if self._counted
            else (place, session.control(stream, ControlEvent.GAP, recv, NOT_UNDERSTOOD))
            for stream, (place, count) in self._missing.items()
        ]
        if not events:
            return [reject, *(gap for _, gap in gaps)]
        found = list(events)
        for place, gap in sorted(gaps, key=lambda one: one[0], reverse=True):
            found.insert(place, gap)
        return [reject, *found]
