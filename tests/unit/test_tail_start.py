from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bridge.tail.selection import glob_of
from bridge.tail.start import parse_start

EAST = timezone(timedelta(hours=2))
NOW = datetime(2026, 11, 28, 10, 0, 0, tzinfo=EAST)


def moment(*parts: int, zone: timezone = EAST) -> str:
    ms = int(datetime(*parts, tzinfo=zone).timestamp() * 1000)
    return f"{ms - 1}-18446744073709551615"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("now", "now"),
        ("start", "start"),
        ("1786309548030", "1786309548030"),
        ("1786309548030-7", "1786309548030-7"),
        ("18446744073709551615-18446744073709551615", "18446744073709551615-18446744073709551615"),
        ("0-1", "0-1"),
        ("5m", moment(2026, 11, 28, 9, 55)),
        ("1h30m", moment(2026, 11, 28, 8, 30)),
        ("1.5h", moment(2026, 11, 28, 8, 30)),
        ("2d", moment(2026, 11, 26, 10, 0)),
        ("9:30", moment(2026, 11, 28, 9, 30)),
        ("09:30:15", moment(2026, 11, 28, 9, 30, 15)),
        ("9:30:15.5", moment(2026, 11, 28, 9, 30, 15, 500_000)),
        ("10:30", moment(2026, 11, 27, 10, 30)),
        ("2026-11-27", moment(2026, 11, 27)),
        ("2026-11-27T10:30", moment(2026, 11, 27, 10, 30)),
        ("2026-11-27 10:30:00", moment(2026, 11, 27, 10, 30)),
        ("2026-11-27T10:30Z", moment(2026, 11, 27, 10, 30, zone=UTC)),
        ("2026-11-27T10:30+01:00", moment(2026, 11, 27, 9, 30, zone=UTC)),
        ("1960-01-01", "0-0"),
    ],
)
def test_where_to_begin(text, place):
    assert parse_start(text, NOW) == place


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "5x", "25:00", "10:3", "-5m", "2026-13-01", "1-2-3", "1-", "-1", "9" * 400 + "m", "٣m"],
)
def test_what_is_no_place(text):
    with pytest.raises(ValueError, match="not a position to start"):
        parse_start(text, NOW)


@pytest.mark.parametrize("text", ["18446744073709551616", "1-18446744073709551616"])
def test_an_id_that_redis_would_refuse(text):
    with pytest.raises(ValueError, match="too large"):
        parse_start(text, NOW)


def test_this_machines_zone_is_the_default():
    local = datetime.now().astimezone().replace(microsecond=0)
    place = parse_start(local.replace(tzinfo=None).isoformat())
    assert place == f"{int(local.timestamp() * 1000) - 1}-18446744073709551615"


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("md:*", ["md:", "md:{x:A-B}:book", "md:\n"], ["acct:", "xmd:"]),
        ("a?c", ["abc", "a{c"], ["ac", "abbc"]),
        ("[ab]x", ["ax", "bx"], ["cx"]),
        ("[^ab]x", ["cx", "^x"], ["ax"]),
        ("[a-c]", ["b"], ["d", "-"]),
        (r"\*{x}", ["*{x}"], ["a{x}"]),
        ("a[", ["a["], ["a"]),
        ("[z-a]", [], ["z", "a"]),
        ("a.c", ["a.c"], ["abc"]),
    ],
)
def test_patterns_as_redis_has_them(pattern, fits, fits_not):
    glob = glob_of(pattern)
    assert all(glob.fullmatch(text) for text in fits)
    assert not any(glob.fullmatch(text) for text in fits_not)
