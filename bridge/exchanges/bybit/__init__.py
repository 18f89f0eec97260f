"""Bybit's v5 API: spot, and linear perpetuals and dated futures, public and private.

One connection for each category's market data (more where there are many pairs), one for an account. Books count their
deltas: the connector holds them to that (`BookRules`).

Sources: the exchange's public documentation and official client, its real traffic of August 2026, and what users of
other clients report.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import RestError
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Flow,
    ListedPair,
    Profile,
)
from bridge.exchanges.bybit.private import PRIVATE, AccountSession, BybitRest
from bridge.exchanges.bybit.public import CHANNELS, NAME, PublicSession, topics_of
from bridge.exchanges.toolkit.hosted import HostedExchange
from bridge.exchanges.toolkit.options import AS_NUMBER
from bridge.exchanges.toolkit.pairs.listing import listed_pair, share_out, streams_of
from bridge.exchanges.toolkit.pairs.names import channels_of
from bridge.exchanges.toolkit.values.fields import Row, first, nested
from bridge.exchanges.toolkit.values.numbers import MILLISECOND
from bridge.model import Channel

__all__ = ["Bybit", "BybitOptions"]

_MOST_TEXT = 20_000
"""Bytes of all topics of a connection, with quotes and commas; the exchange takes 21,000."""
_BLOCKED = 600.0
"""Seconds; after HTTP 403 the exchange lets nobody from here in for ten minutes."""
_ARGS = {"spot": 10, "linear": 20}
"""Topics per request; of spot the exchange takes no more."""


class BybitOptions(BaseModel):
    """Settings that only this exchange has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: Annotated[Literal[1, 50, 200, 1000], AS_NUMBER] = 200
    """Levels a side of books: the more, the rarer the deltas (every 20, 100, 200 ms; a single level every 10 ms)."""
    environment: Literal["live", "testnet", "demo"] = "live"
    """Which of the exchange's systems: an account's key is of one of them. ``url`` and ``rest_url`` go before it."""


class Bybit(HostedExchange):
    """Bybit: all channels, spot and linear."""

    name = NAME
    hosts: ClassVar = {
        "live": ("stream.bybit.com", "stream.bybit.com", "api.bybit.com"),
        "testnet": ("stream-testnet.bybit.com", "stream-testnet.bybit.com", "api-testnet.bybit.com"),
        "demo": ("stream.bybit.com", "stream-demo.bybit.com", "api-demo.bybit.com"),
    }
    """The demo's market data is the live one."""
    list_path = "/v5/market/instruments-info"
    example_pairs = ("BTC-USDT", "BTC-USDT-PERP")
    url = "wss://stream.bybit.com"
    rest_url = "https://api.bybit.com"
    channels = CHANNELS
    private_channels = frozenset(PRIVATE.values())
    Options = BybitOptions
    silence: ClassVar = {Channel.BOOK: 45.0}
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.FILLS), MILLISECOND)
    book = BookRules()
    gaps: ClassVar = "verified"
    units: ClassVar = {
        Channel.BOOK: "as many levels a side as options.depth says",
        Channel.LIQUIDATIONS: "at most every 500 ms; price is the position's bankruptcy price",
        Channel.BALANCES: "available is empty where margin or a loan is held in a currency",
        Channel.POSITIONS: "mark_price and unrealised_pnl are those of the position's last change",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(BybitOptions)
        self._rest = BybitRest()

    @property
    def environment(self) -> str:
        return self.options(BybitOptions).environment

    @classmethod
    def by_convention(cls, pair: str) -> tuple[str, str]:
        return _by_convention(pair)

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        return _BLOCKED if status == 403 else None

    def list_pairs(self) -> Flow[list[ListedPair]]:
        found: list[ListedPair] = []
        for category in _ARGS:
            rows, whole = yield from self._rest.pages(self.list_path, f"category={category}&status=Trading&limit=1000")
            if not (rows and whole):
                raise RestError(
                    NAME, self.list_path, 200, f"the list of {category} instruments is {'endless' if rows else 'empty'}"
                )
            for row in rows:
                if pair := _listed(category, row):
                    self._names.learn(category, row["symbol"], pair.pair)
                    found.append(pair)
        return found

    def plan(self) -> list[ConnectionPlan]:
        plans = [plan for category in _ARGS for plan in self._market_plans(category)]
        account = self.profile.account
        if account:
            streams = streams_of(self.private_channels, [account.name])
            url = f"{self._private}/v5/private"
            log_in = partial(AccountSession, url, account, self._rest, self._names, self._memory)
            plans.append(ConnectionPlan(f"account:{account.name}", streams, log_in))
        return plans

    def clock(self) -> Flow[ClockReading]:
        return ClockReading((yield from self._rest.time()), MILLISECOND)

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def _market_plans(self, category: str) -> Iterable[ConnectionPlan]:
        """As few connections as the length of their topics allows."""
        channels, depth = self.profile.channels & self.channels, self._options.depth
        symbols = {
            pair: symbol
            for pair in self.pairs
            for kind, symbol in [self._names.symbol(pair)]
            if kind == category and channels_of(pair, channels)
        }
        url = f"{self._public}/v5/public/{category}"

        def topics(pair: str) -> list[str]:
            found = topics_of(symbols[pair], channels_of(pair, channels), depth)
            return list(dict.fromkeys(found.values()))

        for number, pairs in enumerate(share_out(list(symbols), topics=topics, most_bytes=_MOST_TEXT), 1):
            part = {pair: symbols[pair] for pair in pairs}
            session = partial(PublicSession, url, part, channels, depth=depth, most=_ARGS[category])
            streams = [stream for pair in pairs for stream in streams_of(channels_of(pair, channels), [pair])]
            yield ConnectionPlan(f"{category}-{number}", tuple(streams), session)


def _by_convention(pair: str) -> tuple[str, str]:
    """Category and symbol of a pair, where no list says them."""
    base, _, rest = pair.partition("-")
    quote, _, contract = rest.partition("-")
    if not contract:
        return "spot", base + quote
    if contract == "PERP":
        return "linear", f"{base}PERP" if quote == "USDC" else base + quote
    try:
        day = datetime.strptime(contract, "%y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return "linear", pair
    return "linear", f"{base}{quote}-{day:%d%b%y}".upper()


def _listed(category: str, row: Row) -> ListedPair | None:
    """A row of a category's list; ``None`` for what isn't served."""
    kinds = {"spot": "spot", "LinearPerpetual": "perpetual", "LinearFutures": "future"}
    prices, sizes = nested(row, "priceFilter"), nested(row, "lotSizeFilter")
    symbol, coins = row.get("symbol", ""), (row.get("baseCoin", ""), row.get("quoteCoin", ""))
    return listed_pair(
        symbol,
        kinds.get(category if category == "spot" else row.get("contractType", "")),
        *coins,
        row.get("deliveryTime", ""),
        status="online" if row.get("status") == "Trading" else row.get("status", ""),
        settle=row.get("settleCoin", ""),
        tick_size=prices.get("tickSize", ""),
        lot_size=first(sizes, "qtyStep", "basePrecision"),
        min_size=sizes.get("minOrderQty", ""),
    )
