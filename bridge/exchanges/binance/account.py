"""What the sessions of a Binance account share: its REST calls, the symbols that it was seen with, and its wallets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bridge.exchanges.api import Credentials, Poll, Subscription
from bridge.exchanges.binance.public import Market, failure, instant
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.rest.row_polls import row_poll
from bridge.exchanges.toolkit.rest.signed_queries import SignedQueries
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import NESTED, Row, difference
from bridge.exchanges.toolkit.values.numbers import check_words
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["BinanceAccount", "time_of"]

_LATE = -1021
_WINDOW = 10_000
"""Milliseconds for which a signature counts."""
_POLLED = 30.0
"""Seconds between two looks at the wallets of futures, where nothing is known to have changed them."""


class BinanceAccount:
    """What the successive sessions of one account share."""

    def __init__(
        self,
        account: Credentials,
        market: Market,
        names: Names,
        memory: AccountMemory,
        *,
        pairs: Callable[[], Sequence[str]],
    ) -> None:
        self.market = market
        self.name = account.name
        self.names = names
        self.memory = memory
        self._pairs = pairs
        self._seen: dict[str, None] = {}
        """The symbols that the account was seen with."""
        self.rest = SignedQueries(
            market.name,
            account,
            header="X-MBX-APIKEY",
            window=_WINDOW,
            clock=lambda: millis_reading(market.name, f"{market.api}/time", "serverTime"),
            failure=partial(failure, market),
            late=_LATE,
        )

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """As `Exchange.recall`."""
        self.memory.take_up(stream, tail, since)
        pairs = [event.pair for event in tail if isinstance(event, Order | Fill)]
        self._seen |= {self.names.symbol(pair)[1] or pair: None for pair in pairs}

    def symbols(self) -> list[str]:
        """Those whose fills are asked for: of the connector's pairs at present, and those that the account was seen with."""
        return list(dict.fromkeys([*(self.names.symbol(pair)[1] for pair in self._pairs()), *self._seen]))

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
        self._seen[symbol] = None
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
