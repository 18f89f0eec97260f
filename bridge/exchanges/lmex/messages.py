"""LMEX's words: its markets and symbols, its messages, and what they say is wrong.

A message is one envelope, whose ``data`` is decoded by its topic. Numbers in trades, orders and positions are JSON
numbers; they are taken as the text that stands in the frame, so that no digit is lost. Times are milliseconds.

Which errors come over the main endpoints isn't known, so all forms are read everywhere.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.toolkit.values.numbers import epoch_ns
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable

__all__ = [
    "AUTH_FAILED",
    "GROUPING_IGNORED",
    "NAME",
    "SESSION_EXPIRED",
    "BookData",
    "Envelope",
    "Market",
    "TradeRow",
    "decode_book",
    "decode_trade",
    "decode_trades",
    "envelope",
    "is_future",
    "is_pair",
    "market_of",
    "nanoseconds",
    "old_symbol",
    "pair_of",
]

NAME = "lmex"
SESSION_EXPIRED = 10002
AUTH_FAILED = -7
GROUPING_IGNORED = 1009
"""Documented, but the live server accepted the subscription all the same."""
_KINDS: dict[int | str | None, ErrorKind] = {
    429: ErrorKind.TOO_MANY_REQUESTS,
    1000: ErrorKind.UNKNOWN_MARKET,
    1001: ErrorKind.BAD_REQUEST,
    1002: ErrorKind.BAD_REQUEST,
    1005: ErrorKind.UNKNOWN_TOPIC,
    1007: ErrorKind.BUFFER_FULL,
    1008: ErrorKind.TOO_MANY_FAILURES,
    GROUPING_IGNORED: ErrorKind.BAD_REQUEST,
    SESSION_EXPIRED: ErrorKind.SESSION_EXPIRED,
    AUTH_FAILED: ErrorKind.LOGIN_REFUSED,
    "MARKET_PAIR_NOT_SUPPORT": ErrorKind.UNKNOWN_MARKET,
}
"""Codes of errors; until June 2023 they were words, of which one is known."""
_LONGEST_CODE = 40
_WHOLE = re.compile(r"-?[0-9]{1,9}").fullmatch
_PAIR = re.compile(r"[A-Za-z0-9.]{1,40}-[A-Za-z0-9.-]{1,40}").fullmatch
_DATED = re.compile(r"-[0-9]{6}$")


class Market(StrEnum):
    """The two halves of the exchange: each has its own sockets and REST paths."""

    SPOT = "spot"
    FUTURES = "futures"


def market_of(pair: str) -> Market:
    """``BTC-USD`` is spot; ``BTC-PERP`` and dated contracts (``BTC-260626``) are futures."""
    return Market.FUTURES if is_future(pair) else Market.SPOT


def is_future(pair: str) -> bool:
    """Whether a pair is a contract."""
    return pair.endswith("-PERP") or _DATED.search(pair) is not None


def is_pair(text: str) -> bool:
    """Whether this may be a pair: two words or more with hyphens between."""
    return _PAIR(text) is not None


def pair_of(symbol: str) -> str:
    """The pair of a symbol in any of its spellings.

    ``BTC-PERP`` and ``BTC-USD`` stay; the old feed's ``BTCPFC`` and the positions' ``BTC-PERP-USDT`` (with the
    settlement currency) become ``BTC-PERP``.
    """
    if symbol.endswith("PFC") and "-" not in symbol:
        return f"{symbol.removesuffix('PFC')}-PERP"
    return "-".join(symbol.split("-")[:2])


def old_symbol(pair: str) -> str:
    """How the old feeds spell a pair: ``BTCPFC`` for ``BTC-PERP``."""
    return f"{pair.removesuffix('-PERP')}PFC" if pair.endswith("-PERP") else pair


class _Fault(Struct, gc=False):
    """One error: ``{"code":1005,"message":"Topic provided does not exist."}``."""

    code: Any = None
    message: Any = None


class _FaultRow(Struct, gc=False):
    """An error of one topic; ``errorCode`` is the form before June 2023."""

    arg: str | None = None
    error: _Fault | None = None
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
    errors: list[_FaultRow] | None = None
    error: list[_FaultRow] | None = None
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
    def is_fault(self) -> bool:
        """Whether it says that something has failed, in any of the forms that are known."""
        failed = self.success is not None and self.success is not True
        return bool(failed or self.severity or self.errors or self.error or self._code is not None)

    def faults(self) -> list[ReportedError]:
        """The errors that it names, of topics or without ``arg`` of the request.

        ``{"arg":"foo:BTC-PERP","error":{"code":1005,"message":"Topic provided does not exist."}}``, before June 2023
        ``{"arg":"update:BTCC-USD_0","errorCode":"MARKET_PAIR_NOT_SUPPORT"}``.
        """
        found = []
        for row in (*(self.errors or ()), *(self.error or ())):
            fault = row.error or _Fault()
            code = _code(fault.code) or _code(row.errorCode)
            found.append(_reported(code, _words(fault.message) or _words(row.message), row.arg or ""))
        return found

    def fault(self) -> ReportedError:
        """An error of no single topic.

        ``{"status":400,"errorCode":10002,"message":"User session is expired. Please login again","extraData":null}``,
        and the forms that others guard against: ``{"code":7,"message":"no"}``, ``{"success":false,"message":"no"}``.
        """
        return _reported(self._code, _words(self.message), self.topic)

    @property
    def _code(self) -> int | str | None:
        """The code of an error, or an HTTP ``status`` that means failure."""
        status = _code(self.status)
        failed = status if isinstance(status, int) and status >= 400 else None
        return _code(self.errorCode) or _code(self.code) or failed


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


def envelope(frame: bytes) -> Envelope:
    """Take a frame apart.

    Raises:
        one of `UNREADABLE`: it isn't JSON of this form.
    """
    try:
        return _decode(frame)
    except UNREADABLE:
        fixed = readable(frame)
        if fixed is frame:
            raise
        return _decode(fixed)


def decode_trades(data: msgspec.Raw) -> list[TradeRow]:
    """The rows of a trades message: a list, or a single object."""
    found = _decode_trades(data)
    return found if isinstance(found, list) else [found]


def nanoseconds(milliseconds: int) -> int:
    """Milliseconds since the epoch in nanoseconds.

    Raises:
        ValueError: it is no time in milliseconds.
    """
    return epoch_ns(milliseconds, 1_000_000)


def _reported(code: int | str | None, words: str, topic: str) -> ReportedError:
    return ReportedError(NAME, words, _KINDS.get(code, ErrorKind.REPORTED), code=code, topic=topic)


def _code(written: object) -> int | str | None:
    """A code of an error, which may be a number, its text, or a word; ``None`` where it says that there is no error."""
    if not isinstance(written, str | int | None):
        return str(written)[:_LONGEST_CODE]
    if isinstance(written, str) and _WHOLE(written):
        written = int(written)
    return (written[:_LONGEST_CODE] if isinstance(written, str) else written) or None


def _words(message: object) -> str:
    return message if isinstance(message, str) else ""
