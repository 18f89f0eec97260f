"""The stack at work: every rung of its ladder, in this order (the later ones end services)."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import eventually

pytestmark = pytest.mark.timeout(300)

OURS = ("limitlex-demo", "lmex-demo", "sim-limitlex", "sim-lmex", "books", "wallets", "candles", "parquet")
TARGETS = ("limitlex", "lmex", "books", "wallets", "candles", "parquet")
CONNECTORS = ("limitlex-demo", "lmex-demo")
STREAMS = [
    *(f"md:{{limitlex:BTC-EUR}}:{channel}" for channel in ("trades", "book", "quotes", "ticker")),
    *(f"md:{{lmex:BTC-PERP}}:{channel}" for channel in ("trades", "book", "quotes", "ticker")),
    "acct:{limitlex:main}:balances",
    "acct:{limitlex:main}:orders",
    "acct:{lmex:main}:balances",
    "acct:{lmex:main}:positions",
]


def test_everything_is_up_and_healthy(stack):
    for service in (*OURS, "redis", "prometheus", "alertmanager"):
        assert stack.inspect(service)["State"]["Health"]["Status"] == "healthy", service
    secrets = stack.inspect("secrets")["State"]
    assert (secrets["Status"], secrets["ExitCode"]) == ("exited", 0)


def test_every_container_is_locked_down(stack):
    for service in stack.services():
        found = stack.inspect(service)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        assert not found["Config"]["User"].startswith(("0", "root")), service
        assert found["Config"]["User"], service


def test_the_image_is_small_and_holds_no_tools(stack):
    [image] = json.loads(stack.docker("image", "inspect", os.environ["TICKBRIDGE_IMAGE"]))
    [base] = json.loads(stack.docker("image", "inspect", os.environ["PYTHON_IMAGE"]))
    assert image["Size"] - base["Size"] < 200_000_000
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert {"title", "version", "licenses", "revision", "created"} <= {
        label.removeprefix("org.opencontainers.image.") for label in image["Config"]["Labels"]
    }
    for tool in ("pip", "gcc", "make"):
        assert "not found" in stack.compose("exec", "-T", "books", "sh", "-c", f"command -v {tool} || echo not found")
    assert "No module named pip" in stack.compose("exec", "-T", "books", "python", "-m", "pip", check=False)
    bill = json.loads(stack.compose("exec", "-T", "books", "cat", "/opt/tickbridge/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    # Two packages of one author name none in their metadata.
    assert sum(not component.get("licenses") for component in bill["components"]) <= 2


@pytest.mark.parametrize("key", STREAMS)
def test_entries_flow(stack, key):
    first = eventually(lambda: stack.ids(key), f"entries in {key}")
    assert [int(each.partition("-")[2]) for each in first] == list(range(1, len(first) + 1))
    if ":positions" not in key and ":orders" not in key and ":balances" not in key:
        eventually(lambda: stack.ids(key)[-1] != first[-1], f"more entries in {key}")


def test_consumers_keep_their_hashes(stack):
    eventually(lambda: "bids" in stack.cli("HKEYS", "md:{limitlex:BTC-EUR}:book:snapshot"), "the late-join hash")
    keys = eventually(
        lambda: stack.cli("SCAN", "0", "MATCH", "acct:*", "COUNT", "1000", "TYPE", "hash"), "wallet hashes"
    )
    assert "acct:{limitlex:main}" in keys


def test_files_are_written(stack):
    command = ["exec", "-T", "parquet", "find", "/var/lib/tickbridge/files", "-name", "*.parquet"]
    eventually(lambda: "/md/limitlex/BTC-EUR/trades/" in stack.compose(*command), "a file of trades", patience=180)


def test_prometheus_has_the_series(stack):
    def up() -> dict[str, str]:
        return {each["metric"]["instance"]: each["value"][1] for each in stack.query('up{job!="prometheus"}')}

    eventually(lambda: up() == dict.fromkeys(TARGETS, "1"), "all targets up")
    eventually(lambda: stack.prometheus("alertmanagers")["activeAlertmanagers"], "Alertmanager is found")
    published: dict[str, float] = {}

    def grown() -> bool:
        for each in stack.query("sum by (instance) (tickbridge_published_total)"):
            published[each["metric"]["instance"]] = float(each["value"][1])
        return all(published.get(each, 0) > 50 for each in ("limitlex", "lmex"))

    eventually(grown, "published entries in Prometheus")
    groups = stack.prometheus("rules")["groups"]
    assert groups
    assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])
    firing = [rule["name"] for group in groups for rule in group["rules"] if rule.get("state") == "firing"]
    assert not firing


REFUSED = [
    ("books", "books", ["XADD", "md:{limitlex:BTC-EUR}:book", "*", "a", "b"]),
    ("books", "books", ["DEL", "md:{limitlex:BTC-EUR}:book"]),
    ("books", "books", ["XRANGE", "acct:{limitlex:main}:balances", "-", "+"]),
    ("books", "books", ["FLUSHALL"]),
    ("books", "books", ["CONFIG", "GET", "*"]),
    ("wallets", "wallets", ["XADD", "acct:{limitlex:main}:balances", "*", "a", "b"]),
    ("limitlex-demo", "limitlex", ["XADD", "md:{lmex:BTC-USD}:trades", "*", "a", "b"]),
    ("limitlex-demo", "limitlex", ["XRANGE", "acct:{lmex:main}:balances", "-", "+"]),
    ("lmex-demo", "lmex", ["XADD", "md:{limitlex:BTC-EUR}:trades", "*", "a", "b"]),
    ("lmex-demo", "lmex", ["KEYS", "*"]),
    ("redis", "public", ["XRANGE", "acct:{limitlex:main}:balances", "-", "+"]),
    ("redis", "public", ["XADD", "md:{limitlex:BTC-EUR}:trades", "*", "a", "b"]),
    ("redis", "public", ["HGETALL", "bridge:catalog:accounts"]),
    ("redis", "public", ["SCAN", "0"]),
    ("redis", "operator", ["XADD", "md:{limitlex:BTC-EUR}:trades", "*", "a", "b"]),
    ("redis", "operator", ["CONFIG", "SET", "maxmemory", "0"]),
    ("redis", "operator", ["FLUSHALL"]),
]


@pytest.mark.parametrize(
    ("service", "user", "words"), REFUSED, ids=lambda each: " ".join(each) if isinstance(each, list) else each
)
def test_rights_are_enforced(stack, service, user, words):
    assert "NOPERM" in stack.as_user(service, user, *words)


def test_rights_are_enough(stack):
    assert "bid" in stack.as_user(
        "redis", "public", "XREVRANGE", "md:{limitlex:BTC-EUR}:quotes", "+", "-", "COUNT", "1"
    )
    assert "used_memory_human" in stack.as_user("redis", "operator", "INFO", "memory")
    assert "NOAUTH" in stack.compose(
        "exec", "-T", "redis", "redis-cli", "XLEN", "md:{limitlex:BTC-EUR}:trades", check=False
    )
    refused = stack.compose("exec", "-T", "redis", "redis-cli", "-u", "redis://default@127.0.0.1", "PING", check=False)
    assert "PONG" not in refused


def test_redis_is_set_up_to_lose_nothing(stack):
    found = dict(line.split(":", 1) for line in stack.cli("INFO").split() if ":" in line)
    assert (found["aof_enabled"], found["maxmemory_policy"]) == ("1", "noeviction")
    assert int(found["maxmemory"]) == 1024**3


TRY = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"


@pytest.mark.parametrize("service", ["books", "wallets", "lmex-demo", "sim-lmex"])
def test_nobody_gets_out(stack, service):
    """This machine's own address stands for the outside. In the demo that goes for connectors too."""
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            here = probe.getsockname()[0]
        said = stack.compose(
            "exec", "-T", service, "python", "-c", TRY, here, str(server.getsockname()[1]), check=False
        )
        assert "Network is unreachable" in said


