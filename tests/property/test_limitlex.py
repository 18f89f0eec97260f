"""Books without sequence numbers: after the check against the best prices and a re-snapshot, they are true again."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchanges.api import ConnectionPlan, Profile, Subscription
from bridge.exchanges.limitlex import Limitlex, LimitlexOptions, PairSession
from bridge.model import Channel
from tests.property.world import SECOND, Line, World, said

CHANNELS = frozenset({Channel.BOOK, Channel.TRADES})
FAULTS = ["", "", "", "", "drop", "twice", "late", "corrupt"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["delta", "delta", "delta", "best"]), st.sampled_from(FAULTS)),
        st.tuples(st.sampled_from(["trade", "trade"]), st.sampled_from(["", "", "corrupt"])),
        st.tuples(
            st.sampled_from(["cut", "kill", "flush", "flush", "overflow", "watch", "wait", "rotate", "slow rotate"]),
            st.just(""),
        ),
    ),
    max_size=60,
)


class LimitlexWorld(World):
    exchange = Limitlex

    def __init__(self, seed, amounts):
        self.amounts = amounts
        self.truth = {True: {}, False: {}}
        self.trades = {}
        """Size, by which they are told apart → when it was made (ns), in their order."""
        self.beside = None
        super().__init__(seed)
        self.flush()

    def make_plan(self):
        options = LimitlexOptions(amounts=self.amounts)
        changes = self.amounts == "change"
        self.rules = Limitlex(Profile((self.pair,), CHANNELS, options=options)).book
        streams = tuple(Subscription(channel, self.pair) for channel in CHANNELS)
        return ConnectionPlan(
            "pair", streams, lambda: PairSession("wss://x/", self.pair, "a:b", CHANNELS, changes=changes), rotate=60
        )

    def greet(self, line):
        sides = [
            [{"price": str(p), "amount": str(a), "total": "?"} for p, a in self.truth[bid].items()]
            for bid in (True, False)
        ]
        self.tick()
        line.frame(encode(t="whole_order_book", bids=sides[0], asks=sides[1]))
        self.tick()
        line.frame(self.best())

    def best(self):
        bid = str(max(self.truth[True])) if self.truth[True] else None
        ask = str(min(self.truth[False])) if self.truth[False] else ""
        return encode(t="best_bid_ask", bid=bid, ask=ask)

    def broadcast(self, frame, fault=""):
        self.deliver(self.line, frame, fault)
        if self.beside is not None:
            self.deliver(self.beside, frame, "")

    def change(self, fault):
        bid = self.random.random() < 0.5
        price = self.random.randrange(1, 6) if bid else self.random.randrange(6, 11)
        before = self.truth[bid].get(price, 0)
        size = self.random.choice([0, 1, 2, 3])
        if size == before:
            return
        if size:
            self.truth[bid][price] = size
        else:
            self.truth[bid].pop(price)
        amount = size if self.amounts == "absolute" else size - before
        side = "Buy" if bid else "Sell"
        self.broadcast(encode(t="order_book", orderDirection=side, amount=str(amount), price=str(price)), fault)
        self.broadcast(self.best())

    def execute(self, fault):
        size = str(len(self.trades) + 1)
        self.trades[size] = self.now
        at = self.now // SECOND
        self.broadcast(encode(t="last_trade", orderDirection="Buy", amount=size, price="1", createdAt=at), fault)

    def slow_replace(self):
        """Both connections run side by side for a while."""
        old = self.line
        new = self.beside = self.open_beside()
        for _ in range(self.random.randrange(5)):
            self.random.choice([self.change, self.execute])("")
        self.beside = None
        if old is self.line:
            self.opened(self.topics, new.opened_at)
            old.mute()
            self.line = new
            new.release()

    def open_beside(self):
        line = Line(self, self.plan, self.context, hold=True)
        for _ in range(self.random.randrange(3)):
            self.random.choice([self.change, self.execute])("")  # the handshake takes its time
        self.greet(line)
        return line

    def step(self, what, fault):
        if what == "delta":
            self.change(fault)
        elif what == "trade":
            self.execute(fault)
        elif what == "best":
            self.broadcast(self.best(), fault)
        elif what == "overflow":
            self.overflow(self.random.choice([1, 1000, 10**6]))
        elif what == "wait":
            self.tick(0.3)
        elif what == "rotate":
            self.replace()
        elif what == "slow rotate":
            self.slow_replace()
        else:
            getattr(self, what)()

    def settle(self):
        """The faults are over; the check against the best prices has its time, and the slow timer comes once."""
        for _ in range(20):
            self.tick(0.25)
            self.watch()
            self.flush()
        self.replace()
        self.flush()
        self.watch()
        self.flush()


def encode(**message):
    return json.dumps(message).encode()


@pytest.mark.parametrize("amounts", ["absolute", "change"])
@given(STEPS, st.integers(0, 99))
def test_every_book_is_true_again_or_invalid(amounts, steps, seed):
    world = LimitlexWorld(seed, amounts)
    for what, fault in steps:
        world.step(what, fault)
        world.check_accounts()
    world.settle()
    world.check_accounts()
    keeper = world.feeds[Channel.BOOK].keeper
    assert keeper.valid, keeper.reason
    assert world.levels() == {
        bid: {Decimal(p): Decimal(s) for p, s in side.items()} for bid, side in world.truth.items()
    }
    world.check_trades(world.trades, lambda event: event.size)


@given(STEPS, st.integers(0, 99))
def test_where_the_book_was_wrong_the_stream_says_so(steps, seed):
    """A book that a lost delta made wrong is declared by the time the fresh one stands there."""
    world = LimitlexWorld(seed, "absolute")
    world.change("")
    world.flush()
    for what, fault in steps:
        world.step(what, fault if fault != "late" else "")
        world.flush()
    feed = world.feeds[Channel.BOOK]
    true = {bid: {Decimal(p): Decimal(s) for p, s in side.items()} for bid, side in world.truth.items()}
    wrong = feed.keeper.valid and world.levels() != true
    place = len(feed.entries)
    world.tick(5)
    world.replace()
    world.flush()
    if wrong:
        assert {"gap", "down"} & {said(event) for event in feed.entries[place:]}
