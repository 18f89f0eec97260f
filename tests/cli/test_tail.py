"""``tickbridge tail`` as people and programs run it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from tests import preloaded
from tests.consumers.streams import Stream
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

CLEAN = clean_environment()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bridge", "tail", *arguments]


def run(*arguments: str, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = preloaded.run("bridge", "tail", *arguments, env={**CLEAN, **(env or {})})
    assert done.returncode == code, done.stderr
    return done


def rows(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def tailing(*arguments: str):
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_reader(client) -> None:
    """Until the tail has settled where it starts: its first read is blocked in Redis."""
    deadline = time.monotonic() + PATIENCE
    while not client.info("clients")["blocked_clients"]:
        assert time.monotonic() < deadline, "the tail never came to read"
        time.sleep(0.005)


def test_piped_lines_are_json_with_the_entrys_own_fields(any_server: RedisServer) -> None:
    with any_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(3)
        done = run(trades.key, "--redis", any_server.url, "--from", "start", "--count", "2")
    assert rows(done.stdout) == [
        {
            "key": trades.key,
            "entry_id": trades.id(seq),
            "type": "trade",
            "ts": "",
            "recv": str((int(trades.id(seq).partition("-")[0])) * 1_000_000),
            "id": f"t{seq}",
            "side": "buy",
            "price": "7994.50",
            "size": "0.10",
        }
        for seq in (1, 2)
    ]


def test_after_an_id_and_by_time(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(4)
        by_id = run(trades.key, "--redis", redis_server.url, "--from", trades.id(2), "--count", "2")
        by_time = run(trades.key, "--redis", redis_server.url, "--from", trades.id(4).split("-")[0], "--count", "1")
    assert [row["entry_id"] for row in rows(by_id.stdout)] == [trades.id(3), trades.id(4)]
    assert [row["entry_id"] for row in rows(by_time.stdout)] == [trades.id(4)]


def test_by_default_all_of_the_catalog_and_the_rejects_from_now_new_streams_too(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        keys = Keys("prod")
        trades, orders = Stream(client, Channel.TRADES, keys=keys), Stream(client, Channel.ORDERS, "main", keys=keys)
        other = Stream(client, Channel.TRADES)
        trades.trades(2)
        client.hset(keys.catalog(), mapping={trades.key: "{}"})
        client.hset(Keys().catalog(), mapping={other.key: "{}"})
        with tailing("--redis", redis_server.url, "--namespace", "prod") as tail:
            wait_for_reader(client)
            other.trade()
            trades.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(3)
            client.xadd(keys.rejects("limitlex"), {"raw": '{"broken', "error": "no JSON", "entry_id": "x"})
            row = json.loads(tail.stdout.readline())
            assert row["key"] == "prod:bridge:rejects:limitlex"
            assert (row["raw"], row["error"]) == ('{"broken', "no JSON")
            orders.control("live")
            client.hset(keys.accounts_catalog(), mapping={orders.key: "{}"})
            row = json.loads(tail.stdout.readline())
            assert (row["key"], row["event"]) == (orders.key, "live")


def test_patterns_find_streams_that_come_later(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        first, second = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        first.trade()
        client.set("not:a:stream:trades", "1")
        with tailing("*trades", "--redis", redis_server.url) as tail:
            wait_for_reader(client)
            Stream(client, Channel.QUOTES).add("quote", bid="1", bid_size="", ask="2", ask_size="")
            second.trade()
            assert json.loads(tail.stdout.readline())["key"] == second.key


def test_a_key_that_does_not_exist_yet_is_waited_for(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        with tailing(trades.key, "--redis", redis_server.url) as tail:
            assert "waiting for it" in tail.stderr.readline()
            trades.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(redis_server: RedisServer, number: int) -> None:
    with redis_server.client() as client, tailing("md:x", "--redis", redis_server.url) as tail:
        wait_for_reader(client)
        tail.send_signal(number)
        _, errors = tail.communicate(timeout=PATIENCE)
        assert tail.returncode == 0
        assert "Traceback" not in errors


def test_a_reader_that_goes_away_ends_it_quietly(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(2000)
        with tailing(trades.key, "--redis", redis_server.url, "--from", "start") as tail:
            tail.stdout.readline()
            tail.stdout.close()
            assert tail.wait(PATIENCE) == 0
            assert tail.stderr.read() == ""


def test_it_outlives_a_restart_of_redis(own_server: RedisServer) -> None:
    with own_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        with tailing(trades.key, "--redis", own_server.url) as tail:
            assert "waiting for it" in tail.stderr.readline()
            wait_for_reader(client)
            own_server.kill()
            assert "is unreachable" in tail.stderr.readline()
            own_server.start()
            trades.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(1)
            assert "is back" in tail.stderr.readline()


def test_redis_and_namespace_come_from_the_config(redis_server: RedisServer, tmp_path) -> None:
    config = tmp_path / "tickbridge.yaml"
    config.write_text(f"redis: {{url: '{redis_server.url}'}}\nnamespace: prod\n")
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES, keys=Keys("prod"))
        trades.trade()
        done = run("md:{limitlex:BTC-EUR}:trades", "--config", str(config), "--from", "start", "--count", "1")
        assert rows(done.stdout)[0]["key"] == trades.key
        done = run("*", "--from", "start", "--count", "1", env={"TICKBRIDGE_REDIS__URL": redis_server.url})
        assert rows(done.stdout)[0]["key"] == trades.key


def test_on_a_terminal_lines_are_aligned_coloured_and_harmless(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(2)
        trades.control("gap", "sequence", "3")
        ticker = {"type": "ticker", "window": "86400", "open": "1", "high": "3", "low": "1", "last": "2", "id": "x"}
        client.xadd("md:{limitlex:BTC-EUR}:ticker", ticker, id="8-1")
        client.xadd("bridge:rejects:limitlex", {"raw": "\x1b[31mred[bold]", "error": "bad"}, id="9-1")
        arguments = ("md*", "bridge:rejects:limitlex", "--redis", redis_server.url, "--from", "start", "--count", "5")
        text = on_terminal(*arguments)
    assert "\x1b[" in text
    assert "\x1b[31mred" not in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = plain.split("\r\n")
    assert "\\x1b[31mred[bold]" in plain
    shown = [line for line in lines if "limitlex:BTC-EUR trades" in line]
    assert len(shown) == 3
    assert len({line.index("limitlex:BTC-EUR") for line in shown}) == 1
    assert len({re.search(r"trade +side|control +gap", line).start() for line in shown}) == 1
    assert "control   gap sequence count 3" in shown[2]
    # A narrow terminal shows the beginning of a line: what matters most comes first there.
    assert "ticker    last 2 open 1 high 3 low 1 window 86400 id x" in plain


def on_terminal(*arguments: str, columns: int = 150) -> str:
    leader, follower = pty.openpty()
    env = {**CLEAN, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    with subprocess.Popen(command(*arguments), stdout=follower, stderr=follower, stdin=follower, env=env) as process:
        os.close(follower)
        chunks = []
        try:
            while select.select([leader], [], [], PATIENCE)[0]:
                try:
                    chunks.append(os.read(leader, 65536))
                except OSError:
                    break
            assert process.wait(PATIENCE) == 0, b"".join(chunks)
        finally:
            process.kill()
    os.close(leader)
    return b"".join(chunks).decode()


def test_a_long_name_leaves_room_on_a_narrow_terminal(redis_server: RedisServer) -> None:
    account = "main/1c042ea0-c4d5-5a49-982e-0f1974e1df5b"
    with redis_server.client() as client:
        client.xadd(f"acct:{{limitlex:{account}}}:orders", {"type": "order", "side": "buy", "price": "7994"}, id="1-1")
        client.xadd("md:{limitlex:BTC-EUR}:trades", {"type": "trade", "side": "buy", "price": "7994"}, id="2-1")
    arguments = ("*limitlex*", "--redis", redis_server.url, "--from", "start", "--count", "2")
    for columns, shown in ((100, "limitlex:main/1c042ea0-c4d…"), (200, f"limitlex:{account}")):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(*arguments, columns=columns))
        assert f" {shown} orders " in plain
        assert plain.count("side buy price 7994") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "yesterday"], "is not a position to start from"),
        (["--count", "0"], "not a whole number above zero"),
        (["--redis", "me:hunter2@host:6379"], "should start with redis://"),
        (["--config", "/nowhere/at.all"], "/nowhere/at.all"),
    ],
)
def test_wrong_arguments_are_said_and_exit_with_1(arguments: list[str], words: str) -> None:
    done = run(*arguments, code=1)
    assert words in done.stderr
    assert "hunter2" not in done.stderr


def test_a_key_of_another_kind_is_the_users_mistake(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.hset("bridge:catalog", "a", "b")
        assert "is a hash, not a stream" in run("bridge:catalog", "--redis", redis_server.url, code=1).stderr


def test_a_mistaken_name_gets_a_hint(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trade()
        client.hset("bridge:catalog", trades.key, "{}")
    for arguments, words in (
        (["BTC-EUR"], "BTC-EUR: no such stream yet; waiting for it (for the streams of a pair: --pair BTC-EUR)"),
        (["--exchange", "limitlx"], "waiting for them (--exchange limitlx: did you mean 'limitlex'?)"),
        (["--pair", "BTCEUR"], "waiting for them (--pair BTCEUR: did you mean 'BTC-EUR'?)"),
        (["--exchange", "limitlex", "--pair", "XYZ-UVW"], "waiting for them (--pair XYZ-UVW: known: BTC-EUR)"),
    ):
        with tailing("--redis", redis_server.url, *arguments) as tail:
            assert tail.stderr.readline().endswith(f"{words}\n")


def test_redis_out_of_reach_exits_with_2_and_shows_no_password() -> None:
    port = free_port()
    done = run("--redis", f"redis://me:hunter2@127.0.0.1:{port}/0", code=2)
    assert f"Redis at redis://127.0.0.1:{port}/0" in done.stderr
    assert "hunter2" not in done.stderr
