"""LMEX's WebSocket messages: one envelope, whose ``data`` is decoded by its topic.

Numbers in trades, orders and positions are JSON numbers; they are taken as the text that stands in the frame, so that
no digit is lost. Times are milliseconds.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import msgspec
from msgspec import Struct

from bridge.exchange_errors import FrameError
from bridge.exchanges.toolkit.numbers import epoch_ns
from bridge.exchanges.toolkit.salvage import UNREADABLE, readable

__all__ = [
    "NAME",
    "BookData",
    "Envelope",
    "Fault",
    "FaultRow",
    "TradeRow",
    "decode_book",
    "decode_trade",
    "decode_trades",
    "envelope",
    "fault_code",
    "nanoseconds",
    "words",
]

NAME = "lmex"
_PONGS = frozenset({b"pong", b"ping"})
_MILLISECOND = 1_000_000
_LONGEST_CODE = 40
_WHOLE = re.compile(r"-?[0-9]{1,9}").fullmatch


class Fault(Struct, gc=False):
    """One error: ``{"code":1005,"message":"Topic provided does not exist."}``."""

    code: Any = None
    message: Any = None


class FaultRow(Struct, gc=False):
    """An error of one topic; ``errorCode`` is the form before June 2023."""

    arg: str | None = None
    error: Fault | None = None
    errorCode: Any = None  # noqa: N815 - the exchange's spelling
    message: Any = None


class Envelope(Struct, gc=False):
    """Any JSON message of the exchange; what isn't documented of it may have any type."""

    topic: str = ""
    event: str = ""
    op: str = ""
    channel: list[str] | None = None
    success: Any = None
    severity: Any = None
    errors: list[FaultRow] | None = None
    error: list[FaultRow] | None = None
    code: Any = None
    status: Any = None
    errorCode: Any = None  # noqa: N815 - the exchange's spelling
    message: Any = None
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
    def failure_status(self) -> int | None:
        """The ``status``, where it is an HTTP status that means failure."""
        status = fault_code(self.status)
        return status if isinstance(status, int) and status >= 400 else None

    @property
    def words(self) -> str:
        """The exchange's words on what is wrong."""
        return words(self.message)

    @property
    def is_fault(self) -> bool:
        """Whether it says that something has failed, in any of the forms that are known."""
        return bool(
            self.severity
            or self.errors
            or self.error
            or self.fault_code
            or (self.success is not None and self.success is not True)
            or self.failure_status
        )


class BookData(Struct, gc=False):
    """``update:``: snapshot or delta; ``snapshotL1:`` without numbers."""

    symbol: str
    timestamp: int
    type: str
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    seqNum: int | None = None  # noqa: N815 - the exchange's spelling
    prevSeqNum: int | None = None  # noqa: N815


class TradeRow(Struct, gc=False):
    """One public trade; ``side`` is taken for the taker's."""

    symbol: str
    side: str
    size: msgspec.Raw
    price: msgspec.Raw
    tradeId: int  # noqa: N815 - the exchange's spelling
    timestamp: int


_decode = msgspec.json.Decoder(Envelope, float_hook=str).decode
decode_book = msgspec.json.Decoder(BookData).decode
decode_trade = msgspec.json.Decoder(TradeRow).decode
_decode_trades = msgspec.json.Decoder(list[TradeRow] | TradeRow).decode


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
        mended = readable(frame)
        if mended is not frame:
            with contextlib.suppress(*UNREADABLE):
                return _decode(mended)
        raise FrameError(NAME, frame, str(error)) from None


def fault_code(written: object) -> int | str | None:
    """A code of an error, which may be a number, its text, or a word; ``None`` where it says that there is no error."""
    if not isinstance(written, str | int | None):
        return str(written)[:_LONGEST_CODE]
    if isinstance(written, str) and _WHOLE(written):
        written = int(written)
    return (written[:_LONGEST_CODE] if isinstance(written, str) else written) or None


def words(message: object) -> str:
    """What an exchange says in words, if it does."""
    return message if isinstance(message, str) else ""


def decode_trades(data: msgspec.Raw) -> list[TradeRow]:
    """The rows of a trades message: a list, or a single object."""
    found = _decode_trades(data)
    return found if isinstance(found, list) else [found]


def nanoseconds(milliseconds: int) -> int:
    """A time of the exchange's, which are in milliseconds, as nanoseconds since the epoch.

    Raises:
        ValueError: no time in milliseconds is that.
    """
    return epoch_ns(milliseconds, _MILLISECOND)
