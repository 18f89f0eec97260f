"""Messages to an exchange that counts them: over real WebSockets, all connections together keep to its limit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.exchanges.api import ConnectionPlan, Output, Send
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.feed.policies import Pacer, SendBudget, send_budget
from bridge.feed.transport import has_picows
from tests.unit.feeding import TRADES, Desk, FakeExchange, FakeSession, Venue
from tests.unit.publishing import until

FOREVER = 3600.0
LOG = structlog.wrap_logger(None, processors=[LogCapture()])


class Talker(FakeSession):
    """Has much to say at the beginning."""

    def __init__(self, url: str, name: str, count: int) -> None:
        super().__init__(url)
        self._texts = [f"{name}{number}" for number in range(count)]

    def connected(self, now: int) -> list[Output]:
        return [Send(text) for text in self._texts]


@pytest.fixture(params=["websockets", "picows"])
def library(request):
    if request.param == "picows" and not has_picows():
        pytest.skip("picows is not installed")
    return request.param


@contextlib.asynccontextmanager
async def talkers(venue, library, budget, *counts):
    """Open connections that each have so many messages to send."""
    desk = Desk((TRADES,))
    context = FeedContext(
        exchange=FakeExchange(None),
        receiver=desk,
        rest=NoRest(),
        pacer=Pacer(0, time.monotonic),
        log=LOG,
        library=library,
        sends=budget,
    )
    opened = []
    try:
        for name, count in zip("abc", counts, strict=False):
            plan = ConnectionPlan(name, (TRADES,), lambda n=name, c=count: Talker(venue.url, n, c))
            opened.append(Connection(plan, context, asyncio.Event(), hold=False))
            await opened[-1].open()
        yield opened
    finally:
        for connection in opened:
            await connection.close()


class NoRest:
    async def drive(self, flow):
        try:
            next(flow)
        except StopIteration as stop:
            return stop.value
        raise AssertionError


async def test_no_more_than_the_limit_goes_out_over_all_connections(library):
    budget = SendBudget(8, FOREVER, time.monotonic)
    async with Venue() as venue, talkers(venue, library, budget, 4, 10) as opened:
        await until(lambda: len(venue.received) == 8)
        venue.say(k="trade", id="1")  # when that has come, whatever was sent before has arrived
        await until(lambda: all(connection.frames for connection in opened))
        assert len(venue.received) == 8
        assert budget.waiting == 6
    assert budget.waiting == 0


async def test_all_goes_out_in_the_end_each_connection_in_its_order(library):
    budget = SendBudget(3, 0.01, time.monotonic)
    async with Venue() as venue, talkers(venue, library, budget, 20, 20):
        await until(lambda: len(venue.received) == 40)
        for name in "ab":
            assert [text for text in venue.received if text[0] == name] == [f"{name}{n}" for n in range(20)]
        assert budget.waiting == 0


async def test_without_a_limit_nothing_waits(library):
    async with Venue() as venue, talkers(venue, library, None, 100):
        await until(lambda: len(venue.received) == 100)


async def test_a_connection_is_opened_when_there_is_room_for_what_it_has_to_say(library):
    budget = SendBudget(2, FOREVER, time.monotonic)
    async with Venue() as venue, talkers(venue, library, budget, 6):
        await until(lambda: len(venue.received) == 2)
        late = asyncio.create_task(budget.room(1.0))
        await asyncio.sleep(0)
        assert not late.done()
        late.cancel()


async def test_turns_that_a_busy_loop_has_missed_are_not_made_up_for(monkeypatch):
    now, went = [100.0], []

    async def oversleep(seconds):
        now[0] += seconds + 7

    monkeypatch.setattr("bridge.feed.policies.asyncio.sleep", oversleep)
    budget = SendBudget(2, 1.0, lambda: now[0])
    for _ in range(8):
        await budget.turn()
        went.append(now[0])
    assert min(later - earlier for earlier, later in pairwise(went[::2])) >= 1.0


async def test_one_budget_for_all_connectors_of_a_process():
    assert send_budget("wss://x", 8) is send_budget("wss://x", 8)
    assert send_budget("wss://x", 8) is not send_budget("wss://y", 8)
    assert send_budget("wss://x", None) is None


@pytest.mark.parametrize(
    ("per_second", "most", "seconds"), [(8, 8, 1.0), (2.9, 2, 1.0), (0.5, 1, 2.0), (2 / 3, 1, 1.5)]
)
async def test_less_than_one_a_second_is_one_in_a_longer_time(monkeypatch, per_second, most, seconds):
    now, went = [100.0], []

    async def sleep(wait):
        now[0] += wait

    monkeypatch.setattr("bridge.feed.policies.asyncio.sleep", sleep)
    monkeypatch.setattr("bridge.feed.policies.time.monotonic", lambda: now[0])
    budget = send_budget(f"wss://{per_second}", per_second)
    assert budget is not None
    for _ in range(3 * most):
        await budget.turn()
        went.append(now[0])
    apart = [later - earlier for earlier, later in pairwise(went[::most])]
    assert all(seconds <= each <= seconds + 0.5 for each in apart)
