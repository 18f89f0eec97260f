"""The same recorded frames through CCXT's module and through our own: the same trades and the same books."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from bridge.exchanges import exchange_type
from bridge.exchanges.api import Session
from bridge.exchanges.coinbase import CoinbaseSession
from bridge.model import BookDelta, BookSnapshot, Control, ControlEvent, Event, Trade
from tests.codec.needs import needs_ccxt
from tests.codec.sessions import NOW, session_of
from tests.unit.recorded_rows import rows

pytestmark = needs_ccxt
HERE = Path(__file__).resolve()
RECORDINGS = {
    "small": HERE.parents[1] / "fixtures" / "coinbase-small.jsonl",
    "full": HERE.parents[3] / "shared" / "recordings" / "coinbase-2026-08.jsonl.zst",
}
PAIRS = ("BTC-USD", "ETH-USD")


def through_ccxt() -> Session:
    """A connected session of ``ccxt.coinbase``."""
    session = session_of("coinbase", {pair.replace("-", "/"): pair for pair in PAIRS})
    session.connected(NOW)
    return session


def native() -> Session:
    session = CoinbaseSession("wss://advanced-trade-ws.coinbase.com", PAIRS, exchange_type("coinbase").channels)
    session.connected(NOW)
    return session


def events(session: Session, path: Path) -> Iterator[Event]:
    for row in rows(path):
        if row["t"] == "recv":
            found = session.receive(row["data"].encode(), int(row["ts"] * 1e9))
            yield from (output for output in found if isinstance(output, Event))


@pytest.mark.parametrize("name", RECORDINGS)
def test_coinbase_to_the_digit(name: str) -> None:
    """Trades equal, sides too, which CCXT has the other way round; books equal level by level, event by event."""
    path = RECORDINGS[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    found = [list(events(session, path)) for session in (through_ccxt(), native())]
    assert not [event for event in found[0] if isinstance(event, Control) and event.event is not ControlEvent.LIVE]
    trades = [[structs.replace(event, replay=False) for event in side if isinstance(event, Trade)] for side in found]
    assert trades[0] == trades[1]
    assert len(trades[0]) > 30
    books = [[event for event in side if isinstance(event, BookSnapshot | BookDelta)] for side in found]
    assert len(books[0]) > 100
    for ours, theirs in zip(*books, strict=True):
        assert (type(ours), ours.subject) == (type(theirs), theirs.subject)
        for mine, other in ((ours.bids, theirs.bids), (ours.asks, theirs.asks)):
            assert dict(mine) == dict(other)
