"""Several connectors in one process: what ends one of them ends none of the others, and the exit code says so at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import Process, Simulated, eventually, fetch, sequences, trades_of
from tests.e2e.observing import connect, controls
from tests.servers import RedisServer, free_port

TRADES = "md:{limitlex:BTC-EUR}:trades"
NO_KEY = {"exchange": "limitlex", "api_key": "6d5a8f1e-0000-4000-8000-000000000000", "api_secret": "no key at all"}
"""An account that can't sign: a mistake of the connector that has it, found when it starts."""


class Two:
    """One simulated exchange, and a process of two connectors: ``good`` has BTC-EUR, ``bad`` ETH-EUR, as is changed."""

    def __init__(self, run: Run, simulated: Simulated, path: Any, **bad: Any) -> None:
        self.simulated = simulated
        [template] = simulated.config["connectors"]
        template.pop("account", None)
        good = {**template, "name": "good", "pairs": ["BTC-EUR"]}
        simulated.config["connectors"] = [good, {**template, "name": "bad", "pairs": ["ETH-EUR"], **bad}]
        simulated.config["http"] = {"port": free_port()}
        self.url = f"http://127.0.0.1:{simulated.config['http']['port']}"
        path.write_text(yaml.safe_dump(simulated.config))
        self.process: Process = run("run", "--config", str(path), TICKBRIDGE_HTTP__PORT="")

    def failures(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.process.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "connector_failed"]

    def status(self, name: str) -> dict[str, Any]:
        [found] = [one for one in fetch(f"{self.url}/status")["connectors"] if one["name"] == name]
        return found


@pytest.fixture
def simulated(simulate: Simulate, redis_server: RedisServer) -> Simulated:
    return simulate(redis_server.url)


def goes_on(client: Any, pair: str = "BTC-EUR") -> None:
    count = len(trades_of(client, "limitlex", pair))
    eventually(lambda: len(trades_of(client, "limitlex", pair)) > count + 5, f"more trades of {pair}")


def orderly_end(client: Any, key: str) -> None:
    [(_, last)] = client.xrevrange(key, count=1)
    assert (last["type"], last["event"]) == ("control", "stop")
    numbers = sequences(client)[key]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_mistake_in_one_leaves_the_other_and_is_said_at_the_end(
    run: Run, simulated: Simulated, redis_server: RedisServer, tmp_path
) -> None:
    simulated.config["accounts"]["broken"] = NO_KEY
    two = Two(run, simulated, tmp_path / "run.yaml", account="broken")
    client = connect(redis_server)
    two.process.wait_for('"connector_failed"')
    goes_on(client)
    [failure] = two.failures()
    assert failure["connector"] == "bad"
    assert "broken" in failure["error"]
    assert "retry_in" not in failure, "a user's mistake stays one"
    assert (two.status("bad")["state"], two.status("bad")["ready"]) == ("failed", False)
    assert two.status("good")["state"] == "live"
    assert any(what.startswith("bad: it has failed") for what in fetch(f"{two.url}/status")["missing"])
    assert fetch(f"{two.url}/livez")["alive"], "no reason to end the other one"
    assert not client.exists("bridge:connector:bad")
    assert client.exists("bridge:connector:good")
    assert two.process.stop() == 1
    assert "1 of 2 connectors failed\n  bad: " in two.process.output
    orderly_end(client, TRADES)


def test_where_all_have_failed_the_process_ends_at_once(
    run: Run, simulated: Simulated, redis_server: RedisServer, tmp_path
) -> None:
    simulated.config["accounts"].update(broken=NO_KEY, other=NO_KEY)
    two = Two(run, simulated, tmp_path / "run.yaml", account="broken", channels=["book"])
    two.process.kill()
    simulated.config["connectors"][0]["account"] = "other"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(simulated.config))
    process = run("run", "--config", str(tmp_path / "run.yaml"))
    assert process.ended() == 1
    assert "2 of 2 connectors failed" in process.output


def test_a_connector_that_runs_elsewhere_is_a_mistake_of_that_one_alone(
    run: Run, simulated: Simulated, redis_server: RedisServer, tmp_path
) -> None:
    two = Two(run, simulated, tmp_path / "first.yaml")
    client = connect(redis_server)
    goes_on(client, "ETH-EUR")
    third = {**simulated.config["connectors"][0], "name": "third", "pairs": ["LTC-EUR"]}
    both = {**simulated.config, "connectors": [third, simulated.config["connectors"][1]], "http": {"port": "off"}}
    (tmp_path / "second.yaml").write_text(yaml.safe_dump(both))
    process = run("run", "--config", str(tmp_path / "second.yaml"))
    process.wait_for("already running")
    goes_on(client, "LTC-EUR")
    goes_on(client, "ETH-EUR")
    assert process.stop() == 1
    assert two.process.stop() == 0


def test_what_the_environment_stops_is_tried_again_while_the_other_runs(
    run: Run, simulated: Simulated, redis_server: RedisServer, tmp_path
) -> None:
    """At the start, a stream's key holds something else."""
    client = connect(redis_server)
    client.set("md:{limitlex:ETH-EUR}:trades", "a string")
    two = Two(run, simulated, tmp_path / "run.yaml")
    two.process.wait_for('"connector_failed"')
    assert two.failures()[0]["retry_in"] > 0
    goes_on(client)
    assert two.status("bad")["state"] in ("failed", "starting")
    client.delete("md:{limitlex:ETH-EUR}:trades")
    goes_on(client, "ETH-EUR")
    eventually(lambda: two.status("bad")["state"] == "live", "it lives")
    assert two.process.stop() == 0, two.process.output
    orderly_end(client, TRADES)
    orderly_end(client, "md:{limitlex:ETH-EUR}:trades")


def test_one_that_is_displaced_ends_and_writes_nothing_more(
    run: Run, simulated: Simulated, redis_server: RedisServer, tmp_path
) -> None:
    two = Two(run, simulated, tmp_path / "run.yaml")
    client = connect(redis_server)
    goes_on(client, "ETH-EUR")
    client.set("bridge:connector:bad:fence", f"{10**17}-another")
    two.process.wait_for("another process has taken over (instance another)")
    eventually(lambda: two.status("bad")["state"] == "failed", "it has ended")
    assert controls(client, "md:{limitlex:ETH-EUR}:trades") == ["live"], "no stop: the stream is another's"
    assert client.exists("bridge:connector:bad"), "neither is the heartbeat its own to delete"
    goes_on(client)
    assert two.process.stop() == 1
    orderly_end(client, TRADES)


def test_redis_away_at_the_start_is_said_once_and_ends_them_all(run: Run, simulated: Simulated, tmp_path) -> None:
    simulated.config["redis"] = {"url": f"redis://127.0.0.1:{free_port()}/0", "connect_timeout": "2s"}
    two = Two(run, simulated, tmp_path / "run.yaml")
    assert two.process.ended() == 2
    assert two.process.output.count("tickbridge: Redis at") == 1
