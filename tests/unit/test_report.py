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
