"""The service that writes candles: nothing twice, no hole, over kills, rivals and mistakes in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from consumers.bars import Interval
from consumers.candle_writer import CandleWriter
from consumers.candles import Candles, main
from consumers.items import to_item
from consumers.reader import Reader
from tests.consumers.candle_items import bars, exact, expected, run
from tests.consumers.streams import BASE, NS, Stream, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

CLEAN = clean_environment(TICKBRIDGE_HTTP__PORT="off")
KEYS = Keys()
MINUTE = KEYS.candles("limitlex", "BTC-EUR", "1m")
SECOND = KEYS.candles("limitlex", "BTC-EUR", "1s")


class Trades(Stream):
    """A stream of trades in the catalog; times are in milliseconds after `BASE`."""

    def __init__(self, client, subject: str = "BTC-EUR") -> None:
        super().__init__(client, Channel.TRADES, subject)
        client.hset("bridge:catalog", self.key, '{"connector":"limitlex"}')

    def at(self, ms: int, price: str = "10.5", size: str = "0.1", late: int = 0) -> str:
        self.seq += 1
        recv = str((BASE + ms) * NS)
        fields = {
            "type": "trade",
            "ts": str((BASE + ms - late) * NS),
            "recv": recv,
            "id": "",
            "side": "buy",
            "price": price,
            "size": size,
        }
        return str(self.client.xadd(self.key, fields, id=f"{BASE + ms}-{self.seq}"))

    def items(self) -> list:
        stream = KEYS.parse(self.key)
        return [
            to_item(self.key, stream, entry_id, [part for pair in fields.items() for part in pair])
            for entry_id, fields in self.client.xrange(self.key)
        ]


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Trades(client)


@contextlib.asynccontextmanager
async def making(
    server: RedisServer, *names: str, intervals=("1m",), keep: int = 100_000, grace: float = 0, notices=None
):
    """The service's inside, with the catalog looked at once; ``yield``s the writer too."""
    async with Reader(server.url, block=0.05) as reader:
        writer = CandleWriter(reader.redis, keep=keep)
        lengths = [Interval.parse(one) for one in intervals]
        candles = Candles(reader, KEYS, lengths, list(names), grace=grace, keep=keep, writer=writer)
        with server.client() as client:
            for key in client.hkeys("bridge:catalog"):
                try:
                    await candles.found(key, KEYS.parse(key))
                except ValueError as error:
                    if notices is None:
                        raise
                    notices.report_problem(key, str(error))
        tasks = [asyncio.create_task(candles.follow()), asyncio.create_task(candles.keep_time(0.05))]
        try:
            yield candles, writer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()


def same_as_uninterrupted(trades: Trades, key: str, interval: str, grace: float) -> bool:
    """Whether the stream has exactly the candles that a run without any interruption makes."""
    whole = run(trades.items(), bars(interval, grace=grace))
    there = trades.client.xrange(key)
    assert [entry_id for entry_id, _ in there] == [candle.id for candle in whole[: len(there)]]
    for (_, fields), candle in zip(there, whole, strict=False):
        assert {**fields, "after": ""} == {**candle.fields, "after": ""}
    return len(there) == len(whole)


async def test_the_streams_hold_exact_candles_of_each_interval(redis_server, trades) -> None:
    rng = random.Random(5)
    at = 0
    for _ in range(2_000):
        at += rng.randrange(120)
        trades.at(at, f"{rng.randrange(10**9)}.{rng.randrange(10**9):09}", f"0.{rng.randrange(10**18):018}")
    async with making(redis_server, intervals=("1s", "1m"), grace=2) as (candles, _):
        await until(
            lambda: same_as_uninterrupted(trades, SECOND, "1s", 2) and same_as_uninterrupted(trades, MINUTE, "1m", 2)
        )
        assert candles.degraded() == []
    should = expected(trades.items(), "1s")
    for candle in run(trades.items(), bars("1s", grace=2)):
        number = int(candle.id.partition("-")[2])
        assert number not in should or exact(candle) == should[number]
    types = {fields["type"] for _, fields in trades.client.xrange(MINUTE)}
    assert types == {"candle"}


