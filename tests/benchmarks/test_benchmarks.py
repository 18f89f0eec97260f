from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import books, environment, export, gateway, kinds, rejecting, report, takeovers
from benchmarks.burst import _Watch
from benchmarks.machine import Server
from benchmarks.path import quietest
from benchmarks.peers import Cryptofeed, Handwritten, requests_per_second
from benchmarks.plots import PLOTS, draw
from benchmarks.publishing import Nobody
from benchmarks.recorded import Mix
from benchmarks.results import Target, markdown, medians
from benchmarks.samples import FIRST_ID, fields, trade_message
from benchmarks.stages import STAGES, _shares, stage_of
from benchmarks.tickbridge import SETUPS
from benchmarks.trial import NAMESPACE, memory_mib, recorded, trades
from bridge.entries import decode
from bridge.exchanges import names
from bridge.keys import Keys, StreamKey
from bridge.model import DATA_EVENTS, SERVICE_CHANNELS
from bridge.publish.events import PublisherEvents


def test_the_benchmarks_hear_all_that_a_publisher_says():
    said = {name for name, value in vars(PublisherEvents).items() if callable(value) and not name.startswith("_")}
    assert {"dropped", "hold", "release"} <= said
    assert said <= set(dir(Nobody))


def pages() -> str:
    """What the documentation says of performance."""
    return "\n".join(page.read_text(encoding="utf-8") for page in report.PAGES)


def test_bad_frames_are_measured_of_every_exchange():
    assert {side.name for side in rejecting.EXCHANGES} == set(names())


@pytest.mark.parametrize("side", rejecting.EXCHANGES, ids=lambda side: side.name)
def test_what_bad_frames_cost_is_measured_with_exact_counts(redis_server, side):
    server = Server(redis_server.url, None)
    large = side.name in ("coinbase", "limitlex")  # more than one turn's work, of many trades and of one
    _, targets, data = rejecting.measure(server, frames=80, runs=1, sides=[side], with_large=large)
    assert list(data) == [f"{side.name}, one trade", f"{side.name}, 1 MiB"][: 1 + large]
    assert len(targets) == len(data)
    assert all("good" in rows and len(rows) > 5 for rows in data.values())


def test_what_files_cost_is_measured_of_each_format(redis_server):
    _, [_], rows = export.measure(Server(redis_server.url, None), events=1_000, runs=1)
    parquet = ("parquet", "parquet, value by value")
    assert list(rows) == [
        *(f"trades, {form}" for form in (*parquet, "csv", "jsonl", "arrow")),
        *(f"deltas of 4 levels, {form}" for form in parquet),
    ]
    assert all(row["rows/CPU-s"] > 0 and row["bytes/row"] > 1 for row in rows.values())


def test_what_the_best_levels_of_a_book_cost_is_measured_where_they_do_change(redis_server):
    _, _, rows = books.measure(Server(redis_server.url, None), deltas=300, runs=1)
    assert len(rows) == 2
    assert all(0.1 < row["entries of book10 per delta"] < 1 and row["book"] > 0 for row in rows.values())


def test_how_late_entries_reach_browsers_is_measured_with_proof_that_all_do(redis_server):
    _, targets, rows = gateway.measure(Server(redis_server.url, None), seconds=0.5, runs=1, clients=3)
    assert len(targets) == len(rows) == 2
    assert all(row["entries/s to clients"] > 0 and row["peak MiB"] > 1 for row in rows.values())


def test_takeovers_are_measured_and_what_is_written_is_compared_with_what_was_sent(redis_server):
    _, targets, rows = takeovers.measure(Server(redis_server.url, None), kills=1, exchanges=["bybit"])
    assert len(rows) == 2, "killed and stopped"
    for row in rows.values():
        assert row["trades"] > 0
        assert 0 < row["median s"] == row["worst s"]
        assert [row[name] for name in ("twice", "missing", "breaks", "declared")] == [0, 0, 0, 0]
    assert len(targets) == 6 + 5


# --- what is sent ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mix():
    return Mix()


def messages(mix, count, number=7):
    return [json.loads(text) for text in mix.messages(count, number)]


def test_the_mix_numbers_its_messages_on(mix):
    assert [message["sequence_num"] for message in messages(mix, 1000)] == list(range(7, 1007))
    assert [json.loads(text)["sequence_num"] for text in mix.books(3)] == [3, 4]


def test_the_mix_never_repeats_a_trade(mix):
    ids = [
        (trade["product_id"], trade["trade_id"])
        for message in messages(mix, 2000)
        for event in message["events"]
        for trade in event.get("trades", ())
    ]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


def test_the_mix_changes_nothing_but_numbers_and_ids(mix):
    size = len(mix._updates)
    first, again = messages(mix, 2 * size)[:size], messages(mix, 2 * size)[size:]
    for one, other in zip(first, again, strict=True):
        for message in (one, other):
            del message["sequence_num"]
            for event in message["events"]:
                for trade in event.get("trades", ()):
                    assert len(trade.pop("trade_id")) in (9, 10)
        assert one == other


