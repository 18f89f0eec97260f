"""What becomes of single messages through CCXT, without sockets."""

from __future__ import annotations

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Reject
from bridge.model import Channel, ControlEvent, Quote, Ticker, Trade
from tests.codec.needs import needs_ccxt
from tests.codec.sessions import NOW, session_of
from tests.unit import kraken_frames

pytestmark = needs_ccxt
BTC = {"BTC/USD": "BTCUSD"}
TICKER = kraken_frames.TICKER.replace(b"ALGO/USD", b"BTC/USD")
TRADES = kraken_frames.TRADES.replace(b"MATIC/USD", b"BTC/USD").replace(b'"snapshot"', b'"update"')


def test_a_message_may_feed_quotes_and_ticker() -> None:
    """Kraken's ticker has both, and CCXT resolves it for both under one name."""
    session = session_of("kraken", BTC, frozenset({Channel.QUOTES, Channel.TICKER}))
    session.connected(NOW)
    for _ in range(2):
        found = session.receive(TICKER, NOW)
        [quote] = [output for output in found if isinstance(output, Quote)]
        [ticker] = [output for output in found if isinstance(output, Ticker)]
        assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == ("0.10025", "740.0", "0.10035", "740.0")
        assert (ticker.last, ticker.high, ticker.change, ticker.volume) == (
            *("0.10035", "0.10285", "-0.00017", "997038.98383185"),
        )


def test_a_row_that_is_no_trade_is_rejected_alone() -> None:
    session = session_of("kraken", BTC, frozenset({Channel.TRADES}))
    session.connected(NOW)
    session.receive(TRADES, NOW)
    found = session.receive(TRADES.replace(b'"qty":6423.46326', b'"qty":-1.0'), NOW)
    assert [trade.id for trade in found if isinstance(trade, Trade)] == ["4665847"]
    [reject] = [output for output in found if isinstance(output, Reject)]
    assert isinstance(reject.error, FrameError)
    assert [getattr(output, "event", None) for output in found].count(ControlEvent.GAP) == 1


@pytest.mark.parametrize("channel", [Channel.QUOTES, Channel.TICKER])
def test_what_was_not_asked_for_brings_nothing(channel: Channel) -> None:
    session = session_of("kraken", BTC, frozenset({channel}))
    session.connected(NOW)
    found = [*session.receive(TICKER, NOW), *session.receive(TRADES, NOW)]
    assert {type(output) for output in found if isinstance(output, Quote | Ticker | Trade)} == {
        {Channel.QUOTES: Quote, Channel.TICKER: Ticker}[channel]
    }
