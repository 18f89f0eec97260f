"""The numbers of a connection's messages: holes, repeats, a count that begins again."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import Reconnect, Warn
from bridge.exchanges.toolkit.values.message_numbers import MessageNumbers
from tests.unit.core import T0


@pytest.fixture
def missed():
    return []


@pytest.fixture
def numbers(missed):
    def note(recv, reason, count):
        missed.append((recv, reason, count))
        return [Warn("missed")]

    return MessageNumbers("seq", note)


def take(numbers, *many):
    """Whether each is new, and what comes of them."""
    out = []
    return [numbers.take(number, T0, out) for number in many], out


def test_a_hole_is_told_once_with_its_size(numbers, missed):
    assert take(numbers, 0, 1, 4, 5) == ([True] * 4, [Warn("missed")])
    assert missed == [(T0, "seq 2 expected, 4 came", 2)]


def test_the_first_messages_may_be_missing(numbers, missed):
    take(numbers, 3)
    assert missed == [(T0, "seq 0 expected, 3 came", 3)]


def test_repeats_are_dropped(numbers, missed):
    assert take(numbers, 0, 1, 1, 0, 2)[0] == [True, True, False, False, True]
    assert missed == []


def test_a_count_that_goes_back_for_good_ends_the_connection(numbers):
    take(numbers, 50)
    new, out = take(numbers, *range(21))
    assert not any(new)
    assert out == [Reconnect("seq went back from 50 to 20")]


def test_so_does_one_that_goes_far_back(numbers):
    take(numbers, 20_000)
    assert take(numbers, 5)[1] == [Reconnect("seq went back from 20000 to 5")]


def test_the_second_number_in_a_row_that_cant_be_read_may_mean_anything(numbers, missed):
    assert numbers.unreadable(T0, "why") == []
    assert numbers.unreadable(T0, "why") == [Warn("missed")]
    assert numbers.unreadable(T0, "why") == []
    assert missed == [(T0, "why", None)]


def test_a_good_one_between_begins_the_count_again(numbers, missed):
    numbers.unreadable(T0, "why")
    take(numbers, 1)
    numbers.unreadable(T0, "why")
    assert [count for _, _, count in missed] == [1]
