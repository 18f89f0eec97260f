"""Coinbase Advanced Trade, public market data.

One connection carries all pairs: a subscribe message per channel, then envelopes with a ``channel``, a
``sequence_num`` that counts every message of the connection from 0, and ``events``. A hole in the count means that
something was lost, without telling what: a gap of everything on the connection.

Sources: the exchange's public WebSocket documentation (overview, channels), and its real traffic of August 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
from msgspec import Struct

from bridge.errors import FrameError, LoginRefusedError, ReportedError
from bridge.exchanges.base import (
    SECOND,
    UNREADABLE,
    ClockReading,
    ConnectionPlan,
    Exchange,
    Flow,
    Profile,
    Reconnect,
    Said,
    Send,
    Session,
    Subscription,
    Unknown,
    best_first,
)
from bridge.exchanges.clocks import millis_reading
from bridge.exchanges.numbers import check_levels, check_numbers, check_values
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Levels, Quote, Ticker, Trade

__all__ = ["Coinbase", "CoinbaseSession"]

_SNAPSHOT_LIMIT = 30 * SECOND
"""How long a fresh snapshot may take; a full book is a frame of 6 MB."""

_MOST_BEHIND = 20
_FAR_BEHIND = 10_000
"""Repeats of single messages are dropped; so many in a row, or from so far back, mean that the count is no more what
it was: on this connection nothing would ever come through again."""

_NOT_LOGGED_IN = "authentication failure"

_CHANNELS = {
    Channel.TRADES: "market_trades",
    Channel.BOOK: "level2",
    Channel.QUOTES: "ticker",
    Channel.TICKER: "ticker",
}
_TAKER = {"BUY": "sell", "SELL": "buy"}
"""``side`` is the maker's: in recorded traffic every SELL stands at the ask and every BUY at the bid."""


class _Trade(Struct):
    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class _TradesEvent(Struct):
    trades: list[_Trade]
    type: str = "update"


class _Update(Struct):
    side: str
    event_time: str
    price_level: str
    new_quantity: str


class _BookEvent(Struct):
    type: str
    product_id: str
    updates: list[_Update]


class _Ticker(Struct):
    product_id: str
    price: str = ""
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    price_percent_chg_24_h: str = ""
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class _TickerEvent(Struct):
    tickers: list[_Ticker]


class _SubscriptionsEvent(Struct):
    subscriptions: dict[str, list[str]] = {}


class _Message(Struct, tag_field="channel"):
    sequence_num: int
    timestamp: str = ""


class _MarketTrades(_Message, tag="market_trades"):
    events: list[_TradesEvent] = []


class _L2Data(_Message, tag="l2_data"):
    events: list[_BookEvent] = []


class _TickerMessage(_Message, tag="ticker"):
    events: list[_TickerEvent] = []


class _Heartbeats(_Message, tag="heartbeats"):
    pass


class _Subscriptions(_Message, tag="subscriptions"):
    events: list[_SubscriptionsEvent] = []


class _Other(Struct):
    """Any other JSON object: an error (``type``), or a channel of later invention."""

    type: str = ""
    channel: str = ""
    message: str = ""
    sequence_num: int | None = None


_decode = msgspec.json.Decoder(_MarketTrades | _L2Data | _TickerMessage | _Heartbeats | _Subscriptions).decode
_decode_other = msgspec.json.Decoder(_Other).decode


