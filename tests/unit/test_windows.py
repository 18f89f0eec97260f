"""Lists by windows of time and pages of rows: every row once, and whether they are all there."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.exchanges.api import Flow
from bridge.exchanges.toolkit.rest.windows import in_windows
from bridge.exchanges.toolkit.values.fields import Row

MOST = 3


class Listed:
    """Rows at these times, asked for by windows."""

    def __init__(self, *times: int) -> None:
        self.rows = [{"id": str(number), "at": str(time)} for number, time in enumerate(times)]
        self.asked: list[tuple[int, int]] = []

    def ask(self, start: int, end: int) -> Flow[list[Row]]:
        self.asked.append((start, end))
        return [row for row in self.rows if start <= int(row["at"]) <= end][:MOST]
        yield

    def read(self, start: int, end: int, span: int = 10) -> tuple[list[Row], bool]:
        flow: Any = in_windows(self.ask, start, end, span=span, most=MOST, ident="id", time="at")
        with pytest.raises(StopIteration) as stop:
            next(flow)
        found: tuple[list[Row], bool] = stop.value.value
        return found


def test_windows_follow_each_other_to_the_end() -> None:
    listed = Listed(0, 9, 10, 24)
    assert listed.read(0, 24) == (listed.rows, True)
    assert listed.asked == [(0, 9), (10, 19), (20, 24)]


def test_a_full_answer_goes_on_where_it_ends_and_counts_no_row_twice() -> None:
    listed = Listed(0, 1, 2, 3, 3, 4)
    assert listed.read(0, 9) == (listed.rows, True)
    assert listed.asked == [(0, 9), (2, 9), (3, 9), (4, 9)][: len(listed.asked)]


def test_more_at_one_time_than_an_answer_has_is_not_all() -> None:
    listed = Listed(*[5] * (MOST + 1))
    rows, whole = listed.read(5, 9)
    assert (len(rows), whole) == (MOST, False)


def test_there_is_an_end_to_asking() -> None:
    listed = Listed()
    assert listed.read(0, 10_000) == ([], False)
    assert len(listed.asked) == 100


def test_nothing_is_asked_of_the_future() -> None:
    listed = Listed()
    assert listed.read(5, 4) == ([], True)
    assert listed.asked == []


def test_a_row_without_id_or_time_is_one_all_the_same() -> None:
    listed = Listed()
    listed.ask = lambda start, end: _rows([{"x": "1"}, {"at": "9" * 20}, {"x": "2"}])  # type: ignore[method-assign]
    rows, whole = listed.read(0, 5)
    assert (len(rows), whole) == (3, False)


def _rows(rows: list[Row]) -> Flow[list[Row]]:
    return rows
    yield
