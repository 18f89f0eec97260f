"""What an exchange announces: a silence that is no fault, of some streams or of all."""

from __future__ import annotations

import time

import pytest

from bridge.exchanges.api import Subscription
from bridge.feed import pauses as module
from bridge.feed.pauses import Pauses
from bridge.feed.transport import has_picows
from bridge.model import Channel, Control
from tests.unit.core import SECOND, T0
from tests.unit.feeding import BOOK, PAIR, TRADES, FakeSession, Venue, feed
from tests.unit.publishing import until

ETH = Subscription(Channel.TRADES, "ETH-EUR")


@pytest.fixture(params=["websockets", "picows"])
def library(request):
    if request.param == "picows" and not has_picows():
        pytest.skip("picows is not installed")
    return request.param


def reasons(feed, wish=TRADES):
    return [event.reason for event in feed.desk.sinks[wish].events if isinstance(event, Control) and event.reason]


async def test_silence_is_no_fault_until_the_time_that_was_announced(library):
    tuned = {"silence": {Channel.TRADES: 0.4}, "ping": 0.1, "dead": 0.4}
    async with Venue() as venue, feed(venue, library, **tuned) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        venue.say(k="pause", **{"for": 2.0})
        begun = time.monotonic()
        await until(lambda: "down" in f.said())
        [peer] = venue.peers
        peer.data_received = lambda data: None  # it doesn't even answer pings
        await until(lambda: f.logged("pause_over"))
        assert time.monotonic() - begun > 1.9
        assert f.said()[:4] == ["live", "trade", "down", "live"]
        assert reasons(f)[0] == "maintenance"
        assert [entry["pairs"] for entry in f.logged("paused")] == [[PAIR]]
        await until(lambda: venue.opened == 2)
        assert f.said()[4] in {"stale", "down"}, "from then on it is one"
        logged = [entry["event"] for entry in f._logs.entries]
        # The first frames may come before the call that connects has returned.
        assert (sorted(logged[:2]), logged[2]) == (["connected", "paused"], "pause_over"), "and not before"


async def test_a_stream_that_is_refused_is_not_live_when_it_is_over(library):
    async with Venue() as venue, feed(venue, library, subscribed=(TRADES, BOOK)) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        venue.say(k="refuse")
        venue.say(k="pause", **{"for": 0.1})
        await until(lambda: len(f.logged("pause_over")) == 2)
        assert f.said() == ["live", "trade", "down"]


async def test_it_ends_with_the_next_event(library):
    async with Venue() as venue, feed(venue, library, subscribed=(TRADES, BOOK)) as f:
        await until(lambda: venue.peers)
        venue.say(k="book", bids=[["1", "1"]])
        venue.say(k="trade", id="1")
        venue.say(k="pause")
        await until(lambda: f.said()[-1:] == ["down"])
        venue.say(k="trade", id="2")
        await until(lambda: f.said(BOOK)[-1] == "live")
        assert f.said() == ["live", "trade", "down", "live", "trade"]
        assert f.said(BOOK)[:4] == ["live", "snapshot", "down", "live"]
        await until(lambda: f.supervisor._active._session.resyncs == [PAIR])


async def test_a_connection_that_is_lost_meanwhile_is_not_stormed(library, monkeypatch):
    monkeypatch.setattr(module, "_TRY_AGAIN", 1.0)
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers and f.supervisor.up)
        venue.say(k="pause", **{"for": 600})
        await until(lambda: f.said() == ["down"])
        venue.hang_up = 100
        begun = time.monotonic()
        venue.cut()
        await until(lambda: venue.opened == 3)
        assert time.monotonic() - begun > 1.9
        assert f.said() == ["down"], "with the reason that was announced"
        assert reasons(f) == ["maintenance"]
        venue.hang_up = 0
        await until(lambda: f.supervisor.up and venue.peers)
        venue.say(k="trade", id="1")
        await until(f.data)
        assert f.said() == ["down", "live", "trade"]


async def test_a_later_word_ends_it(library):
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers and f.supervisor.up)
        venue.say(k="pause")
        await until(lambda: f.said() == ["down"])
        venue.say(k="pause", **{"for": -1})
        await until(lambda: f.said()[1:2] == ["live"])


async def test_other_pairs_are_not_concerned(library):
    async with Venue() as venue, feed(venue, library, silence={Channel.TRADES: 0.3}) as f:
        await until(lambda: venue.peers and f.supervisor.up)
        venue.say(k="trade", id="1")
        venue.say(k="pause", pairs=["ETH-EUR"])
        await until(lambda: "stale" in f.said())
        assert f.said()[:3] == ["live", "trade", "stale"]


class Known:
    def __init__(self):
        self.events = {}
        self.pauses = Pauses()

    def begin(self, streams, at, until=None):
        self.pauses.begin(streams, None if until is None else T0 + until * SECOND, T0 + at * SECOND)

    def end(self, at):
        return self.pauses.end(T0 + at * SECOND, lambda stream: self.events.get(stream, 0))


def test_of_two_pauses_each_ends_by_itself():
    k = Known()
    k.begin([TRADES], 0, 10)
    k.begin([ETH], 0, 20)
    assert k.pauses.cover([TRADES, ETH])
    assert k.end(9) == []
    assert k.end(10) == [TRADES]
    assert k.end(11) == []
    assert (TRADES in k.pauses, ETH in k.pauses) == (False, True)
    assert not k.pauses.cover([TRADES, ETH])
    assert k.pauses.resumed(TRADES) == T0 + 10 * SECOND
    assert k.pauses.resumed(ETH) == 0


def test_an_event_of_one_stream_ends_the_pause_of_all_that_it_is_for():
    k = Known()
    k.begin([TRADES, BOOK], 5)
    k.events[TRADES] = T0 + 5 * SECOND
    assert k.end(6) == [], "it came with the announcement"
    k.events[TRADES] += 1
    assert k.end(6) == [BOOK, TRADES]


def test_the_newest_word_counts():
    k = Known()
    k.begin([TRADES, ETH], 0, 10)
    k.begin([TRADES], 5, 30)
    assert k.end(10) == [ETH]
    assert TRADES in k.pauses


@pytest.mark.parametrize(
    ("pauses", "wait"),
    [
        ([], 0),
        ([([TRADES], 30)], 0),
        ([([TRADES, ETH], 30)], 30),
        ([([TRADES, ETH], 300)], 60),
        ([([TRADES, ETH], None)], 60),
        ([([TRADES], None), ([ETH], 10)], 10),
        ([([TRADES, ETH], -5)], 0),
    ],
)
def test_how_long_a_lost_connection_is_left_alone(pauses, wait):
    k = Known()
    for streams, until_ in pauses:
        k.begin(streams, 0, until_)
    assert k.pauses.wait([TRADES, ETH], T0) == wait


def test_a_stream_that_is_served_again_is_not_refused():
    session = FakeSession("ws://x")
    session.dead([TRADES], T0, "not served")
    assert session.refuses(TRADES)
    session.lively([TRADES], T0 + SECOND)
    assert not session.refuses(TRADES)
