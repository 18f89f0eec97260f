"""Limitlex: public market data per pair, and the private messages of an account.

The subscription is the query string of the connection; no client message exists. ``order_book`` and ``last_trade``
don't say which pair they are of: hence one connection per pair, and one more, with a token, per account. Nothing
carries a sequence number: a book is checked against ``best_bid_ask``, and replaced from time to time by a fresh
connection's ``whole_order_book``.

Sources: the exchange's WebSocket and REST pages; where they are silent, the comment says what is assumed.
"""

from __future__ import annotations

from typing import ClassVar

from bridge.exchanges.api import BookRules, ClockReading, ConnectionPlan, Exchange, Flow, ListedPair, Profile
from bridge.exchanges.limitlex.account import PRIVATE_CHANNELS, AccountSession
from bridge.exchanges.limitlex.messages import NAME
from bridge.exchanges.limitlex.options import LimitlexOptions
from bridge.exchanges.limitlex.pair import PairSession
from bridge.exchanges.limitlex.rest import LimitlexRest, check_secret
from bridge.exchanges.toolkit.clocks import date_reading
from bridge.exchanges.toolkit.numbers import SECOND
from bridge.model import Channel

__all__ = ["AccountSession", "Limitlex", "LimitlexOptions", "PairSession"]

_IN_TRANSIT = 2.0
"""Seconds; two connections may differ in what changed so short a time ago."""


class Limitlex(Exchange):
    """Limitlex: all public channels, and orders, fills and balances of an account and its sub-accounts."""

    name = NAME
    example_pairs = ("BTC-EUR", "ETH-EUR")
    url = "wss://limitlex.com/websocket/"
    rest_url = "https://limitlex.com/api"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = PRIVATE_CHANNELS
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
        changes = self._options.amounts == "change"
        self.book = BookRules(best=self._options.mismatch, in_transit=_IN_TRANSIT, changes=changes)
        self._url = profile.url or self.url
        self._rest = LimitlexRest(self._options.pair_ids)

    def check(self) -> None:
        """The account's secret is a key that can sign."""
        if self.profile.account:
            check_secret(self.profile.account)

    def discover(self, now: int) -> Flow[None]:
        del now
        yield from self._rest.resolve(self.pairs)
        return None

    def list_pairs(self) -> Flow[list[ListedPair]]:
        return self._rest.list_pairs()

    def clock(self) -> Flow[ClockReading]:
        """There is no call for the time: the header ``Date`` has it."""
        return date_reading(NAME, "/public/currencies")

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def plan(self) -> list[ConnectionPlan]:
        profile = self.profile
        plans = [self._pair_plan(pair) for pair in self.pairs if profile.channels]
        account = profile.account
        if account:
            streams = tuple(s for s in self.subscriptions() if s.channel in self.private_channels)
            ids = [self._rest.pair_id(pair) for pair in self.pairs]
            plans.append(
                ConnectionPlan(
                    f"account:{account.name}", streams, lambda: AccountSession(self._url, ids, account, self._rest)
                )
            )
        return plans

    def _pair_plan(self, pair: str) -> ConnectionPlan:
        streams = tuple(s for s in self.subscriptions() if s.subject == pair and s.channel in self.channels)
        pair_id = self._rest.pair_id(pair)
        rotate = self._options.resnapshot if Channel.BOOK in self.profile.channels else None
        channels = self.profile.channels
        return ConnectionPlan(
            pair, streams, lambda: PairSession(self._url, pair, pair_id, channels, self._options), rotate
        )