class CoinbaseSession(Session):
    """One connection to Coinbase, for some pairs and channels."""

    def __init__(self, url: str, pairs: tuple[str, ...], channels: frozenset[Channel]) -> None:
        super().__init__(url)
        self._pairs = pairs
        self._wanted = frozenset(pairs)
        self._channels = channels
        self._streams = [Subscription(channel, pair) for channel in sorted(channels) for pair in pairs]
        self._next = 0
        self._behind = 0
        """Messages in a row whose numbers had come before."""
        self._awaited: dict[str, int] = {}
        """Pairs whose snapshot has been asked for, and since when."""
        self._second = ("", 0)

    def connected(self, now: int) -> None:
        """Subscribe: one message per channel, within 5 seconds of connecting (else the exchange hangs up)."""
        for channel in dict.fromkeys(_CHANNELS[channel] for channel in sorted(self._channels)):
            self._subscribe("subscribe", channel, self._pairs)
        self.actions.append(Send('{"type":"subscribe","channel":"heartbeats"}'))
        if Channel.BOOK in self._channels:
            self._awaited = dict.fromkeys(self._pairs, now)

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        before = self._next
        events = self._count(message.sequence_num, recv)
        if events is None:
            return ()
        kind = message.__class__
        try:
            if kind is _L2Data:
                self._book(message, recv, events)
            elif kind is _MarketTrades:
                self._trades(message, recv, events)
            elif kind is _TickerMessage:
                self._ticker(message, recv, events)
            elif kind is _Subscriptions:
                self._acknowledged(message, recv, events)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Take the count back, so that the next message shows the hole and declares it.
            self._next = before
            raise FrameError(Coinbase.name, frame, f"{type(error).__name__}: {error}") from None
        return events

    def tick(self, now: int) -> Sequence[Event]:
        late = [pair for pair, since in self._awaited.items() if now - since > _SNAPSHOT_LIMIT]
        if late:
            self._awaited.clear()
            self.actions.append(Reconnect(f"no snapshot of {', '.join(late)} within {_SNAPSHOT_LIMIT // SECOND} s"))
        return ()

    def resync(self, subject: str, now: int, reason: str) -> None:
        """Unsubscribe and subscribe this one pair: the exchange answers with its full book."""
        del reason
        if subject in self._awaited:
            return
        self._awaited[subject] = now
        self._subscribe("unsubscribe", "level2", (subject,))
        self._subscribe("subscribe", "level2", (subject,))

    def _subscribe(self, kind: str, channel: str, pairs: tuple[str, ...]) -> None:
        text = msgspec.json.encode({"type": kind, "product_ids": pairs, "channel": channel}).decode()
        self.actions.append(Send(text))

    def _count(self, number: int, recv: int) -> list[Event] | None:
        """The gap entries that this message's number calls for; ``None`` for a message that came before."""
        expected = self._next
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
            for pair in self._pairs:
                self.resync(pair, recv, reason)
        return [Control(s.subject, None, recv, s.channel, ControlEvent.GAP, reason, missing) for s in self._streams]

    def _book(self, message: _L2Data, recv: int, events: list[Event]) -> None:
        """Full book, then changed levels with their new sizes; the snapshot comes best first on both sides.

        ``{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.506659391Z","sequence_num":15,"events":[{"type":
        "update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-08-09T21:05:48.264069Z",
        "price_level":"65106.54","new_quantity":"0.15361938"}]}]}``
        """
        if Channel.BOOK not in self._channels:
            return
        xseq = str(message.sequence_num)
        for event in message.events:
            pair = event.product_id
            if pair not in self._wanted:
                continue
            bids: Levels = []
            asks: Levels = []
            for update in event.updates:
                (bids if update.side == "bid" else asks).append((update.price_level, update.new_quantity))
            check_levels(bids)
            check_levels(asks)
            ts = self._ns(event.updates[-1].event_time if event.updates else message.timestamp)
            if event.type == "snapshot":
                self._awaited.pop(pair, None)
                bids, asks = best_first(bids, bids=True), best_first(asks, bids=False)
                events.append(BookSnapshot(pair, ts, recv, xseq, bids, asks))
            else:
                events.append(BookDelta(pair, ts, recv, xseq, bids, asks))

    def _trades(self, message: _MarketTrades, recv: int, events: list[Event]) -> None:
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
                if trade.product_id not in self._wanted:
                    continue
                ts = self._ns(trade.time)
                side = _TAKER[trade.side]
                check_numbers(trade.price, trade.size)
                events.append(
                    Trade(trade.product_id, ts, recv, trade.trade_id, side, trade.price, trade.size, replay=replay)
                )

    def _ticker(self, message: _TickerMessage, recv: int, events: list[Event]) -> None:
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
                pair = t.product_id
                if pair not in self._wanted:
                    continue
                change = t.price_percent_chg_24_h
                check_values(t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                check_values(t.high_24_h, t.low_24_h, t.price, change, t.volume_24_h)
                if Channel.QUOTES in self._channels:
                    events.append(
                        Quote(pair, ts, recv, t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                    )
                if Channel.TICKER in self._channels:
                    events.append(
                        Ticker(pair, ts, recv, "86400", "", t.high_24_h, t.low_24_h, t.price, "", change, t.volume_24_h)
                    )

    def _acknowledged(self, message: _Subscriptions, recv: int, events: list[Event]) -> None:
        """The list of all present subscriptions, after each change of them.

        ``{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.229148053Z","sequence_num":5,"events":[
        {"subscriptions":{"candles":["ETH-USD","BTC-USD"],"market_trades":["ETH-USD","BTC-USD"]}}]}``
        """
        listed = {(name, pair) for event in message.events for name, ps in event.subscriptions.items() for pair in ps}
        events += self.lively([s for s in self._streams if (_CHANNELS[s.channel], s.subject) in listed], recv)

    def _other(self, frame: bytes, recv: int, error: Exception) -> Sequence[Event]:
        """An error message, a channel we didn't ask for, or a frame that is no such thing.

        ``{"type":"error","message":"channel is not supported"}``
        """
        try:
            message = _decode_other(frame)
        except UNREADABLE:
            raise FrameError(Coinbase.name, frame, str(error)) from None
        if message.type == "error":
            kind = LoginRefusedError if message.message == _NOT_LOGGED_IN else ReportedError
            self.actions.append(Said(kind(Coinbase.name, message.message)))
            return () if message.sequence_num is None else self._count(message.sequence_num, recv) or ()
        known = {"market_trades", "l2_data", "ticker", "heartbeats", "subscriptions"}
        if message.channel in known or (not message.channel and not message.type):
            raise FrameError(Coinbase.name, frame, str(error))
        self.actions.append(Unknown(message.channel or message.type))
        if message.sequence_num is None:
            return ()
        return self._count(message.sequence_num, recv) or ()

    def _ns(self, text: str) -> int | None:
        """``2026-08-09T21:05:48.228568804Z`` as nanoseconds since the epoch; up to 9 decimals, or none.

        The zero times of programming languages (years 1 and 1970) stand for an unknown time.
        """
        second = text[:19]
        if second != self._second[0]:
            at = datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            self._second = (second, int(at.timestamp()) * SECOND)
        rest = text[19:]
        if rest[-1:] != "Z":
            msg = f"time {text!r} is not UTC"
            raise ValueError(msg)
        ns = self._second[1] + (int(rest[1:-1].ljust(9, "0")[:9]) if len(rest) > 1 else 0)
        return ns if ns > 0 else None


class Coinbase(Exchange):
    """Coinbase Advanced Trade: trades, full-depth books, quotes and tickers, without a log-in."""

    name = "coinbase"
    url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    silence: ClassVar = {Channel.BOOK: 60.0}
    timed: ClassVar = dict.fromkeys(channels, 1_000)
    gaps: ClassVar = "verified"
    units: ClassVar = {Channel.TICKER: "24 hours, no open price", Channel.QUOTES: "at every match"}

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._url = profile.url or self.url

    def clock(self) -> Flow[ClockReading]:
        """``{"iso":"2026-08-09T21:05:48Z","epochSeconds":"1786309548","epochMillis":"1786309548228"}``"""  # noqa: D415
        return millis_reading(self.name, "/api/v3/brokerage/time", "epochMillis")

    def plan(self) -> list[ConnectionPlan]:
        profile = self.profile
        streams = tuple(self.subscriptions())
        if not streams:
            return []
        return [ConnectionPlan("market", streams, lambda: CoinbaseSession(self._url, profile.pairs, profile.channels))]
