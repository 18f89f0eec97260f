from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.book import Book
from bridge.exchanges.api import Send, Unknown
from bridge.model import BookDelta, BookSnapshot, Control, ControlEvent, Quote, Trade
from tests.unit.coinbase_frames import PAIRS, make
from tests.unit.recorded_rows import rows

HERE = Path(__file__).resolve()
SMALL = HERE.parents[1] / "fixtures" / "coinbase-small.jsonl"
FULL = HERE.parents[3] / "shared" / "recordings" / "coinbase-2026-08.jsonl.zst"
SIDES = {"BUY": "sell", "SELL": "buy"}


class Recorded:
    """What a recording's frames say, taken apart by plain means."""

    def __init__(self):
        self.trades = {}
        self.books = {pair: {} for pair in PAIRS}

    def take(self, message):
        for event in message.get("events", []):
            for trade in reversed(event.get("trades", [])):
                self.trades.setdefault((trade["product_id"], trade["trade_id"]), trade)
            if event.get("type") == "snapshot" and "updates" in event:
                self.books[event["product_id"]].clear()
            for u in event.get("updates", []):
                self.books[event["product_id"]][u["side"] == "bid", Decimal(u["price_level"])] = Decimal(
                    u["new_quantity"]
                )

    def side(self, pair, *, bids):
        return {price: size for (bid, price), size in self.books[pair].items() if bid is bids and size}


@pytest.mark.parametrize("path", [SMALL, FULL], ids=["small", "full"])
def test_a_recording_to_the_digit(path):
    """Every trade once and in order, every book equal at every delta, nothing rejected."""
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    session, recorded = make(), Recorded()
    books = {pair: Book() for pair in PAIRS}
    trades, quotes, deltas = {}, 0, 0
    for row in rows(path):
        if row["t"] == "connect":
            session = make()
            session.connected(int(row["ts"] * 1e9))
        if row["t"] != "recv":
            continue
        recorded.take(json.loads(row["data"]))
        for event in session.receive(row["data"].encode(), int(row["ts"] * 1e9)):
            assert not (isinstance(event, Control) and event.event is ControlEvent.GAP)
            if isinstance(event, Trade):
                trades.setdefault((event.subject, event.id), event)
            elif isinstance(event, Quote):
                quotes += 1
                assert Decimal(event.bid) < Decimal(event.ask)
            elif isinstance(event, BookSnapshot | BookDelta):
                book = books[event.subject]
                (book.replace if isinstance(event, BookSnapshot) else book.apply)(event.bids, event.asks)
                deltas += 1
                changed = [(book.bids, True, price) for price, _ in event.bids]
                changed += [(book.asks, False, price) for price, _ in event.asks]
                truth = recorded.books[event.subject]
                assert all(side.size(price) == truth[bids, Decimal(price)] for side, bids, price in changed)
    assert list(trades) == list(recorded.trades)
    for key, want in recorded.trades.items():
        got = trades[key]
        assert (got.price, got.size, got.side) == (want["price"], want["size"], SIDES[want["side"]])
    assert quotes
    assert deltas
    for pair in PAIRS:
        assert books[pair].bids.numbers() == recorded.side(pair, bids=True)
        assert books[pair].asks.numbers() == recorded.side(pair, bids=False)
    assert {type(action) for action in session.actions} <= {Send, Unknown}
