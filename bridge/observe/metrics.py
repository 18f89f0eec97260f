"""Prometheus metrics of connectors, made of their figures at each scrape, so that events cost nothing extra."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bridge.exchange_errors import OPENING, ErrorKind
from bridge.feed.connection import LOST_KINDS
from bridge.model import Channel
from bridge.observe.figures import (
    FEED_BUCKETS,
    PUBLISH_BUCKETS,
    STATES,
    ConnectionRow,
    Durations,
    Figures,
    GroupRow,
    StreamRow,
)
from bridge.observe.report import Report
from bridge.process.exposition import PREFIX, gently
from bridge.publish.pending import LOSSES

__all__ = ["BridgeMetrics"]

_STATES = ("live", "stale", "down", "stop")
_BASE = ("exchange", "connector")

_KINDS = sorted(ErrorKind)
_LOST = sorted({*LOST_KINDS, *OPENING})
"""Reasons for lost connections. All are exported from the start, so that the first loss is an increase."""

_COUNTED = {
    "parse_errors": "Frames that could not be parsed.",
    "rejects_omitted": "Such frames that were not kept as rejects, because there were too many.",
    "unknown_messages": "Messages of types that this version does not know.",
    "feed_paused_seconds": "Time during which the exchange's sockets were not read, because Redis was too slow.",
    "takeovers": "Times that this process has taken over from the one that wrote.",
    "publish_confirmed": "Repeated writes that Redis had already accepted.",
}
_MEASURED = {
    "connector_writes": "1 while this process writes the connector's streams, 0 while it stands by or has lost its lease.",
    "standby_ready": "1 if another process could take over at once; of the process that writes, with standby: true.",
    "last_takeover_seconds": "Pause of the streams at this process's last takeover; absent before the first.",
    "publish_queue_bytes": "Buffer in use, in bytes.",
    "publish_queue_limit_bytes": "Limit of the buffer, buffer.max_bytes.",
    "redis_connection_up": "1 while the publisher is connected.",
    "redis_last_write_age_seconds": "Time since Redis last accepted a heartbeat.",
    "redis_memory_bytes": "Memory that Redis uses; absent if the connector's user may not ask.",
    "redis_memory_limit_bytes": "Redis' maxmemory, 0 without a limit; absent if the connector's user may not ask.",
    "clock_offset_seconds": "Time by which the exchange's clock is ahead of this host's; absent while unknown.",
    "clock_error_seconds": "Maximum error of tickbridge_clock_offset_seconds.",
}
"""Single values of a connector: name → help."""

Labels = tuple[str, ...]
Streams = Sequence[tuple[Figures, StreamRow]]


class BridgeMetrics:
    """The metrics of all connectors of a process; with ``pairs``, per stream and connection instead of sums."""

    def __init__(
        self,
        reports: Callable[[], Sequence[Report]],
        up: Callable[[], Mapping[Labels, bool]] = dict,
        *,
        pairs: bool = False,
    ) -> None:
        self._reports = reports
        self._up = up
        self._pairs = pairs
        self._most: dict[Labels, float] = {}

    async def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """Copy all figures; the result makes the metric families, each over all connectors."""
        up = dict(self._up())
        return partial(self._families, [await report.figures() for report in self._reports()], up)

    def _families(self, connectors: Sequence[Figures], up: Mapping[Labels, bool]) -> Iterable[Metric]:
        streams = [(one, row) for one in connectors for row in one.streams]
        # With a label for the pair, a series ends with its pair; without one, a sum must not fall.
        past = [] if self._pairs else [(one, row) for one in connectors for row in one.past]
        words = "1 while the connector runs, 0 if it has failed or not started; then it has no other metrics."
        yield _gauge("connector_up", words, _BASE, up)
        states = {_of(one, state): state == one.state for one in connectors for state in STATES}
        words = "1 for the current state of the connector, 0 for the others."
        yield _gauge("connector_state", words, (*_BASE, "state"), states)
        yield from self._counts([*streams, *past])
        yield from self._books([(one, row) for one, row in (*streams, *past) if row.channel is Channel.BOOK])
        yield from self._standing(streams)
        yield from self._connections([(one, row) for one in connectors for row in one.connections])
        yield from self._groups([(one, row) for one in connectors for row in one.groups])
        yield from _of_connectors(connectors)
        yield from _latencies(connectors)

    def _counts(self, streams: Streams) -> Iterable[Metric]:
        names = (*_BASE, "channel", *self._pair)
        labelled = [(self._labels(one, row), row) for one, row in gently(streams)]

        def total(value: Callable[[StreamRow], int]) -> Counter[Labels]:
            sums: Counter[Labels] = Counter()
            for labels, row in gently(labelled):
                sums[labels] += value(row)
            return sums

        received = total(lambda row: row.received)
        published = self._never_decreasing(total(lambda row: row.published))
        waiting = total(lambda row: row.buffered)
        yield _counter("ws_messages_received", "Events received, without repeats.", names, received)
        yield _counter("published", "Events published to Redis.", names, published)
        yield self._lost(streams)
        words = "Events waiting for Redis: received = published + lost + waiting."
        yield _gauge("publish_queue_entries", words, names, waiting)
        words = "Events dropped because the exchange sent them again."
        yield _counter("duplicates_suppressed", words, names, total(lambda row: row.repeated))
        words = "Times that events were found missing at the source."
        yield _counter("gaps", words, names, total(lambda row: row.gaps))

    def _lost(self, streams: Streams) -> Metric:
        sums: Counter[Labels] = Counter()
        for one, row in gently(streams):
            head, pair = _of(one, str(row.channel)), self._pair_of(row)
            # All reasons from the start, so that the first loss is an increase.
            for reason in {*LOSSES.values(), *row.lost}:
                sums[*head, reason, *pair] += row.lost.get(reason, 0)
        names = (*_BASE, "channel", "reason", *self._pair)
        return _counter("lost", "Events dropped by the bridge, and declared by lost entries.", names, sums)

    def _never_decreasing(self, values: Mapping[Labels, float]) -> dict[Labels, float]:
        """Never let the counter fall, which would look like a restart: Redis may lose acknowledged entries."""
        self._most = {labels: max(value, self._most.get(labels, 0.0)) for labels, value in values.items()}
        return self._most

    def _books(self, books: Streams) -> Iterable[Metric]:
        def total(value: Callable[[StreamRow], int]) -> Counter[Labels]:
            sums: Counter[Labels] = Counter()
            for one, row in gently(books):
                sums[*_of(one), *self._pair_of(row)] += value(row)
            return sums

        names = (*_BASE, *self._pair)
        yield _counter("book_gaps", "tickbridge_gaps_total of the books.", names, total(lambda row: row.gaps))
        words = "Fresh snapshots that made a book valid again."
        yield _counter("book_resyncs", words, names, total(lambda row: row.resyncs))
        words = "Books waiting for a snapshot."
        yield _gauge("books_invalid", words, names, total(lambda row: row.awaiting_snapshot))

    def _standing(self, streams: Streams) -> Iterable[Metric]:
        states: Counter[Labels] = Counter()
        ages: dict[Labels, float] = {}
        for one, row in gently(streams):
            present = row.state if row.state in _STATES else "down"
            for state in _STATES:
                states[*_of(one, str(row.channel), state), *self._pair_of(row)] += state == present
            if row.age is not None:
                labels = self._labels(one, row)
                ages[labels] = min(row.age, ages.get(labels, row.age))
        names = (*_BASE, "channel", "state", *self._pair)
        yield _gauge("streams", "Streams by state.", names, states)
        words = "Time since the channel's newest event."
        yield _gauge("last_event_age_seconds", words, (*_BASE, "channel", *self._pair), ages)

    def _connections(self, rows: Sequence[tuple[Figures, ConnectionRow]]) -> Iterable[Metric]:
        grouped: defaultdict[Labels, list[ConnectionRow]] = defaultdict(list)
        planned: Counter[Labels] = Counter()
        for one, row in gently(rows):
            grouped[*_of(one), *([row.name] if self._pairs else [])].append(row)
            for state in ("up", "down"):
                planned[_of(one, state)] += row.up == (state == "up")

        def each(value: Callable[[list[ConnectionRow]], float | None]) -> dict[Labels, float]:
            return _known({labels: value(some) for labels, some in grouped.items()})

        names = (*_BASE, *(["connection"] if self._pairs else []))
        words = "1 while all planned connections are up."
        yield _gauge("ws_connection_up", words, names, each(lambda some: all(row.up for row in some)))
        words = "Planned connections by state."
        yield _gauge("ws_connections", words, (*_BASE, "state"), planned)
        lost: Counter[Labels] = Counter()
        for labels, some in grouped.items():
            for row in some:
                for reason, count in {**dict.fromkeys([] if self._pairs else _LOST, 0), **row.reconnects}.items():
                    lost[*labels[:2], reason, *labels[2:]] += count
        words = "Connections lost and reopened, including failed attempts."
        yield _counter("ws_reconnects", words, (*_BASE, "reason", *names[2:]), lost)
        words = "Connections replaced without interruption."
        yield _counter("ws_replacements", words, names, each(lambda some: sum(row.replacements for row in some)))
        ages = each(lambda some: max((row.age for row in some if row.age is not None), default=None))
        words = "Time since the last frame of the connection that has been silent longest."
        yield _gauge("ws_last_message_age_seconds", words, names, ages)

    def _groups(self, groups: Sequence[tuple[Figures, GroupRow]]) -> Iterable[Metric]:
        lags: Counter[Labels] = Counter()
        pending: Counter[Labels] = Counter()
        for one, row in gently(groups):
            labels = _of(one, str(row.channel), row.group, *([row.subject] if self._pairs else []))
            pending[labels] += row.pending
            if row.lag is not None:
                lags[labels] += row.lag
        names = (*_BASE, "channel", "group", *self._pair)
        words = "Entries of the streams that a consumer group has not been delivered."
        yield _gauge("group_lag_entries", words, names, lags)
        words = "Entries that a consumer group was delivered and has not acknowledged."
        yield _gauge("group_pending_entries", words, names, pending)

    @property
    def _pair(self) -> list[str]:
        return ["pair"] if self._pairs else []

    def _pair_of(self, row: StreamRow) -> list[str]:
        return [row.subject] if self._pairs else []

    def _labels(self, one: Figures, row: StreamRow) -> Labels:
        return (*_of(one, str(row.channel)), *self._pair_of(row))


def _of_connectors(connectors: Sequence[Figures]) -> Iterable[Metric]:
    kinds = {_of(one, kind): float(one.errors.get(kind, 0)) for one in connectors for kind in _KINDS}
    yield _counter("exchange_errors", "Errors and refusals of the exchange.", (*_BASE, "kind"), kinds)
    for make, numbers in ((_counter, _COUNTED), (_gauge, _MEASURED)):
        for name, words in numbers.items():
            values = {_of(one): one.numbers[name] for one in connectors if name in one.numbers}
            yield make(name, words, _BASE, values)


def _latencies(connectors: Sequence[Figures]) -> Iterable[Metric]:
    words = "Time from receipt to Redis' acknowledgement."
    publish = HistogramMetricFamily(f"{PREFIX}publish_latency_seconds", words, labels=_BASE)
    words = "From the exchange's time of an event to its receipt, by the exchange's clock."
    feed = HistogramMetricFamily(f"{PREFIX}feed_latency_seconds", words, labels=(*_BASE, "channel"))
    for one in connectors:
        _add_histogram(publish, _of(one), one.publish_latency, PUBLISH_BUCKETS)
        for channel, durations in one.feed_latency.items():
            _add_histogram(feed, _of(one, str(channel)), durations, FEED_BUCKETS)
    yield publish
    yield feed


def _add_histogram(
    family: HistogramMetricFamily, labels: Labels, durations: Durations, bounds: Sequence[float]
) -> None:
    buckets = [(str(bound), count) for bound, count in zip(bounds, durations.cumulative, strict=True)]
    family.add_metric(labels, [*buckets, ("+Inf", durations.count)], durations.total / 1e9)


def _of(one: Figures, *more: str) -> Labels:
    return (one.exchange, one.connector, *more)


def _known(values: Mapping[Labels, float | None]) -> dict[Labels, float]:
    return {labels: value for labels, value in values.items() if value is not None}


def _counter(name: str, words: str, names: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    return _filled(CounterMetricFamily(f"{PREFIX}{name}", words, labels=names), values)


def _gauge(name: str, words: str, names: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"{PREFIX}{name}", words, labels=names), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for labels, value in gently(values.items()):
        family.add_metric(labels, float(value))
    return family
