"""Metrics and health of the consumer services, asked for over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.model import Channel
from consumers.monitor import HttpAddress, Monitor, http_address
from consumers.reader import Reader
from tests.clusters import Cluster
from tests.consumers.streams import MAIN, Stream, gather
from tests.consumers.test_books import CLEAN
from tests.deploy.observability import documented, used
from tests.e2e.harness import eventually
from tests.patience import PATIENCE
from tests.servers import taken


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


@contextlib.contextmanager
def service(name: str, *arguments: str, **env: str):
    """A service that serves on a free port, and its URL."""
    command = [sys.executable, "-m", f"consumers.{name}", *arguments]
    environment = {variable: value for variable, value in {**CLEAN, **env}.items() if value}  # empty: left out
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stderr.readline()
            yield process, line.split()[-1] if "metrics and health at" in line else line
        finally:
            process.kill()


def samples(url: str) -> dict[str, float]:
    """Sample name → the sum over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(f"{url}/metrics")[1]):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


@pytest.mark.parametrize("spoilt", ["key", "position"])
def test_wallets_name_a_hash_that_they_cannot_read_at_the_start(redis_server, spoilt) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.ORDERS, "main")
        client.hset(MAIN.accounts_catalog(), stream.key, "{}")
        wallet = MAIN.wallet("limitlex", "main")
        if spoilt == "key":
            client.set(wallet, "something else")
        else:
            client.hset(wallet, "id:orders", "no id")
        with service("wallets", "limitlex:main", "--redis", redis_server.url, "--http", ":0") as (_, url):
            eventually(lambda: get(f"{url}/readyz")[0] == 503, "it cannot work")
            assert (f"{wallet}: WRONGTYPE" if spoilt == "key" else f"{stream.key}: 'no id'") in get(f"{url}/readyz")[1]
            client.delete(wallet)
            eventually(lambda: get(f"{url}/readyz")[0] == 200, "it works")


def test_wallets_that_nobody_reads_end_at_what_they_find_at_the_start(redis_server) -> None:
    with redis_server.client() as client:
        command = [sys.executable, "-m", "bridge", "wallets", "--redis", redis_server.url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**CLEAN, "TICKBRIDGE_HTTP__PORT": "off"}
        ) as process:
            process.stdout.close()
            number = 0

            def ended() -> bool:
                nonlocal number
                number += 1
                stream = Stream(client, Channel.BALANCES, f"a{number}")
                balance = '{"available":"1","reserved":"0","ts":"","recv":"1"}'
                client.hset(MAIN.wallet("limitlex", f"a{number}"), "balance:EUR", balance)
                client.hset(MAIN.accounts_catalog(), stream.key, "{}")
                return process.poll() is not None

            try:
                eventually(ended, "its end")
            finally:
                process.kill()
            assert process.returncode == 0


def test_what_books_serve(own_server) -> None:
    with own_server.client() as client:
        stream = Stream(client, Channel.BOOK)
        stream.snapshot("10:1", "11:1")
        with service("books", "limitlex:BTC-EUR", "--redis", own_server.url, "--every", "0.05", "--http", ":0") as (
            _,
            url,
        ):
            eventually(lambda: samples(url).get("tickbridge_consumer_entries_read_total") == 1, "the snapshot")
            eventually(lambda: samples(url)["tickbridge_consumer_writes_total"] >= 1, "a late-join hash")
            stream.delta("9:1")
            stream.seq += 2
            stream.delta("8:1")
            stream.add("nonsense")
            stream.add("delta")
            eventually(lambda: samples(url)["tickbridge_consumer_entries_read_total"] == 5, "the rest")
            assert samples(url)["tickbridge_consumer_gaps_total"] == 2
            assert samples(url)["tickbridge_consumer_redis_up"] == 1
            eventually(lambda: "tickbridge_consumer_lag_entries" in samples(url), "a look at the lag")
            assert get(f"{url}/readyz")[0] == 200
            assert get(f"{url}/livez")[0] == 200
            [row] = json.loads(get(f"{url}/status")[1])["streams"]
            assert (row["key"], row["read"], row["missing"]) == (stream.key, "5", {"hole": "1", "undecodable": "1"})
            assert json.loads(get(f"{url}/books")[1])[0]["pair"] == "BTC-EUR"

            served = {}
            for family in text_string_to_metric_families(get(f"{url}/metrics")[1]):
                if family.name.startswith("tickbridge_"):
                    labels = {label for sample in family.samples for label in sample.labels} - {"service"}
                    served[family.name + "_total" * (family.type == "counter")] = (family.type, labels)
            assert {
                name: row for name, row in documented().items() if name.startswith("tickbridge_consumer_")
            } == served
            assert {name for name in used() if name.startswith("tickbridge_consumer_")} <= set(samples(url))

            own_server.stop()
            eventually(lambda: get(f"{url}/readyz")[0] == 503, "not ready")
            assert "Redis at redis://127.0.0.1" in get(f"{url}/readyz")[1]
            eventually(
                lambda: samples(url)["tickbridge_consumer_redis_up"] == 0, "the metric, which is kept for a second"
            )
            assert get(f"{url}/livez")[0] == 200
            own_server.start()
            eventually(lambda: get(f"{url}/readyz")[0] == 200, "ready again")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("maxmemory", "command not allowed when used memory"), ("min-replicas-to-write", "NOREPLICAS")],
)
def test_services_outlive_a_server_that_takes_no_writes(own_server, setting, words) -> None:
    with own_server.client() as client:
        book, balances = Stream(client, Channel.BOOK), Stream(client, Channel.BALANCES, "main")
        client.hset(MAIN.catalog(), book.key, "")
        client.hset(MAIN.accounts_catalog(), balances.key, "")
        book.snapshot("10:1", "11:1")
        balances.add("balance", currency="EUR", available="1", reserved="0")
        options = ("--redis", own_server.url, "--http", ":0")
        with (
            service("books", *options, "--every", "0.05") as (books, books_at),
            service("wallets", *options) as (wallets, wallets_at),
        ):
            both = (books_at, wallets_at)
            eventually(lambda: all(samples(url)["tickbridge_consumer_writes_total"] for url in both), "what both write")
            with client.pipeline() as pipe:
                # In one go: what the services read now, they can't write.
                book.client = balances.client = pipe
                book.delta("9:1")
                balances.add("balance", currency="EUR", available="2", reserved="0")
                pipe.config_set(setting, 1)
                pipe.execute()
            for url in both:
                eventually(lambda url=url: words in get(f"{url}/readyz")[1], "not ready")
            client.config_set(setting, 0)
            for url in both:
                eventually(lambda url=url: get(f"{url}/readyz")[0] == 200, "ready again")
            assert (books.poll(), wallets.poll()) == (None, None)
        assert client.hget(MAIN.snapshot("limitlex", "BTC-EUR"), "id") == book.id(2)
        assert '"available":"2"' in client.hget(MAIN.wallet("limitlex", "main"), "balance:EUR")


