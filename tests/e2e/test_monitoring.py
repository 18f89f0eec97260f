"""Metrics, health and status of a running connector, asked for over HTTP as Prometheus and Kubernetes do."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.observability import documented, used
from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually
from tests.e2e.observing import flowing
from tests.e2e.watched import Watched, adds_up, get
from tests.environment import clean_environment
from tests.servers import free_port, taken


def test_a_running_connector_is_alive_and_ready_and_its_figures_add_up(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 200)
    eventually(lambda: watched.ready() == (200, []), "ready")
    code, body = get(f"{watched.url}/livez")
    assert (code, json.loads(body)["alive"]) == (200, True)
    for _ in range(20):
        adds_up(watched)
    own_bench.simulated.pause()
    eventually(lambda: adds_up(watched) == 0, "all published")
    for row in watched.status()["streams"]:
        types = [fields["type"] for _, fields in own_bench.client.xrange(row["key"])]
        assert int(row["published"]) == len(types) - types.count("control"), row
    connector = (("connector", "limitlex"), ("exchange", "limitlex"))
    events = sum(int(row["published"]) for row in watched.status()["streams"])
    # They are kept for a second.
    eventually(
        lambda: watched.metrics()["tickbridge_publish_latency_seconds_count"][connector] == events, "all counted"
    )
    metrics = watched.metrics()
    assert metrics["tickbridge_ws_connection_up"] == {connector: 1.0}
    assert metrics["tickbridge_redis_connection_up"] == {connector: 1.0}
    assert metrics["tickbridge_redis_memory_bytes"][connector] > 1_000_000
    buckets = [value for _, value in sorted(metrics["tickbridge_publish_latency_seconds_bucket"].items(), key=edge)]
    assert buckets == sorted(buckets)
    assert buckets[-1] == events
    assert watched.process.stop() == 0
    assert "http" not in watched.process.output.split("stopping")[1]


def edge(item: tuple[tuple[tuple[str, str], ...], float]) -> float:
    return float(dict(item[0])["le"])


def _of_connectors(name: str) -> bool:
    return name.startswith("tickbridge_") and not name.startswith(("tickbridge_consumer_", "tickbridge_gateway_"))


def test_the_documented_metrics_are_the_served_ones(own_bench: Bench, watch) -> None:
    """Names, types and labels; with pair labels, a series per stream."""
    watched = watch(env={"TICKBRIDGE_HTTP__OLD_METRIC_NAMES": "false"})
    flowing(own_bench.client, 50)
    own_bench.simulated.fault("cut")
    connector = (("connector", "limitlex"), ("exchange", "limitlex"))
    closed = tuple(sorted((*connector, ("reason", "closed"))))
    eventually(lambda: watched.metrics()["tickbridge_ws_reconnects_total"].get(closed), "a reconnect")
    # Its exchange tells whole seconds, which are no latency: test_latency has that of another. And it has no standby.
    unseen = {"tickbridge_feed_latency_seconds", "tickbridge_standby_ready", "tickbridge_last_takeover_seconds"}
    key = "md:{limitlex:BTC-EUR}:trades"
    own_bench.client.xgroup_create(key, "readers", "$")
    own_bench.client.xgroup_create(key, b"\xff\n", "0")
    # The last is of connections that are up: not while the only one is being opened again.
    for late in (
        "tickbridge_redis_memory_bytes",
        "tickbridge_clock_offset_seconds",
        "tickbridge_ws_last_message_age_seconds",
        "tickbridge_group_lag_entries",
    ):
        eventually(lambda name=late: name in watched.metrics(), late)
    served = {}
    for family in text_string_to_metric_families(watched.text()):
        if family.name.startswith("process_") or family.name in unseen:
            continue
        name = family.name + "_total" * (family.type == "counter")
        labels = {label for sample in family.samples for label in sample.labels} - {"exchange", "connector", "le"}
        assert family.documentation
        served[name] = (family.type, labels)
    known = {name: row for name, row in documented().items() if _of_connectors(name) and name not in unseen}
    assert known == served
    samples = {sample.name for family in text_string_to_metric_families(watched.text()) for sample in family.samples}
    late = {name for name in used() if name.startswith(tuple(unseen))}
    assert {name for name in used() if _of_connectors(name)} - late <= samples, "in alerts or dashboard, and not served"


def test_pairs_are_told_apart_on_request(own_bench: Bench, watch) -> None:
    watched = watch(env={"TICKBRIDGE_HTTP__PAIR_LABELS": "true"})
    flowing(own_bench.client, 100)
    metrics = watched.metrics()
    received = {
        (dict(labels)["pair"], dict(labels)["channel"]) for labels in metrics["tickbridge_ws_messages_received_total"]
    }
    assert received >= {(pair, channel) for pair in own_bench.simulated.pairs for channel in ("trades", "book")}
    assert {dict(labels)["connection"] for labels in metrics["tickbridge_ws_connection_up"]} > set(
        own_bench.simulated.pairs
    )
    adds_up(watched)
    never = {
        dict(labels)["pair"] for labels in metrics["tickbridge_lost_total"] if dict(labels)["reason"] == "buffer_full"
    }
    assert never >= set(own_bench.simulated.pairs), "the first loss must be a rise"


def test_promtool_finds_nothing_wrong(own_bench: Bench, watch) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine (Debian's package prometheus has it)")
    watched = watch()
    flowing(own_bench.client, 100)
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        check=False,
        input=watched.text(),
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    # process_* are the client library's own, with a help text that some versions find fault with.
    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if not line.startswith("process_")]
    assert complaints == []


def test_redis_gone_is_not_ready_and_nothing_is_lost_from_the_sums(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 200)
    own_bench.server.stop()
    eventually(lambda: watched.ready() == (503, ["limitlex: Redis: no connection"]), "not ready")
    assert get(f"{watched.url}/livez")[0] == 200
    eventually(lambda: adds_up(watched) > 100, "events that wait")
    down = {(("connector", "limitlex"), ("exchange", "limitlex")): 0}
    eventually(lambda: watched.metrics()["tickbridge_redis_connection_up"] == down, "the metric, kept for a second")
    own_bench.server.start()
    eventually(lambda: watched.ready() == (200, []), "ready again")
    own_bench.simulated.pause()
    eventually(lambda: adds_up(watched) == 0, "all published")


def test_what_is_dropped_is_counted_by_its_reason(own_bench: Bench, watch) -> None:
    own_bench.simulate(rate=1000)
    watched = watch(env={"TICKBRIDGE_BUFFER__MAX_BYTES": "64KiB"})
    flowing(own_bench.client, 200)
    own_bench.server.stop()
    eventually(lambda: "events_dropped" in watched.process.output, "events dropped")
    adds_up(watched)
    own_bench.server.start()
    own_bench.simulated.pause()
    eventually(lambda: adds_up(watched) == 0, "all declared")

    def reasons() -> set[str]:
        lost = watched.metrics()["tickbridge_lost_total"]
        return {dict(labels)["reason"] for labels, count in lost.items() if count}

    eventually(lambda: "buffer_full" in reasons(), "the reason, in metrics that are kept for a second")
    assert reasons() <= {"buffer_full", "no_snapshot"}
    assert watched.process.stop() == 0


def test_redis_that_refuses_or_says_nothing_is_not_ready(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 100)
    eventually(lambda: watched.ready() == (200, []), "ready")
    own_bench.client.config_set("maxmemory", 1)
    _, missing = eventually(lambda: watched.ready() if watched.ready()[0] == 503 else None, "not ready")
    assert missing == ["limitlex: Redis refuses writes: command not allowed when used memory > 'maxmemory'."]
    full = (("connector", "limitlex"), ("exchange", "limitlex"))
    eventually(
        lambda: watched.metrics()["tickbridge_redis_memory_limit_bytes"].get(full) == 1, "how full, while it is full"
    )
    own_bench.client.config_set("maxmemory", 0)
    eventually(lambda: watched.ready() == (200, []), "ready again")


def test_a_user_that_may_not_ask_for_memory_does_without(own_bench: Bench, watch) -> None:
    own_bench.simulate()
    own_bench.client.execute_command("ACL", "SETUSER", "default", "-info")
    watched = watch()
    flowing(own_bench.client, 100)
    eventually(lambda: watched.ready() == (200, []), "ready")
    beats = int(own_bench.client.hget("bridge:connector:limitlex", "beat"))
    eventually(lambda: int(own_bench.client.hget("bridge:connector:limitlex", "beat")) > beats + 1, "more heartbeats")
    assert "tickbridge_redis_memory_bytes{" not in watched.text()
    assert watched.status()["redis"]["memory_bytes"] is None
    assert watched.ready() == (200, [])


def test_an_exchange_away_is_not_ready(own_bench: Bench, watch) -> None:
    own_bench.simulate()
    watched = watch(url=f"ws://127.0.0.1:{free_port()}/websocket/")
    eventually(lambda: watched.ready() == (503, ["limitlex: no subscription is live"]), "not ready")
    # Before the connections are planned there is no subscription either.
    eventually(lambda: sum(watched.metrics().get("tickbridge_ws_reconnects_total", {}).values()) > 0, "it tries again")
    up = watched.metrics()["tickbridge_ws_connection_up"]
    assert up == {(("connector", "limitlex"), ("exchange", "limitlex")): 0}

    def named(pattern: str) -> bool:
        return any(re.fullmatch(pattern, line) for line in _readyz(watched)[1]["degraded"])

    eventually(lambda: named("limitlex: connection BTC-EUR is down"), "the connection's name")
    eventually(lambda: named(r"limitlex: down \(.+\): .*book of BTC-EUR.*"), "the streams and why")


def test_a_ready_connector_names_what_is_degraded(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 100)
    well = {"state": "live", "ready": True, "missing": [], "degraded": []}
    eventually(lambda: _readyz(watched) == (200, well), "all is well")
    with own_bench.client.pipeline() as pipe:
        pipe.delete("md:{limitlex:BTC-EUR}:trades")
        pipe.set("md:{limitlex:BTC-EUR}:trades", "not a stream")
        pipe.execute()
    code, body = eventually(lambda: (_readyz(watched)[1]["degraded"] and _readyz(watched)) or None, "what is degraded")
    assert (code, body["state"], body["ready"], body["missing"]) == (200, "degraded", True, [])
    [line] = body["degraded"]
    assert re.fullmatch(r"limitlex: Redis refuses the stream \(.*wrong kind.*\): trades of BTC-EUR", line)
    assert watched.status()["degraded"] == [line.removeprefix("limitlex: ")]


def _readyz(watched: Watched) -> tuple[int, dict[str, Any]]:
    code, body = get(f"{watched.url}/readyz")
    return code, json.loads(body)


def test_no_number_in_any_json_is_a_number(own_bench: Bench, watch) -> None:
    """JavaScript's end at 53 bits."""
    watched = watch()
    flowing(own_bench.client, 200)
    texts = [get(f"{watched.url}/{page}")[1] for page in ("livez", "readyz", "status")]
    beat = own_bench.client.hgetall("bridge:connector:limitlex")
    texts += [text for text in (beat["latency"], beat["errors"]) if text]
    for catalog in ("bridge:catalog", "bridge:catalog:accounts"):
        texts += own_bench.client.hvals(catalog)
    assert len(texts) > 15
    for text in texts:
        assert not list(_numbers(json.loads(text))), text


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_a_stopped_process_does_not_answer(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 50)
    watched.process.send(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        get(f"{watched.url}/livez", timeout=0.5)
    watched.process.send(signal.SIGCONT)
    eventually(lambda: get(f"{watched.url}/livez")[0] == 200, "alive again")


def test_a_port_that_is_taken(own_bench: Bench, run: Run, tmp_path: Path) -> None:
    """The default one: a warning. One that was set: exit 2."""
    simulated = own_bench.simulate()
    config = simulated.write(tmp_path / "taken.yaml")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = run("run", "--config", str(config), TICKBRIDGE_HTTP__PORT=str(port))
        assert process.ended() == 2
        assert f"http: 127.0.0.1 port {port}: address already in use" in process.output.lower()
        assert "Traceback" not in process.output
    # The default port, taken by ourselves or by whoever has it already.
    with taken(9108):
        own_bench.simulated = simulated
        simulated.config.pop("http", None)
        plain = tmp_path / "plain.yaml"
        plain.write_text(yaml.safe_dump(simulated.config))
        second = run("run", "--config", str(plain), TICKBRIDGE_HTTP__PORT="")
        second.wait_for("http_port_taken")
        flowing(own_bench.client, 50)
        assert second.stop() == 0
        assert second.output.count("http_port_taken") == 1
        assert "set http.port to a free port" in second.output
