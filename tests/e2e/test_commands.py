"""The commands around a running connector: refusals, exit codes, secrets, TLS, recording."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import yaml

from bridge.recordings.recording import RecvRow, SendRow, read_recording
from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually, sequences
from tests.e2e.observing import controls, flowing, heartbeat, settled, stopped
from tests.servers import RedisServer, free_port

LONG_LEASE = {"TICKBRIDGE_HEARTBEAT__TTL": "60s"}
"""Longer than a starved process may sleep: one that has lost its lease ends, too, with other words and another code."""


def test_the_same_connector_twice_is_refused(bench: Bench) -> None:
    bench.simulate()
    first = bench.start(LONG_LEASE)
    flowing(bench.client, 50)
    second = bench.start(LONG_LEASE)
    assert second.ended() == 1
    assert "already running: on host" in second.output
    assert str(first.pid) in second.output
    assert first.running
    assert stopped(bench.client, first)["lost"] == 0


def test_two_at_the_same_moment_are_one(bench: Bench) -> None:
    """Whoever claims the name first has it; the other one ends, and nothing stands twice."""
    bench.simulate()
    both = [bench.start(LONG_LEASE), bench.start(LONG_LEASE)]
    eventually(lambda: [process.running for process in both].count(False) == 1, "the end of one")
    [ended] = [process for process in both if not process.running]
    [left] = [process for process in both if process.running]
    assert ended.ended() == 1
    assert "already running" in ended.output
    flowing(bench.client, 100)
    stopped(bench.client, left)
    for key, numbers in sequences(bench.client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key


def test_another_connector_for_the_same_streams_is_refused(bench: Bench) -> None:
    bench.simulate()
    bench.start(LONG_LEASE)
    flowing(bench.client, 50)
    second = bench.start(LONG_LEASE, name="another")
    assert second.ended() == 1
    assert "which writes md:{limitlex:BTC-EUR}" in second.output


def test_redis_out_of_reach(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    redis = {"url": f"redis://127.0.0.1:{free_port()}/0", "connect_timeout": "2s"}
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    config.write_text(yaml.safe_dump({"redis": redis, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    assert process.ended() == 2
    assert "refused" in process.output
    assert "Traceback" not in process.output


def test_an_unknown_pair(bench: Bench) -> None:
    """It is down with the nearest name, the other is served; `check --connect` calls it a mistake."""
    bench.simulate()
    process = bench.run(pairs=["BTC-EUR", "ETH-EURO"])
    for channel in ("book", "trades", "quotes", "ticker"):
        eventually(lambda c=channel: controls(bench.client, f"md:{{limitlex:ETH-EURO}}:{c}") == ["down"], "down")
    key = "md:{limitlex:BTC-EUR}:book"
    eventually(lambda: any(f["type"] == "delta" for _, f in bench.client.xrange(key)), "the other pair's book")
    assert process.running
    assert "no pair ETH-EURO at this exchange; did you mean ETH-EUR" in process.output
    assert "Traceback" not in process.output
    checked = bench.check(pairs=["BTC-EUR", "ETH-EURO"])
    assert checked.ended() == 1
    assert "no pair ETH-EURO at this exchange; did you mean ETH-EUR" in checked.output
    # What else was found is on lines of its own.
    assert re.search(r"^ {14}BTC-EUR: first frame after \S+ s$", checked.output, re.MULTILINE), checked.output


def test_a_wrong_key_says_so(bench: Bench) -> None:
    simulated = bench.simulate()
    simulated.config["accounts"]["main"]["api_key"] = "00000000-0000-0000-0000-000000000000"
    process = bench.run()
    process.wait_for("websocket_token")
    assert process.running, "the public streams go on"
    flowing(bench.client, 50)
    eventually(lambda: controls(bench.client, "acct:{limitlex:main}:orders") == ["down"], "down")


def test_a_key_that_is_none(bench: Bench, tmp_path: Path) -> None:
    simulated = bench.simulate()
    secret = tmp_path / "no.pem"
    secret.write_text("this is not a key\n")
    simulated.config["accounts"]["main"]["api_secret_file"] = str(secret)
    process = bench.run()
    assert process.ended() == 1
    assert "accounts.main" in process.output
    assert "PEM" in process.output
    assert "this is not a key" not in process.output


def test_the_exchange_is_away_at_the_start(bench: Bench) -> None:
    """Ids from the config do without REST; without them the connector waits, and the streams say so."""
    simulated = bench.simulate()
    simulated.fault("rest_errors", duration=600, path="public")
    process = bench.run()
    process.wait_for("discovery_failed")
    eventually(lambda: controls(bench.client, "md:{limitlex:BTC-EUR}:book")[:1] == ["down"], "down")
    simulated.fault("clear")
    settled(bench.client, simulated)
    assert stopped(bench.client, process)["lost"] == 0


def test_ids_from_the_config_do_without_rest(bench: Bench) -> None:
    simulated = bench.simulate()
    simulated.fault("rest_errors", duration=60, path="public")
    ids = simulated.state()["pairs"]
    bench.run(options={"pair_ids": ids}, account=None)
    settled(bench.client, simulated)


def test_tls_with_the_right_authority_only(bench: Bench, tmp_path: Path) -> None:
    simulated = bench.simulate("--tls", "--tls-dir", str(tmp_path / "tls"))
    connector = simulated.config["connectors"][0]
    assert connector["url"].startswith("wss://")
    authority = connector.pop("ca_file", None) or next((tmp_path / "tls").glob("*ca*"))
    distrustful = bench.run()
    distrustful.wait_for("certificate")
    assert distrustful.stop() == 0
    trusting = bench.run(ca_file=str(authority))
    flowing(bench.client, 50)
    assert trusting.stop() == 0


def test_secrets_are_nowhere(bench: Bench) -> None:
    """Neither in logs nor in any key of Redis: the key's lines, and the tokens."""
    simulated = bench.simulate("--token-lifetime", "4", rate=200)
    process = bench.run()
    flowing(bench.client, 100)
    simulated.fault("cut")
    simulated.fault("corrupt")
    process.wait_for("the token expires")
    process.stop()
    pem = Path(simulated.config["accounts"]["main"]["api_secret_file"]).read_text()
    secrets = [line for line in pem.splitlines() if len(line) > 20 and "---" not in line]
    everything = process.output
    for key in bench.client.scan_iter("*"):
        kind = bench.client.type(key)
        client = bench.client
        read = {"stream": client.xrange, "hash": client.hgetall, "string": client.get, "zset": client.zscan}[kind]
        content = read(key)
        everything += key + json.dumps(content)
    assert secrets
    for secret in [*secrets, "eyJ", simulated.config["accounts"]["main"]["api_key"]]:
        assert secret not in everything


