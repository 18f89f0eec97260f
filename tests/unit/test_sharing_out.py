"""Pairs over connections and topics over requests, within what an exchange allows."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.exchanges.toolkit.pairs.listing import in_messages, share_out

PAIRS = [f"C{number}-EUR" for number in range(10)]


def three(pair):
    return [f"trades.{pair}", f"book.{pair}", f"ticker.{pair}"]


def request(topics):
    return json.dumps(list(topics), separators=(",", ":"))


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ({}, [10]),
        ({"most": 10}, [10]),
        ({"most": 4}, [4, 3, 3]),
        ({"most": 1}, [1] * 10),
        ({"most": 9, "topics": three}, [3, 3, 2, 2]),
        ({"most_bytes": 90}, [10]),
        ({"most_bytes": 89}, [5, 5]),
        ({"most_bytes": 50, "most": 4}, [4, 3, 3]),
        ({"most": 4, "connections": 3}, [4, 3, 3]),
    ],
)
def test_as_few_connections_as_do(limits, sizes):
    parts = share_out(PAIRS, **limits)
    assert [len(part) for part in parts] == sizes
    assert sorted(pair for part in parts for pair in part) == PAIRS


def test_nothing_needs_no_connection():
    assert share_out([], 5) == share_out([], most_bytes=5, connections=0) == []


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=12), max_size=40),
    st.integers(1, 9),
    st.integers(60, 200),
)
def test_each_pair_is_on_one_connection_that_has_room_for_it(pairs, most, most_bytes):
    parts = share_out(pairs, most * 2, topics=lambda pair: (pair, "x"), most_bytes=most_bytes)
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    assert max(map(len, parts), default=0) - min(map(len, parts), default=0) <= 1
    for part in parts:
        topics = [topic for pair in part for topic in (pair, "x")]
        assert len(topics) <= most * 2
        assert len("".join(topics).encode()) + 3 * len(topics) <= most_bytes


def test_too_many_pairs_for_the_connections():
    with pytest.raises(ConfigError) as caught:
        share_out(PAIRS, 9, topics=three, connections=3)
    [problem] = caught.value.problems
    assert problem.path == "pairs"
    assert problem.message == "10 pairs need 4 connections, and the exchange allows 3 from one address"
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("limits", [{"most": 2}, {"most_bytes": 40}])
def test_a_pair_that_is_too_much_for_a_connection(limits):
    with pytest.raises(ConfigError, match="C0-EUR alone has more topics than the exchange allows a connection"):
        share_out(PAIRS, topics=three, **limits)


@given(st.lists(st.from_regex(r"[a-z.]{1,20}", fullmatch=True), max_size=40), st.integers(1, 9), st.integers(30, 90))
def test_requests_are_as_long_as_they_may_be_and_no_longer(topics, most, most_bytes):
    parts = in_messages(topics, most, most_bytes)
    assert [topic for part in parts for topic in part] == topics
    for part in parts:
        assert len(part) <= most
        assert len(request(part)) - 1 <= most_bytes, "what is around the topics is not counted"
    for part, following in pairwise(parts):
        longer = (*part, following[0])
        assert len(longer) > most or len(request(longer)) - 1 > most_bytes


def test_a_topic_that_is_longer_than_a_request():
    with pytest.raises(ConfigError, match=r"book\.C0-EUR is longer than a request may be"):
        in_messages(["book.C0-EUR"], most_bytes=10)


def test_without_a_limit_one_request_is_enough():
    assert in_messages(PAIRS) == [tuple(PAIRS)]
    assert in_messages([]) == []
