"""Any interleaving of faults: every reader's book equals the truth at every single entry, or is marked invalid."""

from __future__ import annotations

import copy
import json

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.exchanges.api import ConnectionPlan, Subscription
from bridge.exchanges.coinbase import Coinbase, CoinbaseSession
from bridge.model import Channel
from tests.property.world import Feed, Line, World, is_book

CHANNELS = frozenset({Channel.BOOK, Channel.TRADES})
FAULTS = ["", "", "", "", "", "", "drop", "twice", "late", "corrupt"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["delta", "delta", "delta", "trade", "heartbeat"]), st.sampled_from(FAULTS)),
        st.tuples(
            st.sampled_from(["cut", "kill", "flush", "flush", "overflow", "watch", "wait", "stale"]), st.just("")
        ),
    ),
    max_size=60,
)


class CoinbaseWorld(World):
    exchange = Coinbase
    rules = Coinbase.book

    def __init__(self, seed, greeting_faults):
        self.greeting_faults = list(greeting_faults)
        self.truth = {True: {}, False: {}}
        self.sequence = {}
        self.truths = {}
        """(connection, sequence number) → the book after that frame."""
        self.trades = {}
        """Id → when it was made (ns), in their order."""
        super().__init__(seed)
        self.checked = 0

    def make_plan(self):
        streams = tuple(Subscription(channel, self.pair) for channel in CHANNELS)
        return ConnectionPlan("market", streams, lambda: CoinbaseSession("wss://x", (self.pair,), CHANNELS))

    def frame(self, line, channel, events, fault=""):
        number = self.sequence.get(line, 0)
        self.sequence[line] = number + 1
        self.truths[id(line), number] = copy.deepcopy(self.truth)
        message = {"channel": channel, "sequence_num": number, "timestamp": "2026-08-09T21:05:48Z", "events": events}
        self.current = line
        self.deliver(line, json.dumps(message).encode(), fault)

    def greeting_fault(self):
        return self.greeting_faults.pop() if self.greeting_faults else ""

    def asked(self, line, text):
        message = json.loads(text)
        if message["type"] == "subscribe" and message["channel"] == "level2":
            self.jobs.append((line, "book"))
        elif message["type"] == "subscribe" and message["channel"] == "market_trades":
            self.jobs.append((line, "trades"))

    @property
    def jobs(self):
        return self.__dict__.setdefault("_jobs", [])

    def answer(self):
        """What the exchange owes to the present connection."""
        while self.jobs:
            line, what = self.jobs.pop(0)
            if line is not self.line:
                continue
            if what == "book":
                updates = [update(bid, price, size) for bid in (True, False) for price, size in self.truth[bid].items()]
                events = [{"type": "snapshot", "product_id": self.pair, "updates": updates}]
                self.frame(line, "l2_data", events, self.greeting_fault())
            else:
                events = [{"type": "snapshot", "trades": [trade(n) for n in reversed(list(self.trades)[-5:])]}]
                self.frame(line, "market_trades", events, self.greeting_fault())

    def after(self, feed: Feed, event):
        """At every single entry."""
        if not is_book(event) or not feed.keeper.valid:
            return
        self.checked += 1
        book = feed.keeper.book
        read = {True: book.bids.numbers(), False: book.asks.numbers()}
        candidates = [t for (_, number), t in self.truths.items() if str(number) == event.xseq]
        assert any(read == as_numbers(truth) for truth in candidates), "a book that never was"

    def change(self, fault):
        bid = self.random.random() < 0.5
        price = self.random.randrange(1, 6) if bid else self.random.randrange(6, 11)
        size = self.random.choice([0, 1, 2, 3])
        if size:
            self.truth[bid][price] = size
        else:
            self.truth[bid].pop(price, None)
        events = [{"type": "update", "product_id": self.pair, "updates": [update(bid, price, size)]}]
        self.frame(self.line, "l2_data", events, fault)

    def execute(self, fault):
        ident = str(len(self.trades))
        self.trades[ident] = self.now
        self.frame(self.line, "market_trades", [{"type": "update", "trades": [trade(ident)]}], fault)

    def step(self, what, fault):
        if what == "delta":
            self.change(fault)
        elif what == "trade":
            self.execute(fault)
        elif what == "heartbeat":
            self.frame(self.line, "heartbeats", [], fault)
        elif what == "overflow":
            self.overflow(self.random.choice([1, 1000, 10**6]))
        elif what == "wait":
            self.tick(10)
        elif what == "stale":
            topic = self.topics[Subscription(Channel.BOOK, self.pair)]
            if topic.live:
                topic.stale(self.now, "silent")
                self.resync(self.pair, "silent")
        else:
            getattr(self, what)()
        self.answer()

    def settle(self):
        """The faults are over, time goes on: long enough for a book that was asked for in vain again and again."""
        for _ in range(45):
            for _ in range(3):
                self.step("heartbeat", "")
                self.flush()
            self.tick(31)
            self.watch()
            self.answer()
            self.flush()


def update(bid, price, size):
    side = "bid" if bid else "offer"
    at = "2026-08-09T21:05:48Z"
    return {"side": side, "event_time": at, "price_level": str(price), "new_quantity": str(size)}


def trade(ident):
    at = "2026-08-09T21:05:48Z"
    return {"product_id": "BTC-USD", "trade_id": ident, "price": "1", "size": "1", "time": at, "side": "BUY"}


def as_numbers(truth):
    return {bid: dict(side) for bid, side in truth.items()}


@example([("trade", "drop"), ("trade", ""), ("overflow", "")], ["drop", "", "drop"], 0)  # the first comes last
@example([("trade", "")], ["corrupt", "", "drop"], 0)  # a snapshot that was lost, and the one asked for next is bad
@given(STEPS, st.lists(st.sampled_from(["", "", "drop", "corrupt", "twice", "late"]), max_size=6), st.integers(0, 99))
def test_every_book_is_true_or_invalid(steps, greeting_faults, seed):
    world = CoinbaseWorld(seed, greeting_faults)
    world.answer()
    for what, fault in steps:
        world.step(what, fault)
        world.check_accounts()
    world.settle()
    world.check_accounts()
    assert world.feeds[Channel.BOOK].keeper.valid, world.feeds[Channel.BOOK].keeper.reason
    assert world.levels() == as_numbers(world.truth)
    world.check_trades(world.trades, lambda event: event.id)
    assert isinstance(world.line, Line)