@pytest.mark.parametrize("count", [1, 171, 172, 1000])
def test_the_rows_of_the_mix_are_those_that_are_sent(mix, count):
    found = Counter()
    books = Counter()
    for message in messages(mix, count):
        for event in message["events"]:
            found["trades"] += len(event.get("trades", ()))
            found["ticker"] += len(event.get("tickers", ()))
            if "updates" in event:
                found["books"] += 1
                books[event["product_id"]] += 1
    assert +mix.rows(count) == +found
    assert +mix.changes(count) == +books


def test_the_page_has_the_proportions_of_the_mix(mix):
    page = pages()
    assert mix.proportions == (
        "5 % market_trades, 15 % ticker, 80 % l2_data; 2.8 levels per book update, 1.1 trades per trade message"
    )
    assert "80 % book updates of 2.8 levels, 15 % tickers" in page
    assert "5 % trade messages of 1.1 trades" in page


def test_a_made_up_trade_is_as_coinbase_sends_it(mix):
    made = json.loads(trade_message(5, "BTC-USD", 3, "65083.67"))
    real = next(message for message in messages(mix, 172) if message["channel"] == "market_trades")
    assert made["sequence_num"] == 5
    assert made["events"][0]["trades"][0]["trade_id"] == str(FIRST_ID + 3)
    assert made.keys() <= real.keys()
    assert made["events"][0]["trades"][0].keys() == real["events"][0]["trades"][0].keys()


