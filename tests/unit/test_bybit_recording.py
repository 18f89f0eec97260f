"""Real traffic of Bybit's linear side, through a session and the books of a connector: equal to an independent rebuild."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.exchanges.api import BookRules
from bridge.exchanges.bybit.public import PublicSession
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Funding, Interest, Mark, Ticker, Trade
from bridge.sequencer import CheckedBook
from tests.unit.core import Apart, ListSink, stream
from tests.unit.recorded_rows import rows

HERE = Path(__file__).resolve()
SMALL = HERE.parents[1] / "fixtures" / "bybit-small.jsonl"
FULL = HERE.parents[3] / "shared" / "recordings" / "bybit-2026-08.jsonl.zst"
SYMBOLS = {f"{base}-USDT-PERP": f"{base}USDT" for base in ("BTC", "ETH", "SOL", "DOGE")}
CHANNELS = frozenset({Channel.TRADES, Channel.BOOK, Channel.TICKER, Channel.FUNDING, Channel.MARK, Channel.INTEREST})
PAIRS = {symbol: pair for pair, symbol in SYMBOLS.items()}
FIELDS = {
    "open": "prevPrice24h",
    "high": "highPrice24h",
    "low": "lowPrice24h",
    "last": "lastPrice",
    "volume": "volume24h",
}
STATISTICS = {
    Ticker: FIELDS,
    Funding: {"rate": "fundingRate"},
    Mark: {"mark": "markPrice", "index": "indexPrice"},
    Interest: {"size": "singleOpenInterest", "value": "singleOpenInterestValue"},
}
"""Kind of event → field → the exchange's field, where they are the same text."""


class Recorded:
    """What the frames say, taken apart by plain means."""

    def __init__(self):
        self.books = {}
        self.tickers = {}
        self.trades = []
        self.numbers = {}

    def take(self, message):
        kind, _, symbol = message.get("topic", "").rpartition(".")
        pair = PAIRS.get(symbol)
        data = message.get("data")
        if kind == "orderbook.200":
            if message["type"] == "snapshot":
                self.books[pair] = {"b": {}, "a": {}}
            else:
                assert data["u"] == self.numbers[pair] + 1
            self.numbers[pair] = data["u"]
            for side in "ba":
                for price, size in data[side]:
                    self.books[pair][side][price] = size
                    if not float(size):
                        del self.books[pair][side][price]
        elif kind == "tickers":
            self.tickers[pair] = ({} if message["type"] == "snapshot" else self.tickers[pair]) | data
        elif kind == "publicTrade":
            self.trades += [(pair, t["i"], t["S"].lower(), t["p"], t["v"], t["T"] * 10**6) for t in data]


class Rebuilt:
    """A book that a reader makes out of a stream's entries, level by level, as text."""

    def __init__(self):
        self.sides = {"b": {}, "a": {}}

    def take(self, event):
        if isinstance(event, BookSnapshot):
            self.sides = {"b": {}, "a": {}}
        for side, levels in (("b", event.bids), ("a", event.asks)):
            for price, size in levels:
                self.sides[side][price] = size
                if not float(size):
                    self.sides[side].pop(price)


@pytest.mark.parametrize("path", [SMALL, FULL], ids=["small", "full"])
def test_a_recording_to_the_digit(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    session = Apart(PublicSession("wss://x", SYMBOLS, CHANNELS, depth=200, most=20))
    sinks = {pair: ListSink() for pair in SYMBOLS}
    books = {
        pair: CheckedBook(
            stream(Channel.BOOK, pair), sinks[pair], lambda *what: pytest.fail(str(what)), pytest.fail, BookRules()
        )
        for pair in SYMBOLS
    }
    recorded, rebuilt = Recorded(), {pair: Rebuilt() for pair in SYMBOLS}
    trades, deltas = [], 0
    states = {kind: {} for kind in STATISTICS}
    for row in rows(path):
        recv = int(row.get("ts", 0) * 1e9)
        if row["t"] == "connect":
            session.connected(recv)
        if row["t"] != "recv":
            continue
        message = json.loads(row["data"])
        recorded.take(message)
        for event in session.receive(row["data"].encode(), recv):
            if isinstance(event, Control):
                assert event.event is ControlEvent.LIVE
            elif isinstance(event, Trade):
                trades.append((event.subject, event.id, event.side, event.price, event.size, event.ts))
            elif type(event) in STATISTICS:
                before = states[type(event)].get(event.subject)
                assert before is None or any(getattr(before, name) != getattr(event, name) for name in event.WIRE)
                states[type(event)][event.subject] = event
            else:
                books[event.subject].accept(event)
                said = sinks[event.subject].data[-1]
                rebuilt[event.subject].take(said)
                assert rebuilt[event.subject].sides == recorded.books[event.subject]
                assert [len(side) for side in rebuilt[event.subject].sides.values()] == [200, 200]
                assert said.ts == message["cts"] * 10**6
                deltas += isinstance(said, BookDelta)
    assert trades == recorded.trades
    assert len({trade[:2] for trade in trades}) == len(trades)
    for kind, fields in STATISTICS.items():
        assert states[kind].keys() == recorded.tickers.keys()
        for pair, event in states[kind].items():
            known = recorded.tickers[pair]
            assert {name: getattr(event, name) for name in fields} == {
                name: known[field] for name, field in fields.items()
            }
    for pair, known in recorded.tickers.items():
        assert Decimal(states[Ticker][pair].change_pct) == Decimal(known["price24hPcnt"]) * 100
        funding = states[Funding][pair]
        assert funding.next_ts == int(known["nextFundingTime"]) * 10**6
        assert int(funding.interval) == int(known["fundingIntervalHour"]) * 3600
    controls = {pair: sink.controls for pair, sink in sinks.items() if sink.data}
    assert set(controls) == set(recorded.books)
    assert all(said == ["live"] for said in controls.values())
    assert deltas == sum(len(sink.data) - 1 for sink in sinks.values() if sink.data)
    assert deltas > 100
