"""Binance: spot (``binance``) and USD-M futures (``binance-usdm``), public and private.

The two share the form of their messages and little else: hosts, limits, and how books are numbered differ. Books begin
with a snapshot by REST, within the weight that the exchange allows an address.

Sources: the exchange's public documentation and official client of 2026, its real traffic of spot of 2021, and what users
of other clients report of the live service.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import RestError
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Flow,
    HttpRequest,
    HttpResponse,
    ListedPair,
    Poll,
    Profile,
    Session,
    Subscription,
)
from bridge.exchanges.binance.private import SpotSession, UsdmSession
from bridge.exchanges.binance.public import MOST_IN_FULL, PublicSession
from bridge.exchanges.binance.rest import SPOT, USDM, BinanceAccount, Market, failure, instant
from bridge.exchanges.toolkit.accounts.event_session import nested_rows
from bridge.exchanges.toolkit.hosted import HostedExchange
from bridge.exchanges.toolkit.options import AS_NUMBER
from bridge.exchanges.toolkit.pairs.listing import listed_pair
from bridge.exchanges.toolkit.pairs.names import channels_of
from bridge.exchanges.toolkit.pairs.topic_plans import topic_plans
from bridge.exchanges.toolkit.rest.rest import asked
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, fields_of
from bridge.model import Channel, Control, ControlEvent, Event, Interest

__all__ = ["Binance", "BinanceOptions", "BinanceUsdm", "BinanceUsdmOptions"]

_MOST_STREAMS = 1_000
"""Of a connection; the exchange takes 1,024."""
_ROTATE = 23 * 3600.0
"""Seconds after which a connection is replaced, or somewhat earlier: the exchange cuts it after 24 hours."""
_BLOCKED = 120.0
"""Seconds to stay away where a handshake was refused, or a connection closed, for too many requests."""
_NEVER = "4133404800000"
"""The day of delivery of what isn't delivered."""
_KINDS = {
    **dict.fromkeys(("PERPETUAL", "TRADIFI_PERPETUAL"), "perpetual"),
    **dict.fromkeys(("CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER"), "future"),
}
"""Type of contract → kind; a contract that is being wound up has ``_DELIVERING`` after it."""
_MICROSECOND, _MILLISECOND = 1_000, 1_000_000
_POLLED = 60.0
"""Seconds between two looks at the open interest."""


class BinanceOptions(BaseModel):
    """Settings of ``binance``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: Annotated[Literal[5, 10, 20, 100, 500, 1000, 5000], AS_NUMBER] = 1000
    """Levels a side of a book's snapshot by REST; up to 20 each message is the whole book, and nothing is fetched."""
    trades: Literal["each", "aggregated"] = "each"
    """Each trade, or all that one order got at one price as one; their ids are two series."""
    environment: Literal["live", "testnet", "demo"] = "live"
    """Which of the exchange's systems: an account's key is of one of them. ``url`` and ``rest_url`` go before it."""


class BinanceUsdmOptions(BinanceOptions):
    """Settings of ``binance-usdm``."""

    depth: Annotated[Literal[5, 10, 20, 100, 500, 1000], AS_NUMBER] = 1000
    """Levels a side of a book's snapshot by REST; up to 20 each message is the whole book, and nothing is fetched."""
    trades: Literal["each", "aggregated"] = "aggregated"
    """All that one order got at one price as one, or each trade, of a stream that the exchange doesn't document."""


