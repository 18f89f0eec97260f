"""OKX's v5 API: spot, and linear perpetuals and dated futures, public and private.

A connection for 25 pairs' market data, one for single trades where they are wanted, one for an account. Books are chained
by numbers, which may begin again at smaller ones: the connector holds them to the chain (`BookRules`).

Sources: the exchange's public documentation and change log up to October 2026, its real traffic of May 2022 (levels,
trades and tickers; the chain of numbers is younger), and what other clients' fixtures and notes show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial, reduce
from typing import ClassVar, Literal, Self

from msgspec import structs
from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import (
    API_KEY,
    API_PASSPHRASE,
    API_SECRET,
    BookRules,
    ClockReading,
    ConnectionPlan,
    Exchange,
    Flow,
    ListedPair,
    Profile,
    Subscription,
)
from bridge.exchanges.okx.private import PRIVATE, AccountSession, OkxRest, clock
from bridge.exchanges.okx.public import NAME, PublicSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.listing import check_listed, share_out, streams_of
from bridge.exchanges.toolkit.pairs.names import Names, channels_of, contract_name
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import EXACT, Row, plain
from bridge.exchanges.toolkit.values.numbers import number_or_empty
from bridge.model import Channel, Event

__all__ = ["KINDS", "Okx", "OkxOptions"]

_HOSTS = {
    "global": ("ws.okx.com", "wspap.okx.com", "openapi.okx.com"),
    "eea": ("wseea.okx.com", "wseeapap.okx.com", "eea.okx.com"),
    "us": ("wsus.okx.com", "wsuspap.okx.com", "us.okx.com"),
}
"""Region → hosts of WebSockets, of the demo's, of REST. None has a port: 8443 takes no connections since October 2026."""
KINDS = {
    Channel.TRADES: "trades",
    Channel.BOOK: "books",
    Channel.QUOTES: "bbo-tbt",
    Channel.TICKER: "tickers",
    Channel.FUNDING: "funding-rate",
    Channel.MARK: "mark-price",
    Channel.INTEREST: "open-interest",
    Channel.LIQUIDATIONS: "liquidation-orders",
}
"""Channel → the exchange's."""
_MILLISECOND = 1_000_000
_LIST = "/api/v5/public/instruments"
_TYPES = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future"}
_MOST_BOOKS = 25
"""Pairs of a connection with books; the exchange advises less than 30."""
_MOST_PAIRS = 100
_DIGITS = 13
"""Of a time in milliseconds, until the year 2286."""
_INVERSE = "is an inverse contract, which is not served: its size is a number of dollars and no exact number of coins"


