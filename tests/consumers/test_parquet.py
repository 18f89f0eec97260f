"""The service that keeps Parquet files: each entry once, over kills, a full disk and mistakes in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.keys import Keys
from bridge.model import Channel
from consumers.connection import make_client
from consumers.files import FilesError
from consumers.notices import Notices
from consumers.parquet import main
from consumers.parquet_store import HOUR, ParquetStore, StoppedError
from consumers.parquet_streams import ParquetStreams, locked
from tests.consumers.streams import NS, Stream, until
from tests.consumers.tables import entries, raw
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

CLEAN = clean_environment(TICKBRIDGE_HTTP__PORT="off")
START = 1_704_067_200_000
"""Milliseconds: the start of an hour, long ago."""


class Trades(Stream):
    """A stream of trades in the catalog; times are in milliseconds after `START`."""

    def __init__(self, client, subject: str = "BTC-EUR", channel: Channel = Channel.TRADES) -> None:
        super().__init__(client, channel, subject)
        client.hset("bridge:catalog", self.key, '{"connector":"limitlex"}')

    def at(self, ms: int, **fields: str) -> None:
        self.seq += 1
        fields = fields or {"type": "trade", "id": "", "side": "buy", "price": str(self.seq), "size": "1"}
        times = {"ts": "", "recv": str((START + ms) * NS)}
        self.client.xadd(self.key, {**times, **fields}, id=f"{START + ms}-{self.seq}")

    def _folder(self, folder: Path) -> Path:
        stream = Keys().parse(self.key)
        return folder / "md" / "limitlex" / stream.subject / stream.channel

    def hours(self, folder: Path) -> dict[str, list]:
        return {path.name: _rows(path) for path in sorted(self._folder(folder).glob("*.parquet"))}

    def written(self, folder: Path) -> list:
        """All rows of hours and parts, as entries, in the order of their IDs."""
        parts = self._folder(folder).glob(".parts/*.parquet")
        rows = [row for of in self.hours(folder).values() for row in of]
        rows += [row for path in parts for row in _rows(path)]
        return entries(sorted(rows, key=lambda row: (row["ms"], row["seq"])))


def _rows(path: Path) -> list[dict]:
    """The rows of a file; none if it has been renamed or removed meanwhile."""
    try:
        return pq.read_table(path).to_pylist()
    except FileNotFoundError:
        return []


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Trades(client)


@contextlib.asynccontextmanager
async def keeping(server: RedisServer, folder: Path, *wanted: str, every: float = 0.05):
    async with make_client(server.url) as redis:
        streams = ParquetStreams(redis, server.url, Keys(), folder, wanted=list(wanted), notices=Notices("parquet"))
        with server.client() as client:
            for key in client.hkeys("bridge:catalog"):
                await streams.found(key, Keys().parse(key))
        task = asyncio.create_task(streams.keep(every))
        try:
            yield streams
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_hours_have_every_entry_and_what_is_missing_in_them(redis_server, trades, tmp_path) -> None:
    trades.at(0, type="control", event="live", reason="", count="")
    for ms in range(1_000, 3 * HOUR + 1_000, 60_000):
        trades.at(ms)
    trades.at(3 * HOUR + 2_000, type="control", event="gap", reason="two are missing", count="2")
    trades.seq += 7
    trades.at(3 * HOUR + 3_000)
    async with keeping(redis_server, tmp_path) as streams:
        await until(lambda: len(trades.hours(tmp_path)) == 4)
        [row] = streams.rows()
        assert (row.exchange, row.channel, row.read) == ("limitlex", "trades", trades.seq - 7)
        assert (row.missing["hole"], row.missing["gap"]) == (1, 1)
    assert trades.written(tmp_path) == raw(trades.client, trades.key)
    hours = trades.hours(tmp_path)
    assert [name[-11:] for name in hours] == [f"T{hour:02}.parquet" for hour in range(hour_of_day(), hour_of_day() + 4)]
    for number, rows in enumerate(hours.values()):
        assert {(row["ms"] - START) // HOUR for row in rows} == {number}
    gaps = {
        path.name[-11:-8]: [(row["event"], row["count"]) for row in pq.read_table(path).to_pylist()]
        for path in (trades._folder(tmp_path).parent / "trades.gaps").iterdir()
    }
    assert gaps == {f"T{hour_of_day():02}": [("live", None)], f"T{hour_of_day() + 3:02}": [("gap", 2), ("hole", 7)]}
    assert not list(tmp_path.rglob(".unfinished-*"))


def hour_of_day() -> int:
    return START // HOUR % 24


async def test_an_hour_that_goes_on_is_in_parts(redis_server, trades, tmp_path) -> None:
    now = int(time.time() * 1000) - START  # the present hour is not over, and neither is the next
    now = (now // HOUR + 1) * HOUR
    trades.at(now - 3 * HOUR)
    async with keeping(redis_server, tmp_path):
        for ms in range(now, now + 500, 50):
            trades.at(ms)
            await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
        assert len(trades.hours(tmp_path)) == 1
        assert len(list(trades._folder(tmp_path).glob(".parts/*"))) == 10
        trades.at(now + HOUR)
        await until(lambda: len(trades.hours(tmp_path)) == 2)
        await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
        assert len(list(trades._folder(tmp_path).glob(".parts/*"))) == 1


def service(server: RedisServer, folder: Path, *arguments: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "consumers.parquet", "--redis", server.url, "-o", str(folder), "--every", "0.05"]
    return subprocess.Popen([*words, *arguments], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_writes_each_entry_once(redis_server, trades, tmp_path) -> None:
    rng = random.Random(4)
    now = (int(time.time() * 1000) // HOUR - 40) * HOUR - START
    book = Trades(trades.client, channel=Channel.BOOK)
    for _ in range(4):
        parts = set(tmp_path.rglob("*.parquet"))
        with service(redis_server, tmp_path) as process:
            while set(tmp_path.rglob("*.parquet")) <= parts:
                time.sleep(0.05)
                for _ in range(rng.randrange(20)):
                    now += rng.randrange(60_000)
                    trades.at(now)
                    if rng.random() < 0.1:
                        book.at(now, type="delta", xseq="", bids="1:2", asks="")
                assert process.poll() is None, process.communicate()
            for _ in range(rng.randrange(50)):
                now += rng.randrange(300_000)
                trades.at(now)
            process.send_signal(signal.SIGKILL)
    with service(redis_server, tmp_path, "--json") as process:
        deadline = time.monotonic() + PATIENCE
        while trades.written(tmp_path) != raw(trades.client, trades.key):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while book.written(tmp_path) != raw(book.client, book.key):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")
    assert len(trades.hours(tmp_path)) > 2
    assert not list(tmp_path.rglob(".unfinished-*"))


async def test_killed_while_an_hour_is_finished_it_has_nothing_twice(redis_server, trades, tmp_path) -> None:
    """The hour is there, and its parts are too."""
    folder = trades._folder(tmp_path)
    for ms in (0, 10, 20):
        trades.at(ms)
        async with keeping(redis_server, tmp_path, every=0.01):
            await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
    kept = {path: path.read_bytes() for path in folder.glob("*.parquet")}
    store = ParquetStore(folder)
    last = store.last
    part = folder / ".parts" / f"{START}-1_{START}-1.parquet"
    part.write_bytes(next(iter(kept.values())))
    assert ParquetStore(folder).parts == []
    assert not part.exists()
    assert ParquetStore(folder).last == last


async def test_what_came_after_an_hour_was_finished_has_a_file_of_its_own(redis_server, trades, tmp_path) -> None:
    for number in (1, 2, 3):
        trades.at(number)
        async with keeping(redis_server, tmp_path):
            await until(lambda number=number: len(trades.hours(tmp_path)) == number)
    name = f"T{hour_of_day():02}"
    assert [path.partition(name)[2] for path in trades.hours(tmp_path)] == [".2.parquet", ".3.parquet", ".parquet"]
    seqs = sorted(row["seq"] for rows in trades.hours(tmp_path).values() for row in rows)
    assert seqs == [1, 2, 3]


async def test_a_reader_that_was_away_too_long_says_what_was_trimmed(redis_server, trades, tmp_path) -> None:
    trades.at(0)
    async with keeping(redis_server, tmp_path):
        await until(lambda: trades.written(tmp_path))
    for ms in range(10, 30):
        trades.at(ms)
    trades.client.xtrim(trades.key, maxlen=5, approximate=False)
    async with keeping(redis_server, tmp_path) as streams:
        await until(lambda: len(trades.hours(tmp_path)) == 2)
        assert streams.rows()[0].missing == {"trimmed": 1}
    [gaps] = (trades._folder(tmp_path).parent / "trades.gaps").iterdir()
    assert [(row["event"], row["count"], row["seq"]) for row in pq.read_table(gaps).to_pylist()] == [
        ("trimmed", 15, 17)
    ]


async def test_parts_of_an_earlier_version_may_have_fewer_columns(redis_server, trades, tmp_path) -> None:
    now = (int(time.time() * 1000) // HOUR + 2) * HOUR - START
    for ms in (now, now + 1):
        trades.at(ms)
        async with keeping(redis_server, tmp_path):
            await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
    first, _ = sorted(trades._folder(tmp_path).glob(".parts/*"))
    table = pq.read_table(first).drop_columns(["contracts"])
    pq.write_table(table.replace_schema_metadata(None), first)
    with pq.ParquetWriter(first, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({"tickbridge.last": f"{START + now}-1", "tickbridge.gaps": "[]"})
    ParquetStore(trades._folder(tmp_path)).finish_hour()
    [rows] = trades.hours(tmp_path).values()
    assert entries(rows) == raw(trades.client, trades.key)
    assert "contracts" in rows[0]


async def test_a_stop_while_an_hour_is_finished_leaves_its_parts(redis_server, trades, tmp_path) -> None:
    now = (int(time.time() * 1000) // HOUR + 2) * HOUR - START
    for ms in (now, now + 1):
        trades.at(ms)
        async with keeping(redis_server, tmp_path):
            await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
    store = ParquetStore(trades._folder(tmp_path))
    with pytest.raises(StoppedError):
        store.finish_hour(lambda: True)
    assert trades.hours(tmp_path) == {}
    assert trades.written(tmp_path) == raw(trades.client, trades.key)


async def test_a_full_disk_stops_nothing_for_good(redis_server, trades, tmp_path, monkeypatch, capsys) -> None:
    trades.at(0)
    opened = Path.open
    disk = {"full": True}

    def full(self: Path, mode: str = "r", **options):
        return opened(Path("/dev/full") if mode == "wb" and disk["full"] else self, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    async with keeping(redis_server, tmp_path) as streams:
        await until(lambda: streams.unwritten)
        assert "No space left on device" in streams.unwritten
        assert trades.written(tmp_path) == []
        disk["full"] = False
        await until(lambda: trades.written(tmp_path) == raw(trades.client, trades.key))
        await until(lambda: not streams.unwritten)
    assert "can be used again" in capsys.readouterr().err


async def test_a_damaged_file_is_named_until_it_is_gone_and_affects_only_its_stream(
    redis_server, trades, tmp_path, capsys
) -> None:
    """The other stream is brought up to date after it, in each round."""
    other = Trades(trades.client, "ETH-EUR")
    trades.at(0)
    other.at(0)
    async with keeping(redis_server, tmp_path):
        await until(lambda: trades.hours(tmp_path) and other.hours(tmp_path))
    [path] = trades._folder(tmp_path).glob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    async with keeping(redis_server, tmp_path, every=0.001) as streams:
        await until(lambda: streams.unwritten)
        for seq in range(2, 6):
            other.at(seq)
            await until(lambda seq=seq: len(other.written(tmp_path)) == seq)
            assert f"{path}: is not a Parquet file, or is damaged" in streams.unwritten
        path.write_bytes(whole)
        await until(lambda: not streams.unwritten)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, "once that it is damaged, once that it is not"


async def test_an_outage_of_redis_is_waited_for(own_server, tmp_path) -> None:
    with own_server.client() as client:
        trades = Trades(client)
        trades.at(0)
        async with keeping(own_server, tmp_path) as streams:
            await until(lambda: trades.written(tmp_path))
            await asyncio.to_thread(own_server.kill)
            await until(lambda: streams.trouble)
            await asyncio.to_thread(own_server.start)
            trades.at(5)
            await until(lambda: len(trades.written(tmp_path)) == 2)
            assert streams.outages == 1


async def test_a_key_of_another_kind_affects_only_itself(redis_server, trades, tmp_path) -> None:
    other = Trades(trades.client, "ETH-EUR")
    trades.client.set(trades.key, "x")
    other.at(0)
    async with keeping(redis_server, tmp_path) as streams:
        await until(lambda: other.written(tmp_path))
        await until(streams.degraded)
        [line] = streams.degraded()
        assert line.startswith(f"{trades.key}: WRONGTYPE")
        trades.client.delete(trades.key)
        trades.at(0)
        await until(lambda: trades.written(tmp_path))
        await until(lambda: not streams.degraded())


async def test_keys_and_patterns_choose_the_streams(redis_server, trades, tmp_path) -> None:
    client = trades.client
    candles = "md:{limitlex:BTC-EUR}:candles:1m"
    client.xadd(candles, {"type": "candle", "open": "1"}, id="60000-0")
    quotes = Trades(client, channel=Channel.QUOTES)
    quotes.at(0, type="quote", bid="1", bid_size="", ask="2", ask_size="")
    trades.at(0)
    async with keeping(redis_server, tmp_path, "*:quotes", candles) as streams:
        await until(lambda: len(list(tmp_path.rglob("*.parquet"))) == 2)
        assert sorted(streams.streams) == sorted([candles, quotes.key])


def test_a_folder_has_one_writer(tmp_path) -> None:
    left = tmp_path / "md" / ".unfinished-1-x"
    left.parent.mkdir()
    left.write_text("half")
    with locked(tmp_path):
        assert not left.exists(), "a killed process left it"
        with pytest.raises(FilesError, match="another process writes this folder"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_what_is_no_file_of_ours_is_named(tmp_path) -> None:
    path = tmp_path / "2026-11-29T08.parquet"
    path.write_text("text")
    with pytest.raises(FilesError, match="is not a Parquet file, or is damaged"):
        ParquetStore(tmp_path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(FilesError, match="was not written by tickbridge parquet"):
        ParquetStore(tmp_path)


def test_mistakes_are_explained(tmp_path, capsys, monkeypatch) -> None:
    where = ["--redis", f"redis://127.0.0.1:{free_port()}/0"]

    def ended(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main([*where, *arguments])
        return end.value.code, capsys.readouterr().err

    assert ended()[0] == 1
    code, said = ended("-o", str(tmp_path), "--every", "nan")
    assert (code, "--every must be" in said) == (1, True)
    code, said = ended("-o", str(tmp_path), "bridge:rejects:limitlex")
    assert (code, "is not the key of a stream" in said) == (1, True)
    (tmp_path / "file").write_text("")
    code, said = ended("-o", str(tmp_path / "file"))
    assert (code, f"{tmp_path}/file" in said) == (2, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, said = ended("-o", str(tmp_path))
    assert (code, "pip install 'tickbridge[files]'" in said) == (1, True)


def test_the_command_says_which_hours_are_complete(redis_server, trades, tmp_path) -> None:
    trades.at(0)
    words = [sys.executable, "-m", "bridge", "parquet", "--redis", redis_server.url, "-o", str(tmp_path)]
    with subprocess.Popen(words, env=CLEAN, stdout=subprocess.PIPE, text=True) as process:
        row = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert row["key"] == trades.key
    assert pq.read_table(row["file"]).num_rows == 1