def test_a_password_is_rotated_under_load(stack):
    key = "md:{limitlex:BTC-EUR}:trades"
    former = stack.compose("exec", "-T", "limitlex-demo", "cat", "/run/tickbridge/secrets/limitlex.password")
    last = stack.ids(key)[-1]
    stack.rotate("limitlex", "limitlex-demo")
    assert stack.compose("exec", "-T", "limitlex-demo", "cat", "/run/tickbridge/secrets/limitlex.password") != former
    ids = eventually(lambda: (found := stack.ids(key))[-1] > last and found, "more entries", patience=60)
    assert [int(each.partition("-")[2]) for each in ids] == list(range(1, len(ids) + 1))
    since = stack.cli("XRANGE", key, last, "+").split()
    assert "lost" not in since
    assert "gap" not in since
    old = ["exec", "-T", "-e", f"REDISCLI_AUTH={former}", "redis", "redis-cli", "--user", "limitlex", "PING"]
    assert "PONG" not in stack.compose(*old, check=False)
    assert "PONG" in stack.as_user("limitlex-demo", "limitlex", "PING")
    assert "PONG" in stack.as_user("lmex-demo", "lmex", "PING"), "the others keep theirs"


def test_a_killed_connector_comes_back_and_goes_on(stack):
    key = "md:{limitlex:BTC-EUR}:trades"
    before = stack.inspect("limitlex-demo")
    last = stack.ids(key)[-1]
    os.kill(before["State"]["Pid"], 9)

    def back() -> bool:
        found = stack.inspect("limitlex-demo")
        return found["RestartCount"] > before["RestartCount"] and found["State"]["Health"]["Status"] == "healthy"

    eventually(back, "the connector is back", patience=90)
    ids = eventually(lambda: (found := stack.ids(key))[-1] > last and found, "more entries", patience=60)
    assert [int(each.partition("-")[2]) for each in ids] == list(range(1, len(ids) + 1))
    assert "the connector was cut off" in stack.cli("XRANGE", key, last, "+")


