"""Coinbase Advanced Trade, public market data.

A connection carries some pairs: a subscribe message per channel, then envelopes with a ``channel``, a ``sequence_num``
that counts every message of the connection from 0, and ``events``. A hole in the count means that something was lost,
without telling what: a gap of everything on the connection.

Sources: the exchange's public documentation (WebSocket overview, channels and rate limits; list of public products),
its real traffic of August 2026, and what users of other clients reported, where it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import ClassVar

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Exchange,
    Flow,
    ListedPair,
    Poll,
    Profile,
    Subscription,
)
from bridge.exchanges.coinbase.messages import NAME
from bridge.exchanges.coinbase.products import Listing
from bridge.exchanges.coinbase.requests import Memory
from bridge.exchanges.coinbase.session import CoinbaseSession
from bridge.exchanges.toolkit.clocks import millis_reading
from bridge.exchanges.toolkit.numbers import SECOND
from bridge.model import Channel, Event

__all__ = ["Coinbase", "CoinbaseSession"]

_MOST_BOOKS = 16
"""Books per connection: reported are 16 that were taken, and 32 refused ("too many L2 streams requested in a single
session"); the documents name no limit."""
_MOST_PAIRS = 100
"""Pairs per connection where no books are wanted; no limit is documented or reported."""
_ATTEMPTS = 10
"""Its sessions count messages, ask for books by themselves where one is missing, ever later, and know when one is late."""
_LOOK_EVERY = 60.0
"""Seconds between two looks at what the product list says of pairs that are unknown or halted."""
_LIST_EVERY = 600 * SECOND
"""Between two looks at what it says of all that are configured."""


class Coinbase(Exchange):
    """Coinbase Advanced Trade: trades, full-depth books, quotes and tickers, without a log-in."""

    name = NAME
    url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    silence: ClassVar = {Channel.BOOK: 60.0}
    gaps: ClassVar = "verified"
    book = BookRules(attempts=_ATTEMPTS, patience=inf, large=True)
    example_pairs = ("BTC-USD", "ETH-USD")
    sends_per_second = 8
    """Documented: messages without a log-in, per second and address; as many connections."""
    pace = 0.5
    timed: ClassVar = dict.fromkeys(channels, 1_000)
    units: ClassVar = {Channel.TICKER: "24 hours, no open price", Channel.QUOTES: "at every match"}

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._url = profile.url or self.url
        self._has_rest = profile.rest_url is not None or profile.url is None
        """Else REST is another exchange's than the WebSocket."""
        self._listing = Listing()
        self._looked_at: int | None = None
        """When the list was asked for all configured pairs."""

    def discover(self, now: int) -> Flow[None]:
        """Read the product list; without it everything is served that the exchange serves, so it is not waited for."""
        if self._has_rest and self.subscriptions():
            try:
                yield from self._listing.read()
                self._looked_at = now
            except RestError:
                return  # the poll asks again, and says what is wrong

    def remarks(self) -> list[str]:
        listing = self._listing
        found = [
            f"{pair} is served as {listing.product(pair)}" for pair in self.profile.pairs if _is_alias(listing, pair)
        ]
        return found + [f"{pair}: {why}" for pair in self.profile.pairs if (why := listing.halted(pair))]

    def unlisted(self) -> list[UnknownPairError]:
        unknown = [pair for pair in self.profile.pairs if self._listing.unknown(pair)]
        return [UnknownPairError(NAME, pair, self._listing.nearest(pair)) for pair in unknown]

    def plan(self) -> list[ConnectionPlan]:
        """Pairs in the order of the config, so many on each connection: one more at its end moves no other."""
        pairs, channels = self.profile.pairs, self.profile.channels & self.channels
        most = _MOST_BOOKS if Channel.BOOK in channels else _MOST_PAIRS
        plans: list[ConnectionPlan] = []
        for start in range(0, len(pairs) if channels else 0, most):
            part = pairs[start : start + most]
            streams = tuple(Subscription(channel, pair) for pair in part for channel in sorted(channels))
            session = partial(CoinbaseSession, self._url, part, channels, self._listing, Memory())
            plans.append(ConnectionPlan(f"market-{len(plans) + 1}" if plans else "market", streams, session))
        return plans

    def polls(self) -> list[Poll]:
        """The product list; it feeds no stream, sessions see what has changed."""
        if not self._has_rest or not self.subscriptions():
            return []
        return [Poll("products", (), _LOOK_EVERY, self._look)]

    def clock(self) -> Flow[ClockReading]:
        """``{"iso":"2026-08-09T21:05:48Z","epochSeconds":"1786309548","epochMillis":"1786309548228"}``"""  # noqa: D415
        return millis_reading(self.name, "/api/v3/brokerage/time", "epochMillis")

    def list_pairs(self) -> Flow[list[ListedPair]]:
        listing = Listing()
        yield from listing.read()
        return listing.pairs()

    def _look(self, now: int) -> Flow[Sequence[Event]]:
        """The whole list while nothing is known; then by name: pairs in trouble at each look, all of them now and then."""
        pairs = list(dict.fromkeys(self._listing.product(pair) for pair in self.profile.pairs))
        if self._looked_at is None:
            yield from self._listing.read()
            self._looked_at = now
        elif abs(now - self._looked_at) > _LIST_EVERY:
            yield from self._listing.refresh(pairs)
            self._looked_at = now
        elif trouble := self._listing.in_trouble(pairs):
            yield from self._listing.refresh(trouble)
        return []


def _is_alias(listing: Listing, pair: str) -> bool:
    return listing.product(pair) != pair
