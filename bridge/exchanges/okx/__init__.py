"""OKX's v5 API: spot, and linear perpetuals and dated futures, public and private.

A connection for 25 pairs' market data, one for single trades where they are wanted, one for an account. Books are chained
by numbers, which may begin again at smaller ones: the connector holds them to the chain (`BookRules`).

Sources: the exchange's public documentation and change log up to October 2026, its real traffic of May 2022 (levels,
trades and tickers; the chain of numbers is younger), and what other clients' fixtures and notes show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import partial, reduce
from typing import ClassVar, Literal

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
    Flow,
    ListedPair,
    Profile,
)
from bridge.exchanges.okx.private import PRIVATE, AccountSession, OkxRest, clock, symbol_of
from bridge.exchanges.okx.public import NAME, PublicSession
from bridge.exchanges.toolkit.hosted import HostedExchange
from bridge.exchanges.toolkit.pairs.listing import share_out, streams_of
from bridge.exchanges.toolkit.pairs.names import channels_of, contract_name
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import EXACT, Row, plain
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, number_or_empty
from bridge.model import Channel

__all__ = ["KINDS", "Okx", "OkxOptions"]

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


class Okx(HostedExchange):
    """OKX: all channels, spot and linear."""

    name = NAME
    hosts: ClassVar = {
        f"{region}{demo}": (f"{host}{pap}.okx.com", f"{host}{pap}.okx.com", f"{rest}.okx.com")
        for region, host, rest in (("global", "ws", "openapi"), ("eea", "wseea", "eea"), ("us", "wsus", "us"))
        for demo, pap in (("", ""), (" demo", "pap"))
    }
    """Of each region and its demo. None has a port: 8443 takes no connections since October 2026."""
    list_path = "/api/v5/public/instruments"
    credentials: ClassVar = (API_KEY, API_SECRET, API_PASSPHRASE)
    example_pairs = ("BTC-USDT", "BTC-USDT-PERP")
    url = "wss://ws.okx.com"
    rest_url = "https://openapi.okx.com"
    channels = frozenset(KINDS)
    private_channels = frozenset(channel for channels in PRIVATE.values() for channel in channels)
    Options = OkxOptions
    silence: ClassVar = {Channel.BOOK: 90.0}
    """A quiet book has a message without levels once a minute."""
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.FILLS), MILLISECOND)
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
        self._rest = OkxRest(demo=self._options.demo)
        self._maintenance = Maintenance()
        self._contracts = Contracts({}, lambda pair: pair.count("-") > 1)
        self._unopened: set[str] = set()
        """Pairs before their opening: orders gather, and nothing is traded."""
        self.book = structs.replace(self.book, may_cross=self._unopened.__contains__)
        self._inverse: set[str] = set()

    @property
    def environment(self) -> str:
        options = self.options(OkxOptions)
        return f"{options.region} demo" if options.demo else options.region

    @classmethod
    def close_wait(cls, code: int) -> float | None:
        """The key is what is wrong: the log-in has failed (4001), or it was changed or deleted (4007)."""
        return LONG_WAIT if code in (4001, 4007) else None

    @classmethod
    def by_convention(cls, pair: str) -> tuple[str, str]:
        return "", symbol_of(pair)

    @property
    def needs_list(self) -> bool:
        """Also for an account, and for what is counted in contracts."""
        counted = any(self._contracts.contracts(pair, "1") for pair in self.pairs)
        return super().needs_list or self.profile.account is not None or counted

    def check_pairs(self, listed: Collection[str]) -> None:
        for pair in self.pairs:
            if pair in self._inverse:
                raise UnknownPairError(NAME, pair, [name for name in _linear(pair) if name in listed], _INVERSE)
            if pair.endswith("-USD") and f"{pair}C" in listed and pair not in listed:
                why = f"no pair {pair} at this exchange, which has replaced dollars by USDC in September 2026"
                raise UnknownPairError(NAME, pair, [f"{pair}C"], why)
        super().check_pairs(listed)

    def list_pairs(self) -> Flow[list[ListedPair]]:
        found: list[ListedPair] = []
        for kind in _TYPES:
            rows, _ = yield from self._rest.pages(self.list_path, f"instType={kind}")
            if kind == "SPOT" and not rows:
                raise RestError(NAME, self.list_path, 200, "the list of spot instruments is empty")
            found += [pair for row in rows if (pair := self._listed(kind, row))]
        return found

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
            url = f"{self._private}/ws/v5/private"
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

    def _market_plans(self, address: str, kinds: Mapping[Channel, str]) -> Iterable[ConnectionPlan]:
        env = "2" if self._options.demo else "1"
        served = [pair for pair in self.pairs if channels_of(pair, kinds)]
        most = _MOST_BOOKS if Channel.BOOK in kinds else _MOST_PAIRS
        for number, pairs in enumerate(share_out(served, most), 1):
            symbols = {pair: self._names.symbol(pair)[1] for pair in pairs}
            url = f"{self._public}/ws/v5/{address}"
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
        (self._unopened.add if state == "preopen" else self._unopened.discard)(pair)
        steps = [number_or_empty(row.get(name, "")) for name in ("lotSz", "minSz")]
        lot, least = (_product(step, size) for step in steps) if size else steps
        return ListedPair(
            pair,
            base,
            quote,
            _TYPES[kind],
            "online" if state == "live" else state,
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


def _linear(pair: str) -> list[str]:
    """The linear contracts beside an inverse one."""
    base, _, rest = pair.partition("-")
    contract = rest.partition("-")[2]
    return [f"{base}-{quote}-{contract}" for quote in ("USDT", "USDC")]
