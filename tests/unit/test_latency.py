from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.latency import Latency


def test_nothing_counted_is_nothing_said():
    assert Latency().percentile(0.5) is None


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_a_percentile_is_within_its_bin(durations, share):
    latency = Latency()
    for duration in durations:
        latency.add(duration)
    ordered = sorted(durations)
    rank = next(i for i in range(len(ordered)) if i + 1 >= share * len(ordered))
    true = min(ordered[rank], 2_000_000_000) / 1e6
    found = latency.percentile(share)
    bin_width = 0.01 if true < 20 else 1.0
    if share:
        assert true - bin_width <= found <= true + bin_width
    assert latency.count == len(durations)


@pytest.mark.parametrize(
    ("ns", "ms"),
    [(-5, 0.01), (0, 0.01), (9_999, 0.01), (10_000, 0.02), (19_999_999, 20.0), (20_000_000, 21.0), (10**12, 2001.0)],
)
def test_edges(ns, ms):
    latency = Latency()
    latency.add(ns)
    assert latency.percentile(1.0) == pytest.approx(ms)


def test_many_at_once_and_anew():
    latency = Latency()
    latency.add_since(1_000_000, [0, 500_000, 990_000])
    assert latency.count == 3
    assert latency.percentile(0.3) == pytest.approx(0.02)
    assert latency.percentile(1.0) == pytest.approx(1.01)
    latency.reset()
    assert latency.percentile(0.5) is None


@pytest.mark.parametrize("count", [199, 200, 201, 1_099, 4_096])
def test_of_very_many_at_once_an_even_sample_stands_for_all(count):
    latency = Latency()
    latency.add_since(count * 10_000, [10_000 * at for at in range(count)])
    assert latency.count == count
    for share in (0.01, 0.25, 0.5, 0.99, 1.0):
        assert latency.percentile(share) == pytest.approx(count * share / 100, rel=0.03, abs=0.02 + count / 5_000)
    assert latency.cumulative([2 * 10**12]) == [count]


@given(st.lists(st.integers(0, 3_000_000_000), max_size=200))
def test_buckets_are_cumulative_counts(durations):
    latency = Latency()
    for duration in durations:
        latency.add(duration)
    edges = [100_000, 1_000_000, 20_000_000, 25_000_000, 100_000_000, 1_000_000_000, 2_000_000_000]
    assert latency.cumulative(edges) == [sum(duration < edge for duration in durations) for edge in edges]
    # Each is taken for the middle of its bin, and what is longer for two seconds.
    true = sum(min(duration, 2_000_000_000) for duration in durations)
    assert abs(latency.total - true) <= 500_000 * len(durations)
