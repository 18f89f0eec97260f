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
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Exchange,
    Flow,
    HttpRequest,
    ListedPair,
    Poll,
    Profile,
    Subscription,
)
from bridge.exchanges.coinbase.messages import NAME
from bridge.exchanges.coinbase.session import CoinbaseSession
from bridge.exchanges.toolkit.clocks import millis_reading
from bridge.exchanges.toolkit.listed_session import ListedMemory
from bridge.exchanges.toolkit.numbers import SECOND, number_or_empty
from bridge.exchanges.toolkit.product_list import Product, ProductList
from bridge.exchanges.toolkit.salvage import UNREADABLE
from bridge.exchanges.toolkit.waiting import seconds_to_wait
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
_PRODUCTS = "/api/v3/brokerage/market/products"
"""The product list, without a log-in. It came with all 920 products at once in August 2026, and is read in pages should
it ever come in parts."""
_MOST_PAGES = 50
_MOST_ASKED = 50
"""Products that one call asks for by name; their names go into its address."""


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
        self._listing = ProductList()
        self._looked_at: int | None = None
        """When the list was asked for all configured pairs."""

    def discover(self, now: int) -> Flow[None]:
        """Read the product list; without it everything is served that the exchange serves, so it is not waited for."""
        if self._has_rest and self.subscriptions():
            try:
                yield from self._read(now)
            except RestError:
                return  # the poll asks again, and says what is wrong

    def remarks(self) -> list[str]:
        return self._listing.remarks(self.profile.pairs)

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
        found = yield from _products()
        return [product.pair for product in found.values()]

    def _read(self, now: int) -> Flow[None]:
        self._listing.learn((yield from _products()), whole=True)
        self._looked_at = now

    def _look(self, now: int) -> Flow[Sequence[Event]]:
        """The whole list while nothing is known; then by name: pairs in trouble at each look, all of them now and then."""
        if self._looked_at is None:
            yield from self._read(now)
            return []
        pairs = list(dict.fromkeys(self._listing.served_as(pair) for pair in self.profile.pairs))
        is_time = abs(now - self._looked_at) > _LIST_EVERY
        asked = pairs if is_time else self._listing.in_trouble(pairs)
        found: dict[str, Product] = {}
        for start in range(0, len(asked), _MOST_ASKED):
            page, _ = yield from _page({"product_ids": asked[start : start + _MOST_ASKED]})
            found.update(page)
        if asked:
            self._listing.learn(found, whole=False)
        self._looked_at = now if is_time else self._looked_at
        return []


class _Product(Struct):
    product_id: str
    base_currency_id: str | None = None
    quote_currency_id: str | None = None
    product_type: str | None = None
    status: str | None = None
    trading_disabled: bool | None = None
    is_disabled: bool | None = None
    cancel_only: bool | None = None
    alias: str | None = None
    price_increment: str | None = None
    quote_increment: str | None = None
    base_increment: str | None = None
    base_min_size: str | None = None


class _Pagination(Struct):
    has_next: bool = False
    next_cursor: str = ""


class _Page(Struct):
    products: list[Raw]
    pagination: _Pagination | None = None


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def _products() -> Flow[dict[str, Product]]:
    """The whole list.

    Raises:
        RestError: no answer, or none that lists anything.
    """
    found: dict[str, Product] = {}
    cursor = ""
    for _ in range(_MOST_PAGES):
        page, following = yield from _page({"cursor": cursor} if cursor else {})
        before = len(found)
        found.update(page)
        if following in ("", cursor) or len(found) == before:
            break
        cursor = following
    if not found:
        raise RestError(NAME, _PRODUCTS, 200, "the answer lists no products")
    return found


def _page(query: dict[str, str | Sequence[str]]) -> Flow[tuple[dict[str, Product], str]]:
    """The products of a page that can be read (one that can't concerns nobody else), and the next one's cursor.

    Raises:
        RestError: no answer, or none that is a product list.
    """
    asked = urlencode(query, doseq=True, quote_via=quote)
    response = yield HttpRequest("GET", f"{_PRODUCTS}?{asked}" if asked else _PRODUCTS)
    if response.status >= 400:
        wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
        raise RestError(NAME, _PRODUCTS, response.status, "no product list", wait)
    try:
        page = _decode_page(response.body)
    except UNREADABLE as error:
        raise RestError(NAME, _PRODUCTS, response.status, f"not a product list: {str(error)[:200]}") from None
    found: dict[str, Product] = {}
    for row in page.products:
        try:
            found.update(_product(_decode_product(row)))
        except UNREADABLE:
            continue
    more = page.pagination
    return found, more.next_cursor if more is not None and more.has_next else ""


def _product(row: _Product) -> dict[str, Product]:
    base, _, currency = row.product_id.rpartition("-")
    flags = ("trading_disabled", "is_disabled", "cancel_only")
    halted = next((name for name in flags if getattr(row, name)), "")
    if row.status not in (None, "", "online"):
        halted = str(row.status)[:40]
    spot = row.product_type in (None, "", "SPOT")
    listed = ListedPair(
        row.product_id,
        row.base_currency_id or base,
        row.quote_currency_id or currency,
        "spot" if spot else "future",
        halted or row.status or "",
        tick_size=number_or_empty(row.price_increment or row.quote_increment or ""),
        lot_size=number_or_empty(row.base_increment or "") if spot else "",  # a future's sizes are contracts
        min_size=number_or_empty(row.base_min_size or "") if spot else "",
    )
    return {row.product_id: Product(listed, halted, row.alias or "")}
