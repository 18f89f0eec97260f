"""Prometheus metrics of connectors, read from their reports at each scrape, so that events cost nothing extra."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.exchange_errors import OPENING, ErrorKind
from bridge.feed.connection import LOST_KINDS
from bridge.latency import Histogram, Latency
from bridge.model import Channel
from bridge.observe.report import STATES, ConnectionRow, Report, StreamRow
from bridge.publish.pending import LOSSES

__all__ = ["BUCKETS", "FEED_BUCKETS", "BridgeMetrics"]

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Upper bounds of the buckets of the publishing latency, in seconds."""

FEED_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of the feed latency, in seconds."""

_STATES = ("live", "stale", "down", "stop")
_BASE = ("exchange", "connector")

_KINDS = sorted(ErrorKind)
_LOST = sorted({*LOST_KINDS, *OPENING})
"""Reasons for lost connections. All are exported from the start, so that the first loss is an increase."""

Labels = tuple[str, ...]
Streams = Sequence[tuple[Report, StreamRow]]


class BridgeMetrics(Collector):
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

    def collect(self) -> Iterable[Metric]:
        """All metric families, each over all connectors."""
        reports = self._reports()
        streams = [(report, row) for report in reports for row in report.streams()]
        # With a label for the pair, a series ends with its pair; without one, a sum must not fall.
        past = [] if self._pairs else [(report, row) for report in reports for row in report.past()]
        words = "1 while the connector runs, 0 if it has failed or not started; then it has no other metrics."
        yield _gauge("bridge_connector_up", words, _BASE, self._up())
        states = {_of(report, state): state == now for report, now in _with_state(reports) for state in STATES}
        words = "1 for the current state of the connector, 0 for the others."
        yield _gauge("bridge_connector_state", words, (*_BASE, "state"), states)
        yield from self._counts([*streams, *past])
        yield from self._books([(report, row) for report, row in (*streams, *past) if row.channel is Channel.BOOK])
        yield from self._standing(streams)
        yield from self._connections([(report, row) for report in reports for row in report.connections()])
        yield from _of_connectors(reports)
        yield _publish_latency(reports)
        yield from _feed_latency(reports)

    def _counts(self, streams: Streams) -> Iterable[Metric]:
        names = (*_BASE, "channel", *self._pair)

        def total(value: Callable[[StreamRow], int]) -> Counter[Labels]:
            sums: Counter[Labels] = Counter()
            for report, row in streams:
                sums[self._labels(report, row)] += value(row)
            return sums

        received = total(lambda row: row.received)
        published = self._never_decreasing(total(lambda row: row.published))
        waiting = total(lambda row: row.buffered)
        yield _counter("bridge_ws_messages_received", "Events received, without repeats.", names, received)
        yield _counter("bridge_published", "Events published to Redis.", names, published)
        yield self._lost(streams)
        words = "Events waiting for Redis: received = published + lost + waiting."
        yield _gauge("bridge_publish_queue_entries", words, names, waiting)
        words = "Events dropped because the exchange sent them again."
        yield _counter("bridge_duplicates_suppressed", words, names, total(lambda row: row.repeated))
        words = "Times that events were found missing at the source."
        yield _counter("bridge_gaps", words, names, total(lambda row: row.gaps))

    def _lost(self, streams: Streams) -> Metric:
        sums: Counter[Labels] = Counter()
        for report, row in streams:
            head, pair = _of(report, str(row.channel)), self._pair_of(row)
            # All reasons from the start, so that the first loss is an increase.
            for reason in {*LOSSES.values(), *row.lost}:
                sums[*head, reason, *pair] += row.lost.get(reason, 0)
        names = (*_BASE, "channel", "reason", *self._pair)
        return _counter("bridge_lost", "Events dropped by the bridge, and declared by lost entries.", names, sums)

    def _never_decreasing(self, values: Mapping[Labels, float]) -> dict[Labels, float]:
        """Never let the counter fall, which would look like a restart: Redis may lose acknowledged entries."""
        self._most = {labels: max(value, self._most.get(labels, 0.0)) for labels, value in values.items()}
        return self._most

    def _books(self, books: Streams) -> Iterable[Metric]:
        def total(value: Callable[[StreamRow], int]) -> Counter[Labels]:
            sums: Counter[Labels] = Counter()
            for report, row in books:
                sums[*_of(report), *self._pair_of(row)] += value(row)
            return sums

        names = (*_BASE, *self._pair)
        yield _counter("bridge_book_gaps", "bridge_gaps_total of the books.", names, total(lambda row: row.gaps))
        words = "Fresh snapshots that made a book valid again."
        yield _counter("bridge_book_resyncs", words, names, total(lambda row: row.resyncs))
        words = "Books waiting for a snapshot."
        yield _gauge("bridge_books_invalid", words, names, total(lambda row: row.awaiting_snapshot))

    def _standing(self, streams: Streams) -> Iterable[Metric]:
        states: Counter[Labels] = Counter()
        ages: dict[Labels, float] = {}
        for report, row in streams:
            present = row.state if row.state in _STATES else "down"
            for state in _STATES:
                states[*_of(report, str(row.channel), state), *self._pair_of(row)] += state == present
            if row.age is not None:
                labels = self._labels(report, row)
                ages[labels] = min(row.age, ages.get(labels, row.age))
        names = (*_BASE, "channel", "state", *self._pair)
        yield _gauge("bridge_streams", "Streams by state.", names, states)
        words = "Time since the channel's newest event."
        yield _gauge("bridge_last_event_age_seconds", words, (*_BASE, "channel", *self._pair), ages)

    def _connections(self, rows: Sequence[tuple[Report, ConnectionRow]]) -> Iterable[Metric]:
        grouped: defaultdict[Labels, list[ConnectionRow]] = defaultdict(list)
        planned: Counter[Labels] = Counter()
        for report, row in rows:
            grouped[*_of(report), *([row.name] if self._pairs else [])].append(row)
            for state in ("up", "down"):
                planned[_of(report, state)] += row.up == (state == "up")

        def each(value: Callable[[list[ConnectionRow]], float | None]) -> dict[Labels, float]:
            return _known({labels: value(some) for labels, some in grouped.items()})

        names = (*_BASE, *(["connection"] if self._pairs else []))
        words = "1 while all planned connections are up."
        yield _gauge("bridge_ws_connection_up", words, names, each(lambda some: all(row.up for row in some)))
        words = "Planned connections by state."
        yield _gauge("bridge_ws_connections", words, (*_BASE, "state"), planned)
        lost: Counter[Labels] = Counter()
        for labels, some in grouped.items():
            for row in some:
                for reason, count in {**dict.fromkeys([] if self._pairs else _LOST, 0), **row.reconnects}.items():
                    lost[*labels[:2], reason, *labels[2:]] += count
        words = "Connections lost and reopened, including failed attempts."
        yield _counter("bridge_ws_reconnects", words, (*_BASE, "reason", *names[2:]), lost)
        words = "Connections replaced without interruption."
        yield _counter("bridge_ws_replacements", words, names, each(lambda some: sum(row.replacements for row in some)))
        ages = each(lambda some: max((row.age for row in some if row.age is not None), default=None))
        words = "Time since the last frame of the connection that has been silent longest."
        yield _gauge("bridge_ws_last_message_age_seconds", words, names, ages)

    @property
    def _pair(self) -> list[str]:
        return ["pair"] if self._pairs else []

    def _pair_of(self, row: StreamRow) -> list[str]:
        return [row.subject] if self._pairs else []

    def _labels(self, report: Report, row: StreamRow) -> Labels:
        return (*_of(report, str(row.channel)), *self._pair_of(row))


def _with_state(reports: Sequence[Report]) -> Iterable[tuple[Report, str]]:
    return [(report, report.state) for report in reports]


def _of_connectors(reports: Sequence[Report]) -> Iterable[Metric]:
    def each(value: Callable[[Report], float | None]) -> dict[Labels, float]:
        return _known({_of(report): value(report) for report in reports})

    memory = {_of(report): report.presence.memory for report in reports}
    words = "Frames that could not be parsed."
    yield _counter("bridge_parse_errors", words, _BASE, each(lambda report: report.presence.rejects.count))
    words = "Such frames that were not kept as rejects, because there were too many."
    yield _counter("bridge_rejects_omitted", words, _BASE, each(lambda report: report.presence.rejects.omitted))
    words = "Messages of types that this version does not know."
    yield _counter("bridge_unknown_messages", words, _BASE, each(lambda report: report.unknown.total()))
    kinds = {_of(report, kind): float(report.errors[kind]) for report in reports for kind in _KINDS}
    words = "Errors and refusals of the exchange."
    yield _counter("bridge_exchange_errors", words, (*_BASE, "kind"), kinds)
    words = "Buffer in use, in bytes."
    yield _gauge("bridge_publish_queue_bytes", words, _BASE, each(lambda report: report.publisher.waiting_bytes))
    words = "Limit of the buffer, buffer.max_bytes."
    yield _gauge("bridge_publish_queue_limit_bytes", words, _BASE, each(lambda report: report.publisher.most_bytes))
    words = "Time during which the exchange's sockets were not read, because Redis was too slow."
    yield _counter("bridge_feed_paused_seconds", words, _BASE, each(lambda report: report.flow.seconds))
    words = "Repeated writes that Redis had already accepted."
    yield _counter("bridge_publish_confirmed", words, _BASE, each(lambda report: report.publisher.confirmed))
    words = "1 while the publisher is connected."
    yield _gauge("bridge_redis_connection_up", words, _BASE, each(lambda report: report.redis_connected))
    words = "Time since Redis last accepted a heartbeat."
    yield _gauge("bridge_redis_last_write_age_seconds", words, _BASE, each(lambda report: report.redis_age))
    words = "Memory that Redis uses; absent if the connector's user may not ask."
    yield _gauge("bridge_redis_memory_bytes", words, _BASE, {key: m.used for key, m in memory.items() if m})
    words = "Redis' maxmemory, 0 without a limit; absent if the connector's user may not ask."
    yield _gauge("bridge_redis_memory_limit_bytes", words, _BASE, {key: m.most for key, m in memory.items() if m})


def _publish_latency(reports: Sequence[Report]) -> Metric:
    words = "Time from receipt to Redis' acknowledgement."
    family = HistogramMetricFamily("bridge_publish_latency_seconds", words, labels=_BASE)
    for report in reports:
        _add_histogram(family, _of(report), report.publisher.latency, BUCKETS)
    return family


def _feed_latency(reports: Sequence[Report]) -> Iterable[Metric]:
    words = "From the exchange's time of an event to its receipt, by the exchange's clock."
    family = HistogramMetricFamily("bridge_feed_latency_seconds", words, labels=(*_BASE, "channel"))
    offsets: dict[Labels, float] = {}
    errors: dict[Labels, float] = {}
    for report in reports:
        for channel, latency in report.latency.channels.items():
            _add_histogram(family, _of(report, str(channel)), latency.total, FEED_BUCKETS)
        offset = report.latency.host_offset
        if offset is not None:
            offsets[_of(report)], errors[_of(report)] = offset.ns / 1e9, offset.error / 1e9
    yield family
    words = "Time by which the exchange's clock is ahead of this host's; absent while unknown."
    yield _gauge("bridge_clock_offset_seconds", words, _BASE, offsets)
    yield _gauge("bridge_clock_error_seconds", "Maximum error of bridge_clock_offset_seconds.", _BASE, errors)


def _add_histogram(
    family: HistogramMetricFamily, labels: Labels, counted: Latency | Histogram, edges: Sequence[float]
) -> None:
    counts = counted.cumulative([round(edge * 1e9) for edge in edges])
    buckets = [(str(edge), count) for edge, count in zip(edges, counts, strict=True)]
    family.add_metric(labels, [*buckets, ("+Inf", counted.count)], counted.total / 1e9)


def _of(report: Report, *more: str) -> Labels:
    return (report.exchange.name, report.name, *more)


def _known(values: Mapping[Labels, float | None]) -> dict[Labels, float]:
    return {labels: value for labels, value in values.items() if value is not None}


def _counter(name: str, words: str, names: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    return _filled(CounterMetricFamily(name, words, labels=names), values)


def _gauge(name: str, words: str, names: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    return _filled(GaugeMetricFamily(name, words, labels=names), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, float(value))
    return family