def test_every_side_expects_what_it_writes():
    count = 5000
    load = recorded(count)
    rows, changes = load.rows(), load.changes_by_pair()
    whole = sum(changed // 1000 for changed in changes.values())
    assert whole >= 2
    assert SETUPS[0].entries(load) == (8 + 2, rows["trades"] + rows["books"] + 2 * rows["ticker"])  # 8 `live` entries
    assert Handwritten().entries(load) == (2, rows["trades"] + rows["books"] + 2 * rows["ticker"])
    assert Cryptofeed("python").entries(load) == (2, rows["trades"] + rows["books"] + rows["ticker"] + whole)
    assert SETUPS[0].entries(trades(100, pairs=["A-USD", "B-USD"])) == (2, 100)


def test_the_kinds_are_all_that_there_are_and_no_event_repeats():
    made = kinds.samples(100)
    of_connectors = {event for event in DATA_EVENTS if event.channel not in SERVICE_CHANNELS}
    assert {type(events[0]) for events in made.values()} == of_connectors
    for name, events in made.items():
        texts = [
            {key: value for key, value in fields(event).items() if key not in ("ts", "recv", "xseq")}
            for event in events
        ]
        if not name.startswith("snapshot"):
            assert all(one != other for one, other in itertools.pairwise(texts)), name
        assert kinds._in_topic(events) >= 0  # it makes sure that all get through


def test_entries_for_the_reader_are_entries():
    for events in kinds.samples(20).values():
        flat = [word for pair in fields(events[0]).items() for word in pair]
        assert decode(StreamKey("bench", events[0].subject, events[0].channel), flat) == events[0]


# --- what is counted ---------------------------------------------------------------------------------------------------


def test_a_stage_is_the_innermost_frame_that_says_something():
    run = "Runner.run (/usr/lib/python3.11/asyncio/runners.py:118)"
    session = "CoinbaseSession.receive (/x/bridge/exchanges/coinbase/session.py:74)"
    decoder = "json_decode (/x/site-packages/msgspec/_core.so)"
    flush = "Publisher._flush (/x/bridge/publish/publisher.py:160)"
    for stage, stack in {
        "session": [run, session],
        "decode": [run, session, decoder, "0x7f305ef81940 (libc.so.6)"],
        "checks": [run, session, "check_numbers (/x/bridge/exchanges/toolkit/values/numbers.py:63)"],
        "pack": [run, flush, "Struct_dealloc (/x/site-packages/msgspec/_core.so)"],
        "write": [run, flush, "UVStream__try_write (/project/uvloop/loop.c:106818)", "write (libc.so.6)"],
        "render": [run, "Queue.put (/x/bridge/publish/queue.py:70)", "_trade (/x/bridge/publish/wire.py:83)"],
        "WebSocket": [run, "Frame.parse (/x/site-packages/websockets/frames.py:300)"],
        "housekeeping": [run, "Presence._write (/x/bridge/presence.py:93)"],
        "loop and sockets": [run],
        "other": ["start_thread (libc.so.6)"],
    }.items():
        assert stage_of(stack) == stage


def test_shares_leave_out_what_waits_and_add_up():
    text = "run (asyncio/a.py:1) 30\nrun (asyncio/a.py:1);f (bridge/publish/wire.py:2) 10\nrun (asyncio/a.py:1);epoll_wait (libc.so.6) 960\n"
    shares = _shares(text)
    assert list(shares) == list(STAGES)
    assert shares["loop and sockets"] == 0.75
    assert shares["render"] == 0.25
    assert sum(shares.values()) == 1


def test_requests_per_second_are_read_whatever_the_command():
    header = '"test","rps","avg_latency_ms","min","p50","p95","p99","max"\n'
    row = '"XADD md:{a}:b * bids "1,2","3" size 4","238095.25","0.409","0.096","0.135","2.535","5.095","33.279"\n'
    assert requests_per_second(header + row) == 238095.25


def test_the_quietest_of_a_few_counts(redis_server):
    server = Server(redis_server.url, None)
    shares = iter([50.0, 30.0, 90.0, 40.0, 60.0, 80.0])
    assert quietest(server, 100.0, lambda: ("first", next(shares))) == "first"
    tries = iter([("a", 50.0), ("b", 9.0), ("c", 1.0)])
    # Nothing else may run for two seconds here: it doesn't wait for that, as 99.9 % are never taken by others.
    assert quietest(server, 99.9, lambda: next(tries)) == "a"
    assert next(tries) == ("b", 9.0)


def test_the_watch_sees_a_heartbeat_grow_old(redis_server):
    server = Server(redis_server.url, None)
    key = Keys(NAMESPACE).connector("bench")
    server.client.hset(key, "at", str(time.time_ns() - 3 * 10**9))
    with _Watch(server, SETUPS[0]) as watch:
        deadline = time.monotonic() + 10
        while not watch.oldest and time.monotonic() < deadline:
            time.sleep(0.01)
    assert 3 <= watch.oldest < 13


def test_memory_is_what_the_system_says():
    assert 1 < memory_mib(_own_pid()) <= memory_mib(_own_pid(), "VmHWM")
    with pytest.raises(RuntimeError, match="VmNothing"):
        memory_mib(_own_pid(), "VmNothing")


def _own_pid():
    return int(Path("/proc/self").readlink().name)


def test_without_python_3_13_cryptofeed_is_left_out_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "_FOLDER", tmp_path / "nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert environment.cryptofeed() == environment.Found(reason="it needs Python 3.13, and none was found")


# --- what is reported --------------------------------------------------------------------------------------------------


def test_medians_and_targets():
    assert medians([{"a": 3.0, "b": 1.0}, {"a": 1.0, "b": 9.0}, {"a": 2.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
    assert Target("x", 2.0, at_least=2).reached
    assert not Target("x", 1.9, at_least=2).reached
    assert Target("x", 2.0, at_most=2).reached
    assert not Target("x", 2.1, at_most=2).reached
    assert not Target("x", None, at_most=2).reached
    assert Target("x", 2.1, at_most=2).as_dict() == {"what": "x", "value": 2.1, "at_most": 2, "reached": False}


def test_markdown_has_the_columns_that_are_wanted():
    rows = {"one": {"a": 1.234, "b": 5000.0}}
    assert markdown(rows) == "|  | a | b |\n| --- | --- | --- |\n| one | 1.23 | 5,000 |"
    assert markdown(rows, {"b": "B"}, "of") == "| of | B |\n| --- | --- |\n| one | 5,000 |"


def test_only_what_stands_between_the_marks_is_made_anew():
    page = "# A\n\nwords\n\n<!-- bench reader -->\nold\n<!-- /bench -->\n\nmore\n\n<!-- bench kinds -->\nkept\n<!-- /bench -->\n"
    found = {"results": {"reader": {"trades": {"events/s": 5.0}}}}
    filled = report.fill(page, found)
    assert filled == page.replace("old", "|  | events/s |\n| --- | --- |\n| trades | 5.00 |")
    assert report.fill(filled, found) == filled


def test_the_page_has_every_section_and_every_plot():
    page = pages()
    assert set(report._SECTION.findall(page)) == {
        (f"<!-- bench {name} -->\n", name, "<!-- /bench -->") for name in report.SECTIONS
    }
    for name in PLOTS:
        assert f"images/{name}.svg" in page


def test_the_page_is_what_its_figures_say():
    page = pages()
    assert report.fill(page, report.load()) == page


def test_a_part_measured_again_replaces_its_own_targets_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(report, "PAGES", [page := tmp_path / "page.md"])
    monkeypatch.setattr(report, "_IMAGES", tmp_path)
    page.write_text("<!-- bench targets -->\n<!-- /bench -->\n")

    def part(name, value, what="w"):
        target = {"part": name, "what": what, "value": value, "at_least": 1, "reached": value >= 1}
        return {"machine": {"date": "today"}, "results": {name: {"x": {"y": value}}}, "targets": [target]}

    report.write(part("reader", 0.5))
    report.write(part("memory", 2.0, "v"))
    report.write(part("reader", 1.23456789))
    assert page.read_text() == (
        "<!-- bench targets -->\n| part | target | bound | measured | |\n|---|---|---|---|---|\n"
        "| `memory` | v | at least 1 | 2.00 | reached |\n| `reader` | w | at least 1 | 1.23 | reached |\n<!-- /bench -->\n"
    )
    assert report.load()["results"] == {"reader": {"x": {"y": 1.2346}}, "memory": {"x": {"y": 2.0}}}


def test_plots_are_the_same_for_the_same_figures(tmp_path):
    results = report.load()["results"]
    one, other = draw(results, tmp_path / "one"), draw(results, tmp_path / "other")
    assert [path.stem for path in one] == list(PLOTS)
    for first, second in zip(one, other, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size < 100_000
        assert b"<svg" in first.read_bytes()
