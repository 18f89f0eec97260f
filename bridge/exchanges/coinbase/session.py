"""One connection to Coinbase: what comes, and what is missing or can't be understood."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bridge.exchange_errors import ErrorKind, FrameError
from bridge.exchanges.api import Output, Reconnect, Reject, Send, Subscription, Unknown
from bridge.exchanges.coinbase.messages import (
    CHANNELS,
    DATA,
    LEVEL2,
    NAME,
    TICKER,
    TRADES,
    Books,
    Remains,
    Subscriptions,
    Tickers,
    Trades,
    decode,
    pieces,
    product_in,
    remains_of,
    text_in,
)
from bridge.exchanges.toolkit.listed_requests import Key
from bridge.exchanges.toolkit.listed_session import ListedMemory, ListedSession
from bridge.exchanges.toolkit.numbers import (
    best_first,
    check_amounts,
    check_ids,
    check_levels,
    check_numbers,
    check_values,
)
from bridge.exchanges.toolkit.product_list import ProductList
from bridge.exchanges.toolkit.salvage import UNREADABLE, Damage
from bridge.exchanges.toolkit.session import WRONG
from bridge.exchanges.toolkit.times import UtcTimes
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Levels, Quote, Ticker, Trade

__all__ = ["CoinbaseSession"]

_KNOWN = {*DATA, "heartbeats", "subscriptions"}
_TAKER = {"BUY": "sell", "SELL": "buy"}
"""``side`` is the maker's: in recorded traffic every SELL stands at the ask and every BUY at the bid."""
_MOST_BEHIND = 20
_FAR_BEHIND = 10_000
"""Repeats of single messages are dropped; so many in a row, or from so far back, mean that the count is no more what
it was: on this connection nothing would ever come through again."""
_MOST_UNREAD = 2
"""Messages in a row whose numbers can't be read, after which it is no single one."""
_MOST_BAD = 100
"""Rows of one frame that may be bad; beyond, the rest is left out unread."""
_WORDS = 300
_RATE = re.compile(r"rate.?limit|too many (requests|messages)", re.IGNORECASE).search
_INVALID = re.compile(r"not a valid product|invalid product|unknown product|product not found", re.IGNORECASE).search
_NAMES = re.compile(r"[A-Z0-9][A-Z0-9-]*").findall
_SAME = {"USD": "USDC", "USDC": "USD"}


