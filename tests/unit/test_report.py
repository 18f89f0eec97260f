from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.model import Channel
from bridge.observe.health import NOT_SETTLED
from bridge.observe.report import Report
from tests.unit.core import T0, Rig, snapshot
from tests.unit.lmex_sessions import lmex


def report(*topics):
    nothing = cast("Any", None)
    by_stream = cast("Any", dict(enumerate(topics)))
    exchange = lmex("BTC-USD", channels={Channel.TICKER})
    publisher = cast("Any", SimpleNamespace(connected=True, waiting_bytes=0, most_bytes=100))
    presence = cast("Any", SimpleNamespace(interval=1.0))
    return Report(exchange, "lm", publisher, presence, by_stream, latency=nothing, settings=nothing)


def supervisor(*, up=True, serving=True):
    return cast("Any", SimpleNamespace(plan=SimpleNamespace(name="one"), up=up, serving=serving))


def test_the_state_is_live_only_while_every_stream_is():
    one, other = Rig(Channel.TICKER).topic, Rig(Channel.TICKER).topic
    found = report(one, other)
    found.supervisors = [supervisor()]
    assert (found.state, found.missing) == ("down", ["no subscription is live"])
    one.go_live(T0)
    other.down(T0, "the exchange lists the pair as halted")
    assert (found.state, found.missing) == ("degraded", [])
    other.go_live(T0)
    assert (found.state, found.degraded) == ("live", [])


@pytest.mark.parametrize("bad", [supervisor(up=False, serving=False), supervisor(serving=False)])
def test_one_connection_of_two_makes_it_degraded(bad):
    topic = Rig(Channel.TICKER).topic
    topic.go_live(T0)
    found = report(topic)
    found.supervisors = [supervisor(), bad]
    assert found.state == "degraded"


def test_a_book_without_its_snapshot_makes_it_degraded():
    book = Rig(Channel.BOOK).topic
    book.accept(snapshot())
    found = report(book)
    assert found.state == "live"
    book.gap(T0, "a hole")
    assert found.state == "degraded"


def test_without_redis_it_is_down():
    topic = Rig(Channel.TICKER).topic
    topic.go_live(T0)
    found = report(topic)
    found.beaten(ConnectionError("OOM command not allowed"))
    assert (found.state, found.missing) == ("down", ["Redis refuses writes: OOM command not allowed"])
    found.beaten()
    assert found.state == "live"
    found.publisher.connected = False
    assert found.state == "down"


def test_a_standby_that_has_just_connected_could_not_take_over_yet():
    topic = Rig(Channel.TICKER).topic
    found = report(topic)
    found.standby = standby = cast("Any", SimpleNamespace(looked=time.monotonic(), settled=False))
    assert (found.state, found.missing) == ("down", ["no subscription is live"])
    topic.go_live(T0)
    assert (found.state, found.missing) == ("starting", [NOT_SETTLED])
    standby.settled = True
    assert (found.state, found.missing) == ("standby", [])
    standby.settled, standby.looked = False, time.monotonic() - 60
    assert found.state == "down"


def test_the_beginning_the_end_and_nothing_to_do():
    found = report()
    assert found.state == "live"
    found.starting = True
    assert found.state == "starting"
    found.ended = True
    assert found.state == "stopping"


def test_unknown_types_are_told_once_and_are_bounded():
    found = report()
    assert [found.count_unknown("candles") for _ in range(3)] == ["candles", "", ""]
    told = [found.count_unknown(f"{number:0200}"[::-1]) for number in range(500)]
    assert told[98:101] == ["89" + "0" * 95 + "...", "others", ""]
    assert len(found.unknown) == 101
    assert found.unknown.total() == 503
    assert max(map(len, found.unknown)) == 100


async def test_the_counts_of_pairs_that_have_left_stay_in_the_totals():
    topics = [Rig(Channel.TRADES).topic for _ in range(3)]
    found = report(*topics)
    found.publisher.published = found.publisher.lost = found.publisher.waiting = 0
    found.presence = cast("Any", SimpleNamespace(interval=1.0, instance="i", rejects=SimpleNamespace(count=0)))
    for number, topic in enumerate(topics):
        topic.received, topic.gaps, topic.stream.published = 10**number, number, 10**number
        topic.stream.lost["overflow"] = number
    before = found.counts()
    for place, topic in enumerate(topics[:2]):
        found.leaving(topic)
        del found.topics[place]
        assert found.counts() == before
        found.left(topic)
        assert found.counts() == before
    [past] = found.past()
    assert (past.received, past.published, past.gaps, past.lost) == (11, 11, 1, {"overflow": 1})
    assert [row.received for row in await found.streams()] == [100]
