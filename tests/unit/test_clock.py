from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from bridge.exchange_errors import RestError
from bridge.exchanges.api import ClockReading, HttpResponse, Profile
from bridge.exchanges.coinbase import Coinbase
from bridge.exchanges.limitlex import Limitlex
from bridge.exchanges.toolkit.timing.clocks import date_reading, iso_reading
from bridge.feed.clock import Clock, ClockKeeper
from tests.unit.core import SECOND, T0
from tests.unit.limitlex_keys import drive

MS = 1_000_000


class Exchange:
    """A clock that is ``offset`` ahead, drifts by ``drift``, and is told in whole ``resolution``s."""

    def __init__(self, offset, resolution, drift=0.0):
        self.offset = offset
        self.resolution = resolution
        self.drift = drift

    def ahead(self, now):
        return self.offset + int((now - T0) * self.drift)

    def reading(self, now):
        shown = now + self.ahead(now)
        return ClockReading(shown - shown % self.resolution, self.resolution)


calls = st.lists(
    st.tuples(st.integers(1, 70 * SECOND), st.integers(0, 3 * SECOND), st.integers(0, 3 * SECOND)),
    min_size=1,
    max_size=40,
)


@given(
    st.integers(-(10**13), 10**13),
    st.sampled_from([1, 1000, MS, SECOND]),
    st.floats(-0.00005, 0.00005),
    calls,
)
def test_the_true_offset_is_always_within_the_error(offset, resolution, drift, waits):
    exchange, clock, now = Exchange(offset, resolution, drift), Clock(), T0
    for pause, there, back in waits:
        before = now + pause
        asked = before + there
        now = asked + back
        clock.add(before, now, exchange.reading(asked))
        found = clock.offset(now)
        assert found is not None
        assert abs(found.ns - exchange.ahead(now)) <= found.error + 1
        later = clock.offset(now + 60 * SECOND)
        assert abs(later.ns - exchange.ahead(now + 60 * SECOND)) <= later.error + 1


