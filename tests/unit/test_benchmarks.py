from __future__ import annotations

from benchmarks import rejecting
from benchmarks.machine import Server
from benchmarks.publishing import Nobody
from bridge.exchanges import names
from bridge.publish.events import PublisherEvents
from tests.servers import RedisServer


def test_the_benchmarks_hear_all_that_a_publisher_says():
    said = {name for name, value in vars(PublisherEvents).items() if callable(value) and not name.startswith("_")}
    assert {"dropped", "hold", "release"} <= said
    assert said <= set(dir(Nobody))


def test_what_bad_frames_cost_is_measured_with_exact_counts(redis_server: RedisServer):
    _, targets, data = rejecting.measure(Server(redis_server.url, None), frames=80, runs=1, with_large=False)
    assert len(targets) == len(data) == len(names())
    assert all("good" in rows and len(rows) > 5 for rows in data.values())
