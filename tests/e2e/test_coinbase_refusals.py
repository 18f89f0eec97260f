"""One bad pair, one bad row: everything else of a Coinbase connector goes on, as its streams in Redis show."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.e2e.coinbase_exchange import CoinbaseExchange, book, trade
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.servers import RedisServer

ONLINE = {"status": "online", "trading_disabled": False}
LISTED = [
    {"product_id": "BTC-USD", "alias": "", **ONLINE},
    {"product_id": "BTC-USDC", "alias": "BTC-USD", **ONLINE},
    {"product_id": "ETH-USD", "alias": "", **ONLINE},
    {"product_id": "MKR-USD", "alias": "", "status": "delisted", "trading_disabled": True},
]
Write = Callable[..., str]


@pytest.fixture
def exchange() -> Iterator[CoinbaseExchange]:
    with CoinbaseExchange({"BTC-USD", "ETH-USD"}, LISTED) as served:
        yield served


@pytest.fixture
def config(redis_server: RedisServer, tmp_path: Path, exchange: CoinbaseExchange) -> Write:
    def write(*pairs: str, **more: Any) -> str:
        connector = {"name": "cb", "exchange": "coinbase", "pairs": list(pairs), "channels": ["trades", "book"]}
        connector |= {"url": exchange.url, "rest_url": exchange.rest_url, **more}
        path = tmp_path / "coinbase.yaml"
        path.write_text(yaml.safe_dump({"redis": {"url": redis_server.url}, "connectors": [connector]}))
        return str(path)

    return write


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as found:
        yield found


def entries(client: redis.Redis, pair: str, channel: str) -> list[dict[str, str]]:
    return [fields for _, fields in client.xrange(f"md:{{coinbase:{pair}}}:{channel}")]


def controls(client: redis.Redis, pair: str, channel: str) -> list[tuple[str, str]]:
    return [(f["event"], f["reason"]) for f in entries(client, pair, channel) if f["type"] == "control"]


def types(client: redis.Redis, pair: str, channel: str) -> list[str]:
    return [f.get("event") or f["type"] for f in entries(client, pair, channel)]


def test_check_finds_what_is_not_there(run: Run, exchange: CoinbaseExchange, config: Write) -> None:
    process = run("check", "--connect", "--config", config("BTC-USDC", "MKR-USD", "ETH-USC", "ETH-USD"))
    assert process.ended() == 1
    said = process.output
    assert "no pair ETH-USC at this exchange; did you mean ETH-USD" in said
    assert "BTC-USDC is served as BTC-USD" in said
    assert "MKR-USD: the exchange lists the pair as halted (delisted)" in said
    assert "ETH-USD:" not in said


def test_check_takes_pairs_that_are_there(run: Run, exchange: CoinbaseExchange, config: Write) -> None:
    process = run("check", "--connect", "--config", config("BTC-USDC", "MKR-USD", "ETH-USD"))
    assert (process.ended(), process.output.splitlines()[-1]) == (0, "ok")


def test_check_without_a_list_goes_by_what_the_exchange_says(
    run: Run, exchange: CoinbaseExchange, config: Write
) -> None:
    process = run("check", "--connect", "--config", config("ETH-USD", "NO-USD", rest_url=None))
    assert process.ended() == 1
    assert "NO-USD is not a valid product" in process.output


@pytest.mark.parametrize("listed", [LISTED, None], ids=["with a list", "without REST"])
def test_the_others_are_served(
    run: Run, exchange: CoinbaseExchange, config: Write, client: redis.Redis, listed: list[dict[str, Any]] | None
) -> None:
    exchange.listed = listed
    process = run("run", "--config", config("BTC-USD", "NO-USD", "ETH-USD"))
    for channel in ("trades", "book"):
        eventually(lambda c=channel: controls(client, "NO-USD", c), f"the {channel} of NO-USD are down")
        [(event, reason)] = controls(client, "NO-USD", channel)
        assert (event, "NO-USD" in reason) == ("down", True)
    eventually(lambda: "snapshot" in types(client, "ETH-USD", "book"), "a book")
    exchange.say("market_trades", trade("ETH-USD", "1"))
    eventually(lambda: types(client, "ETH-USD", "trades") == ["live", "trade"], "a trade")
    assert types(client, "BTC-USD", "book") == types(client, "ETH-USD", "book") == ["live", "snapshot"]
    assert exchange.opened == 1
    assert process.stop() == 0


def test_a_pair_that_is_down_is_one_story_everywhere(
    run: Run, exchange: CoinbaseExchange, config: Write, client: redis.Redis
) -> None:
    """Heartbeat, health, status, metrics and catalog: none says `live` of the whole while one pair is not served."""
    process = run("run", "--config", config("BTC-USD", "NO-USD"), TICKBRIDGE_HTTP__PORT="0")
    [url] = re.findall(r'"url":"([^"]+)"', process.wait_for("http_listening"))

    def page(name: str) -> str:
        with urllib.request.urlopen(f"{url}/{name}", timeout=5) as answer:
            return str(answer.read().decode())

    eventually(lambda: types(client, "BTC-USD", "book") == ["live", "snapshot"], "a book")
    eventually(lambda: types(client, "NO-USD", "book") == ["down"], "the other book is down")
    eventually(lambda: client.hget("bridge:connector:cb", "state") == "degraded", "the heartbeat says so")
    ready = json.loads(page("readyz"))
    assert (ready["state"], ready["ready"], ready["missing"]) == ("degraded", True, [])
    [line] = ready["degraded"]
    assert line.endswith(": book of NO-USD, trades of NO-USD")
    status = json.loads(page("status"))
    assert [status["state"], status["connectors"][0]["state"]] == ["degraded", "degraded"]
    samples = re.findall(r'^tickbridge_connector_state\{.*state="(\w+)"\} (\S+)$', page("metrics"), re.MULTILINE)
    assert {state for state, value in samples if float(value)} == {"degraded"}
    catalog = {key: json.loads(entry)["state"] for key, entry in client.hgetall("bridge:catalog").items()}
    assert catalog["md:{coinbase:NO-USD}:trades"] == catalog["md:{coinbase:NO-USD}:book"] == "down"
    assert catalog["md:{coinbase:BTC-USD}:book"] == "live"


def test_one_product_under_two_names(run: Run, exchange: CoinbaseExchange, config: Write, client: redis.Redis) -> None:
    run("run", "--config", config("BTC-USD", "BTC-USDC"))
    for pair in ("BTC-USD", "BTC-USDC"):
        eventually(lambda p=pair: types(client, p, "book") == ["live", "snapshot"], f"the book of {pair}")
    exchange.say("market_trades", trade("BTC-USD", "1"))
    for pair in ("BTC-USD", "BTC-USDC"):
        eventually(lambda p=pair: types(client, p, "trades")[-1:] == ["trade"], f"the trade of {pair}")


def test_a_bad_row_is_a_gap_of_its_stream_alone(
    run: Run, exchange: CoinbaseExchange, config: Write, client: redis.Redis
) -> None:
    process = run("run", "--config", config("BTC-USD", "ETH-USD"))
    for pair in ("BTC-USD", "ETH-USD"):
        eventually(lambda p=pair: types(client, p, "book") == ["live", "snapshot"], f"the book of {pair}")
    exchange.say("market_trades", trade("BTC-USD", "1", side="UNKNOWN_ORDER_SIDE"), trade("ETH-USD", "2"))
    exchange.say("l2_data", book("ETH-USD", "update", ("ask", "102")), book("BTC-USD", "update", ("bid", "99")))
    exchange.say("l2_data", book("BTC-USD", "update", ("bid", "98")))
    eventually(lambda: types(client, "BTC-USD", "trades")[-1:] == ["gap"], "a gap of BTC-USD's trades")
    eventually(lambda: types(client, "ETH-USD", "trades")[-1:] == ["trade"], "a trade of ETH-USD")
    eventually(lambda: types(client, "ETH-USD", "book") == ["live", "snapshot", "gap", "snapshot"], "a book anew")
    eventually(lambda: types(client, "BTC-USD", "book") == ["live", "snapshot", "delta", "delta"], "two deltas")
    eventually(lambda: client.xlen("bridge:rejects:coinbase") == 2, "two rejects")
    raw = [fields["raw"] for _, fields in client.xrange("bridge:rejects:coinbase")]
    assert '"trade_id": "1"' in raw[0]
    assert '"side": "ask"' in raw[1]
    assert process.stop() == 0
