"""`tickbridge tail` over whatever Redis may hold: foreign entries, odd IDs, keys of other kinds, streams that go."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
from pathlib import Path

import pytest

from bridge.model import Channel
from tests.cli.test_tail import CLEAN, command, on_terminal, rows, run, tailing, wait_for_reader
from tests.consumers.streams import Stream
from tests.e2e.harness import eventually
from tests.patience import PATIENCE
from tests.servers import RedisServer

EVIL = b"\x1b]0;OWNED\x07\xc2\x9b31m\xe2\x80\xae\xff\x7f"
ENTRIES = [
    ("0-1", {b"foreign": b"1"}),
    ("1-5", {b"": b""}),
    ("2-1", {b"type": b"trade"}),
    ("3-1", {EVIL: EVIL, b"type": EVIL}),
    ("4-1", {b"key": b"mine", b"entry_id": b"x", b"type": b"control", b"event": b"gap"}),
    ("5-1", {b"raw": b"\xff" * 200_000, b"big": b"x" * 200_000}),
    ("6-1", {f"f{number}".encode(): b"v" for number in range(3000)}),
    ("18446744073709551615-18446744073709551615", {b"type": b"quote", b"bid": b"1"}),
]


def acts(output: str) -> list[str]:
    """What of the output a terminal would obey or not show, but for colours and line ends."""
    return [char for char in re.sub(r"\x1b\[[0-9;]*m|\r?\n", "", output) if not char.isprintable()]


@pytest.fixture
def odd(redis_server: RedisServer):
    """A stream under a key with terminal codes that isn't UTF-8."""
    key = b"md:" + EVIL
    with redis_server.client() as client:
        for entry_id, fields in ENTRIES:
            client.xadd(key, fields, id=entry_id)
        yield client


