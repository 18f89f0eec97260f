"""Two connectors that share an exchange's pairs, and a third that gets none."""

from __future__ import annotations

import json

import yaml

from bridge.config.values import owner
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import Process, eventually, sequences, trades_of
from tests.e2e.observing import connect
from tests.servers import RedisServer


def test_shards_share_the_pairs(run: Run, simulate: Simulate, redis_server: RedisServer, tmp_path) -> None:
    simulated = simulate(redis_server.url)
    count = next(n for n in range(3, 12) if len({owner(pair, n) for pair in simulated.pairs}) < n)
    [template] = simulated.config["connectors"]
    template.pop("account", None)
    simulated.config["connectors"] = [
        {**template, "name": f"s{number}", "shard": f"{number}/{count}"} for number in range(1, count + 1)
    ]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(simulated.config))
    process = run("run", "--config", str(path))
    client = connect(redis_server)
    for pair in simulated.pairs:
        eventually(lambda pair=pair: trades_of(client, "limitlex", pair), f"trades of {pair}")
        entry = json.loads(client.hget("bridge:catalog", f"md:{{limitlex:{pair}}}:trades"))
        assert entry["connector"] == f"s{owner(pair, count)}"
    idle = next(n for n in range(1, count + 1) if n not in {owner(pair, count) for pair in simulated.pairs})
    eventually(lambda: client.hget(f"bridge:connector:s{idle}", "state") == "live", "the idle one is well")
    assert process.output.count('"nothing_to_read"') >= 1
    assert process.stop() == 0, process.output


def test_another_shard_takes_its_share_from_those_that_live(
    run: Run, simulate: Simulate, redis_server: RedisServer, tmp_path
) -> None:
    """Two shards begin anew as two of three; the third takes what they have given up, and nothing has a hole."""
    simulated = simulate(redis_server.url)
    [template] = simulated.config["connectors"]
    template.pop("account", None)
    before = next(n for n in range(1, 12) if any(owner(pair, n + 1) == n + 1 for pair in simulated.pairs))
    client = connect(redis_server)

    def start(number: int, count: int) -> Process:
        path = tmp_path / f"{number}-{count}.yaml"
        connector = {**template, "name": f"s{number}", "shard": f"{number}/{count}"}
        path.write_text(yaml.safe_dump({**simulated.config, "connectors": [connector]}))
        return run("run", "--config", str(path))

    def writer(pair: str) -> str:
        return json.loads(client.hget("bridge:catalog", f"md:{{limitlex:{pair}}}:trades") or "{}").get("connector")

    def shared_out(count: int) -> bool:
        return all(writer(pair) == f"s{owner(pair, count)}" for pair in simulated.pairs)

    first = [start(number, before) for number in range(1, before + 1)]
    eventually(lambda: shared_out(before), "all pairs have a connector")
    for process in first:
        assert process.stop() == 0, process.output
    second = [start(number, before + 1) for number in range(1, before + 1)]
    for process in second:
        process.wait_for('"started"')
    second.append(start(before + 1, before + 1))
    eventually(lambda: shared_out(before + 1), "all pairs have the connector of their shard")
    twice = run("run", "--config", str(tmp_path / f"{before + 1}-{before + 1}.yaml"))
    assert twice.ended() == 1
    template["name"], template["pairs"] = "thief", simulated.pairs
    (tmp_path / "thief.yaml").write_text(yaml.safe_dump(simulated.config))
    thief = run("run", "--config", str(tmp_path / "thief.yaml"))
    assert thief.ended() == 1, thief.output
    assert "which writes md:" in thief.output
    for process in second:
        assert process.stop() == 0, process.output
    for key, numbers in sequences(client, "md:*}:*").items():
        assert numbers == list(range(1, len(numbers) + 1)), key