@given(st.integers(-(10**13), 10**13), calls, st.integers(20 * SECOND, 10**13), st.sampled_from([1, -1]))
def test_after_a_step_of_either_clock_the_newest_reading_counts(offset, waits, step, sign):
    exchange, clock, now = Exchange(offset, MS), Clock(), T0
    for pause, there, back in waits:
        before = now + pause
        now = before + there + back
        clock.add(before, now, exchange.reading(before + there))
    exchange.offset += sign * step
    clock.add(now, now + SECOND, exchange.reading(now + SECOND // 2))
    found = clock.offset(now + SECOND)
    assert abs(found.ns - exchange.offset) <= found.error <= SECOND


def test_a_clock_of_whole_seconds_becomes_sharp():
    exchange, clock, now = Exchange(5 * SECOND + 123 * MS, SECOND), Clock(), T0
    random = Random(1)
    errors = []
    for _ in range(10):
        now += int(random.uniform(0.7, 1.7) * SECOND)
        clock.add(now, now + 20 * MS, exchange.reading(now + 10 * MS))
        errors.append(clock.offset(now).error)
    assert errors[0] >= 500 * MS
    assert errors[-1] < 100 * MS
    assert abs(clock.offset(now).ns - exchange.offset) <= errors[-1]


def test_what_isnt_known_grows_while_nobody_asks():
    clock = Clock()
    clock.add(T0, T0 + 10 * MS, ClockReading(T0, MS))
    assert clock.offset(T0 + 3600 * SECOND).error > clock.offset(T0 + SECOND).error + 300 * MS


class Rig:
    """A keeper over an exchange that answers what it is told to; its sleeps are noted, and take no time."""

    def __init__(self, *answers, clock=True):
        self.answers = list(answers)
        self.now = T0
        self.slept = []
        self.faults = []
        self.known = []
        self.logs = LogCapture()
        self.clock = Clock()
        exchange = SimpleNamespace(clock=(lambda: "flow") if clock else (lambda: None), clock_known=self.known.append)
        context = SimpleNamespace(
            exchange=exchange,
            rest=self,
            receiver=SimpleNamespace(fault=self.faults.append),
            random=Random(2),
            log=structlog.wrap_logger(None, processors=[self.logs]),
            now=lambda: self.now,
        )
        self.keeper = ClockKeeper(self.clock, context, self.sleep)

    async def drive(self, _):
        answer = self.answers.pop(0)
        self.now += 100 * MS
        if isinstance(answer, Exception):
            raise answer
        return ClockReading(self.now - 50 * MS + answer, MS)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += int(seconds * SECOND)
        if not self.answers:
            raise asyncio.CancelledError

    async def run(self):
        with pytest.raises(asyncio.CancelledError):
            await self.keeper.run()


async def test_it_asks_often_at_first_then_about_once_a_minute():
    rig = Rig(*[3 * SECOND] * 20)
    await rig.run()
    assert all(wait < 2 for wait in rig.slept[:8])
    assert sum(rig.slept) / 60 > 4.5, "then a pair each minute"
    assert rig.clock.offset(rig.now).ns == pytest.approx(3 * SECOND, abs=100 * MS)
    assert rig.known[-1] == rig.clock.offset(rig.now).ns
    assert rig.faults == []


async def test_clocks_that_may_agree_are_left_as_they_are():
    rig = Rig(*[20 * MS] * 3)
    await rig.run()
    assert set(rig.known) == {0}


async def test_failures_are_said_once_and_tried_ever_more_seldom():
    error = RestError("fake", "/time", 404, "nothing here")
    rig = Rig(*[error] * 12)
    await rig.run()
    assert [entry["event"] for entry in rig.logs.entries] == ["clock_unknown"]
    assert len(rig.faults) == 12
    assert rig.slept[-1] > 400
    assert sum(rig.slept) > 3600, "a dozen calls in more than an hour"
    assert rig.clock.settled
    assert rig.clock.offset(rig.now) is None


async def test_a_failure_doesnt_forget_what_is_known():
    rig = Rig(SECOND, RestError("fake", "/time", 429, "slow down", 77.0), SECOND)
    await rig.run()
    assert rig.slept[1] >= 77
    assert rig.clock.offset(rig.now).ns == pytest.approx(SECOND, abs=100 * MS)


async def test_an_exchange_without_a_clock():
    rig = Rig(clock=False)
    await rig.keeper.run()
    assert rig.clock.settled
    assert rig.slept == []


class TestExchanges:
    def test_coinbase(self):
        body = b'{"iso":"2023-10-23T20:32:51Z","epochSeconds":"1698093171","epochMillis":"1698093171032"}'
        [request], reading = drive(Coinbase(Profile(("BTC-USD",), frozenset())).clock(), HttpResponse(200, body))
        assert (request.method, request.path) == ("GET", "/api/v3/brokerage/time")
        assert reading == ClockReading(1698093171032 * MS, MS)

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"7", b"[]", b"{}", b'{"epochMillis":"soon"}', b'{"epochMillis":null}', b'{"epochMillis":-1}'),
            *(b'{"epochMillis":1e300}', b'{"epochMillis":"%s"}' % (b"9" * 400)),
        ],
    )
    def test_coinbase_without_a_time(self, body):
        with pytest.raises(RestError, match="not a time"):
            drive(Coinbase(Profile(("BTC-USD",), frozenset())).clock(), HttpResponse(200, body))

    def test_coinbase_asks_to_wait(self):
        with pytest.raises(RestError) as caught:
            drive(Coinbase(Profile((), frozenset())).clock(), HttpResponse(429, b"", {"retry-after": "9"}))
        assert caught.value.retry_after == 9.0

    @pytest.mark.parametrize("status", [200, 404, 405])
    def test_limitlex_by_the_date_of_any_answer(self, status):
        answer = HttpResponse(status, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT"})
        [request], reading = drive(Limitlex(Profile(("BTC-EUR",), frozenset())).clock(), answer)
        assert request.method == "HEAD"
        assert reading == ClockReading(1624990470 * SECOND, SECOND)

    @pytest.mark.parametrize("date", ["", "soon", "Tue, 99 Jun 2021 18:14:30 GMT"])
    def test_no_date(self, date):
        with pytest.raises(RestError, match="no Date"):
            drive(date_reading("fake", "/"), HttpResponse(200, b"", {"date": date}))

    def test_a_busy_exchange(self):
        with pytest.raises(RestError):
            drive(date_reading("fake", "/"), HttpResponse(429, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT"}))

    @pytest.mark.parametrize(
        "text", ["", "now", "18:14:30Z", "2021-06-31T18:14:30Z", "1812-06-29T18:14:30Z", "9999-06-29T18:14:30Z"]
    )
    def test_no_iso_time(self, text):
        with pytest.raises(ValueError, match=r"isoformat|out of range|not a time|must be in range"):
            iso_reading(text)
