"""The seam to CCXT: what it has to offer, and that every id starts what the table says it does."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from bridge.exchanges import all_names, exchange_type
from bridge.exchanges.ccxt.calls import Settings, calls_for
from bridge.exchanges.ccxt.ids import LISTED, NAMES, VERSION
from bridge.exchanges.ccxt.markets import Markets
from bridge.exchanges.ccxt.promises import CHECKED, MAKER_SIDES, WITNESSES
from bridge.model import Channel
from tests.codec.markets import table
from tests.codec.needs import needs_ccxt

pytestmark = needs_ccxt
NOW = 1_786_309_548_000_000_000
KEYS = {"apiKey": "key", "secret": "c2VjcmV0", "password": "phrase", "uid": "1", "walletAddress": "0x0"}
WANTS_A_KEY = {"alpaca", "cex", "coinbaseexchange", "luno"}
"""Ids whose public channels want a key, too."""
NOT_FOR_ALL = {
    ("bitrue", "spot", Channel.TICKER),
    ("bitrue", "spot", Channel.TRADES),
    ("lighter", "spot", Channel.TICKER),
    ("mexc", "swap", Channel.QUOTES),
    ("weex", "swap", Channel.QUOTES),
}
"""What CCXT refuses for one kind of markets, in so many words."""
TOKEN_FIRST = {"kucoin", "kucoinfutures", "nado"}
"""Ids that ask REST for something before they say where to connect."""


def fresh(ident: str, markets: Any = None) -> Any:
    from bridge.exchanges.ccxt.codec import MARKET_TABLES, codec_of

    codec = codec_of(
        ident, {**(KEYS if ident in WANTS_A_KEY else {}), "options": {"watchOrderBook": {"checksum": True}}}
    )
    codec.machine.now = NOW
    for name in MARKET_TABLES if markets is not None else ():
        setattr(codec, name, getattr(markets, name))
    return codec


def test_the_table_is_that_of_the_installed_version() -> None:
    """An id that has come or gone, or a channel, changes what is promised: it is to be looked at."""
    from bridge.exchanges.ccxt.codec import streaming_ids

    here, offers = streaming_ids(), {}
    methods = {
        Channel.TRADES: "watchTrades",
        Channel.BOOK: "watchOrderBook",
        Channel.TICKER: "watchTicker",
        Channel.QUOTES: "watchBidsAsks",
        Channel.ORDERS: "watchOrders",
        Channel.FILLS: "watchMyTrades",
        Channel.BALANCES: "watchBalance",
        Channel.POSITIONS: "watchPositions",
    }
    for ident in here:
        has = fresh(ident).has
        offers[ident] = {channel for channel, method in methods.items() if has.get(method) is True}
    table = {ident: listed.channels | listed.private_channels for ident, listed in LISTED.items()}
    changed = sorted(ident for ident in offers.keys() | table.keys() if offers.get(ident) != table.get(ident))
    if version("ccxt") != VERSION:
        pytest.skip(f"CCXT {version('ccxt')} is not that of the table, {VERSION}; what differs: {changed}")
    assert changed == []


def test_names_and_promises() -> None:
    assert set(NAMES) < set(all_names())
    assert LISTED.keys() >= CHECKED
    assert WITNESSES.keys() | MAKER_SIDES <= LISTED.keys()
    assert not WITNESSES.keys() & CHECKED
    for name in NAMES:
        kind = exchange_type(name)
        assert kind.name == name
        assert 0 < kind.sends_per_second <= min(10, 1_000 / kind.listed.apart)


@pytest.mark.parametrize("ident", sorted(LISTED))
def test_each_id_starts_its_public_channels(ident: str) -> None:
    """Book, trades, ticker and quotes, of a spot market and of a swap as far as there are: an address, or a question."""
    from bridge.exchanges.ccxt.codec import streaming_ids

    if ident not in streaming_ids():
        pytest.skip(f"CCXT {version('ccxt')} has no {ident}")
    listed = LISTED[ident]
    known = fresh(ident)
    known.set_markets(table(known, ident))
    markets = Markets.of(known.markets.values()).by_symbol.values()
    assert markets
    for market in markets:
        for channel in sorted(listed.channels):
            codec = fresh(ident, known)
            [[call]] = calls_for(codec, [market], [channel])
            task = codec.machine.start(call.work(codec, Settings()), call)
            codec.machine.run()
            if (ident, market.kind, channel) in NOT_FOR_ALL:
                with pytest.raises(Exception, match="support"):
                    task.result.result()
                continue
            assert not task.result.done() or task.result.result() is not None, (market.symbol, channel)
            asks = bool(codec.machine.requests)
            assert asks == (ident in TOKEN_FIRST and not task.url), (market.symbol, channel)
            assert task.url.startswith("ws") or asks, (market.symbol, channel)
