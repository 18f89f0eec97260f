"""Bybit's v5 API: spot, and linear perpetuals and dated futures, public and private.

One connection for each category's market data (more where there are many pairs), one for an account. Books count their
deltas: the connector holds them to that (`BookRules`).

Sources: the exchange's public documentation and official client, its real traffic of August 2026, and what users of
other clients report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import RestError
from bridge.exchanges.base import Exchange
from bridge.exchanges.bybit.private import PRIVATE, AccountSession, BybitRest, Memory
from bridge.exchanges.bybit.public import NAME, PublicSession
from bridge.exchanges.clocks import millis_reading
from bridge.exchanges.fields import Row
from bridge.exchanges.http import Flow
from bridge.exchanges.listing import ListedPair, check_listed, share_out
from bridge.exchanges.plans import ClockReading, ConnectionPlan, Profile
from bridge.exchanges.rules import BookRules
from bridge.exchanges.session import Session, Subscription
from bridge.model import Channel, Event, Order

__all__ = ["Bybit", "BybitOptions"]

_HOSTS = {
    "live": ("stream.bybit.com", "stream.bybit.com", "api.bybit.com"),
    "testnet": ("stream-testnet.bybit.com", "stream-testnet.bybit.com", "api-testnet.bybit.com"),
    "demo": ("stream.bybit.com", "stream-demo.bybit.com", "api-demo.bybit.com"),
}
"""Environment → hosts of public streams, of private ones, of REST; the demo's market data is the live one."""
_LIST = "/v5/market/instruments-info"
_PAIRS_PER_CONNECTION = 300
"""With four topics each: a connection takes 21,000 characters of topics."""
_BLOCKED = 600.0
"""Seconds; after HTTP 403 the exchange lets nobody from here in for ten minutes."""
_ARGS = {"spot": 10, "linear": 20}
"""Topics per request; of spot the exchange takes no more."""