class _Binance(HostedExchange):
    """What the two markets share."""

    market: ClassVar[Market]
    Options: ClassVar[type[BinanceOptions]]
    paths: ClassVar[dict[str, frozenset[Channel]]]
    """Path of public streams → the channels that are there; trades that aren't aggregated are with the books."""
    canaries: ClassVar[dict[str, str]] = {}
    """Path → a stream that always speaks there."""
    sends_per_second = 3
    """A connection may send 5, pings and pongs included; more is the end of it, and of others for two minutes."""
    pace = 1.1
    """So that there are fewer than 300 attempts in 5 minutes."""
    gaps: ClassVar = "verified"

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options: BinanceOptions = self.options(self.Options)
        self.book = BookRules() if self._options.depth <= MOST_IN_FULL else BookRules(snapshot="rest")
        self._account: BinanceAccount | None = None
        account, wallet = profile.account, None
        if self.environment == "live":
            wallet = "" if profile.rest_url else Binance.rest_url
        about = (self.market, self._names, self._memory)
        if account:
            self._account = BinanceAccount(account, *about, wallet=wallet, pairs=lambda: self.all_pairs)

    @property
    def environment(self) -> str:
        return self.options(self.Options).environment

    @classmethod
    def by_convention(cls, pair: str) -> tuple[str, str]:
        """``BTCUSDT`` of spot and of the perpetual, ``BTCUSDT_261225``."""
        base, _, rest = pair.partition("-")
        quote, _, contract = rest.partition("-")
        return cls.name, f"{base}{quote}_{contract}" if contract and contract != "PERP" else base + quote

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        return _BLOCKED if status in (403, 418, 429) else None

    @classmethod
    def close_wait(cls, code: int) -> float | None:
        """1008: there were too many messages, or a pong was wrong."""
        return _BLOCKED if code == 1008 else None

    def list_pairs(self) -> Flow[list[ListedPair]]:
        request = HttpRequest("GET", self.list_path, weight=20)
        broken = partial(failure, self.market)
        rows = yield from asked(
            self.name, request, broken, lambda answer: decode_rows(fields_of(answer.body)["symbols"])
        )
        found: list[ListedPair] = []
        for row in rows:
            if pair := _listed(row):
                self._names.learn(self.name, row["symbol"], pair.pair)
                found.append(pair)
        return found

    def plan(self) -> list[ConnectionPlan]:
        plans = [plan for path, channels in self.paths.items() for plan in self._public_plans(path, channels)]
        if self._account and self.profile.account:
            plans.append(self._account_plan(self._account))
        return plans

    def clock(self) -> Flow[ClockReading]:
        return millis_reading(self.name, f"{self.market.api}/time", "serverTime")

    def clock_known(self, offset: int) -> None:
        if self._account:
            self._account.rest.clock_offset = offset

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        if self._account:
            self._account.recall(stream, tail, since)

    def _account_plan(self, account: BinanceAccount) -> ConnectionPlan:
        own = self.private_channels - {stream.channel for poll in self.polls() for stream in poll.streams}
        streams = tuple(Subscription(channel, account.name) for channel in sorted(own))
        return ConnectionPlan(f"account:{account.name}", streams, self._account_session(account), _ROTATE)

    @abstractmethod
    def _account_session(self, account: BinanceAccount) -> Callable[[], Session]:
        """What makes the session of an account's connection."""

    def _public_plans(self, path: str, there: frozenset[Channel]) -> Iterable[ConnectionPlan]:
        options, each = self._options, self._options.trades == "each"
        if len(self.paths) > 1 and each:
            there = there | {Channel.TRADES} if Channel.BOOK in there else there - {Channel.TRADES}
        channels = self.profile.channels & there
        symbols = {pair: self._names.symbol(pair)[1] for pair in self.pairs} if channels else {}

        def topics(pair: str) -> dict[Channel, str]:
            return _streams(symbols[pair], channels_of(pair, channels), options.depth, each=each)

        def session(pairs: Sequence[str], streams: Mapping[str, list[Subscription]]) -> Callable[[], PublicSession]:
            part, canary = {pair: symbols[pair] for pair in pairs}, self.canaries.get(path, "")
            fixed = partial(PublicSession, depth=options.depth, canary=canary, halted=self._halted)
            return partial(fixed, self._public + path, self.market, part, streams)

        name = path.split("/")[1].partition("?")[0]
        return topic_plans(name, list(symbols), topics, session, most=_MOST_STREAMS, rotate=_ROTATE)


class Binance(_Binance):
    """Spot."""

    name = SPOT.name
    market = SPOT
    example_pairs = ("BTC-USDT", "ETH-USDT")
    url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    private_channels = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES})
    Options = BinanceOptions
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    paths: ClassVar = {"/stream?timeUnit=MICROSECOND": channels}
    hosts: ClassVar = {
        "live": ("stream.binance.com:9443", "ws-api.binance.com:443", "api.binance.com"),
        "testnet": ("stream.testnet.binance.vision", "ws-api.testnet.binance.vision", "testnet.binance.vision"),
        "demo": ("demo-stream.binance.com", "demo-ws-api.binance.com", "demo-api.binance.com"),
    }
    list_path = "/api/v3/exchangeInfo?showPermissionSets=false"
    request_weight = (5_400, 60.0)
    """Of 6,000 a minute: the address may have other clients."""
    timed: ClassVar = {Channel.TRADES: _MICROSECOND, Channel.BOOK: _MICROSECOND, Channel.FILLS: _MILLISECOND}
    units: ClassVar = {
        Channel.BOOK: "as many levels a side as options.depth says are sure: those beyond are unknown until they change"
    }

    def _account_session(self, account: BinanceAccount) -> Callable[[], Session]:
        return partial(SpotSession, f"{self._private}/ws-api/v3?returnRateLimits=false", account)


