"""LMEX: spot and futures, public and private.

The exchange runs the BTSE white-label. Books stand on endpoints of their own (``/ws/oss/…``), trades and private topics
on the main ones; tickers and balances have no topic and are polled by REST.

Sources: the white-label's public documents, and what others captured of it and of BTSE; marks of doubt stand where
something is inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.config.units import Duration
from bridge.exchanges.api import (
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
from bridge.exchanges.lmex.account import TOPICS, WAYS, AccountSession
from bridge.exchanges.lmex.messages import NAME, Market, is_future, market_of
from bridge.exchanges.lmex.public import BooksSession, TradesSession
from bridge.exchanges.lmex.rest import LmexRest
from bridge.exchanges.lmex.rows import Rows, wallet_rows
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.listing import share_out
from bridge.exchanges.toolkit.rest.row_polls import row_poll
from bridge.exchanges.toolkit.values.contracts import Contracts, ContractSizes
from bridge.exchanges.toolkit.values.fields import Row
from bridge.model import Channel, Event, Fill

__all__ = ["Lmex", "LmexOptions"]

_BLOCKED = 620.0
"""Seconds; a little more than the exchange says."""


class LmexOptions(BaseModel):
    """Settings that only this exchange has; durations in seconds, or with a unit (``90s``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topics_per_connection: int = Field(default=100, gt=0)
    """The exchange documents 100; pairs are shared out over as few connections as that allows."""
    snapshot_timeout: Duration = Field(default=10.0, gt=0)
    """How long a book's snapshot may take after its subscription, before it is subscribed anew."""
    ticker_interval: Duration = Field(default=5.0, ge=1.0)
    """How often ``market_summary`` is polled for tickers, which have no topic."""
    balances_interval: Duration = Field(default=60.0, ge=1.0)
    """How often ``user/wallet`` is polled for balances, which have no topic; also after each fill."""
    session_lifetime: Duration = Field(default=24 * 3600.0, gt=0)
    """How long a log-in is taken to last; the private connection is replaced ahead of that."""
    login: Literal["auto", "authKeyExpires", "login"] = "auto"
    """The log-in message; ``auto`` begins with ``authKeyExpires`` and falls back on ``login``."""
    contract_sizes: ContractSizes = Field(default_factory=dict)
    """Futures pair → base coins per contract, for when REST is away."""


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
        self._contracts = Contracts(self._options.contract_sizes, is_future)
        self._rest = LmexRest(self._contracts)
        account = profile.account
        self._memories = {market: AccountMemory() for market in Market if account and self._of(market, self.pairs)}
        """The markets that the account is followed in: those of the pairs at the start."""
        self._balances = {market: self._balance_poll(market, account) for market in self._memories if account}

    def discover(self, now: int) -> Flow[None]:
        del now
        yield from self._rest.discover(self.pairs)

    def subscriptions(self) -> list[Subscription]:
        """Positions only where futures are; where both markets are, each has balances of its own."""
        futures = Market.FUTURES in self._memories
        found = [stream for stream in super().subscriptions() if stream.channel is not Channel.POSITIONS or futures]
        wallets = (stream for poll in self._wallets() for stream in poll.streams)
        return list(dict.fromkeys([*found, *wallets]))

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """The account's fills go on where the stream ends, however long ago that was."""
        if stream.channel is Channel.FILLS:
            for market, memory in self._memories.items():
                memory.recall_fills(tail, since, partial(_is_of, market))

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        """HTTP 400 means "abnormal usage": the exchange lets nobody from here in for ten minutes."""
        return _BLOCKED if status == 400 else None

    def plan(self) -> list[ConnectionPlan]:
        plans: list[ConnectionPlan] = []
        for market in Market:
            plans += self._book_plans(market)
            plans += self._trade_plans(market)
            if self.profile.account and market in self._memories:
                plans.append(self._account_plan(market, self.profile.account))
        return plans

    def polls(self) -> list[Poll]:
        found: list[Poll] = []
        for market in Market:
            pairs = self._of(market, self.pairs)
            if pairs and Channel.TICKER in self.profile.channels:
                streams = tuple(Subscription(Channel.TICKER, pair) for pair in pairs)
                flow = partial(self._rest.tickers, market, pairs)
                found.append(Poll(f"{market}-ticker", streams, self._options.ticker_interval, flow))
        return [*found, *self._wallets()]

    def list_pairs(self) -> Flow[list[ListedPair]]:
        return self._rest.list_pairs()

    def clock(self) -> Flow[ClockReading]:
        return self._rest.clock()

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    @staticmethod
    def _of(market: Market, pairs: Sequence[str]) -> tuple[str, ...]:
        return tuple(pair for pair in pairs if market_of(pair) is market)

    def _wallets(self) -> Sequence[Poll]:
        return [*self._balances.values()] if self.profile.account else []

    def _book_plans(self, market: Market) -> Iterator[ConnectionPlan]:
        channels, patience = self.profile.channels & {Channel.BOOK, Channel.QUOTES}, self._options.snapshot_timeout
        books = partial(
            BooksSession, self._url, market, channels=channels, contracts=self._contracts, patience=patience
        )
        yield from self._shared_out(f"{market}-books", market, channels, books)

    def _trade_plans(self, market: Market) -> Iterator[ConnectionPlan]:
        trades = partial(TradesSession, self._url, market, contracts=self._contracts)
        yield from self._shared_out(f"{market}-trades", market, self.profile.channels & {Channel.TRADES}, trades)

    def _shared_out(
        self, name: str, market: Market, channels: frozenset[Channel], session: Callable[[tuple[str, ...]], Session]
    ) -> Iterator[ConnectionPlan]:
        """As few connections as the limit of topics allows."""
        parts = share_out(self._of(market, self.pairs), self._options.topics_per_connection) if channels else []
        for number, part in enumerate(parts, 1):
            streams = tuple(Subscription(channel, pair) for pair in part for channel in sorted(channels))
            yield ConnectionPlan(f"{name}-{number}", streams, partial(session, part))

    def _account_plan(self, market: Market, account: Credentials) -> ConnectionPlan:
        streams = tuple(Subscription(channel, account.name) for channel in TOPICS[market])
        options = self._options
        session = partial(
            AccountSession,
            self._url,
            market,
            account,
            self._rest,
            memory=self._memories[market],
            pairs=lambda: self._of(market, self.all_pairs),
            balances=self._balances[market],
            ways=WAYS if options.login == "auto" else (options.login,),
            lifetime=options.session_lifetime,
        )
        return ConnectionPlan(f"{market}-account:{account.name}", streams, session)

    def _balance_poll(self, market: Market, account: Credentials) -> Poll:
        """Each market has a wallet of its own: where both are read, the futures wallet has its own streams."""
        both = len(self._memories) > 1
        subject = f"{account.name}/futures" if both and market is Market.FUTURES else account.name
        read = Rows(subject, self._contracts)

        def ask(now: int) -> Flow[list[Row]]:
            return wallet_rows((yield from self._rest.private(account, market, "/user/wallet", now)))

        return row_poll(
            f"{market}-wallet",
            NAME,
            Subscription(Channel.BALANCES, subject),
            self._options.balances_interval,
            ask=ask,
            read=lambda now: lambda row: [read.balance(row, now)],
        )


def _is_of(market: Market, fill: Fill) -> bool:
    return market_of(fill.pair) is market
