from __future__ import annotations

from benchmarks.publishing import Nobody
from bridge.publish.events import PublisherEvents


def test_the_benchmarks_hear_all_that_a_publisher_says():
    said = {name for name, value in vars(PublisherEvents).items() if callable(value) and not name.startswith("_")}
    assert {"dropped", "hold", "release"} <= said
    assert said <= set(dir(Nobody))