def test_over_either_protocol(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades, quotes = Stream(client, Channel.TRADES), Stream(client, Channel.QUOTES)
        trades.trades(3)
        quotes.control("live")
        for protocol in (2, 3):
            url = f"{redis_server.url}?protocol={protocol}"
            done = run("md:*", "--redis", url, "--from", "start", "--count", "4")
            assert sorted(row["entry_id"] for row in rows(done.stdout)) == sorted(
                [*(trades.id(seq) for seq in (1, 2, 3)), quotes.id(1)]
            )
            with tailing(trades.key, "--redis", url) as tail:
                wait_for_reader(client)
                trades.trade()
                assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(trades.seq)
            client.delete(trades.key)
            trades.seq = 0
            trades.trades(3)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_any_entry_and_key_on_a_terminal(odd, redis_server: RedisServer, form) -> None:
    count = str(len(ENTRIES))
    text = on_terminal("md:*", "--redis", redis_server.url, "--from", "start", "--count", count, *form)
    assert acts(text) == []
    assert text.count("\n") == len(ENTRIES)
    assert "OWNED" in text


def test_any_entry_is_whole_in_json(odd, redis_server: RedisServer) -> None:
    done = run("md:*", "--redis", redis_server.url, "--from", "start", "--count", str(len(ENTRIES)))
    assert acts(done.stdout) == []
    found = rows(done.stdout)
    assert [row["entry_id"] for row in found] == [entry_id for entry_id, _ in ENTRIES]
    assert found[4] == {
        "key": found[0]["key"],
        "entry_id": "4-1",
        "field:key": "mine",
        "field:entry_id": "x",
        "type": "control",
        "event": "gap",
    }
    assert found[3]["type"] == EVIL.decode("utf-8", "backslashreplace")
    assert len(found[5]["big"]) == 200_000
    assert len(found[6]) == 3002


def test_a_stream_that_becomes_something_else_does_not_stop_the_others(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        first, second = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        first.trade()
        second.trade()
        with tailing(first.key, second.key, "--redis", redis_server.url) as tail:
            wait_for_reader(client)
            with client.pipeline() as pipe:
                pipe.delete(first.key)
                pipe.set(first.key, "text")
                pipe.execute()
            assert f"{first.key}: is a string now" in tail.stderr.readline()
            second.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == second.id(2)
            client.delete(first.key)
            first.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == first.id(2)


def test_a_deleted_stream_is_shown_again_from_its_start(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trade()
        with tailing(trades.key, "--redis", redis_server.url) as tail:
            wait_for_reader(client)
            client.delete(trades.key)
            assert "was deleted" in tail.stderr.readline()
            client.xadd(trades.key, {"type": "foreign"}, id="5-1")
            assert json.loads(tail.stdout.readline())["entry_id"] == "5-1"


def test_a_stream_that_was_deleted_and_created_between_two_looks(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trade()
        with tailing(trades.key, "--redis", redis_server.url) as tail:
            wait_for_reader(client)
            with client.pipeline() as pipe:
                pipe.delete(trades.key)
                pipe.xadd(trades.key, {"type": "foreign"}, id="5-1")
                pipe.execute()
            assert json.loads(tail.stdout.readline())["entry_id"] == "5-1"
            assert "recreated" in tail.stderr.readline()


def test_a_newest_entry_that_is_deleted_repeats_nothing(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(3)
        with tailing(trades.key, "--redis", redis_server.url) as tail:
            wait_for_reader(client)
            client.xdel(trades.key, trades.id(3))
            eventually(lambda: _calls(client, "cmdstat_xinfo|stream") > 0, "a look at the stream")
            trades.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(4)


def _calls(client, command: str) -> int:
    return client.info("commandstats").get(command, {}).get("calls", 0)


def test_types_exchanges_and_pairs_narrow_it_down(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades, other = Stream(client, Channel.TRADES), Stream(client, Channel.TRADES, "ETH-EUR")
        for stream in (trades, other):
            stream.trades(300)
            stream.control("down", "lost")
            stream.trade()
            stream.control("gap", "hole", "3")
            client.hset("bridge:catalog", stream.key, "{}")
        foreign = "md:{coinbase:BTC-EUR}:trades"
        client.xadd(foreign, {"type": "control"})
        client.hset("bridge:catalog", foreign, "{}")
        client.xadd("bridge:rejects:limitlex", {"raw": "x"})
        base = ("--redis", redis_server.url, "--from", "start")
        controls = run(*base, "--type", "control", "--exchange", "limitlex", "--count", "4")
        assert sorted((row["key"], row["event"]) for row in rows(controls.stdout)) == sorted(
            (stream.key, event) for stream in (trades, other) for event in ("down", "gap")
        )
        pairs = run(*base, "--type", "control,trade", "--pair", "btc-eur", "--exchange", "limitlex", "--count", "303")
        assert {row["key"] for row in rows(pairs.stdout)} == {trades.key}
        mixed = run("*:trades", *base, "--pair", "ETH-EUR,BTC-EUR", "--exchange", "coinbase", "--count", "1")
        assert rows(mixed.stdout)[0]["key"] == foreign
        wrong = run(trades.key, *base, "--pair", "ETH-EUR", code=1)
        assert "does not belong to the selected exchange and pair" in wrong.stderr
        assert "did you mean 'control'" in run(*base, "--type", "contorl", code=1).stderr


def test_nothing_that_fits_is_said_and_waited_for(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        with tailing("--redis", redis_server.url, "--exchange", "limitlex", "--pair", "BTC-EUR") as tail:
            assert tail.stderr.readline() == "tickbridge: no such streams yet; waiting for them\n"
            trades.trade()
            client.hset("bridge:catalog", trades.key, "{}")
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(1)


def test_the_time_in_ids_is_a_place_to_begin(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        now = int(client.time()[0]) * 1000
        for seq, age in enumerate((7200, 3600, 600, 30), start=1):
            client.xadd("md:{x:A-B}:trades", {"type": "trade"}, id=f"{now - age * 1000}-{seq}")
        for where, first in (("1h30m", 2), ("11m", 3), ("1m", 4)):
            done = run("md:*", "--redis", redis_server.url, "--from", where, "--count", "1")
            assert rows(done.stdout)[0]["entry_id"].endswith(f"-{first}")


def test_a_reader_that_pauses_gets_everything_and_a_signal_still_ends_it(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(5000)
        with tailing(trades.key, "--redis", redis_server.url, "--from", "start") as tail:
            eventually(lambda: _blocked(tail.pid), "a full pipe")
            got = [json.loads(tail.stdout.readline())["entry_id"] for _ in range(1000)]
            assert got == [trades.id(seq) for seq in range(1, 1001)]
            eventually(lambda: _blocked(tail.pid), "a full pipe again")
            tail.send_signal(signal.SIGTERM)
            assert tail.wait(PATIENCE) == 0
            assert tail.stderr.read() == ""


def _blocked(pid: int) -> bool:
    """Whether the process waits in a write to a pipe."""
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text()


def test_an_output_that_does_not_wait_is_waited_for(redis_server: RedisServer) -> None:
    """Whoever shares a terminal or a pipe may have set it to refuse what doesn't fit at once."""
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trades(3000)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        arguments = command(trades.key, "--redis", redis_server.url, "--from", "start", "--count", "3000")
        with subprocess.Popen(arguments, stdout=writing, env=CLEAN) as tail:
            # Full once; only then it is read.
            eventually(lambda: not select.select([], [writing], [], 0)[1], "a full pipe")
            os.close(writing)
            with os.fdopen(reading) as lines:
                assert [row["entry_id"] for row in map(json.loads, lines)] == [trades.id(n + 1) for n in range(3000)]
            assert tail.wait(PATIENCE) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_is_full_or_closed_is_no_bug(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        trades = Stream(client, Channel.TRADES)
        trades.trade()
    line = " ".join(f"'{word}'" for word in command(trades.key, "--redis", redis_server.url, "--from", "start"))
    for redirection, words in ((">/dev/full", "cannot write: No space left"), (">&-", "output is closed")):
        done = subprocess.run(
            ["sh", "-c", f"{line} {redirection}"],
            stderr=subprocess.PIPE,
            text=True,
            env=CLEAN,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "bug" not in done.stderr


class TestRights:
    """What each user sees; the default user stays as it is."""

    @pytest.fixture
    def restricted(self, own_server: RedisServer):
        if own_server.kind == "debian":
            pytest.skip("no selectors before Redis 7")
        with own_server.client() as client:
            trades = Stream(client, Channel.TRADES)
            balances = Stream(client, Channel.BALANCES, "main")
            trades.trade()
            balances.control("live")
            client.hset("bridge:catalog", trades.key, "{}")
            client.hset("bridge:catalog:accounts", balances.key, "{}")
            client.xadd("bridge:rejects:limitlex", {"raw": "secret"})
            rules = run_acl("--role", "public")
            client.execute_command(*rules.replace("#SHA256-OF-THE-PASSWORD", ">word").split())
            yield trades, balances, own_server.url.replace("//", "//tickbridge-public:word@")

    @pytest.mark.parametrize("keys", [(), ("md:*",), ("*",), ("md:*:tr[a-z]des", "acct*"), ("--exchange", "limitlex")])
    def test_a_public_reader_finds_the_public_streams(self, restricted, keys) -> None:
        trades, _, url = restricted
        with tailing("--redis", url, "--from", "start", *keys) as tail:
            assert json.loads(tail.stdout.readline())["key"] == trades.key
            trades.trade()
            assert json.loads(tail.stdout.readline())["entry_id"] == trades.id(2)
            tail.terminate()
            rest, errors = tail.communicate(timeout=PATIENCE)
            assert (tail.returncode, rest) == (0, "")
            assert "main" not in errors

    def test_what_it_may_not_read_is_said(self, restricted) -> None:
        trades, balances, url = restricted
        with tailing("--redis", url, "--from", "start", balances.key, trades.key) as tail:
            assert "this user may not read it" in tail.stderr.readline()
            assert json.loads(tail.stdout.readline())["key"] == trades.key
        done = run("--redis", url, balances.key, code=2)
        assert "this user may read none of these streams" in done.stderr


def run_acl(*arguments: str) -> str:
    words = [*command()[:-1], "acl", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=CLEAN, timeout=PATIENCE).stdout