def service(server: RedisServer, *arguments: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "consumers.candles", "--redis", server.url, "--interval", "1s", "--json", *arguments]
    return subprocess.Popen(words, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_writes_nothing_twice_and_leaves_no_hole(redis_server, trades) -> None:
    rng = random.Random(8)
    at = 0
    for _ in range(8):
        for _ in range(rng.randrange(300, 900)):
            at += rng.randrange(150)
            trades.at(at, str(rng.randrange(1, 10**6)), f"0.{rng.randrange(1, 10**8):08}")
        had = trades.client.xlen(SECOND)
        with service(redis_server, "--grace", "1") as process:
            process.stdout.readline()  # it is writing
            for _ in range(rng.randrange(30)):
                at += rng.randrange(150)
                trades.at(at)
            process.send_signal(signal.SIGKILL)
        assert trades.client.xlen(SECOND) > had
    trades.at(at + 5_000)  # of its own, so that it is running when it is told to end
    with service(redis_server, "--grace", "1") as process:
        deadline = time.monotonic() + PATIENCE
        while not same_as_uninterrupted(trades, SECOND, "1s", 1):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")


async def test_two_of_them_write_each_candle_once(redis_server, trades) -> None:
    async with making(redis_server, intervals=("1s",)) as (_, one), making(redis_server, intervals=("1s",)) as (_, two):
        for at in range(0, 300_000, 700):
            trades.at(at)
            await asyncio.sleep(0)
        await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))
        await until(lambda: not one._waiting and not two._waiting)
        assert one.writes + two.writes == trades.client.xlen(SECOND)
        assert (one.refused, two.refused) == ({}, {})


async def test_an_outage_of_redis_loses_no_candle(own_server) -> None:
    with own_server.client() as client:
        trades = Trades(client)
        async with making(own_server, intervals=("1s",)):
            for at in range(0, 60_000, 700):
                trades.at(at)
            await until(lambda: client.xlen(SECOND) > 5)
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            client.ping()
            for at in range(60_000, 120_000, 700):
                trades.at(at)
            await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))


async def test_a_quiet_bar_is_closed_while_the_connector_lives(redis_server, trades) -> None:
    """A heartbeat that goes on proves that no trade is on its way; a connector that is dead proves nothing."""
    client = trades.client
    seconds, micros = client.time()
    now = seconds * 1000 + micros // 1000 - BASE
    trades.at(now - 200_000)
    async with making(redis_server, intervals=("1m",)) as (candles, _):
        for _ in range(20):
            await candles.close_due()
        assert client.exists(MINUTE) == 0
        beat = 0

        def closed(count: int, waiting: int = 0) -> bool:
            nonlocal beat
            beat += 1
            fields = {"instance": "a", "beat": str(beat), "waiting": str(waiting)}
            client.hset("bridge:connector:limitlex", mapping=fields)
            return client.xlen(MINUTE) >= count

        for _ in range(20):
            closed(1, waiting=5_000)
            await candles.close_due()
        assert client.exists(MINUTE) == 0, "it has not written all that it received"
        await until(lambda: closed(3))
        assert [fields["count"] for _, fields in client.xrange(MINUTE)][:3] == ["1", "0", "0"]
        client.delete("bridge:connector:limitlex")
    # Another start, which has nothing to read, knows the exchange's time from the trade before.
    client.xtrim(MINUTE, maxlen=1, approximate=False)
    [(_, last)] = client.xrange(MINUTE)
    assert last["after"] == last["upto"] == trades.client.xrevrange(trades.key, count=1)[0][0]


