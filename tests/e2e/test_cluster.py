"""A Redis Cluster under a connector with twenty pairs: masters die, slots move, and no stream has a hole."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.redis.topology import slot_of
from consumers.groups import GroupReader
from consumers.items import Entry, Hole
from consumers.positions import Position
from tests.clusters import Cluster, wait
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import Process, Simulated, eventually
from tests.e2e.observing import check_streams, controls, flowing, settled, stopped
from tests.patience import PATIENCE

PAIRS = [
    f"{base}-EUR"
    for base in [
        "BTC",
        "ETH",
        "SOL",
        "XRP",
        "ADA",
        "DOT",
        "LTC",
        "BCH",
        "XLM",
        "TRX",
        "UNI",
        "ATOM",
        "ALGO",
        "NEAR",
        "FIL",
        "APT",
        "ARB",
        "INJ",
        "SUI",
        "TON",
    ]
]


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Any]:
    with cluster.client() as client:
        yield client


@pytest.fixture
def simulated(cluster: Cluster, simulate: Simulate) -> Simulated:
    return simulate(cluster.url, "--pairs", ",".join(PAIRS), rate=800)


@pytest.fixture
def connector(run: Run, simulated: Simulated, tmp_path: Path) -> Process:
    return run("run", "--config", str(simulated.write(tmp_path / "run.yaml")))


def heads(client: Any) -> dict[str, int]:
    """How far each pair's trades and book are."""
    keys = [f"md:{{limitlex:{pair}}}:{channel}" for pair in PAIRS for channel in ("trades", "book")]
    return {key: int(client.xinfo_stream(key)["last-generated-id"].split("-")[1]) for key in keys}


def all_go_on(client: Any) -> None:
    """Wait until each of them is further than it was."""
    before = wait(lambda: heads(client), "all streams")
    wait(lambda: all(now > before[key] for key, now in heads(client).items()), "every stream goes on")


def test_a_master_is_killed_under_load(client: Any, cluster: Cluster, connector: Process, simulated: Simulated) -> None:
    flowing(client, 3000)
    spread = {cluster.owner(f"md:{{limitlex:{pair}}}:trades").port for pair in PAIRS}
    assert len(spread) == 3, "streams on all masters"
    victim = cluster.owner("md:{limitlex:BTC-EUR}:trades")
    with cluster.without_replica(victim):
        all_go_on(client)
        victim.kill()
    wait(lambda: cluster.owner("md:{limitlex:BTC-EUR}:trades") is not victim, "another master")
    all_go_on(client)
    settled(client, simulated)
    check_streams(client, simulated)
    counts = stopped(client, connector)
    assert counts["lost"] == 0
    assert "redis_resent" in connector.output, connector.output


def test_consumers_read_across_the_nodes(
    client: Any, cluster: Cluster, connector: Process, simulated: Simulated, run: Run
) -> None:
    """Books, wallets, a group and tail, each in a protocol of its own, beside a connector in the older one."""
    flowing(client, 500)
    newer = f"{cluster.url}/?protocol=3"
    books = run("--redis", newer, "--every", "0.2", "--json", module="consumers.books")
    wallets = run("--redis", cluster.url, "--json", module="consumers.wallets")
    tail = run("tail", "--redis", newer, "--json", "*:trades")
    for pair in PAIRS:
        tail.wait_for(f"{{limitlex:{pair}}}")
    books.wait_for('"valid":true')
    wallets.wait_for('"channel":"balances"')
    seen = asyncio.run(_group(cluster, client))
    settled(client, simulated)
    for pair in PAIRS:
        key = f"md:{{limitlex:{pair}}}:book"
        newest = functools.partial(_is_newest, client, key)
        eventually(newest, f"the late-join hash of {pair}")
        assert seen[f"md:{{limitlex:{pair}}}:trades"] > 0
    wallet, balances = "acct:{limitlex:main}:wallet", "acct:{limitlex:main}:balances"
    newest = client.xrevrange(balances, count=1)[0][0]
    eventually(lambda: client.hget(wallet, "id:balances") == newest, "the wallet's newest balance")
    assert any(name.startswith("balance:") for name in client.hgetall(wallet))
    for process in (books, wallets):
        assert process.stop() == 0, process.output
    assert stopped(client, connector)["lost"] == 0


def _is_newest(client: Any, key: str) -> bool:
    """Whether the late-join hash stands at the last entry."""
    return bool(client.hget(f"{key}:snapshot", "id") == client.xrevrange(key, count=1)[0][0])


async def _group(cluster: Cluster, client: Any) -> Counter[str]:
    """Trades by key that a group reader gets while a master dies; each of them once."""
    keys = {f"md:{{limitlex:{pair}}}:trades": Position.NOW for pair in PAIRS}
    seen: Counter[str] = Counter()
    ids: set[tuple[str, str]] = set()
    victim = cluster.owner("md:{limitlex:BTC-EUR}:trades")
    async with asyncio.timeout(PATIENCE), GroupReader(cluster.url, keys, group="g", consumer="c", block=0.3) as reader:
        async for batch in reader.batches():
            for item in batch:
                assert not isinstance(item, Hole), item
                if isinstance(item, Entry):
                    assert item.again or (item.key, item.id) not in ids
                    ids.add((item.key, item.id))
                    seen[item.key] += 1
            await reader.ack(batch)
            if victim.running and len(seen) == len(keys):
                victim.kill()
                seen.clear()
            elif not victim.running and len(seen) == len(keys):
                return seen
    raise AssertionError("the reader ended")


def test_slots_move_under_load(
    client: Any, cluster: Cluster, connector: Process, simulated: Simulated, run: Run
) -> None:
    """A pair's slot goes to another master and back; then the move takes its time, and both masters have to be asked."""
    books = run("--redis", cluster.url, "--every", "0.05", "--json", module="consumers.books")
    books.wait_for('"valid":true')
    key = "md:{limitlex:BTC-EUR}:trades"
    flowing(client, 1000)
    source = cluster.owner(key)
    target = next(
        owner for owner in map(cluster.owner, wait(lambda: heads(client), "all streams")) if owner is not source
    )
    cluster.move(slot_of(key), source, target)
    all_go_on(client)
    cluster.move(slot_of(key), target, source, finish=False)
    all_go_on(client)
    cluster.finish(slot_of(key), source)
    all_go_on(client)
    settled(client, simulated)
    check_streams(client, simulated)
    assert controls(client, key) == ["live"]
    eventually(functools.partial(_is_newest, client, "md:{limitlex:BTC-EUR}:book"), "the late-join hash")
    assert books.stop() == 0, books.output
    assert stopped(client, connector)["lost"] == 0


def test_a_failover_on_purpose(client: Any, cluster: Cluster, connector: Process, simulated: Simulated) -> None:
    key = "md:{limitlex:BTC-EUR}:trades"
    flowing(client, 1000)
    old = cluster.owner(key)
    cluster.promote(old)
    wait(lambda: cluster.owner(key) is not old, "another master")
    all_go_on(client)
    settled(client, simulated)
    check_streams(client, simulated)
    assert stopped(client, connector)["lost"] == 0
