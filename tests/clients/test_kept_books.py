"""The book of a few lines, in each language: kept right through cut, drop, corrupt, restart and late join."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.disturbing import BOOK, disturb
from tests.clients.following import Program, books_by_id, numbers
from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually
from tests.unit.doc_pages import ROOT


@pytest.fixture(params=["typescript", "go", "python"])
def follow(request: pytest.FixtureRequest) -> list[str]:
    """The command of a program that prints the book after every entry."""
    if request.param == "python":
        return [sys.executable, str(ROOT / "tests" / "clients" / "follow.py")]
    folder: Path = request.getfixturevalue(request.param)
    return [str(folder / "bin" / "follow")] if request.param == "go" else ["node", str(folder / "dist/test/follow.js")]


def test_the_book_is_right_whatever_happens(follow: list[str], bench: Bench, run: Run, tmp_path: Path) -> None:
    simulated = bench.simulate(rate=200)
    connector = bench.run()
    command = [*follow, bench.server.url, "book", "limitlex", "BTC-EUR"]
    with Program(tmp_path, *command) as program:
        program.wait(lambda lines: len(lines) > 50, "a book that changes")
        disturb(bench, connector, program)
        run("--redis", bench.server.url, "--every", "0.2", module="consumers.books")
        eventually(lambda: bench.client.exists(f"{BOOK}:snapshot"), "the late-join hash")
        late = tmp_path / "late"
        late.mkdir()
        with Program(late, *command) as joined:
            joined.wait(lambda lines: len(lines) > 5, "a book that is joined late")
            simulated.pause()
            true = simulated.book("BTC-EUR")
            for one in (program, joined):
                eventually(lambda: not one.rows[-1]["why"] and _sides(one.rows[-1]) == true, "the exchange's own book")  # noqa: B023
            rows, late_rows = program.rows, joined.rows
            assert (program.stop(), joined.stop()) == (0, 0)
    assert len({row["id"] for row in rows}) == len(rows) > 150
    assert {row["why"] for row in rows} >= {"", "gap", "down"}
    assert not late_rows[0]["why"], "the late one begins with a full book"
    _as_the_reader(rows + late_rows, bench.server.url)


def _sides(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(numbers([(level["price"], level["size"]) for level in row[side]]) for side in ("bids", "asks"))


def _as_the_reader(rows: list[dict[str, Any]], url: str) -> None:
    """Every book that was printed is that of the Python reader, which read all of the stream."""
    expected = asyncio.run(books_by_id(url, BOOK, rows[-1]["id"]))
    for row in rows:
        assert (None if row["why"] else _sides(row)) == expected[row["id"]], row["id"]
