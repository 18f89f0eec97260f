"""Random storms between a publisher and a real server: every event once, in order, numbered without a hole."""

from __future__ import annotations

import asyncio
import os
from random import Random

import pytest

from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, hurry, raw

SEEDS = range(40 if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 6)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


async def storm(random, proxy, d, streams, steps=80):
    """Puts, and things that go wrong."""
    server = d.server
    with raw(server) as client:
        for _ in range(steps):
            what = random.random()
            if what < 0.55:
                d.put(random.choice(streams), random.choice([1, 1, 3, 40, 400]))
            elif what < 0.65:
                proxy.cut()
            elif what < 0.72:
                proxy.swallow = True
            elif what < 0.80:
                proxy.swallow = False
                proxy.cut()
            elif what < 0.85:
                proxy.refuse = not proxy.refuse
            elif what < 0.90:
                (proxy.flow.clear if random.random() < 0.5 else proxy.flow.set)()
            elif what < 0.93 and server.running:
                client.config_set("maxmemory", random.choice([0, 1]))
            elif what < 0.96:
                client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(random.choice([0, 0, 0.001, 0.01, 0.05]))
        client.config_set("maxmemory", 0)
    proxy.refuse = proxy.swallow = False
    proxy.flow.set()
    proxy.cut()


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_event_once_in_order(redis_server, seed):
    random = Random(seed)
    async with Proxy(redis_server.port) as proxy, desk(redis_server, proxy.url) as d:
        streams = [await d.stream(), await d.stream(subject="ETH-EUR"), await d.stream(subject="SOL-EUR")]
        d.wait_for_answers(0.15)
        await storm(random, proxy, d, streams)
        d.wait_for_answers()
        for stream in streams:
            d.put(stream)
        await d.drained()
        ids = []
        for stream in streams:
            assert d.seqs(stream) == list(range(1, len(d.seqs(stream)) + 1))
            found = [int(ident) for ident in d.ids(stream)]
            assert found == sorted(found)
            ids += found
        assert sorted(ids) == list(range(1, d.count + 1))
        assert (d.publisher.published, d.publisher.lost) == (d.count, 0)


@pytest.mark.parametrize("seed", SEEDS[:3])
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
