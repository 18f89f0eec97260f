"""What a publisher does with what is put, while Redis is away; its limits, and what it looks at once a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.clock import CLOCK
from bridge.model import Channel, Control, ControlEvent, Fill, Order, Position, Ticker, Trade
from bridge.publish import publisher as module
from bridge.publish.pending import CONTROL, DATA, OVERHEAD, SNAPSHOT, WIDE, Budget
from bridge.publish.publisher import OneServer, Publisher
from bridge.publish.wire import render
from tests.unit.core import SECOND, T0, balance, delta, quote, snapshot, stream, trade
from tests.unit.proxy import Proxy
from tests.unit.publishing import Events, desk, numbers, raw, until

STEP = 1000
BUDGET = Budget(64 * STEP, 300.0)


async def nowhere():
    raise AssertionError("what isn't run connects to nothing")


class Idle:
    """A publisher that isn't run: what is put waits."""

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.events = Events()
        self.capture = LogCapture()
        self.publisher = Publisher(
            OneServer(nowhere),
            lambda: itertools.repeat(0.01),
            self.events,
            budget=budget,
            standing_by=False,
            log=structlog.wrap_logger(None, processors=[self.capture]),
        )
        [self.pipeline] = self.publisher._nodes.pipelines

    def add(self, channel: Channel, subject: str = ""):
        made = stream(channel, subject)
        self.publisher.add(made)
        return made

    def put(self, where, count: int, at: int = T0) -> None:
        """Trades of one weight, about half a step."""
        for number in range(count):
            self.publisher.put(where, trade(0, "x" * 40, recv=at + number))

    @property
    def dropped(self):
        return [line for line in self.capture.entries if line["event"] == "events_dropped"]


@pytest.fixture
async def idle():
    return Idle()


# --- what is put ---------------------------------------------------------------------------------------------------

DOWN = Control("BTC-EUR", None, T0, Channel.TRADES, ControlEvent.DOWN, "why")
KINDS = {
    "a trade": (Channel.TRADES, trade(0, "1"), DATA),
    "a trade of contracts": (Channel.TRADES, Trade("B", T0, T0, "1", "buy", "1", "", contracts="3"), WIDE),
    "an order": (Channel.ORDERS, Order("m", T0, T0, "o", "", "", "limit", "buy", "1", "2", "0", "open"), DATA),
    "a fill of contracts": (
        Channel.FILLS,
        Fill("m", T0, T0, "f", "o", "", "buy", "1", "2", "", "", contracts="3"),
        WIDE,
    ),
    "a position": (Channel.POSITIONS, Position("m", None, T0, "B", "", "0", "", "", ""), DATA),
    "a balance": (Channel.BALANCES, balance("EUR", "1"), DATA),
    "a quote": (Channel.QUOTES, quote("1", "2"), DATA),
    "a snapshot": (Channel.BOOK, snapshot(), SNAPSHOT),
    "a delta": (Channel.BOOK, delta(), DATA),
    "a control entry": (Channel.TRADES, DOWN, CONTROL),
    "text of all languages": (Channel.BALANCES, balance("日本", "1"), DATA),
}


@pytest.mark.parametrize("what", KINDS)
async def test_what_is_put_waits_with_its_weight_and_its_kind(idle, what):
    channel, event, kind = KINDS[what]
    one, other = idle.add(channel), idle.add(channel, "elsewhere")
    idle.publisher.put(one, event)
    [entry] = one.waiting
    assert (entry.recv, entry.body, entry.kind, entry.seq) == (event.recv, render(event), kind, 0)
    assert one.bytes == idle.publisher.waiting_bytes == entry.weight == len(render(event)) + OVERHEAD
    control = kind == CONTROL
    assert (one.controls, one.backlog) == (control, not control)
    assert idle.publisher.backlog() == {one: not control, other: 0}
    assert idle.publisher.waiting == 1
    idle.publisher.put(one, event)
    assert (one.bytes, one.controls) == (2 * entry.weight, 2 * control)
    assert idle.publisher.waiting_bytes == 2 * entry.weight


@pytest.mark.parametrize("shift", [0, 7 * SECOND, -7 * SECOND])
async def test_what_is_written_has_the_hosts_time(idle, monkeypatch, shift):
    monkeypatch.setattr(CLOCK, "shift", shift)
    one = idle.add(Channel.TRADES)
    idle.publisher.put(one, trade(0, "1"))
    [entry] = one.waiting
    assert (entry.recv, entry.body) == (T0, render(Trade("BTC-EUR", T0, T0 + shift, "1", "buy", "7997.40", "0.1")))


