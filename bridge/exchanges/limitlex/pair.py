"""Limitlex's public messages: those of one pair, over a connection of its own.

Messages are told apart by ``t``. Field names are the exchange's own; all decimals are strings, all times whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from bridge.exchange_errors import FrameError, ReportedError
from bridge.exchanges.api import BestPrices, Output, Replace, Said, Session, Subscription, Unknown
from bridge.exchanges.toolkit.values.fields import EXACT
from bridge.exchanges.toolkit.values.numbers import (
    SECOND,
    best_first,
    check_amounts,
    check_levels,
    check_numbers,
    check_values,
    epoch_ns,
    shortened,
)
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, Damage, peek, readable
from bridge.model import BookDelta, BookSnapshot, Channel, Levels, Quote, Ticker, Trade

__all__ = ["ELSEWHERE", "NAME", "PUBLIC", "PairSession", "kind_of"]

NAME = "limitlex"
PUBLIC = {
    "last_trade": Channel.TRADES,
    "order_book": Channel.BOOK,
    "whole_order_book": Channel.BOOK,
    "best_bid_ask": Channel.QUOTES,
    "change_ohlc": Channel.TICKER,
}
"""Type of a message → the channel that it is for."""
ELSEWHERE = frozenset({"open_order", "trade", "wallets"})
"""Types of messages that belong to an account."""
_LONGEST_WINDOW = 10 * 366 * 86_400


class _Level(Struct, gc=False):
    price: str
    amount: str


class _Message(Struct, tag_field="t", gc=False):
    pass


class _Ohlc(_Message, tag="change_ohlc"):
    durationInDays: Raw  # noqa: N815 - the exchange's spelling, here and below
    priceLow: str | None = None  # noqa: N815
    priceHigh: str | None = None  # noqa: N815
    priceOpen: str | None = None  # noqa: N815
    priceClose: str | None = None  # noqa: N815
    priceChange: str | None = None  # noqa: N815
    priceChangeP: str | None = None  # noqa: N815
    volume: str | None = None


class _BestBidAsk(_Message, tag="best_bid_ask"):
    bid: str | None = None
    ask: str | None = None


class _WholeBook(_Message, tag="whole_order_book"):
    bids: list[_Level]
    asks: list[_Level]


class _OrderBook(_Message, tag="order_book"):
    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amount: str
    price: str


class _LastTrade(_Message, tag="last_trade"):
    orderDirection: Literal["Buy", "Sell"]  # noqa: N815
    amount: str
    price: str
    createdAt: int  # noqa: N815


class _Words(Struct):
    message: str = ""
    code: str | int | None = None


class _Other(Struct):
    """Any JSON object; errors are documented for REST only (``{"error":{"message":…}}``), and read here, too."""

    t: str = ""
    error: _Words | str | None = None


_decode = msgspec.json.Decoder(_Ohlc | _BestBidAsk | _WholeBook | _OrderBook | _LastTrade).decode
_decode_other = msgspec.json.Decoder(_Other).decode


def kind_of(frame: bytes, mended: bytes, known: dict[str, Channel], out: list[Output]) -> str:
    """The type of a message that is one of the ``known``, of a good one or a bad one; ``mended`` is it made `readable`.

    What any other message means is added to ``out``, and its type is empty.

    Raises:
        FrameError: not even the type can be read.
    """
    try:
        message = _decode_other(mended)
    except UNREADABLE as error:
        kind = peek(frame, "t")
        if kind in PUBLIC or kind in ELSEWHERE:
            return kind if kind in known else ""
        raise FrameError(NAME, frame, str(error)) from None
    kind = message.t
    if kind in known:
        return kind
    if message.error:
        words = message.error if isinstance(message.error, _Words) else _Words(message.error)
        out.append(Said(ReportedError(NAME, words.message, code=words.code, topic=kind)))
    elif not kind:
        raise FrameError(NAME, frame, "a message without a type")
    elif kind not in PUBLIC and kind not in ELSEWHERE:
        out.append(Unknown(kind))
    return ""


class PairSession(Session):
    """The public messages of one pair; with ``changes``, ``order_book.amount`` is by how much a level has changed."""

    def __init__(self, url: str, pair: str, pair_id: str, channels: frozenset[Channel], *, changes: bool) -> None:
        # Whether ``:`` must be percent-encoded is unknown: it goes raw, as in the exchange's example.
        super().__init__(f"{url}?p={pair_id}")
        self._pair = pair
        self._channels = channels
        self._changes = changes
        self._streams = [Subscription(channel, pair) for channel in sorted(channels)]
        trades, book, ticker = (channel in channels for channel in (Channel.TRADES, Channel.BOOK, Channel.TICKER))
        self._readers: dict[type[_Message], Callable[[Any, int], list[Output]]] = {
            _LastTrade: self._trade if trades else _nothing,
            _OrderBook: self._delta if book else _nothing,
            _WholeBook: self._snapshot if book else _nothing,
            _BestBidAsk: self._quote,
            _Ohlc: self._ticker if ticker else _nothing,
        }

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        try:
            message = _decode(frame)
            outputs = self._readers[message.__class__](message, recv)
        except (*UNREADABLE, ValueError) as error:
            outputs = self._salvage(frame, recv, error)
        # The subscription is the connection, so its first message makes all its streams live.
        return outputs if self._live else [*self.lively(self._streams, recv), *outputs]

    def rejected(self, recv: int) -> Sequence[Output]:
        """Nothing tells which stream the frame belonged to, and no number will show what is missing."""
        return self.gaps(self._streams, recv)

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """Only a new connection brings a new ``whole_order_book``."""
        del subject, now
        return [Replace(reason)]

    def _salvage(self, frame: bytes, recv: int, error: Exception) -> list[Output]:
        """A frame that is no message of a pair, or a bad one; then its stream misses it, and no other does."""
        outputs: list[Output] = []
        mended = readable(frame)
        kind = kind_of(frame, mended, PUBLIC, outputs)
        if not kind:
            return outputs
        if mended is not frame:  # it may be bad only in what isn't read of it
            try:
                message = _decode(mended)
                return self._readers[message.__class__](message, recv)
            except (*UNREADABLE, ValueError) as why:
                error = why
        channel = PUBLIC[kind]
        damage = Damage(NAME, frame, counted=channel is Channel.TRADES)
        damage.row(error, [Subscription(channel, self._pair)] if channel in self._channels else [])
        outputs += damage.settle(self, [], recv)
        if channel is Channel.QUOTES and Channel.BOOK in self._channels:
            # The book is not compared with older ones.
            outputs.append(BestPrices(self._pair, None, recv, "", "", known=False))
        return outputs

    def _trade(self, message: _LastTrade, recv: int) -> list[Output]:
        """A trade; ``createdAt`` is in seconds, ``orderDirection`` is taken for the taker's.

        ``{"t":"last_trade","orderDirection":"Buy","amount":"0.00010000","price":"7997.40","createdAt":1598516157}``
        """
        side = message.orderDirection.lower()
        check_numbers(message.price, message.amount)
        ts = epoch_ns(message.createdAt, SECOND)
        return [Trade(self._pair, ts, recv, "", side, message.price, message.amount)]

    def _delta(self, message: _OrderBook, recv: int) -> list[Output]:
        """A level has changed.

        ``{"t":"order_book","orderDirection":"Sell","amount":"0.05341906","price":"7997.40"}``
        """
        price, amount = message.price, message.amount
        check_numbers(price, amount.removeprefix("-") if self._changes else amount)
        bids, asks = ([(price, amount)], []) if message.orderDirection == "Buy" else ([], [(price, amount)])
        return [BookDelta(self._pair, None, recv, "", bids, asks)]

    def _quote(self, message: _BestBidAsk, recv: int) -> list[Output]:
        """Best prices, without sizes; a side without orders is empty or null.

        ``{"t":"best_bid_ask","currencyId1":"ab65...","currencyId2":"bfd0...","bid":"7014.80","ask":"7997.40"}``
        """
        bid, ask = message.bid or "", message.ask or ""
        check_amounts(bid, ask)
        told: list[Output] = [BestPrices(self._pair, None, recv, bid, ask)] if Channel.BOOK in self._channels else []
        if Channel.QUOTES in self._channels:
            told.append(Quote(self._pair, None, recv, bid, "", ask, ""))
        return told

    def _snapshot(self, message: _WholeBook, recv: int) -> list[Output]:
        """The initial book; should it ever be sent again, it replaces the book again.

        ``{"t":"whole_order_book","currencyId1":"87aa...","currencyId2":"bfd0...","bids":[{"price":"228.0960",
        "amount":"1.04426203","total":"238.19199"}],"asks":[{"price":"333.0000","amount":"0.83783784","total":
        "279.00000"}]}``
        """
        bids: Levels = [(level.price, level.amount) for level in message.bids]
        asks: Levels = [(level.price, level.amount) for level in message.asks]
        check_levels(bids)
        check_levels(asks)
        bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
        return [BookSnapshot(self._pair, None, recv, "", bids, asks)]

    def _ticker(self, message: _Ohlc, recv: int) -> list[Output]:
        """Rolling statistics.

        ``{"t":"change_ohlc","currencyId1":"ab65...","currencyId2":"bfd0...","durationInDays":1,"priceLow":
        "7014.80","priceHigh":"8300.00","priceOpen":"8300.00","priceClose":"7997.40","priceChange":"-302.60",
        "priceChangeP":"-3.64","volume":"92.25116900"}``
        """
        m = message
        opened, high, low, last = (m.priceOpen or "", m.priceHigh or "", m.priceLow or "", m.priceClose or "")
        change, percent, volume = m.priceChange or "", m.priceChangeP or "", m.volume or ""
        check_amounts(opened, high, low, last, volume)
        check_values(change, percent)
        window = _window(m.durationInDays)
        return [Ticker(self._pair, None, recv, window, opened, high, low, last, change, percent, volume)]


def _nothing(message: Any, recv: int) -> list[Output]:
    """A message that nobody asked for."""
    del message, recv
    return []


def _window(days: Raw) -> str:
    """The length of a ticker's window, a JSON number of days, in whole seconds.

    Raises:
        ValueError: it is not a number, not above zero, or longer than ten years.
    """
    written = bytes(days).decode()
    check_numbers(written)
    seconds = EXACT.multiply(Decimal(written), Decimal(86_400))
    if not 0 < seconds <= _LONGEST_WINDOW or seconds != int(seconds):
        raise ValueError(f"{shortened(written)} is not a length of time in days")
    return str(int(seconds))