async def test_how_far_the_reader_is_behind(redis_server) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(3)
        async with Reader(redis_server.url, {stream.key: stream.id(1)}) as reader:
            monitor = Monitor("test", reader, redis_server.url, lambda: 0)

            async def lag() -> dict[str, float]:
                await monitor.measure()
                make = await monitor.snapshot()
                return {
                    sample.name: sample.value for family in make() for sample in family.samples if "lag" in sample.name
                }

            assert await lag() == {"tickbridge_consumer_lag_entries": 2, "tickbridge_consumer_lag_seconds": 0.002}
            await gather(reader, 2)
            assert await lag() == {"tickbridge_consumer_lag_entries": 0, "tickbridge_consumer_lag_seconds": 0}
            client.delete(stream.key)
            assert await lag() == {"tickbridge_consumer_lag_entries": 0, "tickbridge_consumer_lag_seconds": 0}


async def test_a_stream_that_cant_be_looked_at_is_told_and_ends_nothing(redis_server) -> None:
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(1)
        async with Reader(redis_server.url, {stream.key: "0-0"}) as reader:
            monitor = Monitor("test", reader, redis_server.url, lambda: 0)
            client.delete(stream.key)
            client.set(stream.key, "something else")
            await monitor.measure()
            [missing] = monitor.missing()
            assert "WRONGTYPE" in missing
            client.delete(stream.key)
            await monitor.measure()
            assert monitor.missing() == []


async def test_a_cluster_that_is_away_as_a_whole_ends_nothing(tmp_path) -> None:
    """What redis-py raises then is no ``RedisError``."""
    cluster = Cluster(tmp_path / "cluster")
    try:
        with cluster.client() as client:
            stream = Stream(client, Channel.TRADES)
            stream.trades(1)
            async with Reader(cluster.url, {stream.key: "0-0"}) as reader:
                monitor = Monitor("test", reader, cluster.url, lambda: 0)
                await monitor.measure()
                assert monitor.missing() == []
                cluster.stop()
                for _ in range(3):
                    await monitor.measure()
                    [missing] = monitor.missing()
                    assert missing.startswith("Redis at redis+cluster://127.0.0.1")
    finally:
        cluster.stop()


def test_wallets_serve_too_and_take_the_environment(redis_server) -> None:
    env = {"TICKBRIDGE_HTTP__PORT": "0", "TICKBRIDGE_HTTP__HOST": "localhost"}
    with service("wallets", "--redis", redis_server.url, **env) as (_, url):
        assert url.startswith("http://localhost:")
        assert get(f"{url}/readyz")[0] == 200
        assert samples(url)["tickbridge_consumer_writes_total"] == 0
        assert json.loads(get(f"{url}/status")[1])["service"] == "wallets"


def test_a_port_that_is_taken(redis_server) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with service("wallets", "--redis", redis_server.url, "--http", f"127.0.0.1:{port}") as (process, line):
            assert process.wait(PATIENCE) == 2
            assert (
                line
                == f"wallets: --http: 127.0.0.1 port {port}: Address already in use; give a free one, 0 for any, or off\n"
            )
    with taken(9110), service("wallets", "--redis", redis_server.url, TICKBRIDGE_HTTP__PORT="") as (process, line):
        assert line.startswith(
            "wallets: 127.0.0.1 port 9110 is taken: running without metrics and health pages; --http 0"
        )
        assert process.poll() is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:9200", "0.0.0.0", 9200),
        ("9200", "127.0.0.1", 9200),
        (":0", "127.0.0.1", 0),
        ("[::1]:9200", "::1", 9200),
        ("off", "127.0.0.1", None),
    ],
)
def test_addresses(text, host, port, monkeypatch):
    monkeypatch.delenv("TICKBRIDGE_HTTP__HOST", raising=False)
    assert http_address(text) == HttpAddress(host, port, explicit=True)