async def test_the_loop_is_asked_once_for_all_that_is_put_at_a_time(idle):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "ETH-EUR")
    calls = []
    flush = idle.pipeline.flush
    idle.pipeline.flush = lambda: (calls.append(1), flush())
    idle.put(one, 3)
    idle.put(other, 1)
    assert (one.ready, other.ready, idle.pipeline.scheduled, calls) == (True, True, True, [])
    await asyncio.sleep(0)
    assert (len(calls), idle.pipeline.scheduled) == (1, False)
    idle.put(one, 1)
    await asyncio.sleep(0)
    assert len(calls) == 1, "the queue knows of it already"
    idle.pipeline.queue.take(100, 1 << 30)
    idle.put(one, 1)
    await asyncio.sleep(0)
    assert (one.ready, len(calls)) == (True, 2)


async def test_what_others_have_lost_is_declared_behind_what_waits(idle):
    one = idle.add(Channel.TRADES)
    idle.put(one, 1)
    idle.pipeline.queue.take(100, 1 << 30)
    await asyncio.sleep(0)
    idle.publisher.declare_lost(one, T0, 5, "too many events before the stream was open")
    [lost] = one.waiting
    assert (lost.count, lost.loss, lost.recv, one.declared) == (5, "stream_not_open", T0, 5)
    assert idle.pipeline.scheduled
    assert one.ready


# --- figures -------------------------------------------------------------------------------------------------------


async def test_the_figures_are_those_of_all_pipelines(idle):
    totals = idle.publisher._totals
    totals.published, totals.lost, totals.confirmed = 3, 2, 1
    totals.latency.add(5_000_000)
    publisher = idle.publisher
    assert (publisher.published, publisher.lost, publisher.confirmed, publisher.latency.count) == (3, 2, 1, 1)
    assert (publisher.waiting, publisher.waiting_bytes, publisher.connected) == (0, 0, False)


async def test_whether_a_stream_is_taken_is_its_own_matter(redis_server):
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        one, other = await d.stream(), await d.stream(subject="ETH-EUR")
        publisher = d.publisher
        await until(lambda: publisher.connected)
        one.blocked = "WRONGTYPE"
        assert (publisher.takes(one), publisher.takes(other)) == (False, True)
        one.blocked = ""
        assert publisher.takes(one)
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not publisher.connected)
        assert not publisher.takes(one)


# --- the budget ----------------------------------------------------------------------------------------------------


async def test_somebody_looks_at_each_step(idle):
    """And not at each event: there are 64 steps."""
    one = idle.add(Channel.TRADES)
    looked = []
    relieve = idle.publisher._relieve
    idle.publisher._relieve = lambda: (looked.append(idle.publisher.waiting_bytes), relieve())
    seen = [idle.publisher.waiting_bytes]
    limit = STEP
    expected = []
    for _ in range(30):
        idle.put(one, 1)
        seen.append(idle.publisher.waiting_bytes)
        if seen[-1] > limit:
            expected.append(seen[-1])
            limit = seen[-1] + STEP
    assert looked == expected
    assert len(looked) > 5


async def test_at_the_limit_exactly_nobody_looks(idle):
    one = idle.add(Channel.TRADES)
    idle.put(one, 1)
    weight = one.waiting[0].weight
    looked = []
    idle.publisher._relieve = lambda: looked.append(1)
    idle.publisher._look_at = 2 * weight
    idle.put(one, 1)
    assert looked == []
    idle.put(one, 1)
    assert looked == [1]