class BinanceUsdm(_Binance):
    """USD-M futures: perpetuals and dated ones."""

    name = USDM.name
    market = USDM
    example_pairs = ("BTC-USDT-PERP", "ETH-USDT-PERP")
    url = "wss://fstream.binance.com"
    rest_url = "https://fapi.binance.com"
    private_channels = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS})
    Options = BinanceUsdmOptions
    channels = Binance.channels | {Channel.MARK, Channel.FUNDING, Channel.INTEREST, Channel.LIQUIDATIONS}
    paths: ClassVar = {
        "/public/stream": frozenset({Channel.BOOK, Channel.QUOTES}),
        "/market/stream": channels - {Channel.BOOK, Channel.QUOTES, Channel.INTEREST},
    }
    hosts: ClassVar = {
        "live": ("fstream.binance.com", "fstream.binance.com", "fapi.binance.com"),
        "testnet": ("fstream.binancefuture.com", "fstream.binancefuture.com", "testnet.binancefuture.com"),
        "demo": ("demo-fstream.binance.com", "demo-fstream.binance.com", "demo-fapi.binance.com"),
    }
    list_path = "/fapi/v1/exchangeInfo"
    canaries: ClassVar = {"/public/stream": "btcusdt@depth5@500ms", "/market/stream": "btcusdt@markPrice@1s"}
    request_weight = (2_200, 60.0)
    """Of 2,400 a minute, together with COIN-M."""
    silence: ClassVar = dict.fromkeys((Channel.BOOK, Channel.TICKER, Channel.MARK), 60.0)
    frozen_book = None
    """Orders of retail price improvement trade, and aren't in the book: it may stand still meanwhile."""
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.FILLS), _MILLISECOND)
    units: ClassVar = {
        **Binance.units,
        Channel.LIQUIDATIONS: "the largest of each second and pair; price is the average of the execution",
        Channel.FUNDING: "interval is empty",
        Channel.INTEREST: "value is empty",
        Channel.BALANCES: "available and reserved are polled; reserved is empty where a profit is available, too",
        Channel.POSITIONS: "mark_price is empty but in fetched positions; unrealised_pnl is that of the position's last change",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._polls = [self._account.wallets()] if self._account else []

    def _account_session(self, account: BinanceAccount) -> Callable[[], Session]:
        return partial(UsdmSession, f"{self._private}/private/ws", account, self._polls[0])

    def polls(self) -> list[Poll]:
        wanted = [stream for stream in self.subscriptions() if stream.subject in self.pairs]
        streams = tuple(stream for stream in wanted if stream.channel is Channel.INTEREST)
        wallets = self._polls if self.profile.account else []
        return [*wallets, *([Poll("interest", streams, _POLLED, self._interest)] if streams else [])]

    def _interest(self, now: int) -> Flow[Sequence[Event]]:
        """``{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}``, asked for of each pair by itself."""
        found: list[Event] = []
        for pair in self.pairs:
            request = HttpRequest("GET", f"/fapi/v1/openInterest?symbol={self._names.symbol(pair)[1]}")

            def read(answer: HttpResponse, pair: str = pair) -> Event:
                [row] = decode_rows(answer.body)
                return checked(Interest(pair, instant(int(row["time"])), now, row["openInterest"], ""))

            try:
                found.append((yield from asked(self.name, request, partial(failure, self.market), read)))
            except RestError as error:
                if error.status != 400:
                    raise
                found.append(Control(pair, None, now, Channel.INTEREST, ControlEvent.DOWN, error.about))
        return found


def _streams(symbol: str, channels: Iterable[Channel], depth: int, *, each: bool) -> dict[Channel, str]:
    """The stream of each channel, in lower case: of another name nothing comes, though it is acknowledged."""
    kinds = {
        Channel.TRADES: "trade" if each else "aggTrade",
        Channel.BOOK: f"depth{depth}@100ms" if depth <= MOST_IN_FULL else "depth@100ms",
        Channel.QUOTES: "bookTicker",
        Channel.TICKER: "ticker",
        **dict.fromkeys((Channel.MARK, Channel.FUNDING), "markPrice@1s"),
        Channel.LIQUIDATIONS: "forceOrder",
    }
    return {channel: f"{symbol.lower()}@{kinds[channel]}" for channel in sorted(channels)}


def _listed(row: Row) -> ListedPair | None:
    """A row of the list; ``None`` for what the config can't name, or isn't served.

    ``{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}``
    ``{"symbol":"BTCUSDT_261225","contractType":"CURRENT_QUARTER","deliveryDate":1798185600000,"status":"TRADING",…}``
    """
    filters = {each.get("filterType", ""): each for each in nested_rows(row, "filters")}
    prices, sizes = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    symbol, coins = row.get("symbol", ""), (row.get("baseAsset", ""), row.get("quoteAsset", ""))
    return listed_pair(
        symbol,
        _kind(row),
        *coins,
        row.get("deliveryDate", ""),
        status="online" if row.get("status") == "TRADING" else row.get("status", ""),
        settle=row.get("marginAsset", ""),
        tick_size=prices.get("tickSize", ""),
        lot_size=sizes.get("stepSize", ""),
        min_size=sizes.get("minQty", ""),
    )


def _kind(row: Row) -> str | None:
    """Spot rows have no type of contract; of some contracts it is empty."""
    contract = row.get("contractType")
    if contract is None:
        return "spot"
    if not contract and row.get("deliveryDate") == _NEVER:
        return "perpetual"
    return _KINDS.get(contract.removesuffix("_DELIVERING"))
