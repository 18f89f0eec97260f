"""Two connectors that share an exchange's pairs, and a third that gets none."""

from __future__ import annotations

import json

import yaml

from bridge.config.sharding import owner
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import eventually, trades_of
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
    assert client.hget(f"bridge:connector:s{idle}", "state") == "live"
    assert process.output.count('"nothing_to_read"') >= 1
    assert process.stop() == 0, process.output