async def test_a_full_budget_drops_a_step_more_than_needed(idle):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "ETH-EUR")
    idle.put(other, 1, T0 + SECOND)
    weight = other.waiting[0].weight
    idle.put(one, BUDGET.max_bytes // weight - 1)
    assert idle.events.drops == []
    before = idle.publisher.waiting_bytes
    assert BUDGET.max_bytes - weight < before <= BUDGET.max_bytes
    idle.put(one, 1)
    lost = one.waiting[0]
    count = lost.count
    assert (lost.loss, other.declared, idle.events.drops) == ("buffer_full", 0, [one])
    assert idle.publisher.waiting_bytes == before + weight - count * weight + lost.weight == one.bytes + other.bytes
    assert BUDGET.max_bytes - STEP - weight < idle.publisher.waiting_bytes <= BUDGET.max_bytes - STEP
    [line] = idle.dropped
    assert (line["count"], line["reason"]) == (count, f"the buffer of {64 * STEP} bytes is full")
    assert (line["log_level"], line["waiting"]) == ("error", len(one.waiting) + len(other.waiting))
    assert idle.publisher._look_at == idle.publisher.waiting_bytes + STEP


async def test_what_is_just_full_is_not_too_full(idle):
    one = idle.add(Channel.TRADES)
    idle.put(one, 10)
    idle.publisher.most_bytes = idle.pipeline.pressure.limit = idle.publisher.waiting_bytes
    idle.publisher._relieve()
    assert (idle.events.drops, idle.events.held) == ([], [])
    assert idle.publisher._look_at == idle.publisher.most_bytes


async def test_the_feed_is_held_at_a_quarter_of_the_budget_and_by_whom_is_said(idle):
    one = idle.add(Channel.TRADES)
    held = []
    idle.events.hold, idle.events.release = held.append, lambda who: held.append((who, "released"))
    while not held:
        idle.put(one, 1)
    assert held == [idle.pipeline]
    weight = one.waiting[0].weight
    assert 16 * STEP < idle.publisher.waiting_bytes <= 16 * STEP + STEP + weight
    idle.put(one, 20)
    assert held == [idle.pipeline]
    idle.pipeline.pressure.release()
    assert held == [idle.pipeline, (idle.pipeline, "released")]


async def test_what_a_blocked_stream_has_holds_nobody_up(idle):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "ETH-EUR")
    idle.pipeline.queue.block(one, "WRONGTYPE")
    idle.put(one, 100)
    idle.put(other, 1)
    assert idle.publisher.waiting_bytes > 17 * STEP
    assert idle.events.held == []


async def test_a_server_that_was_emptied_is_brought_up_to_date(redis_server):
    async with desk(redis_server) as d:
        one = await d.stream()
        d.put(one, 5)
        await d.drained()
        await d.nothing_under_way()
        with raw(redis_server) as client:
            client.flushall()
        d.publisher.renew("it was emptied")
        await until(lambda: d.ids(one) == numbers(1, 5))
        assert [line["reason"] for line in d.said("redis_lost")] == ["it was emptied"]


async def test_a_publisher_that_ends_holds_nobody_up(redis_server):
    async with desk(redis_server) as d:
        await until(lambda: d.publisher.connected)
        d.pipeline.pressure.exceeded(asyncio.get_running_loop().time())
        assert d.events.held == [True]
    assert d.events.held == [True, False]


# --- once a second -------------------------------------------------------------------------------------------------


class Housekeeping:
    """Keeps house when the test says so, at times that it gives."""

    def __init__(self, idle: Idle, monkeypatch) -> None:
        self._turns: asyncio.Queue[None] = asyncio.Queue()
        self.asleep: asyncio.Queue[float] = asyncio.Queue()
        self.now = 1000.0
        self.trials: list[bool] = []
        """Whether blocked streams were tried, at each look around."""
        self.checks: list[float] = []
        loop = asyncio.get_running_loop()
        idle.publisher._loop = SimpleNamespace(time=lambda: self.now, call_soon=loop.call_soon)
        idle.pipeline.look_around = lambda now, *, trials: self.trials.append(trials)
        idle.pipeline.pressure.check = self.checks.append
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=self._sleep))
        self.task = asyncio.create_task(idle.publisher._keep_house())

    async def _sleep(self, seconds: float) -> None:
        self.asleep.put_nowait(seconds)
        await self._turns.get()

    async def turn(self, now: float) -> None:
        """One round, at this time of the loop."""
        self.now = now
        self._turns.put_nowait(None)
        await self.asleep.get()


@pytest.fixture
async def house(idle, monkeypatch):
    made = Housekeeping(idle, monkeypatch)
    assert await made.asleep.get() == 1.0
    yield made
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.task


async def test_blocked_streams_are_tried_every_five_seconds(house):
    for now in (1001.0, 1002.0, 1005.9, 1006.0, 1010.9, 1011.5, 1016.0, 1016.5):
        await house.turn(now)
    assert house.trials == [True, False, False, True, False, True, False, True]
    assert house.checks == [1001.0, 1002.0, 1005.9, 1006.0, 1010.9, 1011.5, 1016.0, 1016.5]


async def test_one_conflict_a_minute_is_forgiven(idle, house):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "ETH-EUR")
    one.conflicts, other.conflicts = 2, 0
    seen = []
    for now in (1001.0, 1059.9, 1060.0, 1119.9, 1120.5, 1180.0, 1181.0):
        await house.turn(now)
        seen.append((one.conflicts, other.conflicts))
    assert seen == [(2, 0), (2, 0), (1, 0), (1, 0), (0, 0), (0, 0), (0, 0)]


