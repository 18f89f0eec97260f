"""Coinbase Advanced Trade: market data, and the account of a key.

A connection carries some pairs: a subscribe message per channel, then envelopes with a ``channel``, a ``sequence_num``
that counts every message of the connection from 0, and ``events``. A hole in the count means that something was lost,
without telling what: a gap of everything on the connection. An account has a connection of its own, to another host.

Sources: the exchange's public documentation (WebSocket overview, channels and rate limits; list of public products;
orders, fills, accounts) and official client, its real public traffic of August 2026, and what users of other clients
reported, where it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import ClassVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field

from bridge.config.units import Duration
from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Credential,
    Exchange,
    Flow,
    ListedPair,
    Poll,
    Profile,
    Subscription,
)
from bridge.exchanges.coinbase.account import PRIVATE, AccountSession
from bridge.exchanges.coinbase.public import NAME, CoinbaseSession
from bridge.exchanges.coinbase.rest import API, CoinbaseMemory, CoinbaseRest, Rows
from bridge.exchanges.toolkit.pairs.product_list import Product, ProductList, ProductWatch
from bridge.exchanges.toolkit.sessions.listed_session import ListedMemory
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import Row, first, nested
from bridge.exchanges.toolkit.values.numbers import id_or_empty, number_or_empty
from bridge.model import Channel, Event

__all__ = ["Coinbase", "CoinbaseOptions", "CoinbaseSession"]

_ACCOUNTS = "wss://advanced-trade-ws-user.coinbase.com"
_MOST_BOOKS = 16
"""Books per connection: reported are 16 that were taken, and 32 refused ("too many L2 streams requested in a single
session"); the documents name no limit."""
_MOST_PAIRS = 100
"""Pairs per connection where no books are wanted; no limit is documented or reported."""
_ATTEMPTS = 10
"""Its sessions count messages, ask for books by themselves where one is missing, ever later, and know when one is late."""
_LOOK_EVERY = 60.0
"""Seconds between two looks at what the product list says of pairs that are unknown or halted."""
_OK = 200
_PRODUCTS = f"{API}/market/products"
"""The product list, without a log-in. It came with all 920 products at once in August 2026, and is read in pages should
it ever come in parts."""
_LEFT = "-INTX"


class CoinbaseOptions(BaseModel):
    """Settings that only this exchange has; durations in seconds, or with a unit (``90s``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portfolio: str = ""
    """The id of the portfolio that the account's key has to be of: of others, a key sees nothing. Empty: any."""
    balances_interval: Duration = Field(default=20.0, ge=5.0)
    """How often balances are asked for, which have no channel; also after each message about an order."""


class Coinbase(Exchange):
    """Coinbase Advanced Trade: trades, full-depth books, quotes and tickers, without a log-in; accounts."""

    name = NAME
    url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = PRIVATE
    Options = CoinbaseOptions
    silence: ClassVar = {Channel.BOOK: 60.0}
    credentials: ClassVar = (
        Credential("api_key", "the name of the API key"),
        Credential("api_secret", "the private key: PEM, base64, or the JSON file"),
    )
    gaps: ClassVar = "verified"
    book = BookRules(attempts=_ATTEMPTS, patience=inf, large=True)
    example_pairs = ("BTC-USD", "ETH-USD")
    sends_per_second = 8
    """Documented: messages without a log-in, per second and address; as many connections."""
    pace = 0.5
    one_private_connection = True
    timed: ClassVar = dict.fromkeys(channels, 1_000)
    units: ClassVar = {
        Channel.TICKER: "24 hours, no open price",
        Channel.QUOTES: "at every match",
        Channel.FILLS: "by REST, after each message about an order",
        Channel.BALANCES: "polled by REST, and after each message about an order",
        Channel.POSITIONS: "US derivatives, polled by REST",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        options = self.options(CoinbaseOptions)
        self._url = profile.url or self.url
        self._has_rest = profile.rest_url is not None or profile.url is None
        """Else REST is another exchange's than the WebSocket."""
        self._listing = ProductList()
        self._contracts = Contracts({}, self._is_future)
        self._rest = CoinbaseRest(profile.account, options.portfolio)
        self._portfolio = ""
        """What kind of portfolio the key is of."""
        self._memory = CoinbaseMemory()

    @property
    def bases(self) -> list[str]:
        own = [self.profile.url] if self.profile.url else [self.url, _ACCOUNTS]
        return [*own, self.rest_base]

    def check(self) -> None:
        """The account's secret is a key, and no pair is one that this API no longer has."""
        if self.profile.account:
            _ = self._rest.key
        if left := [pair for pair in self.profile.pairs if pair.endswith(_LEFT)]:
            words = (
                f"{', '.join(left)}: international derivatives have left this API of Coinbase's, and are not supported"
            )
            raise ConfigError([Problem("pairs", words)])

    def discover(self, now: int) -> Flow[None]:
        """Read the product list; without it everything is served that the exchange serves, so it is not waited for."""
        if self._has_rest and self.subscriptions():
            with suppress(RestError):  # the poll asks again, and says what is wrong
                yield from self._listing.read(self._ask, now)
        if self.profile.account:
            with suppress(RestError):  # the account's connection asks again, and says what is wrong
                self._portfolio = yield from self._rest.check_key(now)

    def remarks(self) -> list[str]:
        account = self.profile.account
        seen = f"account {account.name if account else ''}: its key sees the portfolio {self._rest.portfolio}"
        found = self._listing.remarks(self.profile.pairs)
        return [*found, f"{seen} ({self._portfolio or 'of an unknown kind'})"] if self._rest.portfolio else found

    def unlisted(self) -> list[UnknownPairError]:
        return self._listing.unlisted(NAME, self.profile.pairs)

    def plan(self) -> list[ConnectionPlan]:
        """Pairs in the order of the config, so many on each connection: one more at its end moves no other."""
        pairs, channels = self.profile.pairs, self.profile.channels & self.channels
        most = _MOST_BOOKS if Channel.BOOK in channels else _MOST_PAIRS
        plans: list[ConnectionPlan] = []
        for start in range(0, len(pairs) if channels else 0, most):
            part = pairs[start : start + most]
            streams = tuple(Subscription(channel, pair) for pair in part for channel in sorted(channels))
            session = partial(CoinbaseSession, self._url, part, channels, self._listing, ListedMemory())
            plans.append(ConnectionPlan(f"market-{len(plans) + 1}" if plans else "market", streams, session))
        if account := self.profile.account:
            urls = [self.profile.url] if self.profile.url else [_ACCOUNTS, self.url]
            streams = tuple(Subscription(channel, account.name) for channel in sorted(PRIVATE))
            rows = Rows(account.name, self._memory, self._listing, self._contracts)
            every = self.options(CoinbaseOptions).balances_interval
            make = partial(AccountSession, urls, account.name, self._rest, self._memory, rows, balances_every=every)
            plans.append(ConnectionPlan(f"account:{account.name}", streams, make))
        return plans

    def polls(self) -> list[Poll]:
        """The product list; it feeds no stream, sessions see what has changed."""
        if not self._has_rest or not self.subscriptions():
            return []
        watch = ProductWatch(self._listing, lambda: self.profile.pairs, self._ask)
        return [Poll("products", (), _LOOK_EVERY, partial(_looked, watch))]

    def clock(self) -> Flow[ClockReading]:
        return self._rest.time()

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        self._memory.take_up(stream, tail, since)

    def list_pairs(self) -> Flow[list[ListedPair]]:
        found = yield from self._ask(())
        return [product.pair for product in found.values()]

    def _ask(self, names: Sequence[str]) -> Flow[dict[str, Product]]:
        """The products of these names, or all; one that can't be read concerns nobody else.

        Raises:
            RestError: no answer, or none that is a product list.
        """
        query = urlencode([("product_ids", name) for name in names], quote_via=quote)
        try:
            rows, _ = yield from self._rest.pages(_PRODUCTS, query, name=lambda row: row.get("product_id", ""))
        except RestError as error:
            what = "not a product list" if error.status == _OK else "no product list"
            raise RestError(NAME, _PRODUCTS, error.status, f"{what}: {error.message}", error.retry_after) from None
        found = {row["product_id"]: _product(row) for row in rows if id_or_empty(row.get("product_id", ""))}
        for name, product in found.items():
            self._contracts.learn(name, product.pair.contract_size)
        if not (found or names):
            raise RestError(NAME, _PRODUCTS, _OK, "the answer lists no products")
        return found

    def _is_future(self, pair: str) -> bool:
        listed = self._listing.products.get(pair)
        return listed.pair.kind == "future" if listed else pair.endswith("-CDE")


def _looked(watch: ProductWatch, now: int) -> Flow[Sequence[Event]]:
    yield from watch.look(now)
    return []


def _product(row: Row) -> Product:
    base, _, currency = row["product_id"].rpartition("-")
    flags = ("trading_disabled", "is_disabled", "cancel_only")
    halted = next((name for name in flags if row.get(name) == "true"), "")
    status = row.get("status", "")[:40]
    halted = status if status not in ("", "online") else halted
    spot = row.get("product_type") in (None, "", "SPOT")
    listed = ListedPair(
        row["product_id"],
        row.get("base_currency_id") or base,
        row.get("quote_currency_id") or currency,
        "spot" if spot else "future",
        halted or status,
        tick_size=number_or_empty(first(row, "price_increment", "quote_increment")),
        lot_size=number_or_empty(row.get("base_increment", "")) if spot else "",  # a future's sizes are contracts
        min_size=number_or_empty(row.get("base_min_size", "")) if spot else "",
        contract_size=number_or_empty(nested(row, "future_product_details").get("contract_size", "")),
    )
    return Product(listed, halted, row.get("alias", ""))