class CoinbaseSession(ListedSession):
    """One connection to Coinbase, for some pairs and channels."""

    def __init__(
        self,
        url: str,
        pairs: Sequence[str],
        channels: frozenset[Channel],
        listing: ProductList | None = None,
        memory: ListedMemory | None = None,
    ) -> None:
        listing = listing or ProductList()
        products = {pair: listing.served_as(pair) for pair in pairs}
        streams: dict[Key, list[Subscription]] = {}
        for channel in sorted(channels):
            for pair, product in products.items():
                streams.setdefault((CHANNELS[channel], product), []).append(Subscription(channel, pair))
        super().__init__(NAME, url, streams, listing, whole=LEVEL2, memory=memory or ListedMemory())
        self._channels = channels
        self._wire = tuple(dict.fromkeys(channel for channel, _ in streams))
        self._asked_as = {**{product: product for product in products.values()}, **products}
        """Every name that the exchange may use → the product."""
        for product in products.values():
            self._asked_as.setdefault(_second_name(product), product)
        self._pairs_of: dict[str, tuple[str, ...]] = {}
        """Every name that the exchange may use → the pairs that it is about."""
        self._name_pairs()
        takes: dict[str, tuple[type, Callable[[Any, int, list[Output]], None]]] = {
            LEVEL2: (Books, self._books),
            TICKER: (Tickers, self._tickers),
            TRADES: (Trades, self._trades),
        }
        self._takes = dict(takes[channel] for channel in self._wire)
        self._takes[Subscriptions] = self._subscriptions
        self._ns = UtcTimes().ns
        self._next = 0
        self._behind: int
        """Messages in a row whose numbers had come before."""
        self._unread = 0
        """Messages in a row whose numbers could not be read."""

    def connected(self, now: int) -> Sequence[Output]:
        """Subscribe: one message per channel, within 5 seconds of connecting (else the exchange hangs up)."""
        return [*self._begin(now), Send('{"type":"subscribe","channel":"heartbeats"}')]

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        try:
            message = decode(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        out: list[Output] = []
        take = self._takes.get(message.__class__)
        if not self._count(message.sequence_num, recv, out) or take is None:
            return out
        counted = len(out)
        try:
            take(message, recv, out)
        except WRONG as error:
            return [*out[:counted], *self._salvage(remains_of(frame), frame, recv, error)]
        return out

    def rejected(self, recv: int) -> Sequence[Output]:
        """The next message's number shows what is missing; where that can't be read either, the streams say so now."""
        self._unread += 1
        if self._unread != _MOST_UNREAD:
            return ()
        return [*self.gaps(self._served(), recv), *self._renew_all(recv)]

    def _count(self, number: int, recv: int, out: list[Output]) -> bool:
        """Whether a message with this number is new; a hole before it is a gap of everything."""
        expected = self._next
        self._unread = 0
        if number < expected:
            self._behind += 1
            if self._behind > _MOST_BEHIND or expected - number > _FAR_BEHIND:
                self._behind = 0
                out.append(Reconnect(f"sequence_num went back from {expected - 1} to {number}"))
            return False
        self._next = number + 1
        self._behind = 0
        if number > expected:
            reason, missing = f"sequence_num {expected} expected, {number} came", number - expected
            gap = ControlEvent.GAP
            out += [Control(s.subject, None, recv, s.channel, gap, reason, missing) for s in self._served()]
            out += self._renew_all(recv)
        return True

    # Data

    def _books(self, message: Books, recv: int, out: list[Output]) -> None:
        xseq = str(message.sequence_num)
        for event in message.events:
            pairs = self._pairs_of.get(event.product_id)
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
                self._snapshot_came((LEVEL2, self._asked_as[event.product_id]), recv)
                for pair in pairs:
                    out.append(BookSnapshot(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one
            elif not self._refused or (LEVEL2, self._asked_as[event.product_id]) not in self._refused:
                for pair in pairs:
                    out.append(BookDelta(pair, ts, recv, xseq, bids, asks))  # noqa: PERF401 - mostly one

    def _trades(self, message: Trades, recv: int, out: list[Output]) -> None:
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
                    self._data_came((TRADES, self._asked_as[trade.product_id]))
                for pair in pairs:
                    row = Trade(pair, ts, recv, ident, side, trade.price, trade.size, replay=replay)
                    out.append(row)

    def _tickers(self, message: Tickers, recv: int, out: list[Output]) -> None:
        ts = self._ns(message.timestamp)
        for event in message.events:
            for t in event.tickers:
                pairs = self._pairs_of.get(t.product_id)
                if pairs is None:
                    continue
                change, high, low, last = t.price_percent_chg_24_h, t.high_24_h, t.low_24_h, t.price
                check_amounts(t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)
                check_amounts(high, low, last, t.volume_24_h)
                check_values(change)
                if self._unsettled:
                    self._data_came((TICKER, self._asked_as[t.product_id]))
                for pair in pairs:
                    if Channel.QUOTES in self._channels:
                        bid, ask = t.best_bid, t.best_ask
                        out.append(Quote(pair, ts, recv, bid, t.best_bid_quantity, ask, t.best_ask_quantity))
                    if Channel.TICKER in self._channels:
                        out.append(Ticker(pair, ts, recv, "86400", "", high, low, last, "", change, t.volume_24_h))

    # Subscriptions

    def _request(self, op: str, channel: str, products: Sequence[str]) -> Send:
        return Send(msgspec.json.encode({"type": op, "product_ids": products, "channel": channel}).decode())

    def _subscriptions(self, message: Subscriptions, recv: int, out: list[Output]) -> None:
        listed = [
            (channel, name) for e in message.events for channel, names in e.subscriptions.items() for name in names
        ]
        present = {(channel, self._asked_as[name]) for channel, name in listed if name in self._asked_as}
        other = any("heartbeats" in event.subscriptions for event in message.events)
        out += self._listed(present, recv, other=other)

    def _said(self, words: str, recv: int) -> list[Output]:
        """``{"type":"error","message":"too many L2 streams requested in a single session"}``"""  # noqa: D415
        kind = ErrorKind.UNKNOWN_MARKET if _INVALID(words) else ErrorKind.REPORTED
        if words == "authentication failure":
            kind = ErrorKind.LOGIN_REFUSED
        elif _RATE(words):
            kind = ErrorKind.TOO_MANY_REQUESTS
        products = {self._asked_as.get(name, name) for name in _NAMES(words)}
        channels = [name for name in self._wire if name in words or (name == LEVEL2 and "L2" in words)]
        return self._failed(words, kind, products, channels, recv)

    def _left_out(self, key: Key, now: int) -> list[Output]:
        """An answer left a product out: it is served under its second name, if that is asked for, too, or not at all."""
        channel, product = key
        other = self._asked_as.get(_second_name(product), product)
        if other == product or (channel, other) in self._refused:
            return super()._left_out(key, now)
        out = [output for name in self._wire for output in self._merge((name, product), (name, other), now)]
        self._asked_as = {name: other if asked == product else asked for name, asked in self._asked_as.items()}
        self._name_pairs()
        return out

    def _name_pairs(self) -> None:
        for name, product in self._asked_as.items():
            streams = [stream for channel in self._wire for stream in self._streams.get((channel, product), ())]
            self._pairs_of[name] = tuple(dict.fromkeys(stream.subject for stream in streams))

    # What is not as it should be

    def _other(self, frame: bytes, recv: int, error: Exception) -> list[Output]:
        """A bad message, an error, or a channel that wasn't asked for.

        ``{"type":"error","message":"channel is not supported"}``
        """
        found = remains_of(frame)
        fields, channel, number = found.fields, found.channel, found.number
        out: list[Output] = []
        if found.type == "error" or (fields and channel not in _KNOWN and (channel or found.type)):
            if number is not None:
                self._count(number, recv, out)
            if found.type != "error":
                return [*out, Unknown(channel or found.type)]
            words = ": ".join(part for name in ("message", "reason") if (part := text_in(fields.get(name))))
            return [*out, *self._said(words[:_WORDS], recv)]
        if channel not in _KNOWN or number is None:
            raise FrameError(NAME, frame, str(error)) from None
        return [*out, *self._salvage(found, frame, recv, error)] if self._count(number, recv, out) else out

    def _salvage(self, remains: Remains, frame: bytes, recv: int, error: Exception) -> list[Output]:
        """Serve what can be read of a message, row by row; a bad row is a ``gap`` of its own streams alone."""
        channel = DATA.get(remains.channel, "")
        damage = Damage(NAME, frame)
        out: list[Output] = []
        broken: list[Key] = []
        bad = 0
        unread: set[str | None] = set()
        """Products of rows that nobody has looked at."""
        for row, alone in pieces(remains) if channel in self._wire else ():
            wrong, kept = error, len(out)
            if row is not None and bad <= _MOST_BAD:
                try:
                    message = decode(msgspec.json.encode(alone))
                    self._takes[message.__class__](message, recv, out)
                    continue
                except WRONG as found:
                    del out[kept:]
                    wrong = found
            name = None if row is None else product_in(row)
            if bad > _MOST_BAD and name in unread:
                continue
            if bad > _MOST_BAD:
                unread.add(name)
            bad += 1
            known = channel, self._asked_as.get(name or "", "")
            keys = [key for key in self._streams if key[0] == channel] if name is None else [known]
            keys = [key for key in keys if key in self._streams]
            if channel == LEVEL2 and row is not None and b'"update"' not in bytes(row):
                for key in (
                    keys
                ):  # it may have been the snapshot that is awaited; what is refused is asked for when it is late
                    if key not in self._refused:
                        self._awaited.pop(key, None)
            hurt = [key for key in keys if not (self._is_pending(key) if channel == LEVEL2 else key in self._refused)]
            if keys:
                damage.row(wrong, [stream for key in hurt for stream in self._streams[key]], kept, row or b"")
            broken += keys
        if not bad:  # what is wrong with it is nothing that was needed
            return [Reject(FrameError(NAME, frame, str(error))), *out]
        out = damage.settle(self, out, recv)
        return [*out, *self._renew(broken, recv)] if broken and channel == LEVEL2 else out


def _second_name(product: str) -> str:
    """The name under which the exchange may answer for a product, where its list is not to be had; its own, if none.

    "Only the user channel takes -USDC products, elsewhere they are served as -USD", say its documents; all 400 aliases
    of its list of August 2026 are of this kind.
    """
    base, _, currency = product.rpartition("-")
    return f"{base}-{_SAME[currency]}" if base and currency in _SAME else product