class OkxOptions(BaseModel):
    """Settings that only this exchange has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Literal["global", "eea", "us"] = "global"
    """Where the account is registered: ``eea`` (my.okx.com), ``us`` (app.okx.com; Australia, too). A key is of one region.
    ``url`` and ``rest_url`` go before it."""
    demo: bool = False
    """Whether to use demo trading, which has keys of its own."""
    trades: Literal["aggregated", "all"] = "aggregated"
    """``aggregated``: trades of one order at one price come as one; ``all``: each by itself, over a connection more."""


class Okx(Exchange):
    """OKX: all channels, spot and linear."""

    name = NAME
    credentials: ClassVar = (API_KEY, API_SECRET, API_PASSPHRASE)
    example_pairs = ("BTC-USDT", "BTC-USDT-PERP")
    url = "wss://ws.okx.com"
    rest_url = "https://openapi.okx.com"
    channels = frozenset(KINDS)
    private_channels = frozenset(channel for channels in PRIVATE.values() for channel in channels)
    Options = OkxOptions
    silence: ClassVar = {Channel.BOOK: 90.0}
    """A quiet book has a message without levels once a minute."""
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.FILLS), _MILLISECOND)
    book = BookRules(snapshot_first=True, restarts=True)
    gaps: ClassVar = "verified"
    pace: ClassVar = 0.4
    """Three connections a second from one address."""
    request_weight: ClassVar = (10, 2.0)
    """The least of the limits of the calls that are made; each has its own."""
    units: ClassVar = {
        Channel.TRADES: "trades of one taker's order at one price as one, with the id of the last, unless options.trades is all",
        Channel.BOOK: "400 levels a side",
        Channel.INTEREST: "value is empty",
        Channel.LIQUIDATIONS: "not all of them; price is that of the exchange's own account taking the position over",
        Channel.TICKER: "change_pct is rounded to four decimals",
        Channel.ORDERS: "size is empty where an order to buy is for an amount of money, and for inverse contracts",
        Channel.FILLS: "size is empty for inverse contracts",
        Channel.BALANCES: "reserved has margin, too",
        Channel.POSITIONS: "cross and isolated summed; mark_price and unrealised_pnl are those of the last change",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(OkxOptions)
        live, demo, rest = _HOSTS[self._options.region]
        self._base = profile.url or f"wss://{demo if self._options.demo else live}"
        self._rest_base = profile.rest_url or f"https://{rest}"
        self._rest = OkxRest(demo=self._options.demo)
        self._maintenance = Maintenance()
        self._memory = AccountMemory()
        self._contracts = Contracts({}, lambda pair: pair.count("-") > 1)
        self._status: dict[str, str] = {}
        """Pair → the exchange's word for why it isn't traded."""
        self.book = structs.replace(self.book, may_cross=lambda pair: self._status.get(pair) == "preopen")
        self._inverse: set[str] = set()
        self._names = Names()
        self._name(profile.pairs)

    @property
    def rest_base(self) -> str:
        return self._rest_base

    @property
    def bases(self) -> list[str]:
        return [self._base, self._rest_base]

    def beside(self, pairs: Sequence[str]) -> Self:
        self._name(pairs)
        return super().beside(pairs)

    def discover(self, now: int) -> Flow[None]:
        """Read the lists of instruments; not for spot pairs of streams that are another exchange's than REST."""
        del now
        profile = self.profile
        if profile.url and not profile.rest_url and not profile.account and not any(map(self._counted, self.pairs)):
            return
        listed = [pair.pair for pair in (yield from self.list_pairs())]
        for pair in self.pairs:
            if pair in self._inverse:
                raise UnknownPairError(NAME, pair, [name for name in _linear(pair) if name in listed], _INVERSE)
            if pair.endswith("-USD") and f"{pair}C" in listed and pair not in listed:
                why = f"no pair {pair} at this exchange, which has replaced dollars by USDC in September 2026"
                raise UnknownPairError(NAME, pair, [f"{pair}C"], why)
        check_listed(NAME, _LIST, self.pairs, listed)

    def list_pairs(self) -> Flow[list[ListedPair]]:
        found: list[ListedPair] = []
        for kind in _TYPES:
            rows, _ = yield from self._rest.pages(_LIST, f"instType={kind}")
            if kind == "SPOT" and not rows:
                raise RestError(NAME, _LIST, 200, "the list of spot instruments is empty")
            found += [pair for row in rows if (pair := self._listed(kind, row))]
        return found

    def remarks(self) -> list[str]:
        return [f"{pair} is not traded at present: {why}" for pair in self.pairs if (why := self._status.get(pair))]

    def subscriptions(self) -> list[Subscription]:
        """Of a pair only what its kind has."""
        streams = super().subscriptions()
        return [one for one in streams if one.channel not in KINDS or channels_of(one.subject, [one.channel])]

    def plan(self) -> list[ConnectionPlan]:
        kinds = {channel: KINDS[channel] for channel in sorted(self.profile.channels & self.channels)}
        business: dict[Channel, str] = {}
        if self._options.trades == "all" and Channel.TRADES in kinds:
            del kinds[Channel.TRADES]
            business[Channel.TRADES] = "trades-all"
        plans = [*self._market_plans("public", kinds), *self._market_plans("business", business)]
        account = self.profile.account
        if account:
            streams = streams_of(self.private_channels, [account.name])
            url = f"{self._base}/ws/v5/private"
            log_in = partial(
                AccountSession,
                url,
                account,
                rest=self._rest,
                names=self._names,
                contracts=self._contracts,
                memory=self._memory,
                maintenance=self._maintenance,
            )
            plans.append(ConnectionPlan(f"account:{account.name}", streams, log_in))
        return plans

    def clock(self) -> Flow[ClockReading]:
        return clock()

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = self._maintenance.clock_offset = offset

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        self._memory.take_up(stream, tail, since)

    def _market_plans(self, address: str, kinds: Mapping[Channel, str]) -> Iterable[ConnectionPlan]:
        env = "2" if self._options.demo else "1"
        served = [pair for pair in self.pairs if channels_of(pair, kinds)]
        most = _MOST_BOOKS if Channel.BOOK in kinds else _MOST_PAIRS
        for number, pairs in enumerate(share_out(served, most), 1):
            symbols = {pair: self._names.symbol(pair)[1] for pair in pairs}
            url = f"{self._base}/ws/v5/{address}"
            session = partial(
                PublicSession,
                url,
                symbols,
                kinds,
                maintenance=self._maintenance,
                contracts=self._contracts,
                status=env if address == "public" else "",
            )
            streams = [stream for pair in pairs for stream in streams_of(channels_of(pair, kinds), [pair])]
            yield ConnectionPlan(f"{address}-{number}", tuple(streams), session)

    def _name(self, pairs: Sequence[str]) -> None:
        for pair in pairs:
            self._names.suppose("", _symbol(pair), pair)

    def _counted(self, pair: str) -> bool:
        return bool(self._contracts.contracts(pair, "1"))

    def _listed(self, kind: str, row: Row) -> ListedPair | None:
        """Named by coins and kind: of derivatives the list has only their family. ``None`` for what isn't served.

        ``{"instType":"SWAP","instId":"BTC-USDT-SWAP","instFamily":"BTC-USDT","baseCcy":"","quoteCcy":"","settleCcy":"USDT",
        "ctVal":"0.01","ctMult":"1","ctValCcy":"BTC","ctType":"linear","expTime":"","state":"live"}``
        """
        symbol, state = row.get("instId", ""), row.get("state", "")
        base, _, quote = (symbol if kind == "SPOT" else row.get("instFamily", "")).partition("-")
        if not (base.isalnum() and quote.isalnum() and symbol.startswith(f"{base}-{quote}")) or state == "test":
            return None
        pair, size, delivery = contract_name(base, quote) if kind == "SWAP" else symbol, "", row.get("expTime", "")
        if kind != "SPOT":
            self._names.learn("", symbol, pair)
            if row.get("ctType") != "linear" or row.get("ctValCcy") != base:
                self._inverse.add(pair)
                return None
            size = _product(row.get("ctVal", ""), row.get("ctMult", ""))
            self._contracts.learn(pair, size)
            if pair not in self._contracts:
                return None
        self._names.learn("", symbol, pair)
        self._status[pair] = "" if state == "live" else state
        steps = [number_or_empty(row.get(name, "")) for name in ("lotSz", "minSz")]
        lot, least = (_product(step, size) for step in steps) if size else steps
        return ListedPair(
            pair,
            base,
            quote,
            _TYPES[kind],
            self._status[pair] or "online",
            settle=row.get("settleCcy", ""),
            tick_size=number_or_empty(row.get("tickSz", "")),
            lot_size=lot,
            min_size=least,
            contract_size=size,
            expiry=f"{delivery}000000" if delivery.isdecimal() and len(delivery) == _DIGITS else "",
        )


def _product(*factors: str) -> str:
    """The exact product of numbers; empty, if one is none."""
    if not all(map(number_or_empty, factors)):
        return ""
    return plain(reduce(EXACT.multiply, map(Decimal, factors)))


def _symbol(pair: str) -> str:
    """The exchange's name of a pair, where no list says it."""
    return f"{pair.removesuffix('-PERP')}-SWAP" if pair.endswith("-PERP") else pair


def _linear(pair: str) -> list[str]:
    """The linear contracts beside an inverse one."""
    base, _, rest = pair.partition("-")
    contract = rest.partition("-")[2]
    return [f"{base}-{quote}-{contract}" for quote in ("USDT", "USDC")]
