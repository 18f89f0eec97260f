"""What a publisher does with what is put, while Redis is away, and its limits."""

from __future__ import annotations

import asyncio

import pytest

from bridge.clock import CLOCK
from bridge.model import Channel, Control, ControlEvent, Fill, Order, Position, Trade
from bridge.publish.pending import CONTROL, DATA, OVERHEAD, SNAPSHOT, WIDE
from bridge.publish.wire import render
from tests.unit.core import SECOND, T0, balance, delta, quote, snapshot, trade
from tests.unit.idle import BUDGET, STEP, Idle
from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, numbers, raw, until


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


# --- a stream that is written no more --------------------------------------------------------------------------------


async def test_a_stream_is_given_up_only_when_all_of_it_is_acknowledged(idle):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "elsewhere")
    idle.put(one, 2)
    assert not idle.publisher.give_up(one)
    runs = idle.pipeline.queue.take(1, 1 << 20)
    assert not idle.publisher.give_up(one)  # one waits, and one is on its way
    runs += idle.pipeline.queue.take(1, 1 << 20)
    assert not idle.publisher.give_up(one)
    one.flying = 0  # what a batch does when its replies have come
    idle.pipeline.upkeep.trims, idle.pipeline.upkeep.looks = [(one, "XTRIM"), (other, "XTRIM")], [one, other]
    assert idle.publisher.give_up(one)
    assert idle.pipeline.queue.streams == [other]
    assert (idle.pipeline.upkeep.trims, idle.pipeline.upkeep.looks) == ([(other, "XTRIM")], [other])
    assert idle.publisher.backlog() == {other: 0}


async def test_a_blocked_stream_is_given_up_with_what_waits(idle):
    one, other = idle.add(Channel.TRADES), idle.add(Channel.TRADES, "elsewhere")
    idle.put(one, 3)
    idle.put(other, 1)
    idle.pipeline.queue.block(one, "WRONGTYPE")
    assert idle.publisher.give_up(one)
    assert idle.publisher.waiting_bytes == other.bytes > 0
    assert idle.publisher.waiting == 1


async def test_one_that_comes_back_begins_again(idle):
    """An entry of it that Redis has refused before may be taken now."""
    one = idle.add(Channel.TRADES)
    idle.put(one, 1)
    [culprit] = one.waiting
    for _ in range(12):
        idle.pipeline.blocked.block(one, "ERR it is too large", culprit)
    assert idle.publisher.give_up(one)
    idle.publisher.add(one)
    idle.pipeline.blocked.start_trials()
    [(_, [entry], _)] = idle.pipeline.blocked.next_trial(10, 1 << 20)
    assert entry is culprit


async def test_a_stream_that_was_given_up_is_not_watched(redis_server):
    async with desk(redis_server) as d:
        one, other = await d.stream(), await d.stream(subject="ETH-EUR")
        d.put(one, 5)
        await d.drained()
        await until(lambda: d.publisher.give_up(one))
        with raw(redis_server) as client:
            client.xadd(one.key, {"type": "foreign"}, id=f"{one.ms + 1}-{one.seq + 1}")
        rounds = d.pipeline.upkeep.watch.rounds
        await until(lambda: d.pipeline.upkeep.watch.rounds >= rounds + 2)
        d.put(other, 5)
        await d.drained()
        assert d.said("stream_changed") == []
        assert d.ids(other) == numbers(6, 10)
