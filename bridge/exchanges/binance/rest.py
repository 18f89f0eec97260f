"""Binance by REST: the markets, what is wrong with an answer, and the signed calls of an account."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, HttpResponse, Poll, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.rest.row_polls import row_poll
from bridge.exchanges.toolkit.rest.signed_queries import SignedQueries
from bridge.exchanges.toolkit.sessions.coded_errors import coded_failure
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import NESTED, Row, difference
from bridge.exchanges.toolkit.values.numbers import check_words, epoch_ns
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["KEY_REFUSED", "SPOT", "USDM", "WINDOW", "BinanceAccount", "Market", "failure", "instant", "time_of"]

_MICROSECOND, _MILLISECOND = 1_000, 1_000_000
_IN_MICROSECONDS = 10**14
"""From here on a time is in microseconds: as milliseconds it would be of the year 5138, below it one of 1973."""
KEY_REFUSED = {
    -1002: "the key lacks the permission",
    -1022: "the secret is not the key's",
    -2014: "this is no key of the exchange's",
    -2015: "the key is unknown, is not allowed from this address, or lacks the permission",
    -4109: "the account is not active",
}
"""Codes by which a key is refused."""
_TOO_MANY = -1003
WINDOW = 10_000
"""Milliseconds for which a signature counts."""
_LATE = -1021
_POLLED = 30.0
"""Seconds between two looks at the wallets of futures, where nothing is known to have changed them."""


class Market(Struct, frozen=True):
    """What differs between the markets; ``weights`` are those of a book by REST: up to so many levels, so much."""

    name: str
    api: str
    chained: bool
    """Whether a delta names the one before it (``pu``); else its numbers follow those of the one before."""
    weights: tuple[tuple[int, int], ...]


SPOT = Market("binance", "/api/v3", chained=False, weights=((100, 5), (500, 25), (1000, 50), (5000, 250)))
USDM = Market("binance-usdm", "/fapi/v1", chained=True, weights=((50, 2), (100, 5), (500, 10), (1000, 20)))


def instant(count: int) -> int:
    """A time of the exchange's in nanoseconds.

    Spot tells microseconds where it is asked to; futures, REST and older recordings milliseconds. No time of this
    century can be taken for one in the other unit.

    Raises:
        ValueError: it is no time.
    """
    return epoch_ns(count, _MICROSECOND if count >= _IN_MICROSECONDS else _MILLISECOND)


def failure(market: Market, path: str, response: HttpResponse) -> RestError | None:
    """What is wrong with an answer by REST."""
    return coded_failure(market.name, path, response, of_key=KEY_REFUSED, too_many=_TOO_MANY)


class BinanceAccount:
    """What the successive sessions of one account share."""

    def __init__(self, market: Market, account: Credentials, names: Names, memory: AccountMemory) -> None:
        self.market = market
        self.name = account.name
        self.names = names
        self.memory = memory
        self.symbols: dict[str, None] = {}
        """Those whose fills are asked for: the configured ones, and those that the account was seen with."""
        self.rest = SignedQueries(
            market.name,
            account,
            header="X-MBX-APIKEY",
            window=WINDOW,
            clock=lambda: millis_reading(market.name, f"{market.api}/time", "serverTime"),
            failure=partial(failure, market),
            late=_LATE,
        )

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """As `Exchange.recall`."""
        self.memory.take_up(stream, tail, since)
        pairs = [event.pair for event in tail if isinstance(event, Order | Fill)]
        self.symbols |= {self.names.symbol(pair)[1] or pair: None for pair in pairs}

    def wallets(self) -> Poll:
        """The wallets of futures, by REST: over a connection only their totals come."""
        stream, name = Subscription(Channel.BALANCES, self.name), f"account:{self.name}:balances"
        ask = partial(self.rest.rows, "/fapi/v3/balance", "", weight=5)
        read = partial(partial, _wallet, self.name)
        return row_poll(name, self.market.name, stream, _POLLED, ask=ask, read=read)

    def pair(self, row: Row) -> str:
        """The pair that a row is of."""
        symbol = row["s"]
        check_words(symbol)
        if not symbol or NESTED in symbol:
            raise ValueError("no symbol")
        self.symbols[symbol] = None
        return self.names.pair(self.market.name, symbol)


def time_of(row: Row, name: str = "T") -> int | None:
    """The time of a row, if it has one."""
    at = row.get(name, "")
    return instant(int(at[:20])) if at.strip("0") else None


def _wallet(name: str, now: int, row: Row) -> list[Event]:
    """A wallet of futures; where a profit that isn't taken is available, too, nobody tells what is reserved.

    ``{"asset":"USDT","balance":"122607.35137903","availableBalance":"23.72469206","updateTime":1617939110373}``
    """
    total, free = row["balance"], row["availableBalance"]
    held = difference(total, free)
    ts = time_of(row, "updateTime")
    return [checked(Balance(name, ts, now, row["asset"], free, "" if held.startswith("-") else held))]
