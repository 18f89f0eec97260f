"""One of CCXT's exchanges: its markets, its connections, what is promised of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from bridge.errors import ConfigError, Problem
from bridge.exchanges.api import (
    API_PASSPHRASE,
    BookRules,
    ClockReading,
    ConnectionPlan,
    Credential,
    Exchange,
    Flow,
    ListedPair,
    Profile,
    Subscription,
)
from bridge.exchanges.ccxt.account import Account, AccountSession
from bridge.exchanges.ccxt.calls import Addresses, Call, Settings, Source, calls_for, private_calls
from bridge.exchanges.ccxt.errors import no_address, rest_error
from bridge.exchanges.ccxt.ids import LISTED, PREFIX, Listed
from bridge.exchanges.ccxt.markets import Market, Markets
from bridge.exchanges.ccxt.promises import MAKER_SIDES, ONE_PRIVATE, WITNESSES, promise
from bridge.exchanges.ccxt.readers import Reader
from bridge.exchanges.ccxt.rows import Rows
from bridge.exchanges.ccxt.session import CcxtSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.listing import check_listed
from bridge.exchanges.toolkit.values.numbers import MILLISECOND
from bridge.model import Channel, Event

__all__ = ["INSTALL", "CcxtExchange", "CcxtOptions", "exchange_of"]

INSTALL = "pip install 'tickbridge[ccxt]'"
_FRESH = 60_000_000_000
"""How long (ns) a list of markets is taken again without asking."""
_TOKEN_LASTS = 12 * 3600.0
"""Seconds after which a connection whose address holds a token is replaced; those that are known last a day."""
_CROSSED = 2.0
"""Seconds for which a book may be crossed."""


_MORE = {
    "uid": ("uid", "the user's number"),
    "login": ("login", "the user's name"),
    "account_id": ("accountId", "the account's id"),
}
"""Credentials of a few exchanges: name in the config → CCXT's, and what it is."""
_CCXT_NAMES = {name: ccxt for name, (ccxt, _) in _MORE.items()}


class CcxtOptions(BaseModel):
    """Settings of the exchanges that come through CCXT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int | None = Field(default=None, gt=0)
    """Levels a side of books, as CCXT's ``limit`` (default: CCXT's own for the exchange)."""
    symbols: dict[str, str] = Field(default_factory=dict)
    """Pair → CCXT's symbol, where several markets have the pair's name: ``{BTC-USD-PERP: BTC/USD:BTC}``."""
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Channel → further parameters of CCXT's ``watch…`` method."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """CCXT's own ``options``."""
    sandbox: bool = False
    """Its test system, where CCXT knows one."""
    checksum: bool = True
    """Have CCXT check the checksums of books, where it can."""


