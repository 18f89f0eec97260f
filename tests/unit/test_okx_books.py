"""OKX's books with their rules: thousands of updates of any step, holes, restarts of the numbers."""

from __future__ import annotations

import json
import random

import pytest

from bridge.book import Book
from bridge.exchanges.okx import Okx
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from tests.unit.core import SECOND, T0
from tests.unit.held_books import Kept
from tests.unit.okx_sessions import asked, public

SYMBOLS = {"BTC-USDT": "BTC-USDT", "ETH-USDT": "ETH-USDT"}


class Exchange:
    """One instrument's book at the exchange."""

    def __init__(self, symbol, seed=7):
        self._random = random.Random(seed)
        self.symbol = symbol
        self.number = 1_000
        self.sides = {"bids": {str(1000 - n): "1" for n in range(50)}, "asks": {str(1001 + n): "1" for n in range(50)}}

    def frame(self, action, sides, before):
        levels = {name: [[price, size, "0", "1"] for price, size in side.items()] for name, side in sides.items()}
        row = {**levels, "ts": "1597026383185", "seqId": self.number, "prevSeqId": before}
        arg = {"channel": "books", "instId": self.symbol}
        return json.dumps({"arg": arg, "action": action, "data": [row]}).encode()

    def snapshot(self):
        return self.frame("snapshot", self.sides, -1)

    def update(self, number=None):
        """A few levels change, come or go, some of them unknown before; or nothing does."""
        before = self.number
        changed = {"bids": {}, "asks": {}}
        for _ in range(self._random.randrange(4)):
            name = self._random.choice(["bids", "asks"])
            price = self._random.randrange(900, 1001) if name == "bids" else self._random.randrange(1001, 1100)
            changed[name][str(price)] = self._random.choice(["0", "1.5", "20", "0.00001"])
        for name, side in changed.items():
            for price, size in side.items():
                self.sides[name].pop(price, None) if size == "0" else self.sides[name].update({price: size})
        some = any(changed.values())
        self.number = number if number is not None else before + self._random.randrange(1, 94) * some
        return self.frame("update", changed, before)


def kept():
    session = public({Channel.BOOK}, symbols=SYMBOLS)
    session.actions.clear()
    return Kept(session, Okx.book, SYMBOLS, {Channel.BOOK})


def book_of(events, pair):
    book = Book()
    for event in events:
        if event.subject == pair and isinstance(event, BookSnapshot):
            book.replace(event.bids, event.asks)
        elif event.subject == pair and isinstance(event, BookDelta):
            book.apply(event.bids, event.asks)
    return book


def true_book(exchange):
    book = Book()
    bids = sorted(exchange.sides["bids"].items(), key=lambda level: -int(level[0]))
    book.replace(bids, sorted(exchange.sides["asks"].items(), key=lambda level: int(level[0])))
    return book


def gaps(events):
    return [event.subject for event in events if isinstance(event, Control) and event.event is ControlEvent.GAP]


def test_after_ten_thousand_updates_it_is_the_exchanges():
    rig, exchange = kept(), Exchange("BTC-USDT")
    rig.receive(exchange.snapshot(), T0)
    for number in range(10_000):
        restart = 3 if number % 2_500 == 2_499 else None
        rig.receive(exchange.update(restart), T0 + number * SECOND // 10)
    assert gaps(rig.sink.events) == []
    assert len([event for event in rig.sink.data if isinstance(event, BookDelta)]) == 10_000
    assert book_of(rig.sink.data, "BTC-USDT") == true_book(exchange)


@pytest.mark.parametrize("restart", [None, 500])
def test_one_that_is_dropped_is_one_gap_one_subscription_and_one_snapshot(restart):
    rig, exchange, other = kept(), Exchange("BTC-USDT"), Exchange("ETH-USDT")
    for one in (exchange, other):
        rig.receive(one.snapshot(), T0)
    rig.receive(exchange.update(1_010), T0)
    exchange.update(restart or 1_020)
    for _ in range(5):
        rig.receive(exchange.update(exchange.number + 1), T0)
        rig.receive(other.update(), T0)
    assert asked(rig) == [("unsubscribe", "books.BTC-USDT"), ("subscribe", "books.BTC-USDT")]
    rig.receive(exchange.snapshot(), T0)
    rig.receive(exchange.update(exchange.number + 9), T0)
    assert gaps(rig.sink.events) == ["BTC-USDT"]
    assert len([event for event in rig.sink.data if isinstance(event, BookSnapshot)]) == 3
    assert book_of(rig.sink.data, "BTC-USDT") == true_book(exchange)
    assert book_of(rig.sink.data, "ETH-USDT") == true_book(other)


def test_an_update_before_a_snapshot_shows_that_one_was_missed():
    rig, exchange = kept(), Exchange("BTC-USDT")
    rig.receive(exchange.update(1_010), T0)
    assert asked(rig) == [("unsubscribe", "books.BTC-USDT"), ("subscribe", "books.BTC-USDT")]
    rig.receive(exchange.snapshot(), T0)
    assert book_of(rig.sink.data, "BTC-USDT") == true_book(exchange)


def test_a_quiet_book_of_minutes_is_heard_of():
    rig, exchange = kept(), Exchange("BTC-USDT")
    rig.receive(exchange.snapshot(), T0)
    for minute in range(1, 6):
        frame = exchange.frame("update", {"bids": {}, "asks": {}}, exchange.number)
        rig.receive(frame, T0 + 60 * minute * SECOND)
        assert rig.book("BTC-USDT").last == T0 + 60 * minute * SECOND
    assert gaps(rig.sink.events) == []
    assert Okx.silence[Channel.BOOK] > 60
