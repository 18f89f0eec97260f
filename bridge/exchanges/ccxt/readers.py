"""What a codec brings, as events of the streams that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Output, Reject, Session, Subscription
from bridge.exchanges.ccxt.calls import Call
from bridge.exchanges.ccxt.digits import text
from bridge.exchanges.ccxt.markets import Markets
from bridge.exchanges.ccxt.rows import Raw, Rows, rows_of
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.exchanges.toolkit.values.salvage import WRONG
from bridge.model import BookDelta, BookSnapshot, Channel, Event, Levels

if TYPE_CHECKING:
    from bridge.exchanges.ccxt.codec import Taken

__all__ = ["Reader"]

_SNAPSHOT_EVERY = 15 * 60 * SECOND
"""Between two snapshots of books that come whole with each message, and are told as deltas."""
_WHOLE = 2
"""Snapshots in a row after which a book is one that comes whole with each message."""


class _Book:
    """What one pair's stream has been told of its book."""

    def __init__(self) -> None:
        self.in_a_row = 0
        """Snapshots without a delta between them."""
        self.told_at = 0
        """When the stream had a snapshot last (ns); 0: it needs one."""
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        """What is there, while the book comes whole."""


class Reader:
    """Makes events, for one connection.

    Args:
        exchange: its name, for errors.
        markets: of the exchange.
        rows: makes events of rows.
        account: the account's name; empty for public streams.
    """

    def __init__(self, exchange: str, markets: Markets, rows: Rows, account: str = "") -> None:
        self._exchange = exchange
        self._markets = markets
        self._rows = rows
        self._pairs = rows.pairs
        self._symbols = {pair: symbol for symbol, pair in self._pairs.items()}
        self._account = account
        self._books: dict[str, _Book] = {}
        self._begun: set[Subscription] = set()
        """Streams that have had trades."""
        self._balances: dict[str, Event] = {}
        self.news: Callable[[list[Event]], list[Output]] = lambda events: [*events]
        """Takes note of what an account's streams are told."""

    def streams(self, call: Call) -> list[Subscription]:
        """What a call feeds."""
        return call.streams(self._pairs, self._account)

    def concerned(self, streams: Iterable[Subscription], ident: str) -> list[Subscription]:
        """Those of the streams that are of the exchange's market ``ident``; empty: all. Their books begin anew."""
        found = [stream for stream in streams if not ident or self._ident(stream) == ident]
        return self._doubt(found)

    def named_in(self, streams: Iterable[Subscription], frame: bytes) -> list[Subscription]:
        """Those that a frame may be about: of the markets that it names, or all where it names none."""
        known = sorted(streams, key=str)
        words = frame.decode(errors="replace").upper()
        named = [stream for stream in known if (ident := self._ident(stream)) and ident.upper() in words]
        return self._doubt(named or known)

    def _ident(self, stream: Subscription) -> str:
        market = self._markets.by_symbol.get(self._symbols.get(stream.subject, ""))
        return market.ident if market else ""

    def _doubt(self, streams: list[Subscription]) -> list[Subscription]:
        for stream in streams:
            if stream.channel is Channel.BOOK:
                self._books.pop(stream.subject, None)
        return streams

    def read(  # noqa: PLR0917 - each is something else
        self, session: Session, taken: Taken, call: Call, symbol: str, now: int, frame: bytes
    ) -> list[Output]:
        """The events of something that has come for a call; a bad row is a ``gap`` of its stream alone."""
        channel = call.channel
        if channel is Channel.BOOK:
            return self._book(session, taken, symbol, now, frame)
        if self._account:
            return self._private(session, taken, channel, now, frame)
        out: list[Output] = []
        for row in _oldest_first(rows_of(taken.found) if taken.rows is None else taken.rows):
            if (named := self._named(row, symbol)) is None:
                continue
            pair, market = self._pairs[named], self._markets.by_symbol[named]
            stream = Subscription(channel, pair)
            out += session.lively([stream], now)
            try:
                event: Event | None
                if channel is Channel.TRADES:
                    event = self._rows.trade(row, pair, market, now)
                elif channel is Channel.TICKER:
                    event = self._rows.ticker(row, pair, now)
                else:
                    event = self._rows.quote(row, pair, market, now)
            except WRONG as error:
                out += self._bad(session, stream, error, now, frame)
            else:
                out += [event] if event is not None else []
        return out

    def _private(self, session: Session, taken: Taken, channel: Channel, now: int, frame: bytes) -> list[Output]:
        stream = Subscription(channel, self._account)
        out = session.lively([stream], now)
        if channel is Channel.BALANCES:
            found = list(self._rows.balances(taken.found, self._account, now))
            fresh = [event for event in found if _content(self._balances.get(event.currency)) != _content(event)]
            self._balances.update((event.currency, event) for event in fresh)
            return [*out, *self.news([*fresh])]
        read = {
            Channel.ORDERS: self._rows.order,
            Channel.FILLS: self._rows.fill,
            Channel.POSITIONS: self._rows.position,
        }[channel]
        for row in rows_of(taken.found) if taken.rows is None else taken.rows:
            try:
                out += self.news([read(row, self._account, now)])
            except WRONG as error:
                out += self._bad(session, stream, error, now, frame)
        return out

    def _named(self, row: Raw, symbol: str) -> str | None:
        """The configured symbol that a row is of: its own, or what was asked for under another name."""
        named = row.get("symbol")
        if named in self._pairs:
            return str(named)
        return symbol if symbol in self._pairs else None

    def _bad(self, session: Session, stream: Subscription, error: Exception, now: int, frame: bytes) -> list[Output]:
        words = f"{type(error).__name__}: {error}"
        return [Reject(FrameError(self._exchange, frame, words)), *session.gaps([stream], now)]

    # Books

    def _book(self, session: Session, taken: Taken, symbol: str, now: int, frame: bytes) -> list[Output]:
        named = self._named(taken.found, symbol)
        if named is None:
            return []
        pair, market = self._pairs[named], self._markets.by_symbol[named]
        stream = Subscription(Channel.BOOK, pair)
        out = session.lively([stream], now)
        change = taken.change
        if change is None:
            return out
        try:
            bids, asks = self._rows.levels(change.bids, market), self._rows.levels(change.asks, market)
            ts = self._rows.time(taken.found)
        except WRONG as error:
            self._books.pop(pair, None)
            return [*out, *self._bad(session, stream, error, now, frame)]
        xseq = text(taken.found.get("nonce"))
        book = self._books.setdefault(pair, _Book())
        if not change.whole:
            book.in_a_row = 0
            return [*out, BookDelta(pair, ts, now, xseq, bids, asks)]
        book.in_a_row += 1
        before, book.sides = book.sides, (dict(bids), dict(asks))
        if book.in_a_row > _WHOLE and book.told_at and now - book.told_at < _SNAPSHOT_EVERY:
            changed = [_difference(was, has) for was, has in zip(before, book.sides, strict=True)]
            return [*out, BookDelta(pair, ts, now, xseq, changed[0], changed[1])] if any(changed) else out
        book.told_at = now
        return [*out, BookSnapshot(pair, ts, now, xseq, bids, asks)]


def _oldest_first(rows: list[Raw]) -> list[Raw]:
    """Some exchanges begin a message with its newest trade, and not every version of CCXT turns it round."""
    newest_first = len(rows) > 1 and (rows[0].get("timestamp") or 0) > (rows[-1].get("timestamp") or 0)
    return rows[::-1] if newest_first else rows


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> Levels:
    gone = [(price, "0") for price in before if price not in after]
    return gone + [(price, size) for price, size in after.items() if before.get(price) != size]


def _content(event: Any) -> tuple[str, str] | None:
    return None if event is None else (event.available, event.reserved)
