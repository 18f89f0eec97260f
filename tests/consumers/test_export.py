"""Streams as files and tables: row by row what the stream has, whatever that is."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.cli import export as export_command
from bridge.cli.main import main
from bridge.errors import RedisUnavailableError
from bridge.keys import Keys
from bridge.model import Channel
from consumers import frames
from consumers.columns import Columns
from consumers.files import MissingLibraryError, stream_path
from consumers.pages import Page
from tests.consumers.streams import BASE, NS, Stream
from tests.consumers.tables import entries, raw
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

KEY = "md:{limitlex:BTC-EUR}:trades"
PLACE = Path("md/limitlex/BTC-EUR")
LONG = "1234567890123456789012345678901234567890.0123456789"


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


def odd(trades: Stream) -> None:
    """All that a stream should not have, and may."""
    trades.control("live")
    trades.trades(3)
    trades.add("trade", id="", side="", price=LONG, size="")
    trades.add("trade", id="a", side="buy", price="1", size="2", contracts="3")
    trades.add("trade", id="b", side="buy", price="1", size="2", contracts="", later="new", **{"€ \n": "\x00\u202e"})
    trades.add("trade", ts="007", id="c", side="buy", price="1", size="2")
    trades.add("trade", ts="x" * 30, id="c", side="buy", price="1", size="2")
    trades.add("trade", ts="99999999999999999999", id="d", side="buy", price="1", size="2")
    trades.add("trade", ts=str(BASE * NS), id="0", side="0", price="0", size="0", extra="e", ms="m", seq="s")
    trades.seq += 1
    trades.client.xadd(trades.key, {"nothing": "known"}, id=trades.id(trades.seq))
    trades.seq += 1
    twice = ["type", "trade", "ts", "", "recv", "1", "id", "x", "id", "y", "id", "z"]
    trades.client.execute_command("XADD", trades.key, trades.id(trades.seq), *twice)
    trades.control("gap", 'a reason, "quoted"', "12")
    trades.seq += 4
    trades.trade()
    trades.control("down", "cut")


GAPS = [("live", None, ""), ("gap", 12, 'a reason, "quoted"'), ("hole", 4, ""), ("down", None, "cut")]


def read_back(path: Path, form: str) -> list[dict]:
    if form == "parquet":
        return pq.read_table(path).to_pylist()
    if form == "csv":
        names = pa.csv.read_csv(path).schema.names
        numbers = ("ms", "seq", "ts", "recv", "count")
        gaps = path.name.endswith(".gaps.csv")
        kinds = {name: pa.int64() if name in numbers and (gaps or name != "count") else pa.string() for name in names}
        options = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, quoted_strings_can_be_null=False)
        parsing = pa.csv.ParseOptions(newlines_in_values=True)
        return pa.csv.read_csv(path, convert_options=options, parse_options=parsing).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def export(server: RedisServer, *arguments: object) -> int:
    return main(["export", "--redis", server.url, *map(str, arguments)])


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_file_has_every_entry_whatever_it_is(redis_server, trades, tmp_path, capsys, form) -> None:
    odd(trades)
    assert export(redis_server, KEY, "-o", tmp_path, "--format", form) == 0
    path = tmp_path / PLACE / f"trades.{form}"
    rows = read_back(path, form)
    assert entries(rows) == raw(trades.client, KEY)
    assert rows[1]["recv"] == (BASE + 2) * NS
    assert (rows[4]["price"], rows[4]["size"], rows[4]["event"]) == (LONG, "", None)
    gaps = read_back(tmp_path / PLACE / f"trades.gaps.{form}", form)
    assert [(gap["event"], gap["count"], gap["reason"]) for gap in gaps] == GAPS
    assert gaps[2]["seq"] == trades.seq - 1, "that of the entry after the hole"
    assert capsys.readouterr().out == f"{KEY}: {len(rows)} entries, 4 gaps: {path}\n"


def test_json_lines_are_those_of_tail(redis_server, trades, tmp_path) -> None:
    odd(trades)
    assert export(redis_server, "*:trades", "--format", "jsonl", "-o", tmp_path) == 0
    path = tmp_path / PLACE / "trades.jsonl"
    lines = [json.loads(line, object_pairs_hook=list) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line[1][1], sorted(map(tuple, line[2:]))) for line in lines] == raw(trades.client, KEY)
    assert all(line[0] == ["key", KEY] or line[0] == ("key", KEY) for line in lines)
    tail = subprocess.run(
        [sys.executable, "-m", "bridge", "tail", KEY, "--redis", redis_server.url, "--from", "start", "--count", "8"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert path.read_text(encoding="utf-8").splitlines()[:8] == tail.stdout.splitlines()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = st.one_of(st.sampled_from(["type", "ts", "recv", "price", "size", "event", "count", "ms", "extra"]), TEXTS)
VALUES = st.one_of(TEXTS, st.integers(0, 2**70).map(str), st.sampled_from(["", "0", "00", "-1", "+1", "1_0", " 1"]))
FIELDS = st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FIELDS, min_size=1, max_size=20), st.sampled_from([KEY, "md:{a:b}:book", "acct:{a:b}:orders", "else"]))
def test_no_field_of_any_entry_is_lost(found, key) -> None:
    ids = [f"{BASE}-{seq}".encode() for seq in range(1, len(found) + 1)]
    flats = [[part.encode() for pair in fields for part in pair] for fields in found]
    page = Page(ids, flats)
    batch = Columns(Keys(), key, page).batch(page)
    batch.validate(full=True)
    should = [(entry_id.decode(), sorted(fields)) for entry_id, fields in zip(ids, found, strict=True)]
    assert entries(batch.to_pylist(), ours=key != "else") == should


def test_bytes_that_are_no_text_are_shown(redis_server, trades, tmp_path) -> None:
    trades.client.xadd(KEY, {b"type": b"trade", b"price": b"\xff1"}, id="5-1")
    export(redis_server, KEY, "-o", tmp_path)
    [row] = pq.read_table(tmp_path / PLACE / "trades.parquet").to_pylist()
    assert (row["price"], row["ts"], row["extra"]) == ("\\xff1", None, '{"ts":null,"recv":null}')


def test_streams_of_any_kind_have_files_of_their_own(redis_server, trades, tmp_path) -> None:
    client = trades.client
    keys = {
        "md:{limitlex:BTC-EUR}:book": "md/limitlex/BTC-EUR/book",
        "md:{limitlex:BTC-EUR}:candles:1m": "md/limitlex/BTC-EUR/candles/1m",
        "acct:{limitlex:main/sub}:orders": "acct/limitlex/main%2Fsub/orders",
        "bridge:rejects:limitlex": "bridge/rejects/limitlex",
        "../up:..:": "%2E.%2Fup/%2E./%",
    }
    for key, path in keys.items():
        client.xadd(key, {"type": "snapshot", "bids": "1:1"})
        assert str(stream_path(Keys(), key)) == path
    assert export(redis_server, *keys, "-o", tmp_path) == 0
    for key, path in keys.items():
        rows = pq.read_table(tmp_path / f"{path}.parquet").to_pylist()
        ours = key.startswith(("md:", "acct:"))
        assert entries(rows, ours=ours) == raw(client, key)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2 * len(keys)


def test_from_and_to_choose_the_entries(redis_server, trades, tmp_path) -> None:
    trades.trades(50)

    def seqs(*arguments: str) -> list[int]:
        assert export(redis_server, KEY, "-o", tmp_path, "--overwrite", *arguments) == 0
        return pq.read_table(tmp_path / PLACE / "trades.parquet").column("seq").to_pylist()

    assert seqs() == list(range(1, 51))
    assert seqs("--from", trades.id(7), "--to", trades.id(9)) == [8, 9]
    moment = datetime.fromtimestamp((BASE + 20) / 1000, UTC)
    assert seqs("--from", moment.isoformat()) == list(range(20, 51))
    assert seqs("--to", moment.isoformat()) == list(range(1, 20))
    assert pq.read_table(tmp_path / PLACE / "trades.gaps.parquet").num_rows == 0
    assert seqs("--to", "1-1") == []
    assert seqs("--from", "now") == seqs("--to", "start") == seqs("--from", "now", "--to", "now") == []
    assert seqs("--from", "start", "--to", "now") == list(range(1, 51))


@pytest.mark.parametrize(
    "places", [("5m", "10m"), ("5m", "start"), ("now", "5m"), ("7-2", "7-1"), ("8", "7"), ("1h", "2026-01-01")]
)
def test_an_end_before_the_start_is_a_mistake(redis_server, trades, tmp_path, capsys, places) -> None:
    trades.trade()
    assert export(redis_server, KEY, "-o", tmp_path, "--from", places[0], "--to", places[1]) == 1
    assert "--to: is before --from" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_of_two_exports_at_once_the_later_one_replaces_nothing(
    redis_server, trades, tmp_path, monkeypatch, form
) -> None:
    trades.trade()
    path = tmp_path / PLACE / f"trades.{form}"
    words, written = (KEY, "-o", tmp_path, "--format", form), []
    check = export_command._check_files

    def another_is_faster(*arguments):
        check(*arguments)
        if not written:
            written.append(b"")
            assert export(redis_server, *words) == 0
            written.append(path.read_bytes())
            trades.trade()

    monkeypatch.setattr(export_command, "_check_files", another_is_faster)
    assert export(redis_server, *words) == 1
    assert path.read_bytes() == written[1]
    assert {each.name for each in path.parent.iterdir()} == {f"trades.{form}", f"trades.gaps.{form}"}


def test_mistakes_are_explained_and_nothing_is_written(redis_server, trades, tmp_path, capsys) -> None:
    trades.trade()
    trades.client.set("text", "x")
    assert export(redis_server, "text", "md:{limitlex:XYZ}:trades", "*:nothing", "-o", tmp_path) == 1
    said = capsys.readouterr().err
    assert "text: is a string, not a stream" in said
    assert "md:{limitlex:XYZ}:trades: there is no such key" in said
    assert "*:nothing: no stream matches this pattern" in said
    assert list(tmp_path.iterdir()) == []
    assert export(redis_server, KEY, "-o", tmp_path) == 0
    assert export(redis_server, KEY, "-o", tmp_path) == 1
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert export(redis_server, KEY, "-o", tmp_path / "file") == 2
    assert f"{tmp_path}/file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        export(redis_server, KEY, "--from", "yesterday")
    assert ended.value.code == 1
    assert main(["export", KEY, "--redis", f"redis://:hunter2@127.0.0.1:{free_port()}/0"]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_leaves_no_file(redis_server, trades, tmp_path, capsys, monkeypatch) -> None:
    trades.trades(2_000)
    opened = Path.open

    def full(self: Path, mode: str = "r", **options):
        return opened(Path("/dev/full") if "w" in mode else self, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    for form in ("parquet", "csv", "jsonl"):
        assert export(redis_server, KEY, "-o", tmp_path, "--format", form) == 2
        assert "No space left on device" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where nobody may write")
def test_a_folder_that_may_not_be_written_is_named(redis_server, trades, capsys) -> None:
    trades.trade()
    assert export(redis_server, KEY, "-o", "/proc/self/data") == 2
    assert "/proc/self/data" in capsys.readouterr().err


def test_without_pyarrow_only_json_lines_can_be_written(redis_server, trades, tmp_path, capsys, monkeypatch) -> None:
    trades.trade()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export(redis_server, KEY, "-o", tmp_path) == 1
    assert "pyarrow is not installed; install it with: pip install 'tickbridge[files]'" in capsys.readouterr().err
    assert export(redis_server, KEY, "-o", tmp_path, "--format", "jsonl") == 0
    with pytest.raises(MissingLibraryError):
        frames.read(KEY, redis=redis_server.url)


# --- tables ------------------------------------------------------------------------------------------------------------


def test_a_table_has_the_entries_between_two_places(redis_server, trades) -> None:
    odd(trades)
    table = frames.read(KEY, redis=redis_server.url)
    assert entries(table.to_pylist()) == raw(trades.client, KEY)
    seqs = frames.read(KEY, trades.id(2), trades.id(4), redis=redis_server.url).column("seq").to_pylist()
    assert seqs == [2, 3, 4]
    moment = datetime.fromtimestamp(BASE / 1000, UTC)
    some = frames.read(KEY, moment + timedelta(milliseconds=2), BASE + 3, redis=redis_server.url)
    assert some.column("seq").to_pylist() == [2, 3]
    nothing = frames.read("md:{limitlex:XYZ}:trades", redis=redis_server.url)
    assert (nothing.num_rows, nothing.schema.names) == (0, table.schema.names)
    gaps = frames.gaps(KEY, redis=redis_server.url).to_pylist()
    assert [(gap["event"], gap["count"], gap["reason"]) for gap in gaps] == GAPS


def test_a_long_stream_is_read_in_parts(redis_server, trades) -> None:
    pipe = trades.client.pipeline(transaction=False)
    for seq in range(1, 20_001):
        pipe.xadd(KEY, {"type": "trade", "ts": "", "recv": "1", "price": str(seq)}, id=f"{BASE}-{seq}")
    pipe.execute()
    parts = list(frames.batches(KEY, redis=redis_server.url))
    assert len(parts) > 4
    assert [seq for part in parts for seq in part.column("seq").to_pylist()] == list(range(1, 20_001))


def test_large_entries_make_small_pages(redis_server, trades) -> None:
    book = Stream(trades.client, Channel.BOOK)
    for _ in range(400):
        book.snapshot("1:1 " * 25_000, "")
    parts = list(frames.batches(book.key, redis=redis_server.url))
    assert sum(part.num_rows for part in parts) == 400
    assert max(part.num_rows for part in parts[1:]) <= 50


def test_decimals_are_exact_or_refused(redis_server, trades) -> None:
    trades.add("trade", id="", side="buy", price="7994.50", size="")
    trades.add("trade", id="", side="buy", price="12345678901234567890.123456789012345678", size="1")
    table = frames.decimals(frames.read(KEY, redis=redis_server.url), ["price", "size"])
    prices = [Decimal("7994.50"), Decimal("12345678901234567890.123456789012345678")]
    assert table.column("price").to_pylist() == prices
    assert table.column("size").to_pylist() == [None, Decimal(1)]
    trades.add("trade", id="", side="buy", price="0.1234567890123456789", size="1")
    with pytest.raises(ValueError, match="price does not fit into decimals of 38 digits"):
        frames.decimals(frames.read(KEY, redis=redis_server.url), ["price"])
    with pytest.raises(ValueError, match=r"there is no column 'nope'; there are .*price, size"):
        frames.decimals(frames.read(KEY, redis=redis_server.url), ["nope"])


@pytest.mark.parametrize("name", ["polars", "pandas"])
def test_other_frames_are_made_of_it(redis_server, trades, name) -> None:
    trades.trades(3)
    table = frames.read(KEY, redis=redis_server.url)
    pytest.importorskip(name)
    frame = frames.to_polars(table) if name == "polars" else frames.to_pandas(table)
    assert list(frame["seq"]) == [1, 2, 3]
    assert list(frame.columns) == table.schema.names
    assert [int(value) for value in frame["recv"]] == [(BASE + seq) * NS for seq in (1, 2, 3)]


def test_mistakes_in_a_read_are_explained(redis_server, trades) -> None:
    trades.client.set(KEY, "x")
    with pytest.raises(RedisUnavailableError, match="wrong type"):
        frames.read(KEY, redis=redis_server.url)
    with pytest.raises(ValueError, match="is not an entry ID"):
        frames.read(KEY, "yesterday", redis=redis_server.url)
    with pytest.raises(ValueError, match="no time zone"):
        frames.read(KEY, datetime(2026, 1, 1), redis=redis_server.url)  # noqa: DTZ001
    with pytest.raises(RedisUnavailableError, match="refused"):
        frames.read(KEY, redis=f"redis://127.0.0.1:{free_port()}/0")
