"""``tickbridge streams`` and ``tickbridge status`` as people, scripts and health checks run them."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from bridge.overview.look import Overview
from consumers.connection import make_client
from tests import preloaded
from tests.cli.feeds import Feed
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port
from tests.terminals import Terminal


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = preloaded.run("bridge", *arguments, env=clean_environment())
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def table(text: str) -> list[dict[str, str]]:
    head, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_a_pipe_gets_columns_with_tabs(any_server: RedisServer) -> None:
    with any_server.client() as client:
        client.config_resetstat()
        feed = Feed(client)
        feed.beat()
        key = feed.list("BTC-EUR", Channel.TRADES)
        now = time.time_ns() // 1_000_000
        feed.trade(key, 1, now - 60_000)
        last = [feed.trade(key, seq, now + seq) for seq in range(2, 32)][-1]
        feed.list("ETH-EUR", Channel.BOOK)
        done = run("streams", "--redis", any_server.url)
        stats = client.info("commandstats")
    first, second = table(done.stdout)
    assert float(first.pop("age")) < PATIENCE
    assert float(first.pop("rate")) <= 3.0
    assert first == {
        "exchange": "limitlex", "pair": "BTC-EUR", "channel": "trades", "state": "live", "seq": "31",
        "connector": "limitlex", "last_id": last, "key": key,
    }  # fmt: skip
    assert (second["pair"], second["seq"], second["age"], second["rate"], second["last_id"]) == ("ETH-EUR", *[""] * 4)
    assert done.stderr == ""
    # XINFO would return the first and the last entry of a book whole.
    assert not [name for name in stats if "xinfo" in name]


def test_json_has_what_the_catalog_says_and_all_numbers_are_text(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        feed.snapshot(feed.list("BTC-EUR", Channel.BOOK, gaps="verified"), 7)
        feed.list("main/sub", Channel.FILLS, "down")
        book, fills = json.loads(run("streams", "--json", "--redis", redis_server.url).stdout)
    assert (book["pair"], book["gaps"], book["state"], book["live"], book["seq"]) == (
        "BTC-EUR",
        "verified",
        "live",
        True,
        "7",
    )
    assert book["last_id"].endswith("-7")
    assert (fills["account"], fills["state"], fills["live"], fills["seq"]) == ("main/sub", "down", False, "")
    assert all(isinstance(value, str | bool) for row in (book, fills) for value in row.values())


def test_filters_and_hints(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        feed, other = Feed(client), Feed(client, "second", "lmex")
        feed.beat()
        other.beat()
        for subject, channel in (("BTC-EUR", Channel.TRADES), ("BTC-EUR", Channel.BOOK), ("ETH-EUR", Channel.TRADES)):
            feed.list(subject, channel)
        other.list("BTC-USD", Channel.TRADES, "stale")
        other.list("main", Channel.ORDERS)

        def shown(*arguments: str, code: int = 0) -> list[str]:
            done = run("streams", "--redis", redis_server.url, *arguments, code=code)
            return [f"{row['pair']} {row['channel']}" for row in table(done.stdout)]

        assert shown("--exchange", "LMEX") == ["BTC-USD trades", "main orders"]
        assert shown("--pair", "btc-eur,ETH-EUR", "--channel", "trades") == ["BTC-EUR trades", "ETH-EUR trades"]
        assert shown("eur") == ["BTC-EUR book", "BTC-EUR trades", "ETH-EUR trades"]
        assert shown("*:orders", "*ETH*") == ["ETH-EUR trades", "main orders"]
        assert shown("--not-live") == ["BTC-USD trades"]
        assert shown("--exchange", "limitlex", "--not-live") == []
        assert shown("--pair", "BTCEUR", code=1) == []
        said = run("streams", "--redis", redis_server.url, "--pair", "BTCEUR", "--exchange", "lmx", code=1).stderr
    assert said == (
        "tickbridge: none of the 5 streams matches (--exchange lmx: did you mean 'lmex'?; --pair BTCEUR: did you mean 'BTC-EUR'?)\n"
    )


def test_states_follow_from_catalog_and_heartbeat(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        live, gone, ended, again = (Feed(client, name, name) for name in ("a", "b", "c", "d"))
        for feed, state in ((live, "live"), (gone, "live"), (ended, "stop"), (again, "live")):
            feed.list("BTC-EUR", Channel.TRADES, state)
        live.list("ETH-EUR", Channel.TRADES, "down")
        live.beat()
        again.beat(instance="d-2")
        client.hset(Keys().catalog(), "md:{e:BTC-EUR}:trades", "not JSON")
        client.hset(Keys().catalog(), "something else", "{}")
        done = run("streams", "--redis", redis_server.url)
        found = [f"{row['exchange']} {row['state']}" for row in table(done.stdout)]
        assert found == ["a live", "a down", "b dead", "c stop", "d abandoned", "e unknown"]
        assert "bridge:catalog has 1 fields that are not keys of streams" in done.stderr
        again.beat(instance="d-2", state="starting")
        assert "starting" in run("streams", "--redis", redis_server.url, "--exchange", "d").stdout


def test_a_key_that_is_no_stream_hinders_no_other(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        client.set(feed.list("BTC-EUR", Channel.TRADES), "text")
        feed.trade(feed.list("ETH-EUR", Channel.TRADES), 5)
        client.set("bridge:connector:other", "text")
        Feed(client, "other", "lmex").list("BTC-USD", Channel.TRADES)
        done = run("streams", "--redis", redis_server.url, "--json")
        bad, good, other = json.loads(done.stdout)
        assert (bad["trouble"], bad["seq"]) == ("its key is not a stream", "")
        assert (good["seq"], other["state"]) == ("5", "dead")
        assert "tickbridge: bridge:connector:other: WRONGTYPE" in done.stderr
        client.delete("bridge:catalog")
        client.set("bridge:catalog", "text")
        said = run("streams", "--redis", redis_server.url, code=2).stderr
        assert "the key bridge:catalog has the wrong type; rename or delete it" in said


def test_a_user_without_the_right_to_accounts_sees_the_public_streams(own_server: RedisServer) -> None:
    with own_server.client() as client:
        feed = Feed(client)
        feed.beat()
        feed.trade(feed.list("BTC-EUR", Channel.TRADES), 5)
        feed.list("main", Channel.ORDERS)
        client.execute_command(
            "ACL", "SETUSER", "reader", "on", ">word", "~md:*", "~bridge:catalog", "~bridge:connector:*", "+@all"
        )
        url = own_server.url.replace("://", "://reader:word@")
        done = run("streams", "--redis", url)
        assert [row["seq"] for row in table(done.stdout)] == ["5"]
        assert "this user may not read bridge:catalog:accounts" in done.stderr
        assert run("status", "--quiet", "--redis", url).stdout == ""
        client.execute_command("ACL", "SETUSER", "reader", "resetkeys", "~md:*", "~bridge:catalog")
        done = run("streams", "--redis", url)
        assert [row["state"] for row in table(done.stdout)] == ["live"]
        assert "this user may not read 1 heartbeats: states are as the catalog has them" in done.stderr
        [row] = table(run("status", "--redis", url, code=1).stdout)
        assert (row["state"], row["not_live"]) == ("unknown", "0")


@pytest.mark.parametrize("command", ["streams", "status"])
def test_redis_out_of_reach_exits_with_2_and_shows_no_password(command: str) -> None:
    url = f"redis://me:hunter2@127.0.0.1:{free_port()}/0"
    done = run(command, "--redis", url, code=2)
    assert "the connection was refused; is the server running, and is the port right?" in done.stderr
    assert "hunter2" not in done.stderr
    assert "should start with redis://" in run(command, "--redis", "me:hunter2@host", code=1).stderr


def test_nothing_there_exits_with_1(redis_server: RedisServer) -> None:
    for command in ("streams", "status"):
        said = run(command, "--redis", redis_server.url, "--namespace", "prod", code=1).stderr
        assert said == "tickbridge: no streams: no connector has written to namespace 'prod'\n"


def test_status_says_whether_all_is_live(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        feed, other = Feed(client), Feed(client, "second", "lmex")
        feed.beat(lost=4)
        other.beat()
        feed.pair()
        key = other.list("BTC-USD", Channel.TRADES)
        done = run("status", "--redis", redis_server.url)
        first, second = table(done.stdout)
        assert (first["connector"], first["state"], first["connections"], first["lost"]) == (
            "limitlex",
            "live",
            "2/2",
            "4",
        )
        assert (first["streams"], first["not_live"], second["streams"]) == ("3", "0", "1")
        shown = {}
        for state in ("standby", "down"):
            client.hset("bridge:connector:second:standby", mapping={"state": state, "host": "b"})
            shown[state] = [row["standby"] for row in table(run("status", "--redis", redis_server.url).stdout)]
        assert shown == {"standby": ["", "ready"], "down": ["", "down"]}
        assert 7_200 <= int(first["uptime"]) < 7_200 + PATIENCE
        other.die()
        whole = json.loads(run("status", "--json", "--redis", redis_server.url, code=1).stdout)
        assert (whole["live"], whole["streams"]) == (False, {"total": "4", "live": "3", "dead": "1"})
        assert [(row["key"], row["state"]) for row in whole["not_live"]] == [(key, "dead")]
        assert [(row["name"], row["alive"]) for row in whole["connectors"]] == [("limitlex", True), ("second", False)]
        assert [row["standby"] for row in whole["connectors"]] == [{}, {"state": "down", "host": "b"}]
        assert run("status", "--redis", redis_server.url, "--exchange", "limitlex", "--quiet").stdout == ""
        shown = table(run("status", "--redis", redis_server.url, "--not-live", code=1).stdout)
        assert [row["connector"] for row in shown] == ["second"]


def test_on_a_terminal_tables_are_aligned_and_cut(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client, "a-connector-with-a-long-name")
        feed.beat()
        feed.pair("BTC-EUR")
        feed.list("ETH\x1b[31m-EUR", Channel.TRADES, "down")
        for command, words in (("streams", "EXCHANGE"), ("status", "4 streams: 3 live, 1 down")):
            arguments = [sys.executable, "-m", "bridge", command, "--redis", redis_server.url]
            with Terminal(arguments, cwd=tmp_path, columns=80, rows=24) as terminal:
                assert terminal.end() == int(command == "status")
                assert words in terminal.shown
                assert "\\x1b[31m" in terminal.shown
                assert b"\x1b[31m-EUR" not in terminal.seen
                lines = [line for line in terminal.lines if line.startswith("limitlex ")]
                assert len({line.index("BTC-EUR") for line in lines if "BTC-EUR" in line}) == int(command == "streams")


async def test_a_rate_is_of_the_last_ten_seconds(redis_server: RedisServer) -> None:
    now = 1_786_309_548_000
    with redis_server.client() as client:
        feed = Feed(client)
        busy, slow, silent, first = (feed.list(f"{name}-EUR", Channel.TRADES) for name in ("A", "B", "C", "D"))
        for seq in range(1, 41):
            feed.trade(busy, seq, now - 20_000 + 500 * seq)
        for seq in range(1, 4):
            feed.trade(slow, seq, now - 12_000 + 4_000 * (seq - 1))
        feed.trade(silent, 9, now - 10_001)
        feed.trade(first, 1, now)
    redis = make_client(redis_server.url)
    overview = Overview(redis, Keys(), lambda: now * 1_000_000)
    try:
        await overview.look()
        await overview.look_at(overview.streams)
    finally:
        await redis.aclose()
    # A: those from exactly ten seconds ago on; B: after its first, which is older.
    assert [overview.tails[key].rate for key in (busy, slow, silent, first)] == [2.1, 0.2, 0.0, 0.1]
    assert [overview.age(key) for key in (busy, slow, silent)] == [0.0, 4.0, 10.001]