class CcxtExchange(Exchange):
    """One of CCXT's exchanges; `exchange_of` makes a class of each id."""

    listed: ClassVar[Listed]
    needs = "ccxt"
    Options = CcxtOptions
    credentials: ClassVar = (
        Credential("api_key", "the API key, or the address of the wallet"),
        Credential("api_secret", "the API secret, or the private key of the wallet"),
        structs.replace(API_PASSPHRASE, required=False),
        *(Credential(name, meaning, required=False) for name, (_, meaning) in _MORE.items()),
    )
    book = BookRules(best=_CROSSED)

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(CcxtOptions)
        self._markets = Markets()
        self._asked_at: int | None = None
        self._tables: dict[str, Any] = {}
        self._parts: list[tuple[str, list[Call]]] = []
        """Address, and the calls that go over it."""
        self._private_parts: list[tuple[str, list[Call]]] = []
        """The account's."""
        self._memory = AccountMemory()
        self._offset = 0

    def check(self) -> None:
        """Look whether CCXT is there, and can do what is asked of it.

        Raises:
            ConfigError: it isn't, or can't.
        """
        codec = self._codec(0)
        needed = [name for name, needed in codec.requiredCredentials.items() if needed and not getattr(codec, name)]
        if self.profile.account is not None and needed:
            ours = {"password": "api_passphrase", **{ccxt: name for name, ccxt in _CCXT_NAMES.items()}}
            named = ", ".join(ours.get(name, name) for name in needed)
            path = f"accounts.{self.profile.account.name}"
            raise ConfigError([Problem(path, f"an account of {self.name} also needs {named}")])

    def discover(self, now: int) -> Flow[None]:
        """Read the markets, and find out which call goes over which connection.

        Raises:
            RestError: no list of markets, or no address.
            UnknownPairError: one of `pairs` isn't listed.
            ConfigError: a pair may be any of several markets.
        """
        yield from self._read(now)
        check_listed(self.name, "fetchMarkets", self.pairs, self._names())
        yield from self._share_out(now)

    def list_pairs(self) -> Flow[list[ListedPair]]:
        yield from self._read(0)
        return [market.listed for markets in self._markets.by_pair.values() for market in markets]

    def remarks(self) -> list[str]:
        quiet = [pair for pair, market in self._wanted().items() if not market.active]
        return [f"{self.name}: CCXT says that {pair} is not traded" for pair in quiet]

    def plan(self) -> list[ConnectionPlan]:
        plans = []
        for number, (url, calls) in enumerate(self._parts, 1):
            reader = self._reader()
            streams = dict.fromkeys(stream for call in calls for stream in reader.streams(call))
            rotate = _TOKEN_LASTS if "token=" in url else None
            plans.append(ConnectionPlan(f"market-{number}", tuple(streams), partial(self._session, calls), rotate))
        for number, (_, calls) in enumerate(self._private_parts, 1):
            account = self._account(calls)
            fed = tuple(Subscription(channel, account.name) for channel in account.channels)
            name = f"account:{account.name}" if number == 1 else f"account-{number}:{account.name}"
            plans.append(ConnectionPlan(name, fed, partial(self._account_session, account, calls)))
        return plans

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        if stream.channel in self.private_channels:
            self._memory.take_up(stream, tail, since)

    def clock(self) -> Flow[ClockReading] | None:
        return self._read_clock() if self._codec(0).has.get("fetchTime") is True else None

    def clock_known(self, offset: int) -> None:
        self._offset = offset

    # Inside

    def _codec(self, now: int) -> Any:
        """A codec with the markets that are known.

        Raises:
            ConfigError: CCXT isn't installed, doesn't know the exchange, or can't do what the options ask for.
        """
        if find_spec("ccxt") is None:
            raise ConfigError([Problem("exchange", f"{self.name} needs CCXT, which is not installed", INSTALL)])
        module = import_module("bridge.exchanges.ccxt.codec")
        options = {"watchOrderBook": {"checksum": self._options.checksum}, **self._options.settings}
        try:
            codec = module.codec_of(self.listed.ident, {"options": options, **self._secrets()})
            if self._options.sandbox:
                codec.set_sandbox_mode(True)
        except KeyError:
            raise ConfigError(
                [Problem("exchange", f"the installed CCXT has no {self.listed.ident}", INSTALL)]
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            raise ConfigError([Problem("options", f"CCXT does not take them: {error}")]) from None
        codec.machine.now = now
        codec.options["timeDifference"] = -self._offset // MILLISECOND
        for name, table in self._tables.items():
            setattr(codec, name, table)
        return codec

    def _read(self, now: int) -> Flow[None]:
        if self._asked_at is not None and 0 <= now - self._asked_at < _FRESH:
            return
        codec = self._codec(now)
        task = codec.machine.start(codec.fetch_markets())
        yield from codec.machine.converse(self._addresses().request)
        try:
            codec.set_markets(task.result.result())
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            raise rest_error(self.name, "fetchMarkets", error, task.status) from None
        module = import_module("bridge.exchanges.ccxt.codec")
        for name in module.MARKET_TABLES:
            _renew(self._tables, name, getattr(codec, name))
        self._markets.learn(codec.markets.values(), codec.precisionMode)
        self._asked_at = now

    def _read_clock(self) -> Flow[ClockReading]:
        codec = self._codec(0)
        task = codec.machine.start(codec.fetch_time())
        yield from codec.machine.converse(self._addresses().request)
        try:
            return ClockReading(int(task.result.result()) * MILLISECOND, MILLISECOND)
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            raise rest_error(self.name, "fetchTime", error, task.status) from None

    def _names(self) -> list[str]:
        return [*self._markets.by_pair, *self._options.symbols]

    def _wanted(self) -> dict[str, Market]:
        """The configured pairs that are listed, with their markets.

        Raises:
            ConfigError: a pair may be any of several.
        """
        return self._found(self.pairs)

    def _found(self, pairs: Sequence[str]) -> dict[str, Market]:
        found = ((pair, self._markets.find(pair, self._options.symbols)) for pair in pairs)
        return {pair: market for pair, market in found if market is not None}

    def _share_out(self, now: int) -> Flow[None]:
        """Start each call once, without sending anything: CCXT says which connection it wants."""
        channels = self.profile.channels & self.channels
        calls = calls_for(self._codec(now), self._wanted().values(), channels)
        self._parts = yield from self._addressed(calls, now)
        private = [private_calls(self.private_channels)] if self.profile.account is not None else []
        self._private_parts = yield from self._addressed(private, now)

    def _addressed(self, parts: Sequence[Sequence[Call]], now: int) -> Flow[list[tuple[str, list[Call]]]]:
        found: list[tuple[str, list[Call]]] = []
        source, codec = self._source(), self._codec(now)
        for calls in parts:
            tasks = [(call, source.start(codec, call)) for call in calls]
            yield from codec.machine.converse(source.addresses.request)
            urls: dict[str, list[Call]] = {}
            lost = [call for call, task in tasks if not (task.url or task.near)]
            for call, task in tasks:
                if url := task.url or task.near:
                    urls.setdefault(url, []).append(call)
            if not urls:
                raise no_address(self.name, [task for _, task in tasks])
            next(iter(urls.values())).extend(lost)  # its session says why they are not served
            found += urls.items()
        return found

    def _source(self) -> Source:
        settings = Settings(self._options.depth, self._options.params)
        return Source(self.name, self._codec, settings, self._addresses())

    def _addresses(self) -> Addresses:
        return Addresses(self.profile.url, self.profile.rest_url, private=self.profile.account is not None)

    def _reader(self) -> Reader:
        pairs = {market.symbol: pair for pair, market in self._wanted().items()}
        return Reader(self.name, self._markets, self._rows(pairs))

    def _rows(self, pairs: Mapping[str, str]) -> Rows:
        return Rows(self._markets, pairs, inverted=self.listed.ident in MAKER_SIDES)

    def _secrets(self) -> dict[str, str]:
        """The account's credentials by CCXT's names."""
        account = self.profile.account
        if account is None:
            return {}
        names = {"apiKey": account.api_key, "secret": account.api_secret, "password": account.passphrase}
        names |= {"walletAddress": account.api_key, "privateKey": account.api_secret}
        return names | {_CCXT_NAMES[name]: value for name, value in account.others.items()}

    def _account(self, calls: Sequence[Call]) -> Account:
        assert self.profile.account is not None
        channels = tuple(dict.fromkeys(call.channel for call in calls))
        rows = self._rows({symbol: pair for pair, symbol in self._options.symbols.items()})
        return Account(self.profile.account.name, rows, channels, self._memory, self._all_symbols)

    def _all_symbols(self) -> dict[str, str]:
        return {market.symbol: pair for pair, market in self._found(self.all_pairs).items()}

    def _account_session(self, account: Account, calls: Sequence[Call]) -> AccountSession:
        reader = Reader(self.name, self._markets, account.rows, account.name)
        return AccountSession(self._source(), calls, reader, account)

    def _session(self, calls: Sequence[Call]) -> CcxtSession:
        witness = WITNESSES.get(self.listed.ident)
        return CcxtSession(self._source(), calls, self._reader(), witness() if witness else None)


@cache
def exchange_of(ident: str) -> type[CcxtExchange]:
    """The class of one of CCXT's ids.

    Raises:
        KeyError: CCXT has no WebSockets of that id.
    """
    listed = LISTED[ident]
    return type(
        f"Ccxt_{ident}",
        (CcxtExchange,),
        {
            "__doc__": f"{ident}, through CCXT.",
            "name": PREFIX + ident,
            "listed": listed,
            "url": f"wss://{listed.host}",
            "rest_url": f"https://{listed.rest_host}",
            "channels": listed.channels,
            "private_channels": listed.private_channels,
            "sends_per_second": min(10.0, 1_000 / listed.apart),
            "request_weight": (max(1, int(10_000 / listed.apart)), 10.0),
            "one_private_connection": ident in ONE_PRIVATE,
            "promise": promise(ident),
            "gaps": "verified" if promise(ident) == "verified" else "unchecked",
            "units": _units(ident, listed),
        },
    )


def _renew(tables: dict[str, Any], name: str, fresh: Any) -> None:
    """Put a newer table in the place of the one that sessions under way have."""
    known = tables.setdefault(name, fresh)
    if isinstance(known, dict):
        known.update(fresh)
    else:
        known[:] = fresh


def _units(ident: str, listed: Listed) -> dict[Channel, str]:
    side = "side corrected: CCXT tells the maker's" if ident in MAKER_SIDES else "side as CCXT reports it"
    words = {
        Channel.TRADES: side,
        Channel.BOOK: f"{promise(ident)}: whether a missing message is noticed",
        Channel.TICKER: "24 hours; CCXT reckons what the exchange does not send",
    }
    return {channel: text for channel, text in words.items() if channel in listed.channels}
