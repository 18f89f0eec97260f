"""Books from scripted streams, against the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys

import aiohttp
import pytest

from bridge.book import Book
from bridge.entries import format_levels
from bridge.keys import Keys
from bridge.model import Channel
from consumers.books import BookKeeper, Books, as_text, main, pair_name
from consumers.reader import Position, Reader
from tests.consumers.streams import Stream, gather, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

HASH = Keys().snapshot("limitlex", "BTC-EUR")
CLEAN = clean_environment(TICKBRIDGE_HTTP__PORT="off")


@pytest.fixture
def stream(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Stream(client, Channel.BOOK)


async def kept(server: RedisServer, stream: Stream, start=Position.START) -> BookKeeper:
    """A book fed with all there is."""
    keeper = BookKeeper(Keys().parse(stream.key))
    last = stream.client.xinfo_stream(stream.key)["last-generated-id"]
    async with Reader(server.url, {stream.key: start}) as reader:
        while keeper.id != last:
            for item in await gather(reader, 1):
                keeper.take(item)
    return keeper


async def test_a_long_random_book_equals_the_truth(redis_server: RedisServer, stream: Stream) -> None:
    rng = random.Random(7)
    truth: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for place, side in enumerate(truth):
        for step in range(200):
            side[f"{8000 + (step if place else -step - 1) * 0.5:.2f}"] = f"{rng.uniform(0.1, 2):.4f}"
    text = [" ".join(f"{price}:{size}" for price, size in side.items()) for side in truth]
    stream.snapshot(*text)
    for _ in range(1500):
        changes: list[list[str]] = [[], []]
        for place, side in enumerate(truth):
            for _ in range(rng.randrange(4)):
                step = rng.randrange(400)
                price = f"{8000 + (step if place else -step - 1) * 0.5:.2f}"
                size = "0" if price in side and rng.random() < 0.5 else f"{rng.uniform(0.1, 2):.4f}"
                changes[place].append(f"{price}:{size}")
                if size == "0":
                    del side[price]
                else:
                    side[price] = size
        stream.delta(" ".join(changes[0]), " ".join(changes[1]))
    keeper = await kept(redis_server, stream)
    bids, asks = keeper.top()
    assert keeper.valid
    assert (dict(bids), dict(asks)) == truth
    assert [float(price) for price, _ in bids] == sorted((float(price) for price in truth[0]), reverse=True)
    assert [float(price) for price, _ in asks] == sorted(float(price) for price in truth[1])


def broken_by(stream: Stream, what: str) -> None:
    match what:
        case "hole":
            stream.delta("9:9", seq=stream.seq + 3)
        case "trimmed":
            stream.client.xtrim(stream.key, maxlen=0, approximate=False)
            stream.delta("9:9")
        case "reset":
            stream.client.delete(stream.key)
            fields = {"type": "delta", "ts": "", "recv": "1", "xseq": "", "bids": "9:9", "asks": ""}
            stream.client.xadd(stream.key, fields, id=f"{int(stream.id(stream.seq).split('-')[0]) + 1}-1")
            stream.seq = int(stream.client.xlen(stream.key)) + 100
        case "undecodable":
            stream.client.xadd(stream.key, {"type": "delta"}, id=stream.id(stream.seq + 1))
            stream.seq += 1
        case "no number":
            stream.delta("9:nine")
        case "negative":
            stream.delta("9:-1")
        case _:
            stream.control(what, "because", "3")


BREAKS = {
    "down": "down: because",
    "stale": "stale: because",
    "gap": "gap: because",
    "lost": "lost: because",
    "stop": "stop: because",
    "live": "live: because",
    "hole": "hole: 2 entries missing",
    "trimmed": "trimmed: 1 entries gone",
    "reset": "recreated",
    "undecodable": "undecodable entry",
    "no number": "unusable levels",
    "negative": "unusable levels",
}


@pytest.mark.parametrize("what", BREAKS)
async def test_what_breaks_a_book_makes_it_invalid_until_the_next_snapshot(redis_server, stream, what) -> None:
    keeper = BookKeeper(Keys().parse(stream.key))

    async def feed(reader: Reader, until_id: str) -> None:
        while keeper.id != until_id:
            for item in await gather(reader, 1):
                keeper.take(item)

    assert (keeper.valid, keeper.reason, keeper.top()) == (False, "no snapshot yet", ([], []))
    stream.delta("1:1")
    async with Reader(redis_server.url, {stream.key: Position.START}) as reader:
        await feed(reader, stream.id(1))
        assert not keeper.valid
        stream.snapshot("10:1 9:2", "11:3")
        last = stream.delta("10:0", "10.5:1")
        await feed(reader, last)
        assert (keeper.valid, keeper.reason) == (True, "")
        assert keeper.top() == ([("9", "2")], [("10.5", "1"), ("11", "3")])
        if what == "trimmed":
            stream.delta("8:1")  # one that is gone before the reader comes to it
        broken_by(stream, what)
        last = stream.delta("9:5")
        await feed(reader, last)
        assert not keeper.valid
        assert BREAKS[what] in keeper.reason or (what == "reset" and "hole" in keeper.reason)
        assert keeper.top() == ([], [])
        last = stream.snapshot("20:1", "21:1")
        await feed(reader, last)
        assert (keeper.valid, keeper.reason, keeper.top()) == (True, "", ([("20", "1")], [("21", "1")]))


async def test_the_hash_is_the_book_and_a_late_joiner_gets_the_same_one(redis_server, stream) -> None:
    stream.snapshot("10:1 9:2", "11:3 12:4", xseq="5")
    stream.delta("9.5:0.10", "11:0", xseq="6")
    keeper = await kept(redis_server, stream)
    async with Reader(redis_server.url) as reader:
        assert await keeper.keep(reader.redis, Keys())
        assert not await keeper.keep(reader.redis, Keys())
    recv = str(int(stream.id(2).split("-")[0]) * 1_000_000)
    expected = {"id": stream.id(2), "xseq": "6", "recv": recv, "bids": "10:1 9.5:0.10 9:2", "asks": "12:4"}
    assert stream.client.hgetall(HASH) == expected
    stream.delta("9.5:0", xseq="7")
    stream.client.xtrim(stream.key, maxlen=1, approximate=False)
    late = await kept(redis_server, stream, Position.SNAPSHOT)
    assert late.valid
    assert (late.top(), late.xseq) == (([("10", "1"), ("9", "2")], [("12", "4")]), "7")


async def test_an_invalid_book_leaves_the_hash_and_a_late_joiner_learns_of_it(redis_server, stream) -> None:
    stream.snapshot("10:1", "11:3")
    keeper = await kept(redis_server, stream)
    async with Reader(redis_server.url) as reader:
        await keeper.keep(reader.redis, Keys())
        before = stream.client.hgetall(HASH)
        stream.control("down", "cut")
        keeper = await kept(redis_server, stream)
        assert not await keeper.keep(reader.redis, Keys())
    assert stream.client.hgetall(HASH) == before
    late = await kept(redis_server, stream, Position.SNAPSHOT)
    assert (late.valid, late.reason) == (False, "down: cut")


@pytest.mark.parametrize(
    ("levels", "every", "writes"),
    [(2, 1, 60), (1_000, 1, 60), (5_000, 1, 12), (50_000, 1, 2), (50_000, 60, 1), (2, 20, 3)],
)
def test_the_hash_of_a_large_book_is_due_less_often(levels, every, writes):
    keeper = BookKeeper(Keys().parse("md:{limitlex:BTC-EUR}:book"))
    keeper.book.replace([(str(price), "1") for price in range(1, levels)], [("100000", "1")])
    found = 0
    for second in range(1_000, 1_060):
        if second % every == 0 and keeper.due(second, every):
            found += 1
            keeper._kept_at = second
    assert found == writes


async def test_the_hash_is_due_after_a_snapshot_however_large_the_book(redis_server, stream) -> None:
    stream.snapshot(format_levels([(str(price), "1") for price in range(5_000, 0, -1)]), "9999:1")
    keeper = await kept(redis_server, stream)
    async with Reader(redis_server.url, {stream.key: stream.id(1)}) as reader:
        assert keeper.due(0.0, 1.0)
        assert await keeper.keep(reader.redis, Keys(), 100.0)
        assert [keeper.due(now, 1.0) for now in (101.0, 104.0, 105.5)] == [False, False, True]
        for write, due in ((stream.delta, False), (stream.snapshot, True)):
            write("5000:2 4999:2", "9999:2")
            keeper.take((await gather(reader, 1))[0])
            assert keeper.due(101.0, 1.0) == due


async def test_writing_a_huge_book_gives_way_to_other_tasks_and_stays_consistent(redis_server, stream) -> None:
    levels = [(f"{price}", "1.2345") for price in range(100_000, 122_500)]
    keeper = BookKeeper(Keys().parse(stream.key))
    stream.snapshot(format_levels(levels[::-1]), format_levels([(f"9{price}", size) for price, size in levels]))
    keeper = await kept(redis_server, stream)
    async with Reader(redis_server.url) as reader:
        writing = asyncio.create_task(keeper.keep(reader.redis, Keys()), name="writing")
        turns = 0
        while not writing.done():
            await asyncio.sleep(0)
            if turns == 3:
                keeper.book.bids.set("122499", "0")
                keeper.id = stream.id(2)
            turns += 1
    assert turns > 20
    stored = stream.client.hgetall(HASH)
    assert stored["id"] == stream.id(1)
    assert stored["bids"] == format_levels(levels[::-1])
    assert len(stored["asks"].split()) == 22_500


async def test_books_follow_the_catalog_and_what_is_named(redis_server, stream) -> None:
    client = stream.client
    eth, lmex = Stream(client, Channel.BOOK, "ETH-EUR"), Stream(client, Channel.BOOK, "BTC-EUR")
    lmex.key = Keys().stream("lmex", "BTC-EUR", Channel.BOOK)
    trades = Stream(client, Channel.TRADES)
    client.hset("bridge:catalog", mapping=dict.fromkeys((stream.key, eth.key, lmex.key, trades.key, "odd"), "{}"))
    cases = [
        ([], None, {("limitlex", "BTC-EUR"), ("limitlex", "ETH-EUR"), ("lmex", "BTC-EUR")}),
        (["BTC-EUR"], None, {("limitlex", "BTC-EUR"), ("lmex", "BTC-EUR")}),
        (["BTC-EUR"], "lmex", {("lmex", "BTC-EUR")}),
        (["lmex:BTC-EUR", "limitlex:XRP-EUR"], None, {("lmex", "BTC-EUR"), ("limitlex", "XRP-EUR")}),
        ([], "limitlex", {("limitlex", "BTC-EUR"), ("limitlex", "ETH-EUR")}),
    ]
    for pairs, exchange, expected in cases:
        async with Reader(redis_server.url) as reader:
            books = Books(reader, Keys(), pairs, exchange)
            await books.start()
            for key in client.hkeys("bridge:catalog"):
                parsed = Keys().parse(key)
                if parsed:
                    await books.found(key, parsed)
            assert set(books.keepers) == expected


@contextlib.contextmanager
def service(*arguments: str):
    command = [sys.executable, "-m", "consumers.books", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN) as process:
        try:
            yield process
        finally:
            process.kill()


def test_piped_it_prints_json_lines_and_ends_in_order_with_the_newest_hash(redis_server, stream) -> None:
    stream.snapshot("10:1 9:1", "11:3 12:1")
    stream.client.hset("bridge:catalog", stream.key, "{}")
    with service("--redis", redis_server.url, "--top", "1", "--interval", "0.01", "--every", "100") as books:

        def line(**expected: object) -> None:
            while True:
                row = json.loads(books.stdout.readline())
                if all(row[name] == value for name, value in expected.items()):
                    return

        line(pair="BTC-EUR", valid=True, bids=[["10", "1"]], asks=[["11", "3"]], id=stream.id(1))
        stream.delta("10.5:2")
        line(bids=[["10.5", "2"]])
        stream.control("down", "cut")
        line(valid=False, reason="down: cut", bids=[])
        stream.snapshot("20:1", "21:1")
        line(valid=True, bids=[["20", "1"]])
        books.send_signal(signal.SIGTERM)
        _, errors = books.communicate(timeout=PATIENCE)
        assert (books.returncode, errors) == (0, "")
    assert stream.client.hget(HASH, "id") == stream.id(4)


def test_a_quiet_books_hash_is_written_too_and_a_new_pair_is_found(redis_server, stream) -> None:
    stream.snapshot("10:1", "11:3")
    with service("--redis", redis_server.url, "--every", "0.02", "--interval", "0.01") as books:
        stream.client.hset("bridge:catalog", stream.key, "{}")
        while not json.loads(books.stdout.readline())["valid"]:
            pass
        asyncio.run(until(lambda: stream.client.hget(HASH, "id") == stream.id(1)))
        stream.delta("9:1")
        asyncio.run(until(lambda: stream.client.hget(HASH, "id") == stream.id(2)))


async def test_over_http(redis_server, stream) -> None:
    stream.snapshot("10:1 9:1 8:1", "11:3")
    with service("limitlex:BTC-EUR", "--redis", redis_server.url, "--http", ":0", "--quiet") as books:
        line = await asyncio.to_thread(books.stderr.readline)
        url = line.split()[-1] + "/books"
        async with aiohttp.ClientSession() as session:

            async def get(path: str, status: int = 200):
                async with session.get(url + path) as answer:
                    assert answer.status == status
                    return await answer.json()

            listing = [{"valid": False}]
            while not listing[0]["valid"]:
                listing = await get("")
            assert [(book["pair"], book["bids"]) for book in listing] == [("BTC-EUR", [["10", "1"]])]
            assert len((await get("/limitlex/BTC-EUR"))["bids"]) == 3
            assert (await get("/limitlex/BTC-EUR?depth=2"))["bids"] == [["10", "1"], ["9", "1"]]
            assert "whole number" in (await get("/limitlex/BTC-EUR?depth=x", 400))["error"]
            assert "no such book" in (await get("/limitlex/XRP-EUR", 404))["error"]
        books.send_signal(signal.SIGINT)
        assert books.wait(PATIENCE) == 0


def test_a_reader_that_goes_away_ends_it_quietly(redis_server, stream) -> None:
    stream.snapshot("10:1", "11:3")
    with service("limitlex:BTC-EUR", "--redis", redis_server.url, "--interval", "0.01") as books:
        books.stdout.readline()
        books.stdout.close()
        while books.poll() is None:
            stream.delta(f"{stream.seq}:1")
        assert (books.returncode, books.stderr.read()) == (0, "")


async def test_the_text_is_aligned(redis_server, stream) -> None:
    stream.snapshot("7994.20:0.5 7994.10:12", "7994.50:1.134")
    keeper = await kept(redis_server, stream)
    first, second = as_text(keeper, 2).splitlines()
    assert first.index("|") == second.index("|")
    assert first.split() == ["limitlex:BTC-EUR", "0.5", "@", "7994.20", "|", "7994.50", "@", "1.134"]
    stream.snapshot("58001.50:0.00010000", "58002.50:0.01520000")
    usual = as_text(await kept(redis_server, stream), 1)
    assert usual.endswith("0.00010000 @ 58001.50 | 58002.50 @ 0.01520000")
    assert len(usual) <= 80
    keeper = BookKeeper(keeper.stream)
    assert as_text(keeper, 2).endswith("invalid: no snapshot yet")
    assert Book() == keeper.book


def test_wrong_arguments_exit_with_1_and_no_redis_with_2(capsys, monkeypatch) -> None:
    monkeypatch.delenv("TICKBRIDGE_REDIS__URL", raising=False)
    wrong = [["--nonsense"], ["BTCEUR"], ["--redis", "me:hunter2@host"], ["--top", "0"], ["--http", "http"]]
    for arguments in wrong:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        assert exited.value.code == 1
    assert "hunter2" not in capsys.readouterr().err
    port = free_port()
    assert main(["--redis", f"redis://:hunter2@127.0.0.1:{port}/0"]) == 2
    error = capsys.readouterr().err
    assert f"Redis at redis://127.0.0.1:{port}/0" in error
    assert "hunter2" not in error
    assert pair_name("limitlex:btc-eur") == "limitlex:BTC-EUR"
