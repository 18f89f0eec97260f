from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import parse_duration, parse_size

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86400),
        ("90s", 90),
        ("1.5m", 90),
        ("250ms", 0.25),
        ("30d", 2_592_000),
        ("1h30m", 5400),
        ("17", 17),
        ("0.5", 0.5),
        (3, 3),
        (2.5, 2.5),
        (0, 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "h", "24 hours", "1w", "-5s", "5s!", "1.s", ".5s", "1h 30m", "٣s", "1e3", -1, True, None, [1], float("nan")],
)
def test_no_durations(text):
    with pytest.raises(ValueError, match="should be a duration"):
        parse_duration(text)


def test_a_duration_beyond_all_bounds_is_refused():
    with pytest.raises(ValueError, match="too large"):
        parse_duration("9" * 400 + "d")


@given(st.integers(0, 10**9), st.sampled_from(sorted(SECONDS)))
def test_any_whole_number_of_any_unit(number, unit):
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * SECONDS[unit])


@given(st.text())
def test_any_text_is_a_finite_duration_or_refused(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 67_108_864),
        ("10MB", 10_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1 kB", 1000),
        ("12", 12),
        (12, 12),
        ("64mib", 67_108_864),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "64 Mi", "-1B", "1,5MB", 1.5, True, None, -3, "1TB2"])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="should be a size"):
        parse_size(text)


@given(st.integers(0, 10**12), st.sampled_from(sorted(BYTES)))
def test_any_whole_size_is_exact(number, unit):
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]