async def test_a_restart_goes_on_with_quiet_bars(redis_server, trades) -> None:
    client = trades.client
    seconds, micros = client.time()
    now = seconds * 1000 + micros // 1000 - BASE
    trades.at(now - 200_000)
    trades.at(now - 130_000)
    async with making(redis_server):
        await until(lambda: client.xlen(MINUTE) >= 1)
    had = client.xlen(MINUTE)
    beat = 0

    def more() -> bool:
        nonlocal beat
        beat += 1
        client.hset("bridge:connector:limitlex", mapping={"instance": "a", "beat": str(beat), "waiting": "0"})
        return client.xlen(MINUTE) > had

    async with making(redis_server):
        await until(more)
    numbers = [int(entry_id.partition("-")[2]) for entry_id, _ in client.xrange(MINUTE)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_old_candles_are_trimmed(redis_server, trades) -> None:
    for at in range(0, 3_000_000, 1_000):
        trades.at(at)
    async with making(redis_server, intervals=("1s",), keep=100):
        last = f"{(BASE + 2_999_000) // 1000 * 1000}"
        await until(lambda: any(last in entry_id for entry_id, _ in trades.client.xrevrange(SECOND, count=1)))
    assert 100 <= trades.client.xlen(SECOND) < 300


async def test_a_key_of_another_kind_affects_only_itself(redis_server, trades) -> None:
    trades.client.set(SECOND, "something else")
    with pytest.raises(ValueError, match="candles:1s: WRONGTYPE"):
        async with making(redis_server, intervals=("1s",)):
            pass
    trades.client.delete(SECOND)
    other = Trades(trades.client, "ETH-EUR")
    for at in range(0, 10_000, 900):
        trades.at(at)
        other.at(at)
    others = KEYS.candles("limitlex", "ETH-EUR", "1s")
    async with making(redis_server, intervals=("1s",)) as (candles, writer):
        await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))
        trades.client.delete(SECOND)
        trades.client.set(SECOND, "something else")
        for at in range(10_000, 20_000, 900):
            trades.at(at)
            other.at(at)
        await until(lambda: same_as_uninterrupted(other, others, "1s", 0) and writer.refused)
        assert [line.partition(" ")[0] for line in candles.degraded()] == [f"{SECOND}:"]
        trades.client.delete(SECOND)
        await until(lambda: not writer.refused)
        assert candles.degraded() == []


async def test_somebody_elses_entry_is_reported(redis_server, trades) -> None:
    for at in range(0, 10_000, 900):
        trades.at(at)
    async with making(redis_server, intervals=("1s",)) as (candles, writer):
        await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))
        trades.client.xadd(SECOND, {"type": "odd"}, id="9999999999999-1")
        trades.at(20_000)
        await until(lambda: writer.refused)
        assert "somebody else wrote to this stream" in candles.degraded()[0]
    with pytest.raises(ValueError, match="somebody else wrote to it"):
        async with making(redis_server, intervals=("1s",)):
            pass


async def test_late_trades_are_reported(redis_server, trades) -> None:
    trades.at(0)
    trades.at(5_000)
    trades.at(5_100, late=5_000)
    async with making(redis_server, intervals=("1s",)) as (candles, _):
        await until(candles.degraded)
        assert candles.degraded() == [f"{SECOND}: 1 trades came after their candle was written"]


def test_only_what_is_wanted_is_made(redis_server, trades) -> None:
    other = Trades(trades.client, "ETH-EUR")
    for at in range(0, 200_000, 900):
        trades.at(at)
        other.at(at)
    words = [sys.executable, "-m", "bridge", "candles", "eth-eur", "--redis", redis_server.url]
    with subprocess.Popen(words, env=CLEAN, stdout=subprocess.PIPE, text=True) as process:
        row = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert (row["key"], row["type"], row["state"]) == (
        KEYS.candles("limitlex", "ETH-EUR", "1m"),
        "candle",
        "incomplete",
    )
    assert trades.client.exists(MINUTE) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--interval", "1w"], "'1w' is not an interval"),
        (["--grace", "nan"], "--grace must be"),
        (["--keep", "0"], "--keep must be"),
        (["BTC EUR"], "is not a pair"),
    ],
)
def test_mistakes_are_explained(capsys, arguments, words) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--redis", f"redis://127.0.0.1:{free_port()}/0", *arguments])
    assert ended.value.code == 1
    assert words in capsys.readouterr().err


async def test_trims_are_seen_by_an_interval_that_was_there_before(redis_server, trades) -> None:
    """The new one has the stream read from its start, where nobody expects an entry before."""
    for at in range(0, 10_000, 900):
        trades.at(at)
    async with making(redis_server, intervals=("1s",)):
        await until(lambda: same_as_uninterrupted(trades, SECOND, "1s", 0))
    for at in range(10_000, 30_000, 900):
        trades.at(at)
    trades.client.xtrim(trades.key, maxlen=10, approximate=False)
    async with making(redis_server, intervals=("1s", "5s")):
        last = str((BASE + 29_000) // 1_000 * 1_000)
        await until(lambda: trades.client.xrevrange(SECOND, count=1)[0][0].startswith(last))
    reasons = {fields["reason"] for _, fields in trades.client.xrange(SECOND)}
    assert reasons == {"start", "trimmed", ""}
    numbers = [int(entry_id.partition("-")[2]) for entry_id, _ in trades.client.xrange(SECOND)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
