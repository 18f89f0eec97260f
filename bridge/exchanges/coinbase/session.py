"""One connection to Coinbase: what comes, and what is missing or can't be understood."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Raw

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Reconnect, Reject, Unknown
from bridge.exchanges.coinbase.messages import (
    LEVEL2,
    NAME,
    TICKER,
    TRADES,
    L2Data,
    MarketTrades,
    Remains,
    Subscriptions,
    TickerEvent,
    TickerMessage,
    TradesEvent,
    decode,
    decode_book,
    decode_other,
    decode_ticker,
    decode_trade,
    event_type,
    product_of,
    remains_of,
    rows_of,
)
from bridge.exchanges.coinbase.products import Listing
from bridge.exchanges.coinbase.requests import Memory
from bridge.exchanges.coinbase.subscribing import SubscribingSession
from bridge.exchanges.toolkit.numbers import (
    SECOND,
    best_first,
    check_amounts,
    check_ids,
    check_levels,
    check_numbers,
    check_values,
    epoch_ns,
    shortened,
)
from bridge.exchanges.toolkit.salvage import UNREADABLE
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Levels, Quote, Ticker, Trade

__all__ = ["CoinbaseSession"]

_MOST_BEHIND = 20
_FAR_BEHIND = 10_000
"""Repeats of single messages are dropped; so many in a row, or from so far back, mean that the count is no more what
it was: on this connection nothing would ever come through again."""

_DATA = {"l2_data": LEVEL2, "market_trades": TRADES, "ticker": TICKER}
"""The name of a channel's messages → the channel."""
_KNOWN = {*_DATA, "heartbeats", "subscriptions"}
_WRONG = (ArithmeticError, LookupError, TypeError, ValueError, *UNREADABLE)
_MOST_UNREAD = 2
"""Messages in a row whose numbers can't be read, after which it is no single one."""
_ZERO_TIMES = (int(datetime(1, 1, 1, tzinfo=UTC).timestamp()), 0)
"""Seconds since the epoch."""
_MOST_BAD = 100
"""Rows of one frame that may be bad; beyond, the rest isn't looked at."""
_TAKER = {"BUY": "sell", "SELL": "buy"}
"""``side`` is the maker's: in recorded traffic every SELL stands at the ask and every BUY at the bid."""


