"""LMEX: spot and futures, public and private.

The exchange runs the BTSE white-label. Books stand on endpoints of their own (``/ws/oss/…``), trades and private topics
on the main ones; tickers and balances have no topic and are polled by REST.

Sources: the white-label's public documents, and what others captured of it and of BTSE; marks of doubt stand where
something is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

import msgspec

from bridge.exchange_errors import FrameError, RestError
from bridge.exchanges.api import (
    NOT_UNDERSTOOD,
    BookRules,
    ClockReading,
    ConnectionPlan,
    Credentials,
    Exchange,
    Flow,
    ListedPair,
    Poll,
    Profile,
    Session,
    Subscription,
)
from bridge.exchanges.lmex.account import AccountSession, Memory
from bridge.exchanges.lmex.books import BooksSession
from bridge.exchanges.lmex.messages import NAME
from bridge.exchanges.lmex.names import Contracts, Market, market_of
from bridge.exchanges.lmex.options import LmexOptions
from bridge.exchanges.lmex.rest import LmexRest
from bridge.exchanges.lmex.rows import balance_events
from bridge.exchanges.lmex.trades import TradesSession
from bridge.exchanges.toolkit.listing import share_out
from bridge.model import Channel, Control, ControlEvent, Event

__all__ = ["AccountSession", "BooksSession", "Lmex", "LmexOptions", "TradesSession"]

_PRIVATE = {
    Market.SPOT: (Channel.ORDERS, Channel.FILLS),
    Market.FUTURES: (Channel.ORDERS, Channel.FILLS, Channel.POSITIONS),
}


_BLOCKED = 620.0
"""Seconds; a little more than the exchange says."""


class Lmex(Exchange):
    """LMEX: all channels, spot and futures."""

    name = NAME
    example_pairs = ("BTC-USD", "BTC-PERP")
    url = "wss://ws.lmex.io"
    rest_url = "https://api.lmex.io"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS})
    Options = LmexOptions
    silence: ClassVar = {Channel.BOOK: 30.0}
    dead = 45.0
    # Not orders: nothing says whether their time is the event's or the order's.
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.FILLS), 1_000_000)
    gaps: ClassVar = "verified"
    units: ClassVar = {
        Channel.TICKER: "24 hours, polled by REST",
        Channel.BALANCES: "polled by REST, and after each fill",
        Channel.BOOK: "50 levels a side",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(LmexOptions)
        patience = self._options.snapshot_timeout
        self.book = BookRules(patience=patience, snapshot_first=True, continuous=True, quotes=True)
        self._url = (profile.url or self.url).rstrip("/")
        self._contracts = Contracts(self._options.contract_sizes)
        self._rest = LmexRest(self._contracts)
        self._markets = [market for market in Market if any(market_of(pair) is market for pair in profile.pairs)]
        account = profile.account
        self._memories = {market: Memory() for market in self._markets}
        self._balances = {market: self._balance_poll(market, account) for market in self._markets} if account else {}

    def discover(self, now: int) -> Flow[None]:
        del now
        yield from self._rest.discover(self.pairs)

    def subscriptions(self) -> list[Subscription]:
        """Positions only where futures are; where both markets are, each has balances of its own."""
        found = [
            wish
            for wish in super().subscriptions()
            if wish.channel is not Channel.POSITIONS or Market.FUTURES in self._markets
        ]
        wallets = (stream for poll in self._balances.values() for stream in poll.streams)
        return list(dict.fromkeys([*found, *wallets]))

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """The account's fills go on where the stream ends, however long ago that was."""
        if stream.channel is Channel.FILLS:
            for market, memory in self._memories.items():
                memory.recall(tail, market, since)

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        """HTTP 400 means "abnormal usage": the exchange lets nobody from here in for ten minutes."""
        return _BLOCKED if status == 400 else None

    def plan(self) -> list[ConnectionPlan]:
        plans: list[ConnectionPlan] = []
        for market in self._markets:
            pairs = self._pairs(market)
            plans += self._book_plans(market, pairs)
            plans += self._trade_plans(market, pairs)
            if self.profile.account:
                plans.append(self._account_plan(market, pairs, self.profile.account))
        return plans

    def polls(self) -> list[Poll]:
        found: list[Poll] = []
        for market in self._markets:
            pairs = self._pairs(market)
            if Channel.TICKER in self.profile.channels and pairs:
                streams = tuple(Subscription(Channel.TICKER, pair) for pair in pairs)
                flow = partial(self._tickers, market, pairs)
                found.append(Poll(f"{market}-ticker", streams, self._options.ticker_interval, flow))
            if self._balances:
                found.append(self._balances[market])
        return found

    def list_pairs(self) -> Flow[list[ListedPair]]:
        return self._rest.list_pairs()

    def clock(self) -> Flow[ClockReading]:
        return self._rest.clock()

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def _pairs(self, market: Market) -> tuple[str, ...]:
        return tuple(pair for pair in self.pairs if market_of(pair) is market)

    def _book_plans(self, market: Market, pairs: Sequence[str]) -> Iterator[ConnectionPlan]:
        channels = self.profile.channels & {Channel.BOOK, Channel.QUOTES}
        for number, part in enumerate(share_out(pairs, self._options.topics_per_connection) if channels else [], 1):
            streams = tuple(Subscription(channel, pair) for pair in part for channel in sorted(channels))
            session = partial(self._book_session, market, part, channels)
            yield ConnectionPlan(f"{market}-books-{number}", streams, session)

    def _book_session(self, market: Market, pairs: tuple[str, ...], channels: frozenset[Channel]) -> Session:
        contracts, options = self._contracts, self._options
        return BooksSession(self._url, market, pairs, channels, contracts=contracts, options=options)

    def _trade_plans(self, market: Market, pairs: Sequence[str]) -> Iterator[ConnectionPlan]:
        wanted = Channel.TRADES in self.profile.channels
        for number, part in enumerate(share_out(pairs, self._options.topics_per_connection) if wanted else [], 1):
            streams = tuple(Subscription(Channel.TRADES, pair) for pair in part)
            session = partial(TradesSession, self._url, market, part, self._contracts)
            yield ConnectionPlan(f"{market}-trades-{number}", streams, session)

    def _account_plan(self, market: Market, pairs: Sequence[str], account: Credentials) -> ConnectionPlan:
        streams = tuple(Subscription(channel, account.name) for channel in _PRIVATE[market])
        memory = self._memories[market]

        def session() -> Session:
            return AccountSession(
                self._url,
                market,
                account,
                self._rest,
                pairs=pairs,
                contracts=self._contracts,
                options=self._options,
                balances=self._balances[market],
                memory=memory,
            )

        return ConnectionPlan(f"{market}-account:{account.name}", streams, session)

    def _tickers(self, market: Market, pairs: tuple[str, ...], now: int) -> Flow[Sequence[Event]]:
        return (yield from self._rest.tickers(market, pairs, now))

    def _balance_poll(self, market: Market, account: Credentials) -> Poll:
        both = len(self._markets) > 1
        # Each market has a wallet of its own: where both are read, the futures wallet has its own streams.
        subject = f"{account.name}/futures" if both and market is Market.FUTURES else account.name
        streams = (Subscription(Channel.BALANCES, subject),)

        def flow(now: int) -> Flow[Sequence[Event]]:
            rows = yield from self._rest.private(account, market, "/user/wallet", now)
            found, errors = balance_events(rows, subject, now)
            what = [f"not a wallet: {type(error).__name__}: {error}" for error in errors]
            if what and not found:
                raise RestError(NAME, "/user/wallet", 200, what[0])
            if not what:
                return found
            poll.rejects.append(FrameError(NAME, msgspec.json.encode(rows), what[0]))
            return [*found, Control(subject, None, now, Channel.BALANCES, ControlEvent.GAP, NOT_UNDERSTOOD)]

        poll = Poll(f"{market}-wallet", streams, self._options.balances_interval, flow)
        return poll
