"""Limitlex: public market data per pair, and the private messages of an account.

The subscription is the query string of the connection; clients send nothing. ``order_book`` and ``last_trade`` don't
name their pair: hence one connection per pair, and one more, with a token, per account. Nothing carries a sequence
number: a book is compared with ``best_bid_ask``, and replaced from time to time by a new connection's
``whole_order_book``.

Sources: the exchange's WebSocket and REST pages; where they are silent, the comment says what is assumed.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.config.units import Duration
from bridge.exchanges.api import (
    API_KEY,
    BookRules,
    ClockReading,
    ConnectionPlan,
    Credential,
    Exchange,
    Flow,
    ListedPair,
    Profile,
)
from bridge.exchanges.limitlex.account import PRIVATE, AccountSession
from bridge.exchanges.limitlex.pair import NAME, PairSession
from bridge.exchanges.limitlex.rest import LimitlexRest, sign
from bridge.exchanges.toolkit.timing.clocks import date_reading
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Channel

__all__ = ["AccountSession", "Limitlex", "LimitlexOptions", "PairSession"]

_IN_TRANSIT = 2.0
"""Seconds; two connections may differ in what changed so short a time ago."""


class LimitlexOptions(BaseModel):
    """Settings that only this exchange has; durations in seconds, or with a unit (``90s``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amounts: Literal["absolute", "change"] = "absolute"
    """Whether ``order_book.amount`` is a level's new size or its change: the exchange doesn't say."""
    resnapshot: Duration = Field(default=60.0, gt=0)
    """Seconds after which a pair's connection is replaced, for a fresh book."""
    mismatch: Duration = Field(default=2.0, gt=0)
    """Seconds that a book may disagree with ``best_bid_ask`` (or be crossed) before it counts as wrong."""
    pair_ids: dict[str, str] = Field(default_factory=dict)
    """Pair → ``<base uuid>:<quote uuid>``, for when REST is unreachable."""


class Limitlex(Exchange):
    """Limitlex: all public channels, and orders, fills and balances of an account and its sub-accounts."""

    name = NAME
    example_pairs = ("BTC-EUR", "ETH-EUR")
    url = "wss://limitlex.com/websocket/"
    rest_url = "https://limitlex.com/api"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = frozenset(PRIVATE.values())
    credentials: ClassVar = (API_KEY, Credential("api_secret", "the EC private key (PEM) of the API key"))
    Options = LimitlexOptions
    timed: ClassVar = {Channel.TRADES: SECOND, Channel.FILLS: SECOND}
    units: ClassVar = {
        Channel.TRADES: "ts in whole seconds, no id",
        Channel.BOOK: "no ts, no xseq",
        Channel.QUOTES: "no sizes, no ts",
        Channel.FILLS: "ts in whole seconds, no ids, no pair",
        Channel.ORDERS: "ts is the order's time, no pair",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(LimitlexOptions)
        self._changes = self._options.amounts == "change"
        self.book = BookRules(best=self._options.mismatch, in_transit=_IN_TRANSIT, changes=self._changes)
        self._url = profile.url or self.url
        self._rest = LimitlexRest(self._options.pair_ids)

    def check(self) -> None:
        """The account's secret is a key that can sign."""
        if self.profile.account:
            sign(self.profile.account, "", "")

    def discover(self, now: int) -> Flow[None]:
        del now
        return self._rest.resolve(self.pairs)

    def list_pairs(self) -> Flow[list[ListedPair]]:
        return self._rest.list_pairs()

    def clock(self) -> Flow[ClockReading]:
        """No call returns the time: the header ``Date`` has it."""
        return date_reading(NAME, "/public/currencies")

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def plan(self) -> list[ConnectionPlan]:
        channels, account = self.profile.channels, self.profile.account
        rotate = self._options.resnapshot if Channel.BOOK in channels else None
        ids = {pair: self._rest.pair_id(pair) for pair in self.pairs}
        streams = self.subscriptions()
        plans = []
        for pair in self.pairs if channels else ():
            session = partial(PairSession, self._url, pair, ids[pair], channels, changes=self._changes)
            public = tuple(s for s in streams if s.subject == pair and s.channel in self.channels)
            plans.append(ConnectionPlan(pair, public, session, rotate))
        if account:
            private = tuple(s for s in streams if s.channel in self.private_channels)
            log_in = partial(AccountSession, self._url, self._account_ids, account, self._rest)
            plans.append(ConnectionPlan(f"account:{account.name}", private, log_in))
        return plans

    def _account_ids(self) -> list[str]:
        return [self._rest.pair_id(pair) for pair in self.all_pairs]