class CoinbaseSession(SubscribingSession):
    """One connection to Coinbase, for some pairs and channels."""

    def __init__(
        self,
        url: str,
        pairs: tuple[str, ...],
        channels: frozenset[Channel],
        listing: Listing | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(url, pairs, channels, listing, memory)
        self._next = 0
        self._behind = 0
        """Messages in a row whose numbers had come before."""
        self._second = ("", 0)
        self._unread = 0
        """Messages in a row whose numbers could not be read."""

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            message = decode(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        events = self._count(message.sequence_num, recv)
        if events is None:
            return ()
        counted = len(events)
        kind = message.__class__
        try:
            if kind is L2Data:
                self._book(message, recv, events)
            elif kind is MarketTrades:
                self._trades(message, recv, events)
            elif kind is TickerMessage:
                self._ticker(message, recv, events)
            elif kind is Subscriptions:
                self._acknowledged(message, recv, events)
        except _WRONG as error:
            del events[counted:]
            remains = remains_of(frame)
            if remains is None:  # not possible: it has been read
                raise FrameError(NAME, frame, str(error)) from None
            self._salvage(remains, frame, recv, error, events)
        return events

    def rejected(self, recv: int) -> Sequence[Event]:
        """The next message's number shows what is missing; where that can't be read either, the streams say so now."""
        self._unread += 1
        if self._unread != _MOST_UNREAD:
            return ()
        events = self.gaps([s for s in self._streams if not self._is_refused(s)], recv)
        if Channel.BOOK in self._channels:
            self._break(self._names.products, recv)
        return events

    # --- numbers ---------------------------------------------------------------------------------------------------

    def _count(self, number: int, recv: int) -> list[Event] | None:
        """The gap entries that this message's number calls for; ``None`` for a message that came before."""
        expected = self._next
        self._unread = 0
        if number == expected:
            self._next = number + 1
            self._behind = 0
            return []
        if number < expected:
            self._behind += 1
            if self._behind > _MOST_BEHIND or expected - number > _FAR_BEHIND:
                self._behind = 0
                self.actions.append(Reconnect(f"sequence_num went back from {expected - 1} to {number}"))
            return None
        self._next = number + 1
        self._behind = 0
        missing = number - expected
        reason = f"sequence_num {expected} expected, {number} came"
        if Channel.BOOK in self._channels:
            self._break(self._names.products, recv)
        served = [s for s in self._streams if not self._is_refused(s)]
        return [Control(s.subject, None, recv, s.channel, ControlEvent.GAP, reason, missing) for s in served]

    # --- data ------------------------------------------------------------------------------------------------------

    def _book(self, message: L2Data, recv: int, events: list[Event]) -> None:
        """Full book, then changed levels with their new sizes; the snapshot comes best first on both sides.

        ``{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.506659391Z","sequence_num":15,"events":[{"type":
        "update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-08-09T21:05:48.264069Z",
        "price_level":"65106.54","new_quantity":"0.15361938"}]}]}``
        """
        if Channel.BOOK not in self._channels:
            return
        xseq = str(message.sequence_num)
        for event in message.events:
            name = event.product_id
            pairs = self._pairs_of.get(name)
            if pairs is None:
                continue
            bids: Levels = []
            asks: Levels = []
            for update in event.updates:
                (bids if update.side == "bid" else asks).append((update.price_level, update.new_quantity))
            check_levels(bids)
            check_levels(asks)
            ts = self._ns(event.updates[-1].event_time if event.updates else message.timestamp)
            if event.type == "snapshot":
                bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
                self._came(name, recv)
                for pair in pairs:
                    events.append(BookSnapshot(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one
            elif not self._refusals or (LEVEL2, self._asked_as[name]) not in self._refusals:
                for pair in pairs:
                    events.append(BookDelta(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one

    def _trades(self, message: MarketTrades, recv: int, events: list[Event]) -> None:
        """Trades, newest first; after a subscribe, a ``snapshot`` of the latest hundred or so.

        ``{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":9,"events":[{"type":
        "update","trades":[{"product_id":"BTC-USD","trade_id":"1068572091","price":"65083.67","size":"0.01034361",
        "time":"2026-08-09T21:05:48.167634Z","side":"SELL"}]}]}``
        """
        if Channel.TRADES not in self._channels:
            return
        for event in message.events:
            replay = event.type == "snapshot"
            for trade in reversed(event.trades):
                pairs = self._pairs_of.get(trade.product_id)
                if pairs is None:
                    continue
                ts = self._ns(trade.time)
                ident = trade.trade_id
                side = _TAKER[trade.side]
                check_ids(ident)
                check_numbers(trade.price, trade.size)
                if self._unsettled:
                    self._seen(TRADES, trade.product_id)
                for pair in pairs:
                    row = Trade(pair, ts, recv, ident, side, trade.price, trade.size, replay=replay)
                    events.append(row)

    def _ticker(self, message: TickerMessage, recv: int, events: list[Event]) -> None:
        """Best prices and the last 24 hours, at every match.

        ``{"channel":"ticker","timestamp":"2026-08-09T21:05:48.298032046Z","sequence_num":10,"events":[{"type":
        "update","tickers":[{"type":"ticker","product_id":"ETH-USD","price":"1919.41","volume_24_h":"19975.95927439",
        "low_24_h":"1911.04","high_24_h":"1925","low_52_w":"1505","high_52_w":"4955.9","price_percent_chg_24_h":
        "0.02501394006035","best_bid":"1919.44","best_ask":"1919.49","best_bid_quantity":"0.02858092",
        "best_ask_quantity":"0.07814824"}]}]}``
        """
        ts = self._ns(message.timestamp)
        for event in message.events:
            for t in event.tickers:
                pairs = self._pairs_of.get(t.product_id)
                if pairs is None:
                    continue
                change = t.price_percent_chg_24_h
                check_amounts(t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                check_amounts(t.high_24_h, t.low_24_h, t.price, t.volume_24_h)
                check_values(change)
                if self._unsettled:
                    self._seen(TICKER, t.product_id)
                for pair in pairs:
                    if Channel.QUOTES in self._channels:
                        events.append(
                            Quote(pair, ts, recv, t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                        )
                    if Channel.TICKER in self._channels:
                        high, low, last, volume = t.high_24_h, t.low_24_h, t.price, t.volume_24_h
                        events.append(Ticker(pair, ts, recv, "86400", "", high, low, last, "", change, volume))

    # --- what is not as it should be -------------------------------------------------------------------------------

    def _other(self, frame: bytes, recv: int, error: Exception) -> Sequence[Event]:
        """A frame of which something can still be read, or that is no message of the channels that are known."""
        remains = remains_of(frame)
        known = remains is not None and remains.channel in _KNOWN
        if not known or (remains is not None and remains.is_error):
            unexpected = self._unexpected(frame, recv)
            if unexpected is not None:
                return unexpected
        if remains is None or not known:
            raise FrameError(NAME, frame, str(error)) from None
        events = self._count(remains.number, recv)
        if events is None:
            return ()
        self._salvage(remains, frame, recv, error, events)
        return events

    def _unexpected(self, frame: bytes, recv: int) -> Sequence[Event] | None:
        """An error message, or one of a channel we didn't ask for; ``None`` where it is neither.

        ``{"type":"error","message":"channel is not supported"}``
        """
        try:
            message = decode_other(frame)
        except UNREADABLE:
            message = None
        is_error = message is not None and message.type == "error"
        if message is None or not (is_error or (message.channel not in _KNOWN and (message.channel or message.type))):
            return None
        number = message.sequence_num
        counted = [] if number is None else self._count(number, recv)
        if is_error:
            words = ": ".join(part for part in (message.message, message.reason) if part)
            return [*(counted or ()), *self._said(words, recv)]
        self.actions.append(Unknown(message.channel or message.type))
        return counted or ()

    def _salvage(self, remains: Remains, frame: bytes, recv: int, error: Exception, events: list[Event]) -> None:
        """Serve what can be read of a message, row by row; a bad row is a ``gap`` of its own stream alone."""
        channel = _DATA.get(remains.channel)
        if channel is None or channel not in self._wire:
            self.actions.append(Reject(FrameError(NAME, frame, str(error))))
            return
        bad = _BadRows()
        if remains.events is None:
            bad.add(None, frame, error)
        for event in remains.events or ():
            if bad.count > _MOST_BAD:
                bad.add(None, frame, error)
                break
            self._salvage_event(channel, event, remains, recv=recv, events=events, bad=bad)
        for product, (raw, why, count) in bad.of.items():
            words = f"{why} (and {count - 1} more)" if count > 1 else why
            self._lose(channel, product, FrameError(NAME, raw, words), recv, events)
        if not bad.of:  # what is wrong with it is nothing that was needed
            self.actions.append(Reject(FrameError(NAME, frame, str(error))))

    def _salvage_event(
        self, channel: str, event: Raw, remains: Remains, *, recv: int, events: list[Event], bad: _BadRows
    ) -> None:
        """One event of a message: a book as a whole, of trades and tickers each row."""
        kept = len(events)
        if channel == LEVEL2:
            try:
                self._book(L2Data(remains.number, remains.timestamp, [decode_book(event)]), recv, events)
            except _WRONG as error:
                del events[kept:]
                name = product_of(event)
                bad.add(name, event, error)
                if not _is_update(event):  # it may have been the snapshot that is awaited
                    self._awaited.pop(self._asked_as.get(name or "", ""), None)
            return
        rows, kind = rows_of(event)
        if rows is None:
            bad.add(None, event, ValueError("no rows"))
            return
        try:
            kind = kind or event_type(event)
        except _WRONG as error:
            for name in {product_of(row) for row in rows} or {None}:
                bad.add(name, event, error)
            return
        for row in reversed(rows):
            kept = len(events)
            try:
                if channel == TRADES:
                    trades = TradesEvent([decode_trade(row)], kind)
                    self._trades(MarketTrades(remains.number, remains.timestamp, [trades]), recv, events)
                else:
                    tickers = TickerEvent([decode_ticker(row)])
                    self._ticker(TickerMessage(remains.number, remains.timestamp, [tickers]), recv, events)
            except _WRONG as error:
                del events[kept:]
                bad.add(product_of(row), row, error)
                if bad.count > _MOST_BAD:
                    return

    def _lose(self, channel: str, name: str | None, error: FrameError, recv: int, events: list[Event]) -> None:
        """A row that can't be understood: of one product, or (``None``) of whichever."""
        if name is not None and name not in self._asked_as:
            return
        products = [self._asked_as[name]] if name is not None else self._names.products
        self.actions.append(Reject(error))
        for product in products:
            if (channel, product) in self._refusals or (channel == LEVEL2 and self._is_broken(product)):
                continue
            events += self.gaps(self._streams_of(channel, product), recv)
        if channel == LEVEL2:
            self._break(products, recv)

    def _ns(self, text: str) -> int | None:
        """``2026-08-09T21:05:48.228568804Z`` as nanoseconds since the epoch; up to 9 decimals, or none.

        The zero times of programming languages (years 1 and 1970) stand for an unknown time.
        """
        second = text[:19]
        if second != self._second[0]:
            at = datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            seconds = int(at.timestamp())
            self._second = (second, 0 if seconds in _ZERO_TIMES else epoch_ns(seconds, SECOND))
        known = self._second[1]
        decimals = text[20:-1]
        if decimals.isdecimal() and text[19] == "." and text[-1] == "Z":
            return known + int(decimals[:9].ljust(9, "0")) if known else None
        if text[19:] == "Z":
            return known or None
        raise ValueError(f"{shortened(text)} is not a time in UTC")


def _is_update(event: Raw) -> bool:
    try:
        return event_type(event) == "update"
    except UNREADABLE:
        return False


class _BadRows:
    """The bad rows of one frame, summed up by product (``None``: nobody knows which)."""

    def __init__(self) -> None:
        self.of: dict[str | None, tuple[bytes, str, int]] = {}
        self.count = 0

    def add(self, product: str | None, raw: bytes | Raw, error: Exception) -> None:
        """A row, or a whole event, that can't be understood."""
        self.count += 1
        first, why, count = self.of.get(product, (bytes(raw), f"{type(error).__name__}: {error}", 0))
        self.of[product] = first, why, count + 1
