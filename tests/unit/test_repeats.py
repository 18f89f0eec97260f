from __future__ import annotations

import pytest

from bridge.process.repeats import WHOLE, WINDOW, Repeats
from tests.patience import PATIENCE


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return []


@pytest.fixture
def repeats(said, clock):
    made = Repeats(said.append, clock)
    yield made
    made.close()


def admitted(repeats, count, kind="k", source=("s",)):
    return sum(repeats.admit(kind, source, {"n": number}) for number in range(count))


def test_the_first_are_written_and_the_rest_is_summed_up(repeats, said, clock):
    assert admitted(repeats, 1000) == WHOLE
    clock.now += WINDOW
    repeats.flush(all_of_them=False)
    [summary] = said
    assert (summary.count, summary.seconds) == (1000 - WHOLE, WINDOW)
    assert summary.newest == {"n": 999}
    assert repeats.left_out == 1000 - WHOLE


def test_while_the_storm_goes_on_there_are_only_summaries(repeats, said, clock):
    admitted(repeats, 10)
    for _ in range(3):
        clock.now += WINDOW
        repeats.flush(all_of_them=False)
        assert admitted(repeats, 10) == 0
    assert [summary.count for summary in said] == [10 - WHOLE, 10, 10]


def test_after_a_quiet_minute_lines_are_written_again(repeats, said, clock):
    admitted(repeats, 10)
    clock.now += WINDOW
    repeats.flush(all_of_them=False)
    clock.now += WINDOW
    assert admitted(repeats, 10) == WHOLE


def test_what_comes_seldom_is_always_written(repeats, said, clock):
    for _ in range(100):
        assert admitted(repeats, 1) == 1
        clock.now += WINDOW / WHOLE
    repeats.flush()
    assert said == []


def test_a_storm_hides_no_first_line_of_another_source(repeats, said):
    admitted(repeats, 100)
    assert admitted(repeats, 2, source=("another",)) == 1
    assert admitted(repeats, 1, kind="another") == 1
    repeats.flush()
    [summary] = said
    assert summary.sources == {("s",), ("another",)}


def test_names_from_outside_make_no_lines_without_end(repeats):
    assert sum(repeats.admit("k", (str(number),), {}) for number in range(10_000)) == 100
    kinds = sum(admitted(repeats, 100, kind=str(number)) for number in range(10_000))
    assert kinds <= 1_000 * WHOLE + WHOLE


def test_the_end_says_what_is_left(repeats, said, clock):
    admitted(repeats, 7)
    clock.now += 12
    repeats.close()
    assert [(summary.count, summary.seconds) for summary in said] == [(7 - WHOLE, 12.0)]


def test_a_timer_says_it_without_anybody_asking(said, monkeypatch):
    monkeypatch.setattr("bridge.process.repeats.WINDOW", 0.05)
    from threading import Event

    heard = Event()
    repeats = Repeats(lambda summary: (said.append(summary), heard.set()))
    admitted(repeats, 1000)
    assert heard.wait(PATIENCE)
    repeats.close()
    assert sum(summary.count for summary in said) == repeats.left_out
