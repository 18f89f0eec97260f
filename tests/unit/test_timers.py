"""Renewals on a session's clock: when they are due, what failures do, and when the connection has to be replaced."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, Flow, HttpRequest, HttpResponse, Replace, Said, Session
from bridge.exchanges.toolkit.timing.timers import Renewal

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
EVERY, LASTS = 1800, 3600


class Quiet(Session):
    def receive(self, frame: bytes, recv: int) -> Sequence:
        return ()


def keep_alive(now: int) -> Flow[int | None]:
    response = yield HttpRequest("PUT", "/listenKey")
    if response.status == 200:
        return int(response.body) * SECOND if response.body else None
    retry = response.headers.get("retry-after")
    raise RestError("venue", "/listenKey", response.status, "no", float(retry) if retry else None)


def renewal(session: Session) -> Renewal:
    made = Renewal(
        session, "the listen key", keep_alive, every=EVERY, lasts=LASTS, gone=lambda error: error.status == 400
    )
    made.begin(T0)
    return made


def answer(fetch: Fetch, response: HttpResponse) -> list:
    """Hold the conversation; what it ends in."""
    assert next(fetch.flow).path == "/listenKey"
    with pytest.raises(StopIteration) as stop:
        fetch.flow.send(response)
    return stop.value.value


def seconds_until_due(timers: Renewal, since: int, limit: int) -> tuple[int, Fetch | None]:
    """The first second after ``since`` in which a call is begun."""
    for second in range(since + 1, limit):
        if begun := timers.tick(T0 + second * SECOND):
            [fetch] = begun
            return second, fetch
    return limit, None


OK, BUSY, AWAY, UNKNOWN = HttpResponse(200, b""), HttpResponse(429, b"", {"retry-after": "150"}), 503, 400


def test_it_is_renewed_every_so_often_and_moves_the_expiry():
    session = Quiet()
    timers = renewal(session)
    assert session.expires == T0 + LASTS * SECOND
    at = 0
    for _ in range(5):
        before, (at, fetch) = at, seconds_until_due(timers, at, 20_000)
        assert at == before + EVERY
        assert timers.tick(T0 + at * SECOND) == [], "one call at a time"
        assert answer(fetch, OK) == []
        assert session.expires == T0 + (at + LASTS) * SECOND


def test_the_exchange_may_say_when_it_lapses():
    session = Quiet()
    timers = renewal(session)
    timers.begin(T0, T0 + 99 * SECOND)
    assert session.expires == T0 + 99 * SECOND
    _, fetch = seconds_until_due(timers, 0, 20_000)
    answer(fetch, HttpResponse(200, b"1800000000"))
    assert session.expires == 1_800_000_000 * SECOND


def test_failures_are_repeated_at_growing_intervals_and_leave_the_expiry_alone():
    session = Quiet()
    timers = renewal(session)
    at, fetch = seconds_until_due(timers, 0, 20_000)
    waits = []
    for _ in range(7):
        [said] = answer(fetch, HttpResponse(AWAY, b""))
        assert isinstance(said, Said)
        assert said.consequence == "the listen key is not renewed"
        assert session.expires == T0 + LASTS * SECOND, "so the feed replaces the connection before then"
        before, (at, fetch) = at, seconds_until_due(timers, at, 20_000)
        waits.append(at - before)
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    answer(fetch, OK)
    assert session.expires == T0 + (at + LASTS) * SECOND
    again, _ = seconds_until_due(timers, at, 20_000)
    assert again == at + EVERY


def test_one_that_the_exchange_has_forgotten_costs_the_connection():
    session = Quiet()
    timers = renewal(session)
    at, fetch = seconds_until_due(timers, 0, 20_000)
    said, replace = answer(fetch, HttpResponse(UNKNOWN, b""))
    assert isinstance(said, Said)
    assert replace == Replace("the listen key has lapsed")
    assert seconds_until_due(timers, at, at + 2 * EVERY)[1] is None, "there is nothing left to renew"


@given(st.lists(st.sampled_from(["good", "away", "busy"]), max_size=25))
def test_whatever_comes_calls_are_apart_and_the_expiry_is_that_of_the_last_success(outcomes):
    session = Quiet()
    timers = renewal(session)
    at, fetch = seconds_until_due(timers, 0, 10_000)
    good = 0
    for outcome in outcomes:
        assert fetch is not None, "it gives up never"
        answer(fetch, {"good": OK, "busy": BUSY, "away": HttpResponse(AWAY, b"")}[outcome])
        good = at if outcome == "good" else good
        assert session.expires == T0 + (good + LASTS) * SECOND
        before, (at, fetch) = at, seconds_until_due(timers, at, at + 10_000)
        least, most = {"good": (EVERY, EVERY), "away": (5, 60), "busy": (150, 150)}[outcome]
        assert least <= at - before <= most
