"""A publisher against a real server and a model whose truth is a list: every event once, in order, without a hole."""

from __future__ import annotations

import asyncio
import contextlib
import os
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bridge.publish.fence import Fence
from bridge.publish.publisher import OneServer
from bridge.publish.transfer import Mode
from tests.unit.proxy import Proxy
from tests.unit.publishing import check_sums, desk, hurry, raw

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
SEEDS = range(3)
SUBJECTS = ("BTC-EUR", "ETH-EUR", "SOL-EUR")
FENCE = Fence("bridge:connector:model:fence", "1-aaaa", "model")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


class Model(RuleBasedStateMachine):
    """What was put, per stream; and a server, and a link to it, that fail in every way that loses nothing for good."""

    def __init__(self, server) -> None:
        super().__init__()
        self.server = server
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.truth: dict[str, list[str]] = {subject: [] for subject in SUBJECTS}
        self.run(self.open())

    def run(self, work):
        return self.runner.run(work)

    async def open(self) -> None:
        with raw(self.server) as client:
            client.flushall()
            client.set(FENCE.key, FENCE.token)
        self.proxy = await self.stack.enter_async_context(Proxy(self.server.port))
        fence = FENCE if OneServer.mode is Mode.ATOMIC else None
        self.desk = await self.stack.enter_async_context(desk(self.server, self.proxy.url, patience=0.15, fence=fence))
        self.streams = {subject: await self.desk.stream(subject=subject) for subject in SUBJECTS}

    @rule(subject=st.sampled_from(SUBJECTS), count=st.sampled_from([1, 1, 3, 40, 400]))
    def put(self, subject, count):
        first = self.desk.count + 1
        self.run(self.do(lambda: self.desk.put(self.streams[subject], count)))
        self.truth[subject] += map(str, range(first, first + count))

    @rule()
    def cut(self):
        self.run(self.do(self.proxy.cut))

    @rule(to=st.booleans())
    def swallow_replies(self, to):
        self.proxy.swallow = to

    @rule(to=st.booleans())
    def refuse_connections(self, to):
        self.proxy.refuse = to

    @rule(held=st.booleans(), which=st.sampled_from(["up", "flow"]))
    def hold_back(self, held, which):
        """Commands, which then arrive late, or replies."""
        event = getattr(self.proxy, which)
        self.run(self.do(event.clear if held else event.set))

    @rule(to=st.booleans())
    def fill_up(self, to):
        with raw(self.server) as client:
            client.config_set("maxmemory", int(to))

    @rule()
    def kill_connections(self):
        with raw(self.server) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    @rule(which=st.sampled_from(["stand_by", "may_write"]))
    def stand_by_or_write(self, which):
        publisher = self.desk.publisher
        self.run(self.do(publisher.stand_by if which == "stand_by" else lambda: publisher.may_write(FENCE)))

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.05, 0.2]))
    def let_time_pass(self, seconds):
        self.run(asyncio.sleep(seconds))

    @invariant()
    def the_sums_are_right(self):
        check_sums(self.desk.publisher)

    async def do(self, what) -> None:
        what()
        await asyncio.sleep(0)

    def teardown(self):
        try:
            self.run(self.heal())
            for subject, stream in self.streams.items():
                assert self.desk.ids(stream) == self.truth[subject]
                assert self.desk.seqs(stream) == list(range(1, len(self.truth[subject]) + 1))
            assert (self.desk.publisher.published, self.desk.publisher.lost) == (self.desk.count, 0)
            assert self.desk.events.drops == []
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    async def heal(self) -> None:
        with raw(self.server) as client:
            client.config_set("maxmemory", 0)
        self.proxy.refuse = self.proxy.swallow = False
        self.proxy.flow.set()
        self.proxy.up.set()
        self.proxy.cut()
        self.desk.publisher.may_write(FENCE)
        for stream in self.streams.values():
            self.desk.put(stream)
            self.truth[stream.subject].append(str(self.desk.count))
        async with asyncio.timeout(30):
            while self.desk.publisher.waiting:
                await self.desk.publisher.drained()
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("mode", Mode)
def test_every_event_once_in_order(redis_server, monkeypatch, mode):
    monkeypatch.setattr(OneServer, "mode", mode)
    run_state_machine_as_test(
        lambda: Model(redis_server),
        settings=settings(
            max_examples=100 if THOROUGH else 12,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_server_that_restarts_with_its_data(own_server, seed):
    random = Random(seed)
    async with Proxy(own_server.port) as proxy, desk(own_server, proxy.url) as d:
        stream = await d.stream()
        d.wait_for_answers(0.3)
        for _ in range(3):
            for _ in range(20):
                d.put(stream, random.choice([1, 50]))
                await asyncio.sleep(random.choice([0, 0.002]))
            if random.random() < 0.5:
                proxy.swallow = True
                d.put(stream, 20)
                await asyncio.sleep(0.01)
            (own_server.kill if random.random() < 0.6 else own_server.stop)()
            d.put(stream, 5)
            own_server.start()
            proxy.swallow = False
            proxy.cut()
        d.wait_for_answers()
        d.put(stream)
        await d.drained()
        assert d.ids(stream) == [str(n) for n in range(1, d.count + 1)]
        assert d.seqs(stream) == list(range(1, d.count + 1))
        assert (d.publisher.published, d.publisher.lost) == (d.count, 0)
