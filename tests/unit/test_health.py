from __future__ import annotations

from types import SimpleNamespace

import pytest

from bridge.model import Channel
from bridge.observe.health import degraded
from tests.unit.core import T0, Rig, quote, snapshot


def supervisor(name: str, *, up: bool = True, serving: bool = True) -> SimpleNamespace:
    return SimpleNamespace(plan=SimpleNamespace(name=name), up=up, serving=up and serving)


def test_a_connector_without_trouble_has_nothing_to_say():
    book = Rig(Channel.BOOK).topic
    book.accept(snapshot())
    assert degraded([supervisor("one")], [book], 0.1) == []


def test_connections_are_named():
    supervisors = [supervisor("one"), supervisor("two", up=False), supervisor("three", serving=False)]
    assert degraded(supervisors, [], 0.0) == [
        "connection two is down",
        "connection three: not every subscription is confirmed",
    ]


def test_streams_are_named_by_cause():
    book, quotes, ticker = (Rig(channel).topic for channel in (Channel.BOOK, Channel.QUOTES, Channel.TICKER))
    book.accept(snapshot())
    quotes.accept(quote("1", "2"))
    assert degraded([], [book, quotes, ticker], 0.0) == ["not subscribed yet: ticker of BTC-EUR"]
    book.gap(T0, "a hole")
    quotes.stale(T0, "no event for 60 s")
    ticker.down(T0, "connection broken")
    assert degraded([], [book, quotes, ticker], 0.0) == [
        "waiting for a snapshot (a hole): book of BTC-EUR",
        "stale (no event for 60 s): quotes of BTC-EUR",
        "down (connection broken): ticker of BTC-EUR",
    ]
    book.accept(snapshot(T0 + 1))
    quotes.go_live(T0)
    ticker.go_live(T0)
    assert degraded([], [book, quotes, ticker], 0.0) == []
    ticker.stream.blocked = "WRONGTYPE"
    assert degraded([], [ticker], 0.0) == ["Redis refuses the stream (WRONGTYPE): ticker of BTC-EUR"]


def test_what_the_last_process_left_is_the_reason_until_then():
    rig = Rig(Channel.QUOTES)
    first = Rig(Channel.QUOTES)
    first.topic.down(T0, "maintenance")
    rig.topic.seed(first.sink.events, T0)
    assert degraded([], [rig.topic], 0.0) == ["down (maintenance): quotes of BTC-EUR"]


def test_many_are_counted():
    topics = []
    for _ in range(15):
        rig = Rig(Channel.QUOTES)
        rig.topic.down(T0, "gone")
        topics.append(rig.topic)
    [line] = degraded([], topics, 0.0)
    assert line.count("quotes of") == 10
    assert line.endswith(" and 5 more")
    supervisors = [supervisor(str(number), up=False) for number in range(30)]
    assert degraded(supervisors, [], 0.0)[-1] == "and 10 more"


@pytest.mark.parametrize(("share", "said"), [(0.5, []), (0.62, ["Redis: the buffer is 62% full"])])
def test_the_buffer(share, said):
    assert degraded([], [], share) == said
