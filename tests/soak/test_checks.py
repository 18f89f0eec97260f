"""The checks of the long runs find what they look for."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.chaos.checks import FILLS, TRADES, Late, check_book, check_events
from bridge.chaos.truth import Happened, Truth, _short
from tests.servers import RedisServer
from tests.soak.leaks import find_secrets

PAIR = "BTC-USD"
BOOKS: list[dict[str, Any]] = [
    {"seq": 5, "bids": [["10", "1"], ["9", "2"]], "asks": [["11", "1"]]},
    {"seq": 6, "bids": [["10", "3"]], "asks": []},
    {"seq": 7, "bids": [["9", "0"]], "asks": [["12", "4"]]},
]
SNAPSHOT = ("snapshot", {"xseq": "5", "bids": "10:1 9:2", "asks": "11:1"})
SECOND = ("delta", {"xseq": "6", "bids": "10:3", "asks": ""})
THIRD = ("delta", {"xseq": "7", "bids": "9:0", "asks": "12:4.0"})
DOWN = ("control", {"event": "down", "reason": "why"})
LIVE = ("control", {"event": "live", "reason": ""})
LAST = ("snapshot", {"xseq": "7", "bids": "10:3", "asks": "11:1 12:4"})

Row = tuple[str, dict[str, str]]


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    rows = [{"k": "book", "pair": PAIR, "time": 100.0 + row["seq"], **row} for row in BOOKS]
    rows += [
        {"k": "trade", "pair": PAIR, "id": i, "side": "buy", "price": "1", "size": "2", "time": 100.0 + i}
        for i in range(1, 6)
    ]
    data = json.dumps({"data": [{"tradeId": 4, "timestamp": 105_000}]})
    rows.append({"k": "left_out", "type": "trades", "pair": PAIR, "why": "drop", "data": data})
    (tmp_path / "journal").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Truth(tmp_path / "journal", {})


def stream(*rows: tuple[str, dict[str, str]], recv: int = 106) -> list[Row]:
    return [
        (f"1-{number}", {"type": kind, "recv": str((recv + number) * 10**9), **fields})
        for number, (kind, fields) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([SNAPSHOT, SECOND, THIRD], []),
        ([SNAPSHOT, DOWN, LAST], []),
        ([SNAPSHOT, THIRD], ["1-1: not the book of number 7", "at the end"]),
        ([SNAPSHOT, SECOND, ("delta", {"xseq": "7", "bids": "9:0", "asks": "12:5"})], ["1-2: not the book", "at the"]),
        ([("snapshot", {**SNAPSHOT[1], "asks": ""}), SECOND, THIRD], ["1-0: not", "at the"]),
        ([SNAPSHOT, DOWN, SECOND, THIRD], ["1-2: a delta without", "at the end"]),
        ([SNAPSHOT, SECOND], ["at the end: number 6, the exchange has 7"]),
        ([SNAPSHOT, SECOND, THIRD, DOWN], ["at the end: number None"]),
    ],
)
def test_wrong_books(truth: Truth, rows: list[tuple[str, dict[str, str]]], what: list[str]) -> None:
    _, wrong = check_book(stream(*rows), truth.books[PAIR], Late([]))
    assert len(wrong) == len(what)
    assert all(line.startswith(words) for line, words in zip(wrong, what, strict=True))


def test_a_book_that_stands_still_unmarked(truth: Truth) -> None:
    late, excused = Late([]), Late([(100.0, 200.0)])
    for each in (late, excused):
        check_book(stream(SNAPSHOT, DOWN, LAST, recv=120), truth.books[PAIR], each)
    assert (late.most, excused.most) == (15.0, 0.0)


def trades(*numbers: int) -> list[Row]:
    """0 stands for a control entry."""
    return stream(
        *(("trade", {"id": str(n), "side": "buy", "price": "1.0", "size": "2"}) if n else DOWN for n in numbers)
    )


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        ((1, 2, 3, 4, 5), []),
        ((2, 1, 3, 5), []),
        ((1, 0, 4, 5), []),
        ((1, 2, 5), ["trade 3 is missing"]),
        ((1, 0, 2, 5), ["trade 3 is missing"]),
        ((1, 2, 3), ["trade 5 is missing"]),
        ((1, 2, 2, 3, 5), ["1-2: trade 2 is there twice"]),
        ((1, 2, 3, 5, 6), ["1-4: trade 6 is not the exchange's"]),
    ],
)
def test_trades_missing_or_twice(truth: Truth, numbers: tuple[int, ...], what: list[str]) -> None:
    _, wrong = check_events(trades(*numbers), TRADES, truth.trades[PAIR], truth.unnoticed[PAIR])
    assert len(wrong) == len(what)
    assert all(line.startswith(words) for line, words in zip(wrong, what, strict=True))


def test_trades_of_a_long_freeze_have_to_be_declared() -> None:
    assert _short({1: 100.0, 2: 100.9, 3: 101.5, 7: 200.0, 8: 200.9, 9: 201.8, 10: 202.7, 11: 203.5}, 3.0, ()) == [
        1,
        2,
        3,
    ]


def test_fills_missing_or_twice() -> None:
    one = Happened(("buy", Decimal(1), Decimal(2)), 200.0)
    fields = {"fill_id": "a", "pair": PAIR, "side": "buy", "price": "1", "size": "2"}
    assert wrong_fills([("fill", fields)], {"a": one}) == 0
    assert wrong_fills([("fill", fields), ("fill", fields)], {"a": one}) == 1
    assert wrong_fills([("fill", fields)], {"a": one, "b": one}) == 1
    assert wrong_fills([("fill", fields), DOWN], {"a": one, "b": one}) == 0
    assert wrong_fills([("fill", {**fields, "size": "3"})], {"a": one}) == 1
    assert wrong_fills([LIVE], {"a": one}) == 1
    assert wrong_fills([LIVE, DOWN], {"a": one}) == 0


def wrong_fills(rows: list[tuple[str, dict[str, str]]], true: dict[str, Happened]) -> int:
    return len(check_events(stream(*rows), FILLS, true)[1])


def test_secrets_are_found_wherever_they_stand(redis_server: RedisServer, tmp_path: Path) -> None:
    secret, file = "a-very-secret-word", tmp_path / "some.log"
    with redis_server.client() as client:
        client.hset("hash", "field", "harmless")
        file.write_text("nothing")
        assert find_secrets([secret], client, [file])[1] == []
        client.xadd("stream", {"raw": f"…{secret}…"})
        client.hset("hash", "other", secret)
        client.set(f"named-{secret}", "x")
        file.write_text(f"signed {'0af9' * 24}")
        found = find_secrets([secret], client, [file])[1]
    where = {"the key hash", "the key stream", f"the key named-{secret}"}
    assert set(found) == {f"a secret stands in {each}" for each in where} | {
        f"a signature stands in {file}: b'0af90af9'…"
    }
