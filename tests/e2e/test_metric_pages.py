"""Names of metrics, lags of groups, and which requests are answered, of a running connector."""

from __future__ import annotations

import socket

from tests.e2e.conftest import Bench
from tests.e2e.harness import eventually
from tests.e2e.observing import flowing
from tests.e2e.watched import adds_up
from tests.patience import PATIENCE


def test_old_names_are_served_until_they_are_switched_off(own_bench: Bench, watch) -> None:
    watched = watch()
    flowing(own_bench.client, 50)
    own_bench.simulated.pause()
    eventually(lambda: adds_up(watched) == 0, "all published")
    metrics = watched.metrics()
    for name in ("published_total", "lost_total", "connector_state", "publish_latency_seconds_bucket"):
        assert metrics[f"bridge_{name}"] == metrics[f"tickbridge_{name}"]
    assert not any(name.startswith("bridge_group") for name in metrics)


def test_the_lag_of_groups_is_exact(own_bench: Bench, watch) -> None:
    """However they were created; one that stands at a time has none that anybody knows."""
    own_bench.simulate()
    key = "md:{limitlex:BTC-EUR}:trades"
    watched = watch(env={"TICKBRIDGE_HTTP__PAIR_LABELS": "true"})
    flowing(own_bench.client, 200)
    own_bench.simulated.pause()
    eventually(lambda: adds_up(watched) == 0, "all published")
    ids = [entry_id for entry_id, _ in own_bench.client.xrange(key)]
    own_bench.client.xgroup_create(key, "all", "0")
    own_bench.client.xgroup_create(key, "half", ids[len(ids) // 2])
    own_bench.client.xgroup_create(key, "done", "$")
    own_bench.client.xreadgroup("all", "me", {key: ">"}, count=3)

    def seen() -> dict[str, tuple[float, float]]:
        metrics = watched.metrics()
        pending = metrics.get("tickbridge_group_pending_entries", {})
        lags = metrics.get("tickbridge_group_lag_entries", {})
        return {
            dict(labels)["group"]: (lags[labels], pending[labels])
            for labels in lags
            if dict(labels)["pair"] == "BTC-EUR"
        }

    expected = {"all": (len(ids) - 3, 3), "half": (len(ids) - len(ids) // 2 - 1, 0), "done": (0, 0)}
    eventually(lambda: seen() == expected, "the lags")


def test_the_host_and_half_a_request(own_bench: Bench, watch) -> None:
    watched = watch(env={"TICKBRIDGE_HTTP__HOSTS": "bridge.example.com, *.inside.example"})
    port = int(watched.url.rpartition(":")[2])
    for host, code in (
        *(("127.0.0.1", 200), ("10.1.2.3:9108", 200), ("localhost", 200), ("connector", 200)),
        *(("bridge.example.com", 200), ("a.inside.example", 200), ("evil.example", 421)),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert connection.recv(100).startswith(f"HTTP/1.1 {code}".encode()), host
