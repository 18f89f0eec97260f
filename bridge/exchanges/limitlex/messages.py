"""Limitlex's WebSocket messages, as typed structs told apart by ``t``.

The field names are the exchange's own; all decimals are strings, all times whole seconds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from bridge.exchange_errors import FrameError, ReportedError
from bridge.exchanges.api import Action, Said, Unknown
from bridge.exchanges.toolkit.fields import EXACT
from bridge.exchanges.toolkit.numbers import SECOND, check_numbers, epoch_ns, shortened
from bridge.exchanges.toolkit.salvage import UNREADABLE, peek

__all__ = [
    "NAME",
    "PRIVATE",
    "PUBLIC",
    "AnyPrivate",
    "AnyPublic",
    "BestBidAsk",
    "LastTrade",
    "Level",
    "Ohlc",
    "OpenOrder",
    "OrderBook",
    "OwnTrade",
    "Wallet",
    "Wallets",
    "WholeBook",
    "decode_private",
    "decode_public",
    "decode_wallet",
    "nanoseconds",
    "other_message",
    "seconds_of",
]

NAME = "limitlex"
_LONGEST_WINDOW = 10 * 366 * 86_400


class Level(Struct, gc=False):
    """One level of a book; ``amount`` is in base coins."""

    price: str
    amount: str


class Message(Struct, tag_field="t", gc=False):
    pass


class Ohlc(Message, tag="change_ohlc"):
    """Rolling statistics of a pair."""

    durationInDays: msgspec.Raw  # noqa: N815 - the exchange's spelling, here and below
    priceLow: str | None = None  # noqa: N815
    priceHigh: str | None = None  # noqa: N815
    priceOpen: str | None = None  # noqa: N815
    priceClose: str | None = None  # noqa: N815
    priceChange: str | None = None  # noqa: N815
    priceChangeP: str | None = None  # noqa: N815
    volume: str | None = None


class BestBidAsk(Message, tag="best_bid_ask"):
    """Best prices, without sizes; a side without orders is empty or null."""

    bid: str | None = None
    ask: str | None = None


class WholeBook(Message, tag="whole_order_book"):
    """The initial book."""

    bids: list[Level]
    asks: list[Level]


class OrderBook(Message, tag="order_book"):
    """One level has changed."""

    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amount: str
    price: str


class LastTrade(Message, tag="last_trade"):
    """A public trade."""

    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amount: str
    price: str
    createdAt: int  # noqa: N815


class Private(Message):
    subaccountId: str | None = None  # noqa: N815


class OpenOrder(Private, tag="open_order", kw_only=True):
    """An order of the account, placed or changed."""

    orderId: str  # noqa: N815
    orderTradeType: str | None = None  # noqa: N815
    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amountInitial: str  # noqa: N815
    amountCompleted: str = "0"  # noqa: N815
    price: str | None = None
    createdAt: int  # noqa: N815
    completed: bool = False
    deleted: bool = False


class OwnTrade(Private, tag="trade", kw_only=True):
    """An execution of the account."""

    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amount: str
    price: str
    createdAt: int  # noqa: N815


class Wallet(Struct, gc=False):
    """One currency of a wallet."""

    currencyId: str  # noqa: N815
    amountAvailable: str | None = None  # noqa: N815
    amountReserved: str | None = None  # noqa: N815


class Wallets(Private, tag="wallets", kw_only=True):
    """The account's wallets, all or the changed ones; each is a `Wallet`."""

    wallets: list[msgspec.Raw]


class _Words(Struct):
    message: str = ""
    code: str | int | None = None


class _Other(Struct):
    """Any other JSON object; errors are documented for REST only (``{"error":{"message":…}}``), and read here, too."""

    t: str = ""
    error: _Words | str | None = None


PUBLIC = frozenset({"change_ohlc", "best_bid_ask", "whole_order_book", "order_book", "last_trade"})
PRIVATE = frozenset({"open_order", "trade", "wallets"})
AnyPublic = Ohlc | BestBidAsk | WholeBook | OrderBook | LastTrade
AnyPrivate = OpenOrder | OwnTrade | Wallets
decode_public = msgspec.json.Decoder(AnyPublic).decode
decode_private = msgspec.json.Decoder(AnyPrivate).decode
decode_wallet = msgspec.json.Decoder(Wallet).decode
_decode_other = msgspec.json.Decoder(_Other).decode


def nanoseconds(seconds: int) -> int:
    """A time of the exchange's, which are in whole seconds, as nanoseconds since the epoch.

    Raises:
        ValueError: no time in seconds is that.
    """
    return epoch_ns(seconds, SECOND)


def seconds_of(days: msgspec.Raw) -> str:
    """The length of a ticker's window, a JSON number of days, in whole seconds.

    Raises:
        ValueError: it is not a number, not above zero, or longer than ten years.
    """
    written = bytes(days).decode()
    check_numbers(written)
    seconds = EXACT.multiply(Decimal(written), Decimal(86_400))
    if not 0 < seconds <= _LONGEST_WINDOW or seconds != int(seconds):
        msg = f"{shortened(written)} is not a length of time in days"
        raise ValueError(msg)
    return str(int(seconds))


def other_message(
    frame: bytes, mended: bytes, error: Exception, *, known: frozenset[str], elsewhere: frozenset[str]
) -> tuple[str, list[Action]]:
    """What to make of a frame that is no message of this session's, or a bad one; ``mended`` is it made `readable`.

    Returns:
        The type of a message that is one of the ``known`` and is bad, else the empty string; and what is to be done.

    Raises:
        FrameError: not even the type can be read.
    """
    try:
        message = _decode_other(mended)
    except UNREADABLE:
        kind = peek(frame, "t")
        if kind in known or kind in elsewhere:
            return kind if kind in known else "", []
        raise FrameError(NAME, frame, str(error)) from None
    kind = message.t
    if kind in known:
        return kind, []
    if message.error:
        words = message.error if isinstance(message.error, _Words) else _Words(message.error)
        return "", [Said(ReportedError(NAME, words.message, code=words.code, topic=kind))]
    if not kind:
        raise FrameError(NAME, frame, str(error)) from None
    return "", [] if kind in elsewhere else [Unknown(kind)]