def test_check_connects(bench: Bench, run: Run) -> None:
    simulated = bench.simulate()
    config = simulated.write(Path(simulated.process.log).parent / "check.yaml")
    good = run("check", "--config", str(config), "--connect")
    assert good.ended() == 0, good.output
    assert "account:main: first frame after" in good.output
    simulated.process.stop()
    bad = run("check", "--config", str(config), "--connect")
    assert bad.ended() == 2
    assert "connector limitlex" in bad.output


def test_record_and_replay(bench: Bench, run: Run, tmp_path: Path) -> None:
    """A recording made from live sockets, replayed into a connector, gives the recorded books."""
    simulated = bench.simulate(rate=200)
    config = simulated.write(tmp_path / "record.yaml")
    out = tmp_path / "live.jsonl.zst"
    recorder = run("record", "--config", str(config), "--out", str(out), "--duration", "3")
    assert recorder.ended() == 0, recorder.output
    rows = list(read_recording(out))
    frames = [row for row in rows if isinstance(row, RecvRow)]
    assert {row.conn for row in frames} >= {"BTC-EUR", "ETH-EUR", "account:main"}
    assert not any(isinstance(row, SendRow) for row in rows)
    assert "eyJ" not in "".join(repr(row) for row in rows)
    replay = run("replay", str(out), "--port", "0", "--speed", "max")
    address = replay.wait_for("ws://").split()[0]
    ids = simulated.state()["pairs"]
    connector = {
        "url": address.rstrip("/") + "/websocket/",
        "rest_url": address.replace("ws:", "http:").rstrip("/") + "/api",
        "options": {"pair_ids": ids, "resnapshot": "1h"},
        "account": None,
    }
    process = bench.run(**connector)
    count = sum(b'"order_book"' in row.payload for row in frames if row.conn == "BTC-EUR")

    def deltas() -> int:
        return sum(f["type"] == "delta" for _, f in bench.client.xrange("md:{limitlex:BTC-EUR}:book"))

    eventually(lambda: deltas() == count, f"{count} deltas")
    process.send(signal.SIGTERM)
    assert process.ended() == 0


@pytest.mark.parametrize("transport", ["websockets", "picows"])
def test_a_namespace_and_both_transports(run: Run, bench: Bench, transport: str, redis_server: RedisServer) -> None:
    if transport == "picows":
        pytest.importorskip("picows")
    simulated = bench.simulate()
    simulated.config["namespace"] = "test"
    process = bench.run(transport=transport)
    eventually(lambda: bench.client.xlen("test:md:{limitlex:BTC-EUR}:trades") > 5, "trades")
    eventually(lambda: bench.client.hget("test:bridge:connector:limitlex", "state") == "live", "the state")
    assert process.stop() == 0
    assert all(key.startswith("test:") for key in bench.client.scan_iter("*"))
    assert not heartbeat(bench.client)
    del run, redis_server
