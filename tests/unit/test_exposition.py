from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from bridge.process.exposition import Exposition, old_name
from tests.patience import PATIENCE


class Source:
    """Counts its snapshots, and records where they are taken and made."""

    def __init__(self, *families):
        self.families = families
        self.taken = 0
        self.threads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def snapshot(self):
        self.taken += 1
        self.threads.append(threading.get_ident())
        taken = self.taken

        def make():
            assert self.gate.wait(PATIENCE)
            self.threads.append(threading.get_ident())
            if self.error:
                raise self.error
            yield GaugeMetricFamily("tickbridge_taken", "Snapshots.", taken)
            yield from self.families

        return make


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


async def exposed(source, **options):
    exposition = Exposition([source], **options)
    try:
        return (await exposition.page()).plain
    finally:
        await exposition.aclose()


async def test_the_snapshot_is_taken_in_the_loop_and_the_text_made_elsewhere():
    source = Source()
    await exposed(source)
    taken, made = source.threads
    assert taken == threading.get_ident() != made


async def test_a_text_is_given_again_for_a_second():
    source, clock = Source(), Clock()
    exposition = Exposition([source], clock=clock)
    first = await exposition.page()
    clock.now += 0.99
    assert await exposition.page() is first
    clock.now += 0.02
    assert families((await exposition.page()).plain)["tickbridge_taken"].samples[0].value == 2
    assert source.taken == 2
    await exposition.aclose()


async def test_scrapes_at_once_share_one_text_and_one_that_breaks_off_takes_it_from_nobody():
    source, clock = Source(), Clock()
    source.gate.clear()
    exposition = Exposition([source], clock=clock)
    waiting = [asyncio.create_task(exposition.page()) for _ in range(3)]
    await asyncio.sleep(0)
    clock.now += 60
    waiting.append(asyncio.create_task(exposition.page()))
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    first, *rest = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert len(set(rest)) == 1
    assert source.taken == 1
    await exposition.aclose()


async def test_a_failure_is_not_kept():
    source = Source()
    exposition = Exposition([source], clock=Clock())
    source.error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await exposition.page()
    source.error = None
    assert "tickbridge_taken" in families((await exposition.page()).plain)
    await exposition.aclose()


async def test_it_ends_while_it_renders():
    source = Source()
    source.gate.clear()
    exposition = Exposition([source])
    waiting = asyncio.create_task(exposition.page())
    await asyncio.sleep(0)
    await exposition.aclose()
    source.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("tickbridge_published", "bridge_published"),
        ("tickbridge_consumer_streams", "consumer_streams"),
        ("tickbridge_gateway_clients", "gateway_clients"),
        ("tickbridge_group_lag_entries", ""),
        ("process_open_fds", ""),
    ],
)
def test_old_names(new, old):
    assert old_name(new) == old


async def test_every_metric_has_its_old_name_too_with_the_same_samples():
    counter = CounterMetricFamily("tickbridge_lost", "Lost.", labels=["what"])
    counter.add_metric(['a "quoted"\ntickbridge_lost_total{x="y"} 7'], 3)
    histogram = HistogramMetricFamily("tickbridge_publish_latency_seconds", "How long.", labels=["one"])
    histogram.add_metric(["x"], [("0.1", 1), ("+Inf", 2)], 0.5)
    new = GaugeMetricFamily("tickbridge_group_lag_entries", "Lag.", 4)
    empty = GaugeMetricFamily("tickbridge_books_invalid", "Books.", labels=["one"])
    text = await exposed(Source(counter, histogram, new, empty))
    found = families(text)
    for name in ("tickbridge_lost", "tickbridge_publish_latency_seconds", "tickbridge_books_invalid"):
        old = found[old_name(name)]
        assert old.type == found[name].type
        plain = [
            (sample.name.replace(name, old.name, 1), sample.labels, sample.value) for sample in found[name].samples
        ]
        assert [(sample.name, sample.labels, sample.value) for sample in old.samples] == plain
    assert found["bridge_lost"].documentation == "Old name of tickbridge_lost_total; use that one."
    assert found["bridge_lost"].samples[0].labels["what"].endswith('tickbridge_lost_total{x="y"} 7')
    assert "bridge_group_lag_entries" not in found
    only = families(await exposed(Source(counter, histogram), old_names=False))
    assert {name for name in only if not name.startswith("process_")} == {
        "tickbridge_taken",
        "tickbridge_lost",
        "tickbridge_publish_latency_seconds",
    }
