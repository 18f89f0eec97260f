"""From each released version to this one: its config, its keys, its metrics and its rights in Redis.

``upgrade-0.1.0.json`` has what version 0.1.0 wrote and served: a connector of the simulated Limitlex.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bridge import acl
from bridge.config.load import load_settings, load_with_origins
from bridge.config.written import effective_settings
from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually
from tests.patience import PATIENCE

NEW_RIGHTS = {
    "+xinfo|groups",
    (
        "(~bridge:limits:{*}:held ~bridge:limits:{*}:used"
        " +set +pttl +pexpire +pexpiretime +del +zadd +zrange +zrem +zremrangebyscore)"
    ),
}
"""What connectors may do now and could not in 0.1.0; the page on upgrades names it."""
GROUP = "since-0.1.0"


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("upgrade-0.1.0.json").read_text())
    return found


def test_every_setting_of_0_1_0_is_known_and_has_its_default(old: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(old["config"]))
    now = {setting.path: setting.value for setting in effective_settings(load_with_origins(file, {}))}
    assert old["settings"].items() <= now.items()
    assert now.keys() - old["settings"].keys() == {"connectors.0.standby", "http.hosts", "http.old_metric_names"}


def test_the_rights_of_0_1_0_lack_only_what_the_page_says(old: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(old["config"]))
    settings = load_settings(file, {})
    now = acl.connector(settings, settings.connectors[0])
    assert set(now) - set(old["rights"]) == NEW_RIGHTS
    assert set(old["rights"]) <= set(now)


def test_streams_of_0_1_0_go_on_and_all_its_metrics_are_served(
    old: dict[str, Any], own_bench: Bench, run: Run, tmp_path: Path
) -> None:
    """Even with the rights of 0.1.0, and with a group that it had."""
    simulated = own_bench.simulate()
    client = own_bench.client
    last = {}
    for key, entries in old["streams"].items():
        for entry_id, fields in entries:
            last[key] = str(client.xadd(key, fields, id=entry_id))
    for key, fields in old["hashes"].items():
        client.hset(key, mapping=fields)
    trades = "md:{limitlex:BTC-EUR}:trades"
    client.xgroup_create(trades, GROUP, old["streams"][trades][5][0])
    forever = {"max_age": "36500d"}
    simulated.config["retention"] = dict.fromkeys(("trades", "book", "quotes", "ticker", "balances"), forever)
    file = simulated.write(tmp_path / "upgraded.yaml")
    settings = load_settings(file, {})
    rules = [rule for rule in acl.connector(settings, settings.connectors[0]) if rule not in NEW_RIGHTS]
    client.execute_command(*acl.user("bridge", rules, ">pass-word", old=True).split())
    url = own_bench.server.url.replace("redis://", "redis://bridge:pass-word@")
    process = run("run", "--config", str(file), TICKBRIDGE_HTTP__PORT="0", TICKBRIDGE_REDIS__URL=url)
    [page] = re.findall(r'"url":"([^"]+)"', process.wait_for("http_listening"))

    public = [key for key in last if key.startswith("md:")]
    for key in (*public, "acct:{limitlex:main}:balances"):
        eventually(lambda key=key: client.xlen(key) > len(old["streams"][key]) + 3, f"more of {key}")
        numbers = [int(entry_id.partition("-")[2]) for entry_id, _ in client.xrange(key)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no hole, nothing twice"
        assert [entry_id for entry_id, _ in client.xrange(key, max=last[key])] == [i for i, _ in old["streams"][key]]
    # The group goes on where it was.
    [(_, entries)] = client.xreadgroup(GROUP, "one", {trades: ">"}, count=1)
    assert entries[0][0] == old["streams"][trades][6][0]

    def served() -> dict[str, set[str]]:
        with urllib.request.urlopen(f"{page}/metrics", timeout=PATIENCE) as answer:
            found: dict[str, set[str]] = {}
            for family in text_string_to_metric_families(answer.read().decode()):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
            return found

    # Of an exchange that tells whole seconds there is no latency any more, as the page says.
    wanted = {name: set(labels) for name, labels in old["metrics"].items() if "feed_latency" not in name}
    eventually(lambda: not wanted.keys() - served().keys(), "all metrics of 0.1.0")
    now = served()
    assert {name: now[name] for name in wanted} == wanted
    for name in wanted:
        assert f"tickbridge_{name.removeprefix('bridge_')}" in now
    assert "tickbridge_group_lag_entries" not in now, "it may not ask"
    assert process.stop() == 0
