"""What a publisher looks at once a second: blocked streams, what is old, what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from bridge.clock import CLOCK
from bridge.model import Channel, Ticker
from bridge.publish import publisher as module
from tests.unit.core import SECOND, T0, delta, quote, snapshot
from tests.unit.idle import STEP, Idle


@pytest.fixture
async def idle():
    return Idle()


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
