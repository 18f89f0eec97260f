"""Sessions of exchanges through CCXT without sockets, with made-up markets: frames in, outputs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.exchanges import exchange_type
from bridge.exchanges.api import Credentials, Flow, HttpRequest, HttpResponse, Profile, Session
from bridge.exchanges.ccxt.markets import Markets
from bridge.model import Channel
from tests.codec.markets import market

__all__ = ["NOW", "drive", "exchange_of", "session_of"]

NOW = 1_786_309_548_000_000_000


def drive(flow: Flow[Any], answer: Callable[[HttpRequest], HttpResponse] | None = None) -> Any:
    """Run a flow; without ``answer`` it asks for nothing."""
    try:
        asked = next(flow)
        while True:
            assert answer is not None, asked.path
            asked = flow.send(answer(asked))
    except StopIteration as stop:
        return stop.value


def exchange_of(
    ident: str,
    markets: Mapping[str, str],
    channels: frozenset[Channel] | None = None,
    *,
    account: Credentials | None = None,
    now: int = NOW,
    **more: Mapping[str, Any],
) -> Any:
    """``ccxt.<id>`` with these markets, all of them configured: CCXT's symbol → the exchange's id.

    ``more`` has, by id of a market, what CCXT says of it.
    """
    from bridge.exchanges.ccxt.codec import MARKET_TABLES

    kind = exchange_type(f"ccxt.{ident}")
    codec = kind(Profile((), kind.channels))._codec(now)  # type: ignore[attr-defined]
    codec.set_markets([market(codec, symbol, name, **more.get(name, {})) for symbol, name in markets.items()])
    known = Markets.of(codec.markets.values(), codec.precisionMode)
    pairs = tuple(known.by_symbol[symbol].pair for symbol in markets)
    exchange: Any = kind(Profile(pairs, kind.channels if channels is None else channels, account=account))
    exchange._tables = {name: getattr(codec, name) for name in MARKET_TABLES}
    exchange._markets = known
    drive(exchange._share_out(now))
    return exchange


def session_of(
    ident: str, markets: Mapping[str, str], channels: frozenset[Channel] | None = None, *, now: int = NOW
) -> Session:
    """A session of the only connection, opened: it is yet to be told that it is connected."""
    [plan] = exchange_of(ident, markets, channels, now=now).plan()
    session: Session = plan.session()
    drive(session.open(now))
    return session