async def test_after_a_peak_somebody_looks_early_again(idle, house):
    one = idle.add(Channel.TRADES)
    idle.put(one, 30)
    high = idle.publisher._look_at
    await house.turn(1001.0)
    assert idle.publisher._look_at == high
    [(_, _, size)] = idle.pipeline.queue.take(25, 1 << 30)
    idle.publisher._totals.bytes -= size
    await house.turn(1002.0)
    assert idle.publisher._look_at == idle.publisher.waiting_bytes + STEP < high


async def test_each_round_looks_at_the_limits(idle, house, monkeypatch):
    monkeypatch.setattr(CLOCK, "now", lambda: T0 + 1000 * SECOND)
    quotes, blocked = idle.add(Channel.QUOTES), idle.add(Channel.TRADES)
    for _ in range(3):
        idle.publisher.put(quotes, quote("1", "2"))
    idle.put(blocked, 90)
    idle.pipeline.queue.block(blocked, "WRONGTYPE")
    await house.turn(1001.0)
    assert idle.events.drops == [quotes, blocked]


# --- what is old ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "old"), [(0, False), (1, True)])
async def test_what_can_be_summed_up_is_when_it_is_old(idle, after, old):
    quotes, ticker, book, trades, fresh, single, empty = streams = [
        idle.add(channel, subject)
        for channel, subject in [
            (Channel.QUOTES, ""),
            (Channel.TICKER, ""),
            (Channel.BOOK, ""),
            (Channel.TRADES, ""),
            (Channel.QUOTES, "ETH-EUR"),
            (Channel.QUOTES, "SOL-EUR"),
            (Channel.QUOTES, "XRP-EUR"),
        ]
    ]
    for number in range(3):
        idle.publisher.put(quotes, quote("1", "2", T0 + number * SECOND))
        idle.publisher.put(ticker, Ticker("BTC-EUR", None, T0, "86400", "1", "2", "3", "4", "5", "6", "7"))
        idle.publisher.put(fresh, quote("1", "2", T0 + SECOND))
    idle.publisher.put(book, snapshot())
    idle.publisher.put(book, delta())
    idle.publisher.put(single, quote("1", "2"))
    idle.put(trades, 3)
    idle.publisher._sum_up_the_old(T0 + 300 * SECOND + after)
    assert [where.declared for where in streams] == ([2, 2, 2, 0, 0, 0, 0] if old else [0] * 7)
    assert idle.events.drops == ([quotes, ticker, book] if old else [])
    assert [(line["count"], line["reason"]) for line in idle.dropped] == (
        [(6, "Redis was away for more than 300 s")] if old else []
    )
    assert idle.publisher.waiting_bytes == sum(where.bytes for where in streams)
    assert not empty.waiting
    assert [len(where.waiting) for where in streams] == ([2, 2, 1, 3, 3, 1, 0] if old else [3, 3, 2, 3, 3, 1, 0])


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("streams", "share"), [(1, 64 * STEP), (2, 32 * STEP), (10, 64 * STEP // 10), (40, 4 * STEP)])
async def test_a_blocked_stream_has_its_share_of_the_budget(streams, share):
    idle = Idle()
    one, *others = [idle.add(Channel.TRADES, f"{number}-EUR") for number in range(streams)]
    idle.put(one, 1)
    weight = one.waiting[0].weight
    idle.put(one, share // weight - 1)
    idle.publisher._limit_the_blocked()
    one.blocked = "ERR " + "x" * 1000
    one.bytes += share - one.bytes  # to the byte
    idle.publisher._totals.bytes = one.bytes
    idle.publisher._limit_the_blocked()
    assert idle.events.drops == []
    one.bytes += 1
    idle.publisher._totals.bytes += 1
    idle.publisher._limit_the_blocked()
    assert (idle.events.drops, one.declared) == ([one], 1)
    lost = one.waiting[0]
    assert one.bytes == idle.publisher.waiting_bytes == share + 1 - weight + lost.weight
    assert lost.loss == "stream_refused"
    assert 150 < lost.body.count("x") < 200
    assert not any(where.declared for where in others)


async def test_one_that_is_not_blocked_has_no_share(idle):
    one = idle.add(Channel.TRADES)
    idle.add(Channel.TRADES, "ETH-EUR")
    idle.put(one, 150)
    assert idle.publisher.waiting_bytes > 32 * STEP
    idle.publisher._limit_the_blocked()
    assert idle.events.drops == []


async def test_without_streams_there_is_nothing_to_share(idle):
    idle.publisher._limit_the_blocked()
    assert idle.publisher.waiting == 0
