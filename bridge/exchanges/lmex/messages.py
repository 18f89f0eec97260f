"""LMEX's WebSocket messages: one envelope, whose ``data`` is decoded by its topic.

Numbers in trades, orders and positions are JSON numbers; they are taken as the text that stands in the frame, so that
no digit is lost. Times are milliseconds.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from bridge.errors import FrameError
from bridge.exchanges.base import UNREADABLE
from bridge.exchanges.lmex.names import plain
from bridge.exchanges.numbers import epoch_ns

__all__ = [
    "NAME",
    "BookData",
    "Envelope",
    "Fault",
    "FaultRow",
    "Row",
    "TradeRow",
    "decode_book",
    "decode_rows",
    "decode_trades",
    "envelope",
    "fault_code",
    "nanoseconds",
    "text",
]

NAME = "lmex"
Row = dict[str, str]
"""A row of private data or of a REST answer: every value as the text that stands there."""

_PONGS = frozenset({b"pong", b"ping"})
_MILLISECOND = 1_000_000
_WHOLE = re.compile(r"-?[0-9]{1,9}").fullmatch
_WITH_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}").fullmatch


class Fault(Struct):
    """One error: ``{"code":1005,"message":"Topic provided does not exist."}``."""

    code: int | str | None = None
    message: str | None = None


class FaultRow(Struct):
    """An error of one topic; ``errorCode`` is the form before June 2023."""

    arg: str | None = None
    error: Fault | None = None
    errorCode: str | int | None = None  # noqa: N815 - the exchange's spelling
    message: str | None = None


class Envelope(Struct):
    """Any JSON message of the exchange."""

    topic: str = ""
    event: str = ""
    op: str = ""
    channel: list[str] | None = None
    success: bool | None = None
    severity: str | None = None
    errors: list[FaultRow] | None = None
    error: list[FaultRow] | None = None
    code: int | str | None = None
    status: int | None = None
    errorCode: int | str | None = None  # noqa: N815 - the exchange's spelling
    message: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")

    @property
    def is_pong(self) -> bool:
        """Any of the forms that are claimed of the answer to a ping."""
        return self.event == "pong" or self.op == "pong"

    @property
    def fault_code(self) -> int | str | None:
        """The code of an error that is of no single topic; ``None`` where there is none."""
        return fault_code(self.errorCode) or fault_code(self.code)

    @property
    def is_fault(self) -> bool:
        """Whether it says that something has failed, in any of the forms that are known."""
        return bool(
            self.severity
            or self.errors
            or self.error
            or self.fault_code
            or self.success is False
            or (self.status or 0) >= 400
        )


class BookData(Struct):
    """``update:``: snapshot or delta; ``snapshotL1:`` without numbers."""

    symbol: str
    timestamp: int
    type: str
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    seqNum: int | None = None  # noqa: N815 - the exchange's spelling
    prevSeqNum: int | None = None  # noqa: N815


class TradeRow(Struct):
    """One public trade; ``side`` is taken for the taker's."""

    symbol: str
    side: str
    size: msgspec.Raw
    price: msgspec.Raw
    tradeId: int  # noqa: N815 - the exchange's spelling
    timestamp: int


_decode = msgspec.json.Decoder(Envelope).decode
decode_book = msgspec.json.Decoder(BookData).decode
_decode_trades = msgspec.json.Decoder(list[TradeRow] | TradeRow).decode
_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]]).decode


def envelope(frame: bytes) -> Envelope | None:
    """Take a frame apart; ``None`` for the bare ``pong``.

    Raises:
        FrameError: it is neither JSON of this form nor a pong.
    """
    if frame in _PONGS:
        return None
    try:
        return _decode(frame)
    except UNREADABLE as error:
        raise FrameError(NAME, frame, str(error)) from None


def fault_code(written: int | str | None) -> int | str | None:
    """A code of an error, which may be a number, its text, or a word; ``None`` where it says that there is no error."""
    if isinstance(written, str) and _WHOLE(written):
        written = int(written)
    return written or None


def decode_trades(data: msgspec.Raw) -> list[TradeRow]:
    """The rows of a trades message: a list, or a single object."""
    found = _decode_trades(data)
    return found if isinstance(found, list) else [found]


def decode_rows(data: msgspec.Raw | bytes) -> list[Row]:
    """Private data, an object or a list of them, as rows of text; ``null`` is the empty string."""
    found: Any = _decode_any(data)
    rows = found if isinstance(found, list) else [found]
    return [{key: text(value) for key, value in row.items()} for row in rows]


def text(raw: msgspec.Raw) -> str:
    """A JSON value as text: numbers with the digits that stand there (exponents written out), strings bare."""
    body = bytes(raw)
    if body[:1] == b'"':
        found: str = msgspec.json.decode(body, type=str)
        return found
    if body == b"null":
        return ""
    word = body.decode()
    return plain(Decimal(word)) if _WITH_EXPONENT(word) else word


def nanoseconds(milliseconds: int) -> int:
    """A time of the exchange's, which are in milliseconds, as nanoseconds since the epoch.

    Raises:
        ValueError: no time in milliseconds is that.
    """
    return epoch_ns(milliseconds, _MILLISECOND)
