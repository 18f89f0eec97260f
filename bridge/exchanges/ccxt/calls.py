"""What is asked of a codec: one of CCXT's ``watch…`` methods for each channel, and where the REST calls behind them go."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from bridge.exchanges.api import HttpRequest, Subscription, Target
from bridge.exchanges.ccxt.driving import Request, Task
from bridge.exchanges.ccxt.markets import Market
from bridge.model import PRIVATE_CHANNELS, Channel

__all__ = ["Addresses", "Call", "Settings", "Source", "calls_for", "private_calls"]

_MOST = 50
"""Pairs of one message, and of one connection."""
_ONE = {
    Channel.TRADES: "watch_trades",
    Channel.BOOK: "watch_order_book",
    Channel.TICKER: "watch_ticker",
    Channel.QUOTES: "watch_bids_asks",
    Channel.ORDERS: "watch_orders",
    Channel.FILLS: "watch_my_trades",
    Channel.BALANCES: "watch_balance",
    Channel.POSITIONS: "watch_positions",
}
_MANY = {
    Channel.TRADES: ("watchTradesForSymbols", "watch_trades_for_symbols"),
    Channel.BOOK: ("watchOrderBookForSymbols", "watch_order_book_for_symbols"),
    Channel.QUOTES: ("watchBidsAsks", "watch_bids_asks"),
}


class Settings(Struct, frozen=True):
    """What the config says of the calls: the depth of books, and parameters by channel."""

    depth: int | None = None
    params: Mapping[str, Mapping[str, Any]] = {}


class Call(Struct, frozen=True):
    """One call: a channel, and CCXT's symbols that it is for; none where it is an account's."""

    channel: Channel
    symbols: tuple[str, ...] = ()
    many: bool = False
    """Whether it takes a list."""

    def work(self, codec: Any, settings: Settings) -> Coroutine[Any, Any, Any]:
        """The call as a coroutine."""
        method = _MANY[self.channel][1] if self.many else _ONE[self.channel]
        params = dict(settings.params.get(str(self.channel), {}))
        what: Any = list(self.symbols) if self.many else (self.symbols or (None,))[0]
        if self.channel is Channel.BOOK:
            arguments = [what, settings.depth, params]
        elif self.channel in (Channel.TICKER, Channel.QUOTES):
            arguments = [what, params]
        elif self.channel is Channel.BALANCES:
            arguments = [params]
        else:
            arguments = [what, None, None, params]
        return _awaited(getattr(codec, method), arguments)

    def only(self, symbol: str) -> Call:
        """The same for one of its symbols."""
        return Call(self.channel, (symbol,), self.many)

    def each(self) -> list[Call]:
        """The same for each of its symbols; itself, where it has none."""
        return [self.only(symbol) for symbol in self.symbols] or [self]

    def streams(self, pairs: Mapping[str, str], account: str) -> list[Subscription]:
        """What it feeds."""
        if self.channel in PRIVATE_CHANNELS:
            return [Subscription(self.channel, account)]
        return [Subscription(self.channel, pairs[symbol]) for symbol in self.symbols]


async def _awaited(method: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Some methods are coroutines, others hand one on, or raise at once."""
    return await method(*arguments)


def calls_for(codec: Any, markets: Iterable[Market], channels: Iterable[Channel]) -> list[list[Call]]:
    """The public calls, in parts of so many pairs as may share a connection; as few calls as the module allows.

    Exchanges tell spot and the kinds of contracts apart: each has calls of its own.
    """
    kinds: dict[tuple[str, bool], list[str]] = {}
    for market in markets:
        kinds.setdefault((market.kind, market.inverse), []).append(market.symbol)
    parts = []
    for symbols in kinds.values():
        for start in range(0, len(symbols), _MOST):
            part = tuple(symbols[start : start + _MOST])
            calls: list[Call] = []
            for channel in sorted(channels):
                if channel in _MANY and codec.has.get(_MANY[channel][0]) is True:
                    calls.append(Call(channel, part, many=True))
                else:
                    calls += [Call(channel, (symbol,)) for symbol in part]
            parts.append(calls)
    return parts


def private_calls(channels: Iterable[Channel]) -> list[Call]:
    """The account's."""
    return [Call(channel) for channel in sorted(channels)]


class Addresses(Struct, frozen=True):
    """Where CCXT's addresses go.

    ``url`` and ``rest_url`` take the place of scheme and host, which become the first part of the path: so one server
    can stand for all hosts.
    """

    url: str | None = None
    rest_url: str | None = None
    private: bool = False

    def target(self, url: str, headers: Mapping[str, Any]) -> Target:
        """A WebSocket's address; its query may hold a token, and is never shown; an account's path may be one."""
        parts = urlsplit(url)
        rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        base = f"{self.url.rstrip('/')}/{parts.netloc}" if self.url else f"{parts.scheme}://{parts.netloc}"
        plain = {name: str(value) for name, value in headers.items()}
        return Target(base + rest, base if self.private else base + (parts.path or "/"), plain)

    def request(self, asked: Request) -> HttpRequest:
        """A REST call; with an account, its query may hold a signature, and is never shown."""
        parts = urlsplit(asked.url)
        path = parts.path or "/"
        base = f"{parts.scheme}://{parts.netloc}"
        if self.rest_url:
            base, path = self.rest_url.rstrip("/"), f"/{parts.netloc}{path}"
        full = f"{path}?{parts.query}" if parts.query else path
        shown = path if self.private else ""
        return HttpRequest(asked.method, full, asked.body, asked.headers, shown, base=base)


class Source(Struct, frozen=True):
    """What all sessions of a connector speak through."""

    exchange: str
    """Its name, for errors."""
    make: Callable[[int], Any]
    """Makes a codec, at this time (ns)."""
    settings: Settings
    """Of the calls."""
    addresses: Addresses
    """Where CCXT's addresses go."""

    def start(self, codec: Any, call: Call) -> Task:
        """Have a codec begin with a call."""
        task: Task = codec.machine.start(call.work(codec, self.settings), call)
        return task
