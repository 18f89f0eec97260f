"""Binance by REST: the markets, what is wrong with an answer, and the signed calls of an account."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow, HttpResponse, Poll, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.rest.row_polls import row_poll
from bridge.exchanges.toolkit.rest.signed_queries import SignedQueries
from bridge.exchanges.toolkit.sessions.coded_errors import coded_failure
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import NESTED, Row, difference
from bridge.exchanges.toolkit.values.numbers import check_words, epoch_ns, id_or_empty
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = [
    "KEY_REFUSED",
    "LATE",
    "SPOT",
    "UNSURE",
    "USDM",
    "WINDOW",
    "BinanceAccount",
    "Market",
    "failure",
    "instant",
    "time_of",
]

_MICROSECOND, _MILLISECOND = 1_000, 1_000_000
_IN_MICROSECONDS = 10**14
"""From here on a time is in microseconds: as milliseconds it would be of the year 5138, below it one of 1973."""
UNSURE = -2015
"""The code of a refusal that has one of several reasons."""
KEY_REFUSED = {
    -1002: "the key lacks the permission",
    -1022: "the secret is not the key's",
    -2008: "the exchange does not know the key",
    -2014: "this is no key of the exchange's",
    UNSURE: "the key is unknown, is not allowed from this address, or lacks the permission",
    -4109: "the account is not active",
}
"""Codes by which a key is refused."""
_TOO_MANY = -1003
WINDOW = 10_000
"""Milliseconds for which a signature counts."""
LATE = -1021
"""The code for a signature of another time than the exchange's clock shows."""
_POLLED = 30.0
"""Seconds between two looks at the wallets of futures, where nothing is known to have changed them."""


class Market(Struct, frozen=True):
    """What differs between the markets; ``weights`` are those of a book by REST: up to so many levels, so much."""

    name: str
    api: str
    chained: bool
    """Whether a delta names the one before it (``pu``); else its numbers follow those of the one before."""
    weights: tuple[tuple[int, int], ...]
    permissions: Mapping[str, str]
    """Field of what a key may do → what it lacks where that is ``false``."""


_READING = {"enableReading": "the permission to read"}
_FUTURES = {**_READING, "enableFutures": "the permission for futures"}
_SPOT_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
SPOT = Market("binance", "/api/v3", chained=False, weights=_SPOT_WEIGHTS, permissions=_READING)
_USDM_WEIGHTS = ((100, 5), (500, 10), (1000, 20))
USDM = Market("binance-usdm", "/fapi/v1", chained=True, weights=_USDM_WEIGHTS, permissions=_FUTURES)


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
    """What the successive sessions of one account share.

    ``wallet`` is where REST says what the account's key may do (``None``: nowhere); ``pairs`` are the connector's at present.
    """

    def __init__(
        self,
        account: Credentials,
        market: Market,
        names: Names,
        memory: AccountMemory,
        *,
        wallet: str | None,
        pairs: Callable[[], Sequence[str]],
    ) -> None:
        self.market = market
        self._wallet = wallet
        self._pairs = pairs
        self.name = account.name
        self.names = names
        self.memory = memory
        self._seen: dict[str, None] = {}
        """The pairs that the account was seen with."""
        self.rest = SignedQueries(
            market.name,
            account,
            header="X-MBX-APIKEY",
            window=WINDOW,
            clock=lambda: millis_reading(market.name, f"{market.api}/time", "serverTime"),
            failure=partial(failure, market),
            late=LATE,
        )

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """As `Exchange.recall`."""
        self.memory.take_up(stream, tail, since)
        self._seen |= {event.pair: None for event in tail if isinstance(event, Order | Fill)}

    def pairs(self) -> list[str]:
        """Those whose fills are asked for: the connector's at present, and those that the account was seen with."""
        return list({self.symbol(pair) or pair: pair for pair in (*self._pairs(), *self._seen)}.values())

    def symbol(self, pair: str) -> str:
        """The symbol of a pair, or of what is its own name (`Names.pair`); empty for a pair that isn't known."""
        return self.names.symbol(pair)[1] or ("" if "-" in pair else pair)

    def ident(self, row: Row) -> tuple[str, str] | str:
        """Pair and id of an order by REST: ids count for each symbol; empty where they can't be read."""
        symbol, order_id = row.get("symbol", ""), id_or_empty(row.get("orderId", ""))
        return (self.names.pair(self.market.name, symbol), order_id) if symbol and order_id else ""

    def wallets(self) -> Poll:
        """The wallets of futures, by REST: over a connection only their totals come."""
        stream, name = Subscription(Channel.BALANCES, self.name), f"account:{self.name}:balances"
        ask = partial(self.rows, "/fapi/v3/balance", "", weight=5)
        read = partial(partial, _wallet, self.name)
        return row_poll(name, self.market.name, stream, _POLLED, ask=ask, read=read)

    def rows(self, path: str, query: str, now: int, **more: Any) -> Flow[list[Row]]:
        """As `SignedQueries.rows`; of a refusal that may have several reasons, the error says which it is."""
        try:
            return (yield from self.rest.rows(path, query, now, **more))
        except RestError as error:
            if error.code != UNSURE:
                raise
            words = error.message.replace(KEY_REFUSED[UNSURE], (yield from self.why(now)))
            raise RestError(
                error.exchange, error.path, error.status, words, error.retry_after, code=error.code, kind=error.kind
            ) from None

    def why(self, now: int) -> Flow[str]:
        """Which of the reasons of an unsure refusal it is, where that can be found out.

        The wallet's REST tells an unknown key (-2008, which no other call does) from one that may not be used from this
        address, and of any other what it may do (from the documentation, but for the code, which users report):

        ``{"ipRestrict":false,"createTime":1623840271000,"enableReading":true,"enableFutures":false,…}``
        """
        if self._wallet is None:
            return KEY_REFUSED[UNSURE]
        try:
            rows = yield from self.rest.rows("/sapi/v1/account/apiRestrictions", "", now, base=self._wallet)
        except RestError as error:
            known = {**KEY_REFUSED, UNSURE: "the exchange knows the key, and does not allow it from this address"}
            return known.get(error.code if isinstance(error.code, int) else 0, KEY_REFUSED[UNSURE])
        lacking = [what for row in rows for field, what in self.market.permissions.items() if row.get(field) == "false"]
        return f"the key lacks {' and '.join(lacking)}" if lacking else KEY_REFUSED[UNSURE]

    def pair(self, row: Row) -> str:
        """The pair that a row is of."""
        symbol = row["s"]
        check_words(symbol)
        if not symbol or NESTED in symbol:
            raise ValueError("no symbol")
        pair = self.names.pair(self.market.name, symbol)
        self._seen[pair] = None
        return pair


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
