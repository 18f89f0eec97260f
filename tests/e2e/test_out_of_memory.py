"""A Redis that is full, has room again, and is full again: nothing of what fits the buffer is lost, and no stream has a hole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from tests.e2e.conftest import Run, Simulate
from tests.e2e.deployments import SHAPES, deployed
from tests.e2e.harness import eventually
from tests.e2e.observing import check_streams, connect, flowing, none_missing, settled, stopped
from tests.servers import KINDS, missing

TIMES = 10
ROOM = 60_000
"""Bytes that Redis has left each time: some hundred entries, which the next batches take at once."""


def filled(clients: Sequence[redis.Redis]) -> None:
    """Give each server a little room, and wait until it has taken entries, and then refused others."""
    before = [xadds(client) for client in clients]
    for client in clients:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + ROOM)
    for client, (taken, _) in zip(clients, before, strict=True):
        eventually(lambda: xadds(client)[0] > taken, "entries that are taken")  # noqa: B023
    for client, (_, refused) in zip(clients, before, strict=True):
        eventually(lambda: xadds(client)[1] > refused, "entries that are refused")  # noqa: B023


def xadds(client: redis.Redis) -> tuple[int, int]:
    """How many a server has taken so far, and how often it has refused one."""
    stats = client.info("commandstats")
    xadd, executed = stats.get("cmdstat_xadd", {}), stats.get("cmdstat_exec", {})
    return xadd.get("calls", 0), xadd.get("rejected_calls", 0) + executed.get("rejected_calls", 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_redis_is_full_ten_times(run: Run, simulate: Simulate, tmp_path: Path, shape: str, kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    with deployed(shape, tmp_path, kind) as deployment:
        client = deployment.client
        simulated = simulate(deployment.url, rate=1000)
        connector = run("run", "--config", str(simulated.write(tmp_path / "run.yaml")))
        flowing(client, 300)
        servers = {deployment.owner(f"md:{{limitlex:{pair}}}:book") for pair in simulated.pairs}
        writers = [connect(server) for server in servers]
        for _ in range(TIMES):
            filled(writers)
        for writer in writers:
            writer.config_set("maxmemory", 0)
        settled(client, simulated)
        check_streams(client, simulated)
        assert stopped(client, connector)["lost"] == 0
        none_missing(client, simulated)
        assert '"redis_refused"' in connector.output
