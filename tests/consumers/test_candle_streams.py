"""Streams of candles in the catalog, as all readers find them, and what is seen of them when their service ends."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from bridge import acl
from bridge.cli.main import main as tickbridge
from bridge.keys import Keys
from bridge.model import Candle, Channel
from consumers.candle_catalog import CandleCatalog
from consumers.connection import make_client
from consumers.items import Entry
from consumers.patterns import PatternReader
from consumers.reader import Position
from tests.cli.feeds import Feed
from tests.consumers.streams import gather
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.web.gateways import gateway, get

KEYS = Keys()
MINUTE = KEYS.candles("limitlex", "BTC-EUR", "1m")
SECOND = KEYS.candles("limitlex", "BTC-EUR", "1s")
BASE = 1_786_309_560_000
"""Milliseconds: the start of a minute."""


@pytest.fixture
def feed(redis_server: RedisServer):
    """A live connector with three minutes of trades."""
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        key = feed.list("BTC-EUR", Channel.TRADES)
        for seq in range(1, 7):
            ms = BASE + seq * 30_000
            feed.add(key, "trade", seq, ms, id=str(seq), side="buy", price=f"10.{seq}", size="0.1")
        yield feed


@contextlib.contextmanager
def service(server: RedisServer, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "consumers.candles", "--redis", server.url, "--quiet", *arguments]
    env = clean_environment(TICKBRIDGE_HTTP__PORT="off")
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def entry(feed: Feed, key: str = MINUTE) -> dict[str, str]:
    return json.loads(feed.client.hget("bridge:catalog", key) or "{}")


def wait(true: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


async def test_readers_find_candles_and_take_them_apart(redis_server, feed) -> None:
    with service(redis_server, "--interval", "1m", "1s"):
        wait(lambda: entry(feed).get("state") == "live" and entry(feed, SECOND))
        assert {
            name: entry(feed)[name] for name in ("exchange", "pair", "channel", "interval", "schema", "service")
        } == {
            "exchange": "limitlex",
            "pair": "BTC-EUR",
            "channel": "candles",
            "interval": "1m",
            "schema": "2",
            "service": "candles",
        }
        async with PatternReader(redis_server.url, {"limitlex:* candles:1m": Position.START}) as reader:
            items = await gather(reader, 2)
    assert {item.key for item in items} == {MINUTE}
    first, second = [item for item in items if isinstance(item, Entry)][:2]
    assert isinstance(first.event, Candle)
    assert (first.stream.channel, first.stream.interval, first.event.subject) == (Channel.CANDLES, "1m", "BTC-EUR")
    assert (first.event.open_ts, first.event.close_ts) == (BASE * 10**6, (BASE + 60_000) * 10**6)
    assert (first.event.open, first.event.close, first.event.state) == ("10.1", "10.1", "incomplete")
    assert (second.event.count, Decimal(second.event.volume), second.event.state) == (2, Decimal("0.2"), "complete")
    assert second.seq == first.seq + 1 == (BASE + 60_000) // 60_000


def test_commands_show_them_and_stopping_them_makes_nothing_look_ill(redis_server, feed, capsys) -> None:
    where = ["--redis", redis_server.url]
    with service(redis_server) as process:
        wait(lambda: entry(feed).get("state") == "live")
        assert tickbridge(["streams", "--channel", "candles", "--json", *where]) == 0
        [row] = json.loads(capsys.readouterr().out)
        assert (row["key"], row["state"], row["live"], row["interval"], row["connector"]) == (
            *(MINUTE, "live", True),
            *("1m", ""),
        )
        assert tickbridge(["streams", *where]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("\t")[2] for line in lines[1:]] == ["candles:1m", "trades"]
        assert lines[1].split("\t")[7] == "candles"
        assert tickbridge(["status", *where]) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert entry(feed)["state"] == "stop"
    assert not feed.client.keys("bridge:service:*")
    capsys.readouterr()
    assert tickbridge(["status", "--json", *where]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["live"]
    assert [row["name"] for row in said["connectors"]] == ["limitlex"]
    assert tickbridge(["streams", "--channel", "candles:1m", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "stop"


def test_the_candles_of_a_killed_service_are_dead_and_the_next_one_takes_them(redis_server, feed, capsys) -> None:
    with service(redis_server) as process:
        wait(lambda: entry(feed).get("state") == "live")
        process.kill()
        process.wait()
    [heartbeat] = feed.client.keys("bridge:service:*")
    assert heartbeat == f"bridge:service:{entry(feed)['instance']}"
    assert 0 < feed.client.ttl(heartbeat) <= 15
    feed.client.delete(heartbeat)  # as after its time
    assert tickbridge(["status", "--json", "--redis", redis_server.url]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [(row["key"], row["state"]) for row in said["not_live"]] == [(MINUTE, "dead")]
    assert [(row["name"], row["state"]) for row in said["connectors"]] == [("limitlex", "live")]
    dead = entry(feed)["instance"]
    with service(redis_server):
        wait(lambda: entry(feed)["instance"] != dead)
        assert tickbridge(["status", "--redis", redis_server.url]) == 0


@pytest.mark.parametrize("mistake", ["type", "right"])
def test_candles_are_made_although_redis_refuses_to_list_them(redis_server, feed, mistake) -> None:
    """Not even the rights of an earlier version, which listed none, end the service."""
    url = redis_server.url
    if mistake == "type":
        feed.client.rename("bridge:catalog", "kept")
        feed.client.set("bridge:catalog", "x")
    else:
        rules = [rule for rule in acl.candles("") if "bridge:service" not in rule]
        feed.client.execute_command(*acl.user("candles", rules, ">x", old=True).split())
        url = url.replace("//", "//candles:x@")
    with service(redis_server, "limitlex:BTC-EUR", "--redis", url) as process:
        line = next(line for line in process.stderr if "for candles" in line)
        assert ("WRONGTYPE" if mistake == "type" else "lacks a permission") in line
        assert process.poll() is None
        wait(lambda: feed.client.xlen(MINUTE))
        if mistake == "type":
            feed.client.rename("kept", "bridge:catalog")
        else:
            feed.client.execute_command("ACL", "SETUSER", "candles", "allkeys", "+@all")
        wait(lambda: entry(feed).get("state") == "live")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    feed.client.acl_deluser("candles")


async def test_of_two_services_one_is_listed_as_long_as_it_lives(redis_server, feed) -> None:
    async with make_client(redis_server.url) as redis:
        first, second = CandleCatalog(redis, KEYS), CandleCatalog(redis, KEYS)
        await first.show([MINUTE], {})
        await second.show([MINUTE, SECOND], {})
        assert (entry(feed)["instance"], entry(feed, SECOND)["instance"]) == (first.instance, second.instance)
        await first.show([MINUTE], {MINUTE: "is a hash"})
        assert (entry(feed)["instance"], entry(feed)["state"]) == (first.instance, "down")
        await first.show([MINUTE], {})
        assert entry(feed)["state"] == "live"
        await first.stop()
        assert entry(feed)["state"] == "stop"
        await second.show([MINUTE, SECOND], {})
        assert (entry(feed)["instance"], entry(feed)["state"]) == (second.instance, "live")
        await first.show([MINUTE], {})
        await first.stop()
        assert (entry(feed)["instance"], entry(feed)["state"]) == (second.instance, "live"), "it is not the first one's"
        await redis.delete(KEYS.service(second.instance))
        for odd in ("", "[]", "{}", '{"instance": 5}', "\\xff"):
            await redis.hset(KEYS.catalog(), MINUTE, odd)
            await first.show([MINUTE], {})
            assert entry(feed)["instance"] == first.instance


async def test_the_gateway_serves_them(redis_server, feed) -> None:
    with service(redis_server), gateway(redis_server) as at:
        rows: dict = {}
        while not rows.get(MINUTE, {}).get("live"):
            rows = {row["key"]: row for row in (await get(at, "/api/streams"))[1]["streams"]}
        row = rows[MINUTE]
        assert (row["channel"], row["connector"], row["service"], row["state"]) == ("candles:1m", "", "candles", "live")
        assert [one["name"] for one in (await get(at, "/api/connectors"))[1]["connectors"]] == ["limitlex"]
        found = (await get(at, f"/api/entries?key={MINUTE}&count=1"))[1]
    assert found["entries"][0]["fields"]["type"] == "candle"
    assert "error" not in found["entries"][0]
