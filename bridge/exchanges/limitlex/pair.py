"""The public messages of one Limitlex pair, over a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.exchanges.api import BestPrices, Replace, Session, Subscription
from bridge.exchanges.limitlex.messages import (
    NAME,
    PRIVATE,
    PUBLIC,
    AnyPublic,
    BestBidAsk,
    LastTrade,
    Ohlc,
    OrderBook,
    WholeBook,
    decode_public,
    nanoseconds,
    other_message,
    seconds_of,
)
from bridge.exchanges.limitlex.options import LimitlexOptions
from bridge.exchanges.toolkit.numbers import best_first, check_amounts, check_levels, check_numbers, check_values
from bridge.exchanges.toolkit.salvage import UNREADABLE, Damage, readable
from bridge.model import BookDelta, BookSnapshot, Channel, Event, Levels, Quote, Ticker, Trade

__all__ = ["PairSession"]

_CHANNELS = {
    "last_trade": Channel.TRADES,
    "order_book": Channel.BOOK,
    "whole_order_book": Channel.BOOK,
    "best_bid_ask": Channel.QUOTES,
    "change_ohlc": Channel.TICKER,
}
"""Which stream a message is for."""


class PairSession(Session):
    """The public messages of one pair."""

    def __init__(
        self, url: str, pair: str, pair_id: str, channels: frozenset[Channel], options: LimitlexOptions
    ) -> None:
        # Whether ``:`` must be percent-encoded is unknown: it goes raw, as in the exchange's example.
        super().__init__(f"{url}?p={pair_id}")
        self._pair = pair
        self._channels = channels
        self._signed = options.amounts == "change"
        self._streams = [Subscription(channel, pair) for channel in sorted(channels)]

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            message = decode_public(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        try:
            events = self._understand(message, recv)
        except ValueError as error:
            events = self._damaged(str(message.__struct_config__.tag), frame, recv, error)
        return self._first(recv, events)

    def rejected(self, recv: int) -> Sequence[Event]:
        """Nothing tells which stream the frame belonged to, and no number will show what is missing."""
        return self.gaps(self._streams, recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        """Only a new connection brings a new ``whole_order_book``."""
        del subject, now
        self.actions.append(Replace(reason))

    def _other(self, frame: bytes, recv: int, error: Exception) -> list[Event]:
        """A frame that is no message of a pair, or a bad one; one may be bad only in what isn't read of it."""
        mended = readable(frame)
        kind, actions = other_message(frame, mended, error, known=PUBLIC, elsewhere=PRIVATE)
        self.actions += actions
        if not kind:
            return self._first(recv, [])
        if mended is not frame:
            try:
                return self._first(recv, self._understand(decode_public(mended), recv))
            except (*UNREADABLE, ValueError) as why:
                error = why
        return self._first(recv, self._damaged(kind, frame, recv, error))

    def _damaged(self, kind: str, frame: bytes, recv: int, error: Exception) -> list[Event]:
        """A message of this type is bad: its stream misses it, and no other does."""
        channel = _CHANNELS[kind]
        damage = Damage(NAME, frame, counted=channel is Channel.TRADES)
        damage.row(error, [Subscription(channel, self._pair)] if channel in self._channels else [])
        events = damage.settle(self, [], recv)
        if channel is Channel.QUOTES and Channel.BOOK in self._channels:
            events.append(
                BestPrices(self._pair, None, recv, "", "", known=False)
            )  # the book is held against no old ones
        return events

    def _first(self, recv: int, events: list[Event]) -> list[Event]:
        """The subscription is the connection, so its first message makes all its streams live."""
        return events if self._live else [*self.lively(self._streams, recv), *events]

    def _understand(self, message: AnyPublic, recv: int) -> list[Event]:
        kind = message.__class__
        if kind is LastTrade:
            return self._trade(message, recv)  # type: ignore[arg-type]
        if kind is OrderBook:
            return self._delta(message, recv)  # type: ignore[arg-type]
        if kind is BestBidAsk:
            return self._quote(message, recv)  # type: ignore[arg-type]
        if kind is WholeBook:
            return self._snapshot(message, recv)  # type: ignore[arg-type]
        return self._ticker(message, recv)  # type: ignore[arg-type]

    def _trade(self, message: LastTrade, recv: int) -> list[Event]:
        """A trade.

        ``{"t":"last_trade","orderDirection":"Buy","amount":"0.00010000","price":"7997.40","createdAt":1598516157}``

        ``createdAt`` is in seconds; ``orderDirection`` is taken for the taker's.
        """
        if Channel.TRADES not in self._channels:
            return []
        side = message.orderDirection.lower()
        check_numbers(message.price, message.amount)
        return [Trade(self._pair, nanoseconds(message.createdAt), recv, "", side, message.price, message.amount)]

    def _delta(self, message: OrderBook, recv: int) -> list[Event]:
        """A level has changed.

        ``{"t":"order_book","orderDirection":"Sell","amount":"0.05341906","price":"7997.40"}``
        """
        if Channel.BOOK not in self._channels:
            return []
        price, amount = message.price, message.amount
        check_numbers(price, amount.removeprefix("-") if self._signed else amount)
        bids, asks = ([(price, amount)], []) if message.orderDirection == "Buy" else ([], [(price, amount)])
        return [BookDelta(self._pair, None, recv, "", bids, asks)]

    def _quote(self, message: BestBidAsk, recv: int) -> list[Event]:
        """Best prices.

        ``{"t":"best_bid_ask","currencyId1":"ab65...","currencyId2":"bfd0...","bid":"7014.80","ask":"7997.40"}``

        A side without orders is empty or null.
        """
        bid, ask = message.bid or "", message.ask or ""
        check_amounts(bid, ask)
        told: list[Event] = [BestPrices(self._pair, None, recv, bid, ask)] if Channel.BOOK in self._channels else []
        if Channel.QUOTES in self._channels:
            told.append(Quote(self._pair, None, recv, bid, "", ask, ""))
        return told

    def _snapshot(self, message: WholeBook, recv: int) -> list[Event]:
        """The whole book.

        ``{"t":"whole_order_book","currencyId1":"87aa...","currencyId2":"bfd0...","bids":[{"price":"228.0960",
        "amount":"1.04426203","total":"238.19199"}],"asks":[{"price":"333.0000","amount":"0.83783784","total":
        "279.00000"}]}``

        The initial book; should it ever be sent again, it replaces the book again.
        """
        if Channel.BOOK not in self._channels:
            return []
        bids: Levels = [(level.price, level.amount) for level in message.bids]
        asks: Levels = [(level.price, level.amount) for level in message.asks]
        check_levels(bids)
        check_levels(asks)
        bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
        return [BookSnapshot(self._pair, None, recv, "", bids, asks)]

    def _ticker(self, message: Ohlc, recv: int) -> list[Event]:
        """Rolling statistics.

        ``{"t":"change_ohlc","currencyId1":"ab65...","currencyId2":"bfd0...","durationInDays":1,"priceLow":
        "7014.80","priceHigh":"8300.00","priceOpen":"8300.00","priceClose":"7997.40","priceChange":"-302.60",
        "priceChangeP":"-3.64","volume":"92.25116900"}``
        """
        if Channel.TICKER not in self._channels:
            return []
        m = message
        values = (m.priceOpen, m.priceHigh, m.priceLow, m.priceClose, m.priceChange, m.priceChangeP, m.volume)
        check_amounts(*(value or "" for value in (m.priceOpen, m.priceHigh, m.priceLow, m.priceClose, m.volume)))
        check_values(m.priceChange or "", m.priceChangeP or "")
        window = seconds_of(m.durationInDays)
        return [Ticker(self._pair, None, recv, window, *(value or "" for value in values))]