class BybitOptions(BaseModel):
    """Settings that only this exchange has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: Literal[1, 50, 200, 1000] = 200
    """Levels a side of books: deltas come every 20, 100 and 200 ms; of a single level all is told, every 10 ms."""
    environment: Literal["live", "testnet", "demo"] = "live"
    """Which of the exchange's systems: an account's key is of one of them. ``url`` and ``rest_url`` go before it."""


class Bybit(Exchange):
    """Bybit: all channels, spot and linear."""

    name = NAME
    example_pairs = ("BTC-USDT", "BTC-USDT-PERP")
    url = "wss://stream.bybit.com"
    rest_url = "https://api.bybit.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = frozenset(PRIVATE.values())
    Options = BybitOptions
    silence: ClassVar = {Channel.BOOK: 45.0}
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.FILLS), 1_000_000)
    book = BookRules()
    gaps: ClassVar = "verified"
    units: ClassVar = {
        Channel.BOOK: "as many levels a side as options.depth says",
        Channel.BALANCES: "available is empty where margin or a loan is held in a currency",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(BybitOptions)
        public, private, _ = _HOSTS[self._options.environment]
        self._public, self._private = (profile.url or f"wss://{host}" for host in (public, private))
        self._rest = BybitRest()
        self._symbols: dict[str, tuple[str, str]] = {}
        """Pair → category and symbol."""
        self._pairs: dict[tuple[str, str], str] = {}
        """Category and symbol → pair."""
        self._memory = Memory()
        self._learn([(*_by_convention(pair), pair) for pair in profile.pairs])

    @property
    def rest_base(self) -> str:
        return self.profile.rest_url or f"https://{_HOSTS[self._options.environment][2]}"

    @property
    def bases(self) -> list[str]:
        return list(dict.fromkeys([self._public, self._private, self.rest_base]))

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        return _BLOCKED if status == 403 else None

    def discover(self, now: int) -> Flow[None]:
        """Read the list of instruments; where REST is another exchange's than the streams, names go by convention."""
        if self.profile.url and not self.profile.rest_url:
            return
        listed = yield from self._instruments(now)
        check_listed(NAME, _LIST, self.pairs, [pair.pair for _, _, pair in listed])

    def list_pairs(self) -> Flow[list[ListedPair]]:
        listed = yield from self._instruments(0)
        return [pair for _, _, pair in listed]

    def plan(self) -> list[ConnectionPlan]:
        channels = self.profile.channels & self.channels
        plans: list[ConnectionPlan] = []
        for category in _ARGS if channels else ():
            pairs = [pair for pair in self.pairs if self._symbols[pair][0] == category]
            for number, part in enumerate(share_out(pairs, _PAIRS_PER_CONNECTION), 1):
                streams = tuple(Subscription(channel, pair) for pair in part for channel in sorted(channels))
                session = partial(self._market_session, category, part, channels)
                plans.append(ConnectionPlan(f"{category}-{number}", streams, session))
        account = self.profile.account
        if account:
            streams = tuple(Subscription(channel, account.name) for channel in sorted(self.private_channels))
            url = f"{self._private}/v5/private"
            log_in = partial(AccountSession, url, account, self._rest, self._pairs, self._memory)
            plans.append(ConnectionPlan(f"account:{account.name}", streams, log_in))
        return plans

    def clock(self) -> Flow[ClockReading]:
        """``{"retCode":0,"result":{"timeSecond":"1688639403"},"time":1688639403423}``"""  # noqa: D415
        return millis_reading(NAME, "/v5/market/time", "time")

    def clock_known(self, offset: int) -> None:
        self._rest.clock_offset = offset

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """Fills go on where their stream ends, and orders that were open may have ended meanwhile."""
        if stream.channel is Channel.FILLS:
            self._memory.recall(tail, since)
        for event in tail:
            if isinstance(event, Order):
                self._memory.learn(event)

    def _market_session(self, category: str, pairs: Sequence[str], channels: frozenset[Channel]) -> Session:
        symbols = {pair: self._symbols[pair][1] for pair in pairs}
        url = f"{self._public}/v5/public/{category}"
        return PublicSession(url, symbols, channels, depth=self._options.depth, most=_ARGS[category])

    def _instruments(self, now: int) -> Flow[list[tuple[str, str, ListedPair]]]:
        """Category, symbol and pair of all that is traded.

        Raises:
            RestError: REST is away, or lists nothing.
        """
        found: list[tuple[str, str, ListedPair]] = []
        for category in _ARGS:
            rows = yield from self._rest.pages(_LIST, f"category={category}&status=Trading&limit=1000", now)
            found += [(category, row["symbol"], pair) for row in rows if (pair := _listed(category, row))]
        if not found:
            raise RestError(NAME, _LIST, 200, "the answer lists no instruments")
        self._learn([(category, symbol, pair.pair) for category, symbol, pair in found])
        return found

    def _learn(self, names: Sequence[tuple[str, str, str]]) -> None:
        for category, symbol, pair in names:
            self._symbols[pair] = (category, symbol)
            self._pairs[category, symbol] = pair


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
    """Named by coins and kind, never by the symbol: ``BTCPERP`` is ``BTC-USDC-PERP``; ``None`` for what isn't served.

    Spot ``BTC-USDT``; perpetuals ``BTC-USDT-PERP``; dated by the day of delivery, ``BTC-USDT-261225``.
    """
    base, quote, symbol = row.get("baseCoin", ""), row.get("quoteCoin", ""), row.get("symbol", "")
    if not (base.isalnum() and quote.isalnum() and symbol.isascii() and symbol):
        return None
    kind, name = "spot", f"{base}-{quote}"
    if category == "linear":
        if row.get("contractType") == "LinearPerpetual":
            kind, name = "perpetual", f"{name}-PERP"
        elif row.get("contractType") == "LinearFutures" and row.get("deliveryTime", "").isdecimal():
            day = datetime.fromtimestamp(int(row["deliveryTime"][:15]) / 1000, UTC)
            kind, name = "future", f"{name}-{day:%y%m%d}"
        else:
            return None
    status = "online" if row.get("status") == "Trading" else row.get("status", "")
    return ListedPair(name.upper(), base, quote, kind, status)