def test_a_killed_redis_comes_back_with_its_data(stack):
    key = "md:{lmex:BTC-PERP}:trades"
    before = stack.inspect("redis")
    last = stack.ids(key)[-1]
    os.kill(before["State"]["Pid"], 9)
    eventually(
        lambda: stack.inspect("redis")["RestartCount"] > before["RestartCount"], "Redis is started again", patience=60
    )
    eventually(lambda: stack.inspect("redis")["State"]["Health"]["Status"] == "healthy", "Redis is back", patience=60)

    def more() -> list[str]:
        found = stack.ids(key)
        return found if found and int(found[-1].partition("-")[2]) > int(last.partition("-")[2]) else []

    ids = eventually(more, "more entries", patience=60)
    assert [int(each.partition("-")[2]) for each in ids] == list(range(1, len(ids) + 1))
    for service in (*CONNECTORS, "books", "wallets"):
        eventually(
            lambda name=service: stack.inspect(name)["State"]["Health"]["Status"] == "healthy", f"{service} is ready"
        )


def test_an_exchange_out_of_reach_fails_nothing(stack):
    """Kraken has no way out in .ci/compose.yml."""
    kraken = ("--profile", "kraken")
    stack.compose(*kraken, "up", "--detach", "--wait", "--wait-timeout", "120", "kraken")
    check = ("exec", "-T", "kraken", "python", "/opt/tickbridge/healthcheck.py", "readyz")
    assert "no subscription is live" in stack.compose(*kraken, *check, check=False)
    stack.compose(*kraken, "rm", "--stop", "--force", "kraken")


@pytest.mark.parametrize(
    ("service", "key"), [("limitlex-demo", "md:{limitlex:BTC-EUR}:trades"), ("lmex-demo", "md:{lmex:BTC-PERP}:book")]
)
def test_the_end_is_clean(stack, service, key):
    stack.compose("stop", service)
    state = stack.inspect(service)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert stack.newest(key)["event"] == "stop"


@pytest.mark.parametrize("service", ["books", "wallets"])
def test_consumers_end_cleanly_too(stack, service):
    stack.compose("stop", service)
    assert stack.inspect(service)["State"]["ExitCode"] == 0


def test_no_secret_is_in_a_log(stack):
    logs = stack.compose("logs", "--no-color")
    secrets = [
        stack.compose("exec", "-T", "redis", "cat", f"/run/tickbridge/secrets/{name}.password")
        for name in ("operator", "public")
    ]
    volume = json.loads(stack.docker("volume", "inspect", "tickbridge-ci_secrets-limitlex"))[0]["Mountpoint"]
    secrets.append(Path(volume, "limitlex.password").read_text(encoding="utf-8"))
    assert all(len(secret) == 48 and secret not in logs for secret in secrets)


def test_down_leaves_nothing(stack):
    stack.compose("down", "--volumes")
    assert not stack.docker("ps", "-a", "-q", "--filter", "label=com.docker.compose.project=tickbridge-ci").split()
