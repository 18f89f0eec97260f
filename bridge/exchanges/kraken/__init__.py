"""Kraken's WebSocket v2 and REST API, spot: public and private.

One connection has all channels of many pairs, another one an account. A book has no numbers: the connector cuts its copy
to the depth that was asked for, as the exchange does without a word, and holds it against the checksum that comes with
every message (`BookRules`).

Sources: its public documentation and official client of 2026, and what users of other clients report. No futures.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.book import RankedBook
from bridge.exchanges.api import (
    BookRules,
    ClockReading,
    ConnectionPlan,
    Decaying,
    Exchange,
    Flow,
    ListedPair,
    Profile,
    Subscription,
)
from bridge.exchanges.kraken.private import CODES, PRIVATE, AccountSession, KrakenRest, currency
from bridge.exchanges.kraken.public import NAME, PublicSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.options import AS_NUMBER
from bridge.exchanges.toolkit.pairs.listing import check_listed, share_out, streams_of
from bridge.exchanges.toolkit.pairs.told_names import ToldNames
from bridge.exchanges.toolkit.rest.secrets import check_base64
from bridge.exchanges.toolkit.timing.clocks import seconds_reading
from bridge.exchanges.toolkit.values.checksums import Decimals
from bridge.exchanges.toolkit.values.fields import Row, plain
from bridge.exchanges.toolkit.values.holes import TradeNumbers
from bridge.exchanges.toolkit.values.numbers import MICROSECOND, number_or_empty
from bridge.model import Channel, Event, Fill, Order, Trade

__all__ = ["Kraken", "KrakenOptions"]

_LIST, _TIME = "/0/public/AssetPairs", "/0/public/Time"
_CHECKED = 10
"""Levels a side that a checksum is of, whatever the depth of the book."""


class KrakenOptions(BaseModel):
    """Settings that only this exchange has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: Annotated[Literal[10, 25, 100, 500, 1000], AS_NUMBER] = 100
    """Levels a side of books."""
    pairs_per_connection: Annotated[int, Field(ge=1, le=1000), AS_NUMBER] = 200
    """Most pairs of one connection; the exchange names no limit."""


class Kraken(Exchange):
    """Kraken: spot; an account's orders, fills and balances."""

    name = NAME
    example_pairs = ("BTC-USD", "ETH-USD")
    url = "wss://ws.kraken.com"
    private_url: ClassVar = "wss://ws-auth.kraken.com"
    rest_url = "https://api.kraken.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = PRIVATE
    Options = KrakenOptions
    ping = 3.0
    dead = 10.0
    pace = 4.0
    request_weight = Decaying((20, 40.0))
    timed: ClassVar = dict.fromkeys((Channel.TRADES, Channel.BOOK, Channel.FILLS), MICROSECOND)
    units: ClassVar = {
        Channel.BOOK: "as many levels a side as options.depth says; of these the best ten are proven by a checksum",
        Channel.TICKER: "there is no open price",
        Channel.BALANCES: "by REST, within seconds of what changes them; margin orders reserve nothing",
    }

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._options = self.options(KrakenOptions)
        self._rest = KrakenRest()
        self._names = ToldNames(currency, CODES)
        self._decimals = Decimals()
        self._trades = TradeNumbers()
        self._memory = AccountMemory()
        self.book = BookRules(snapshot_first=True, depth=self._options.depth, checksum=self._checksum)

    @property
    def bases(self) -> list[str]:
        return [self.profile.url or self.url, self.profile.url or self.private_url, self.rest_base]

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        """After too many attempts (429) an address is shut out for ten minutes; what is refused else won't be allowed soon."""
        return 600.0 if status in (400, 401, 403, 404, 429) else None

    @classmethod
    def close_wait(cls, code: int) -> float | None:
        """After a breach of its policy (1008) the exchange's own clients don't come back at all."""
        return 600.0 if code == 1008 else None

    def check(self) -> None:
        if self.profile.account:
            check_base64(self.profile.account)

    def discover(self, now: int) -> Flow[None]:
        """Read the list of pairs, but where REST is another exchange's than the streams, and no account needs it."""
        del now
        if not self.profile.url or self.profile.rest_url or self.profile.account:
            listed = yield from self.list_pairs()
            check_listed(NAME, _LIST, self.pairs, [pair.pair for pair in listed])

    def list_pairs(self) -> Flow[list[ListedPair]]:
        result = yield from self._rest.get(_LIST)
        found: list[ListedPair] = []
        for row in self._rest.rows(_LIST, result, "name"):
            if pair := _listed(row):
                for name in filter(None, (row["name"], row.get("altname"), row.get("wsname"))):
                    self._names.learn("", name, pair.pair)
                found.append(pair)
        return found

    def plan(self) -> list[ConnectionPlan]:
        channels = self.profile.channels & self.channels
        plans: list[ConnectionPlan] = []
        url = f"{self.profile.url or self.url}/v2"
        parts = share_out(self.pairs, self._options.pairs_per_connection) if channels else []
        for number, pairs in enumerate(parts, 1):
            symbols = {pair: pair.replace("-", "/") for pair in pairs}
            more = (self._decimals, self._trades)
            session = partial(PublicSession, url, symbols, channels, *more, depth=self._options.depth)
            plans.append(ConnectionPlan(f"public-{number}", streams_of(channels, pairs), session))
        if account := self.profile.account:
            url = f"{self.profile.url or self.private_url}/v2"
            log_in = partial(AccountSession, url, account, self._rest, self._names, self._memory)
            plans.append(ConnectionPlan(f"account:{account.name}", streams_of(PRIVATE, [account.name]), log_in))
        return plans

    def clock(self) -> Flow[ClockReading]:
        return seconds_reading(NAME, _TIME, (yield from self._rest.get(_TIME)), "unixtime")

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        self._memory.take_up(stream, tail, since)
        for event in tail:
            if isinstance(event, Trade):
                self._trades.followed(event)
            elif isinstance(event, Order):
                self._names.kept(event.pair, event.order_id)
            elif isinstance(event, Fill):
                self._names.kept(event.pair, event.fill_id, event.order_id)

    def _checksum(self, pair: str, book: RankedBook) -> int:
        """Of ten asks, lowest first, then of ten bids, highest first; of fewer, where there are no more."""
        return self._decimals.crc32(pair, book.asks.top(_CHECKED), book.bids.top(_CHECKED))


def _listed(row: Row) -> ListedPair | None:
    """A pair; its name is that of the first version's WebSocket, or follows from its currencies: ``None`` without either.

    ``"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,"status":"online"}``
    """
    base, _, quote = row.get("wsname", "").partition("/")
    base, quote = currency(base or row.get("base", "")), currency(quote or row.get("quote", ""))
    if not (base.isalnum() and quote.isalnum()):
        return None
    places = row.get("lot_decimals", "")
    lot = plain(Decimal(1).scaleb(-int(places))) if places.isdecimal() and len(places) == 1 else ""
    ticks, least = (number_or_empty(row.get(name, "")) for name in ("tick_size", "ordermin"))
    return ListedPair(f"{base}-{quote}".upper(), base, quote, "spot", row.get("status", ""), "", ticks, lot, least)
