"""Pairs by pattern, and pairs that come and go while a connector runs: as the streams in Redis show it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.e2e.coinbase_exchange import CoinbaseExchange, trade
from tests.e2e.conftest import Run
from tests.e2e.harness import Process, eventually, sequences
from tests.servers import RedisServer

Write = Callable[..., str]


def listed(*pairs: str, **states: str) -> list[dict[str, Any]]:
    """Rows of the product list: pairs that trade, and those with another status (``SOL_USD="delisted"``)."""
    rows = [{"product_id": pair, "alias": "", "status": "online", "trading_disabled": False} for pair in pairs]
    return rows + [
        {"product_id": pair.replace("_", "-"), "alias": "", "status": status, "trading_disabled": True}
        for pair, status in states.items()
    ]


@pytest.fixture
def exchange() -> Iterator[CoinbaseExchange]:
    served = {"BTC-USD", "ETH-USD", "ETH-EUR", "SOL-USD"}
    with CoinbaseExchange(served, listed("BTC-USD", "ETH-USD", "ETH-EUR")) as served_by:
        yield served_by


@pytest.fixture
def config(redis_server: RedisServer, tmp_path: Path, exchange: CoinbaseExchange) -> Write:
    def write(pairs: Any, name: str = "cb", **more: Any) -> str:
        connector = {"name": name, "exchange": "coinbase", "pairs": pairs, "channels": ["trades", "book"]}
        connector |= {"url": exchange.url, "rest_url": exchange.rest_url, **more}
        path = tmp_path / f"{name}.yaml"
        settings = {"redis": {"url": redis_server.url}, "connectors": [connector], "http": {"port": "off"}}
        path.write_text(yaml.safe_dump(settings))
        return str(path)

    return write


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as found:
        yield found


def said(client: redis.Redis, pair: str, channel: str = "trades") -> list[str]:
    """The control events of a stream, and the IDs of its trades."""
    rows = [fields for _, fields in client.xrange(f"md:{{coinbase:{pair}}}:{channel}")]
    return [row["event"] if row["type"] == "control" else row.get("id", row["type"]) for row in rows]


def state(client: redis.Redis, pair: str) -> str:
    """The state of the pair's trades, by the catalog."""
    entry = client.hget("bridge:catalog", f"md:{{coinbase:{pair}}}:trades")
    return str(json.loads(str(entry))["state"])


def wait(client: redis.Redis, pair: str, *expected: str, channel: str = "trades") -> None:
    found: list[str] = []

    def look() -> bool:
        found[:] = said(client, pair, channel)
        return found == list(expected)

    eventually(look, f"{channel} of {pair}: {expected}, not {found}")


