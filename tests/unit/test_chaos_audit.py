"""The audit of a chaos run finds what is wrong: each test spoils streams that were right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bridge.chaos.alignment import align
from bridge.chaos.audit import Findings, Source, audit
from bridge.chaos.checks import Row
from bridge.chaos.collector import Collector, Copy
from bridge.chaos.leaks import Usage, leaked_keys
from bridge.chaos.report import Report, Struck
from bridge.chaos.truth import Span
from bridge.keys import Keys
from bridge.publish.pending import REDIS_LOST

KEYS = Keys()
SECOND = 10**9
BOOK, TRADES, FILLS = "md:{limitlex:BTC-EUR}:book", "md:{limitlex:BTC-EUR}:trades", "acct:{limitlex:main/7}:fills"
NAMED = "md:{lmex:BTC-USD}:trades"
BOOKS: list[dict[str, Any]] = [
    {"seq": 1, "bids": [["10", "1"]], "asks": [["11", "1"]]},
    {"seq": 2, "bids": [["10", "2"]], "asks": []},
    {"seq": 3, "bids": [], "asks": [["12", "5"]]},
    {"seq": 4, "bids": [["10", "0"], ["9", "1"]], "asks": []},
]
SIZES = ("1", "2", "3", "3", "4")
"""Of five trades, a second apart but for the third and the fourth, which are alike."""
TIMES = (101.2, 102.2, 103.2, 103.4, 104.2)


def entry(number: int, kind: str, **fields: str) -> Row:
    return f"{100_000 + number}-{number}", {"type": kind, "ts": "", "recv": str((100 + number) * SECOND), **fields}


def control(number: int, event: str) -> Row:
    return entry(number, "control", event=event, reason="", count="")


def trade(number: int, place: int, **fields: str) -> Row:
    ts = str(int(TIMES[place]) * SECOND)
    return entry(number, "trade", **{"ts": ts, "id": "", "side": "buy", "price": "10", "size": SIZES[place], **fields})


def fill(number: int, place: int) -> Row:
    ident, fields = trade(number, place, fill_id="")
    return ident, {**fields, "type": "fill"}


def delta(number: int, bids: str, asks: str) -> Row:
    return entry(number, "delta", xseq="", bids=bids, asks=asks)


def right() -> dict[str, list[Row]]:
    """Streams in which nothing is wrong."""
    snapshot = entry(2, "snapshot", xseq="", bids="10:1", asks="11:1")
    deltas = [delta(3, "10:2", ""), delta(4, "", "12:5"), delta(5, "10:0 9:1", "")]
    return {
        BOOK: [control(1, "live"), snapshot, *deltas],
        TRADES: [control(1, "live"), *(trade(place + 2, place) for place in range(5))],
        NAMED: [control(1, "live"), *(trade(place + 2, place, id=str(place + 1)) for place in range(5))],
        FILLS: [control(1, "live"), *(fill(place + 2, place) for place in range(5))],
    }


def audited(
    streams: dict[str, list[Row]],
    directory: Path,
    more: Mapping[str, list[dict[str, Any]]] = MappingProxyType({}),
    paused: Sequence[Span] = (),
) -> Findings:
    """``more`` are further rows of the journals; ``paused``: when no connector was running."""
    sources = {}
    for exchange, pair in (("limitlex", "BTC-EUR"), ("lmex", "BTC-USD")):
        rows = [{"k": "book", "pair": pair, "time": 100.0 + row["seq"], **row} for row in BOOKS]
        done = [
            {"pair": pair, "side": "buy", "price": "10", "size": size, "time": time}
            for size, time in zip(SIZES, TIMES, strict=True)
        ]
        rows += [{"k": "trade", "id": number, **row} for number, row in enumerate(done, 1)]
        rows += [{"k": "fill", "id": f"f{number}", "account": "main/bot", **row} for number, row in enumerate(done, 1)]
        rows += more.get(exchange, [])
        journal = directory / f"{exchange}.jsonl"
        journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[exchange] = Source(journal, {pair: Decimal(1)}, {"main/7": "main/bot"}, 3.0, paused)
    copies = []
    for number, (key, entries) in enumerate(streams.items()):
        stream = KEYS.parse(key)
        assert stream is not None
        copy = Copy(key, stream, directory / f"{number}.copy")
        copy.add(entries)
        copies.append(copy)
    return audit(copies, sources)


def test_nothing_is_wrong_with_the_right_ones(tmp_path: Path) -> None:
    found = audited(right(), tmp_path)
    assert found.wrong == []
    assert (found.total("trade"), found.total("fill"), found.total("delta")) == (10, 5, 3)


def without(place: int) -> Callable[[list[Row]], None]:
    return lambda rows: rows.__delitem__(place)


def renumbered(place: int) -> Callable[[list[Row]], None]:
    """An entry is missing, and the numbers do not show it."""

    def spoil(rows: list[Row]) -> None:
        del rows[place]
        rows[:] = [(f"{100_000 + number}-{number}", fields) for number, (_, fields) in enumerate(rows, 1)]

    return spoil


def instead(place: int, **fields: str) -> Callable[[list[Row]], None]:
    return lambda rows: rows.__setitem__(place, (rows[place][0], {**rows[place][1], **fields}))


def repeated(place: int) -> Callable[[list[Row]], None]:
    """The last entry once more, under a number of its own."""
    return lambda rows: rows.append((f"200000-{len(rows) + 1}", rows[place][1]))


def declared(place: int, event: str) -> Callable[[list[Row]], None]:
    """In place of an entry stands a control entry."""
    return lambda rows: rows.__setitem__(place, control(place + 1, event))


def lost_by_redis(first: int, last: int, count: int) -> Callable[[list[Row]], None]:
    """Entries are missing, and the last one is a `lost` that declares so many."""

    def spoil(rows: list[Row]) -> None:
        ident, fields = control(len(rows) + 1, "lost")
        rows.append((ident, {**fields, "reason": REDIS_LOST, "count": str(count)}))
        del rows[first : last + 1]

    return spoil


def down_earlier(*, live: bool) -> Callable[[list[Row]], None]:
    """After the first there is a `down`, and perhaps a `live`; the last one is missing."""

    def spoil(rows: list[Row]) -> None:
        states = ["down", "live"] if live else ["down"]
        rows[:] = [control(1, "live"), rows[1], *(control(1, state) for state in states), *rows[2:-1]]
        rows[:] = [(f"{100_000 + number}-{number}", fields) for number, (_, fields) in enumerate(rows, 1)]

    return spoil


@pytest.mark.parametrize(
    ("key", "spoil", "wrong"),
    [
        (TRADES, without(3), ["100005-5: number 5 where 4 is due"]),  # its twin is there: nobody can know
        (TRADES, without(2), ["number 4 where 3 is due", "trade 2 is missing, and nothing says so"]),
        (TRADES, renumbered(2), ["trade 2 is missing, and nothing says so"]),
        (TRADES, renumbered(5), ["trade 5 is missing, and nothing says so"]),
        (TRADES, declared(2, "gap"), []),
        (TRADES, declared(2, "down"), []),
        (TRADES, lost_by_redis(2, 3, 2), []),
        (
            TRADES,
            lost_by_redis(2, 4, 2),
            ["number 6 where 3 is due", *(f"trade {number} is missing" for number in (2, 3, 4))],
        ),
        (TRADES, declared(2, "live"), ["trade 2 is missing, and nothing says so"]),
        (TRADES, repeated(5), ["is not the exchange's, or is there twice"]),
        (TRADES, instead(2, size="2.1"), ["is not the exchange's", "trade 2 is missing"]),
        (NAMED, renumbered(4), ["trade 4 is missing, and nothing says so"]),
        (NAMED, repeated(5), ["trade 5 is there twice"]),
        (NAMED, instead(2, price="11"), ["is not the exchange's", "trade 2 is missing"]),
        (FILLS, renumbered(1), []),  # before the first one that was read
        (FILLS, renumbered(2), ["fill f2 is missing, and nothing says so"]),
        (FILLS, declared(2, "lost"), []),
        (FILLS, down_earlier(live=False), []),
        (TRADES, down_earlier(live=False), ["trade 5 is missing, and nothing says so"]),
        (FILLS, down_earlier(live=True), ["fill f5 is missing, and nothing says so"]),
        (FILLS, repeated(2), ["is not the exchange's, or is there twice"]),
        (BOOK, instead(1, bids="10:7"), ["100002-2: not a book of the exchange's", "at the end"]),
        (BOOK, instead(3, asks="12:6"), ["100004-4: not a book of the exchange's", "at the end"]),
        (BOOK, renumbered(2), ["100003-3: not a book of the exchange's", "at the end"]),
        (BOOK, declared(2, "gap"), ["100004-4: a delta without a snapshot before it", "at the end"]),
        (BOOK, declared(2, "lost"), ["at the end: number None, the exchange has 4"]),
        (BOOK, without(4), ["at the end: number 3, the exchange has 4"]),
    ],
)
def test_what_is_spoilt_is_found(
    tmp_path: Path, key: str, spoil: Callable[[list[Row]], None], wrong: list[str]
) -> None:
    streams = right()
    spoil(streams[key])
    found = audited(streams, tmp_path).wrong
    assert len(found) == len(wrong), found
    for line, words in zip(found, wrong, strict=True):
        assert line.startswith(f"{key} ")
        assert words in line


@pytest.mark.parametrize(
    ("why", "places", "paused", "wrong"),
    [
        ("freeze", [1], [], 0),
        ("freeze", range(5), [], 1),
        ("freeze", range(5), [(90.0, 95.0), (103.0, 110.0)], 0),
        ("drop", range(5), [], 0),
    ],
)
def test_trades_without_an_id_that_nobody_could_know_of(
    tmp_path: Path, why: str, places: Iterable[int], paused: Sequence[Span], wrong: int
) -> None:
    """A connection that stands still for three seconds is given up, and the stream says so; a dropped message is not seen."""
    streams = right()
    renumbered(2)(streams[TRADES])
    told = [
        {"orderDirection": "Buy", "price": "10.0", "amount": SIZES[place], "createdAt": int(TIMES[place])}
        for place in places
    ]
    row = {"k": "left_out", "type": "last_trade", "pair": "BTC-EUR", "why": why}
    rows = [{**row, "data": json.dumps(data)} for data in told]
    found = audited(streams, tmp_path, {"limitlex": rows}, paused)
    assert len(found.wrong) == wrong
    assert found.total("unnoticed") == 1 - wrong


def test_a_book_may_begin_again_a_little_earlier(tmp_path: Path) -> None:
    """A connection that replaces another may be behind it, and repeat what was there."""
    streams = right()
    again = [entry(5, "snapshot", xseq="", bids="10:2", asks="11:1"), delta(6, "", "12:5"), delta(7, "10:0 9:1", "")]
    streams[BOOK][4:] = again
    assert audited(streams, tmp_path).wrong == []


@pytest.mark.parametrize("key", [TRADES, NAMED])
def test_a_stream_that_begins_again_may_repeat_what_was_lost_but_once(tmp_path: Path, key: str) -> None:
    """Redis lost its data, and the writer died with it: the standby writes again what it holds."""
    streams = right()
    rows = streams[key]
    rows[5:] = [(rows[4][0], {**control(0, "reset")[1]}), *((f"300000-{n}", rows[n + 1][1]) for n in range(1, 5))]
    assert audited(streams, tmp_path).wrong == []
    rows.append(("300001-5", rows[-1][1]))
    (tmp_path / "again").mkdir()
    [wrong] = audited(streams, tmp_path / "again").wrong
    assert "there twice" in wrong


def copy_of(directory: Path) -> Copy:
    stream = KEYS.parse(TRADES)
    assert stream is not None
    copy = Copy(TRADES, stream, directory / "copy")
    copy.add(right()[TRADES][:4])
    copy.lost()
    return copy


def test_what_redis_has_again_after_it_lost_its_data_is_no_repeat(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    assert copy.add(right()[TRADES][2:]) == right()[TRADES][4:]
    assert [ident for ident, _ in copy.rows()] == [ident for ident, _ in right()[TRADES]]
    assert copy.wrong == []


def test_another_entry_under_the_same_id(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    copy.add([trade(3, 4)])
    assert copy.wrong == [f"{TRADES} 100003-3: another entry than before under this ID"]


def test_a_stream_that_begins_again_shows_that_something_may_be_missing(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    copy.add([trade(6, 4)])
    assert [fields.get("event", "") for _, fields in copy.rows()] == ["live", "", "", "", "reset", ""]


def test_alike_events_go_where_the_next_ones_agree() -> None:
    assert align(["a", "b", "a", "c"], ["a", "x", "a", "b", "a", "c"]) == [2, 3, 4, 5]
    assert align(["a", None, "a", "c"], ["a", "b", "a", "x", "a", "c"]) == [0, None, 4, 5]
    assert align(["a", "z", "b"], ["a", "b"]) == [0, None, 1]


@pytest.mark.parametrize(("reason", "unconfirmed"), [("Redis lost acknowledged entries", True), ("too many", False)])
def test_what_redis_has_lost_may_be_the_last_word_on_an_order(tmp_path: Path, reason: str, unconfirmed: bool) -> None:
    collector = Collector(None, KEYS, tmp_path)  # type: ignore[arg-type]
    key = "acct:{limitlex:main}:orders"
    stream = KEYS.parse(key)
    assert stream is not None
    lost = control(3, "lost")
    collector._take(Copy(key, stream, tmp_path / "copy"), lost[0], {**lost[1], "reason": reason})
    assert collector.reset_at == ({key: (100_003 + 1) * 1_000_000} if unconfirmed else {})


def test_keys_that_should_not_be_there() -> None:
    pairs, subjects = {"lmex": ["BTC-USD"]}, {"lmex": ["main"]}
    good = [NAMED, "bridge:catalog", "bridge:connector:lmex:fence", "acct:{lmex:main}:wallet", "acct:{lmex:main}:fills"]
    good.append(KEYS.limits_used("connect:127.0.0.1:9001"))
    assert leaked_keys(good, KEYS, pairs, subjects) == []
    bad = ["bridge:connector:lmex", "bridge:connector:lmex:standby", "md:{lmex:BTC-USD}:bok", "acct:{lmex:other}:fills"]
    found = leaked_keys([*good, *bad], KEYS, pairs, subjects)
    assert found == [f"the key {key} should not be there" for key in sorted(bad)]


def test_memory_and_files_that_grow() -> None:
    usage = Usage(first={"a": (50_000, 10), "b": (50_000, 10)}, last={"a": (200_000, 10), "b": (60_000, 200)})
    assert usage.leaks() == ["a takes 195 MiB, at the start 48 MiB", "b has 200 open files, at the start 10"]
    usage.measure({"here": os.getpid(), "gone": 2**22 + 1})
    assert "gone" not in usage.first


def test_a_report_with_something_wrong(tmp_path: Path) -> None:
    streams = right()
    del streams[TRADES][2]
    report = Report(
        "tickbridge chaos --seed 1", 1, 60.0, {"kill": Struck(3, 1)}, {"failover": "only with --redis cluster"}
    )
    report.findings = audited(streams, tmp_path)
    report.usage = Usage(first={"a": (50_000, 10)}, last={"a": (51_000, 11)})
    text = "\n".join(report.lines())
    assert "WRONG: md:{limitlex:BTC-EUR}:trades trade 2 is missing, and nothing says so" in text
    assert "the same plan again: tickbridge chaos --seed 1" in text
    assert "failover: left out, only with --redis cluster" in text
    found = json.loads(json.dumps(report.as_json()))
    assert not found["ok"]
    assert found["faults"] == {"kill": {"struck": 3, "missed": 1}}
    assert found["entries"][TRADES] == {"live": 1, "missing": 1, "trade": 4}
