"""What the toolkit makes of times: readings of an exchange's clock, and waits."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, HttpResponse
from bridge.exchanges.toolkit.timing.clocks import date_reading, iso_reading, millis_reading
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.timing.waiting import spread
from tests.unit.core import SECOND
from tests.unit.limitlex_keys import drive


@pytest.mark.parametrize(
    ("tail", "ns", "resolution"),
    [
        (":30Z", 0, SECOND),
        (":30", 0, SECOND),
        (":30.8Z", 800_000_000, SECOND // 10),
        (":30.886Z", 886_000_000, SECOND // 1_000),
        (":30.886+00:00", 886_000_000, SECOND // 1_000),
        (":30.886001Z", 886_001_000, 1_000),
        (":30.886001234Z", 886_001_000, 1_000),
    ],
)
def test_an_iso_time_has_the_resolution_of_its_decimals(tail, ns, resolution):
    assert iso_reading(f"2021-06-29T18:14{tail}") == ClockReading(1624990470 * SECOND + ns, resolution)


def test_an_iso_time_of_another_zone():
    assert iso_reading("2021-06-29T20:14:30+02:00").at == 1624990470 * SECOND


@pytest.mark.parametrize("value", [1624990470886, "1624990470886"])
def test_milliseconds_of_an_answer(value):
    requests, reading = drive(
        millis_reading("fake", "/time", "at"), HttpResponse(200, json.dumps({"at": value}).encode())
    )
    assert [(request.method, request.path) for request in requests] == [("GET", "/time")]
    assert reading == ClockReading(1624990470886_000_000, SECOND // 1_000)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{}", b'{"at":null}', b'{"at":"x"}', b'{"at":5}', b'{"at":1e999}'])
def test_an_answer_without_a_time(body):
    with pytest.raises(RestError, match="not a time"):
        drive(millis_reading("fake", "/time", "at"), HttpResponse(200, body))


@pytest.mark.parametrize(("status", "kind"), [(400, ErrorKind.REST_FAILED), (429, ErrorKind.REST_RATE_LIMITED)])
def test_a_refused_look_at_the_clock(status, kind):
    with pytest.raises(RestError) as caught:
        drive(
            millis_reading("fake", "/time", "at"), HttpResponse(status, b'{"at":1624990470886}', {"retry-after": "7"})
        )
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == (kind, status, 7.0)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_the_date_counts_whatever_the_answer_is(status):
    answer = HttpResponse(status, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT"})
    requests, reading = drive(date_reading("fake", "/"), answer)
    assert [(request.method, request.path) for request in requests] == [("HEAD", "/")]
    assert reading == ClockReading(1624990470 * SECOND, SECOND)


@pytest.mark.parametrize("status", [429, 503])
def test_but_for_one_that_asks_to_wait(status):
    answer = HttpResponse(status, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT", "retry-after": "7"})
    with pytest.raises(RestError) as caught:
        drive(date_reading("fake", "/"), answer)
    assert caught.value.retry_after == 7.0


def test_times_of_one_second_are_told_apart():
    ns = UtcTimes().ns
    second = "2021-06-29T18:14:30"
    texts = [f"{second}Z", f"{second}.5Z", f"{second}.000000001Z", f"{second}.0000000019Z", f"{second}Z"]
    assert [ns(text) - 1624990470 * SECOND for text in texts] == [0, SECOND // 2, 1, 1, 0]
    assert [ns(text) for text in ("1970-01-01T00:00:00Z", "0001-01-01T00:00:00.5Z")] == [None, None]


def test_waits_are_spread_by_up_to_a_fifth():
    waits = [spread(1_000, f"C{number}-USD") for number in range(1_000)]
    assert (min(waits), max(waits)) == (800, 1_200)
    assert spread(1_000, "C1-USD") == waits[1]