def lines(process: Process, event: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [row for row in rows if row["event"] == event]


def read_again(process: Process, times: int = 1) -> None:
    """Have the config read again, and wait for it."""
    for _ in range(times):
        before = len(lines(process, "reloaded"))
        process.send(signal.SIGHUP)
        eventually(lambda before=before: len(lines(process, "reloaded")) > before, "the config is read again")


def test_a_pattern_reads_what_is_listed_and_follows_the_list(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    process = run("run", "--config", config(["*-USD"], max_pairs=3))
    for pair in ("BTC-USD", "ETH-USD"):
        wait(client, pair, "live")
    assert not client.exists("md:{coinbase:ETH-EUR}:trades")

    exchange.listed = listed("BTC-USD", "SOL-USD", "ETH-EUR")  # one is new, one is gone
    read_again(process)
    wait(client, "SOL-USD", "live")
    exchange.say("market_trades", trade("ETH-USD", "1"), trade("SOL-USD", "2"), trade("BTC-USD", "3"))
    wait(client, "SOL-USD", "live", "2")
    wait(client, "ETH-USD", "live", "1")  # an answer that lacks a pair once ends nothing

    read_again(process)
    wait(client, "ETH-USD", "live", "1", "stop")
    wait(client, "BTC-USD", "live", "3")
    exchange.say("market_trades", trade("BTC-USD", "4"), trade("ETH-USD", "5"))
    wait(client, "BTC-USD", "live", "3", "4")
    assert said(client, "ETH-USD") == ["live", "1", "stop"]
    eventually(lambda: state(client, "ETH-USD") == "stop", "the catalog says that it has ended")

    exchange.listed = listed("BTC-USD", "ETH-USD", "SOL-USD")
    read_again(process)
    wait(client, "ETH-USD", "live", "1", "stop", "live")
    assert process.stop() == 0
    for pair in ("BTC-USD", "ETH-USD", "SOL-USD"):
        for channel in ("trades", "book"):
            sequences(client, f"md:{{coinbase:{pair}}}:{channel}")


def test_pairs_come_and_go_with_the_config(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    process = run("run", "--config", config(["BTC-USD", "ETH-USD"]))
    for pair in ("BTC-USD", "ETH-USD"):
        wait(client, pair, "live")
    config(["BTC-USD", "ETH-EUR"], account=None, dead_after="40s")
    read_again(process)
    wait(client, "ETH-USD", "live", "stop")
    wait(client, "ETH-EUR", "live")
    assert [row["setting"] for row in lines(process, "restart_needed")] == ["connectors.cb.dead_after"]

    Path(config([])).write_text("connectors: [{name: cb}]")
    process.send(signal.SIGHUP)
    eventually(lambda: lines(process, "reload_failed"), "a config with mistakes")
    exchange.say("market_trades", trade("BTC-USD", "1"), trade("ETH-EUR", "2"))
    wait(client, "BTC-USD", "live", "1")
    wait(client, "ETH-EUR", "live", "2")
    assert process.stop() == 0


def test_a_changed_file_is_enough_where_it_is_watched(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    del exchange
    process = run("run", "--config", config(["BTC-USD"]), "--watch-config")
    wait(client, "BTC-USD", "live")
    config(["BTC-USD", "ETH-USD"])
    wait(client, "ETH-USD", "live")
    wait(client, "BTC-USD", "live")
    assert process.stop() == 0


def test_a_pair_moves_from_one_connector_to_another(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    one = run("run", "--config", config(["BTC-USD", "ETH-USD"], "one"))
    two = run("run", "--config", config(["ETH-EUR"], "two"))
    wait(client, "ETH-USD", "live")
    wait(client, "ETH-EUR", "live")
    config(["BTC-USD"], "one")
    read_again(one)
    wait(client, "ETH-USD", "live", "stop")
    config(["ETH-EUR", "ETH-USD"], "two")
    read_again(two)
    wait(client, "ETH-USD", "live", "stop", "live")
    exchange.say("market_trades", trade("ETH-USD", "1"), trade("BTC-USD", "2"))
    wait(client, "ETH-USD", "live", "stop", "live", "1")
    wait(client, "BTC-USD", "live", "2")
    assert one.stop() == 0
    assert two.stop() == 0
    sequences(client, "md:{coinbase:ETH-USD}:trades")


def test_a_pair_that_another_connector_reads_is_left_to_it(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    one = run("run", "--config", config(["BTC-USD"], "one"))
    two = run("run", "--config", config(["ETH-USD"], "two"))
    wait(client, "BTC-USD", "live")
    wait(client, "ETH-USD", "live")
    config(["BTC-USD", "ETH-USD"], "one")
    read_again(one)
    eventually(lambda: lines(one, "pair_not_joined"), "the pair is refused")
    exchange.say("market_trades", trade("ETH-USD", "1"), trade("BTC-USD", "2"))
    wait(client, "ETH-USD", "live", "1")
    wait(client, "BTC-USD", "live", "2")
    assert one.stop() == 0
    assert two.stop() == 0


def test_more_pairs_than_allowed_is_a_mistake_at_the_start(run: Run, config: Write) -> None:
    process = run("run", "--config", config("all", max_pairs=2))
    assert process.ended() == 1
    assert "3 pairs match *, and 2 are allowed" in process.output


def test_what_was_listed_meanwhile_does_not_keep_a_connector_from_starting_again(
    run: Run, config: Write, exchange: CoinbaseExchange, client: redis.Redis
) -> None:
    exchange.listed = listed("BTC-USD", "ETH-USD")
    path = config("all", max_pairs=2)
    process = run("run", "--config", path)
    for pair in ("BTC-USD", "ETH-USD"):
        wait(client, pair, "live")
    assert process.stop() == 0

    exchange.listed = listed("AAVE-USD", "BTC-USD", "ETH-USD", "SOL-USD")
    again = run("run", "--config", path)
    for pair in ("BTC-USD", "ETH-USD"):
        wait(client, pair, "live", "stop", "live")
    assert [line["count"] for line in lines(again, "pairs_left_out")][:1] == [2]
    assert not client.exists("md:{coinbase:AAVE-USD}:trades")
    assert again.stop() == 0


def test_a_missing_pair_can_be_a_mistake(run: Run, config: Write) -> None:
    process = run("run", "--config", config(["BTC-USD", "BTC-UDS"], missing_pairs="error"))
    assert process.ended() == 1
    assert "BTC-UDS" in process.output
