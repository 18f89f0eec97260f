from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.model import Channel
from bridge.report import Report
from tests.unit.core import T0, Rig
from tests.unit.lmex_sessions import lmex


def report(*topics):
    nothing = cast("Any", None)
    by_stream = cast("Any", dict(enumerate(topics)))
    exchange = lmex("BTC-USD", channels={Channel.TICKER})
    return Report(exchange, "lm", nothing, nothing, by_stream, latency=nothing, settings=nothing)


@pytest.mark.parametrize(("up", "state"), [([True, True], "live"), ([True, False], "degraded"), ([False], "down")])
def test_the_state_is_that_of_the_connections(up, state):
    found = report(Rig(Channel.TICKER).topic)
    found.links = cast("Any", [SimpleNamespace(up=link) for link in up])
    assert found.state == state


def test_where_none_is_needed_it_is_that_of_the_streams():
    """Tickers alone are polled."""
    one, other = Rig(Channel.TICKER).topic, Rig(Channel.TICKER).topic
    found = report(one, other)
    assert found.state == "down"
    one.go_live(T0)
    assert found.state == "degraded"
    other.go_live(T0)
    assert found.state == "live"


def test_unknown_types_are_told_once_and_are_bounded():
    found = report()
    assert [found.count_unknown("candles") for _ in range(3)] == ["candles", "", ""]
    told = [found.count_unknown(f"{number:0200}"[::-1]) for number in range(500)]
    assert told[98:101] == ["89" + "0" * 95 + "...", "others", ""]
    assert len(found.unknown) == 101
    assert found.unknown.total() == 503
    assert max(map(len, found.unknown)) == 100
